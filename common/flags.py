"""The flags that every recipe has, and tyro's command line with errors of one line."""

import dataclasses
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from annotated_types import Gt, Le
from rich.console import Console

from common.system import UsageError


def optional(metavar: str, default: str) -> Any:
    """How --help shows a flag that may be left out, and what then holds."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


FOLDER = optional("DIR", "$TFDS_DATA_DIR, ~/tensorflow_datasets, ~/.keras/datasets")


@dataclass(frozen=True)
class Flags:
    """The flags that every recipe has."""

    # The comment of each is its help.
    smoke: bool = False  # a few steps in seconds to see that everything runs; judges nothing
    paper: bool = False  # the published protocol; may take hours
    # number of seeds, from 0 on
    seeds: Annotated[int | None, Gt(0), Le(10_000), optional("N", "the recipe's own number")] = None
    # number of processes that train arms and seeds side by side, on GPUs one each
    jobs: Annotated[int | None, optional("N", "one per core, 1 on a GPU")] = None
    # Dask scheduler whose workers train arms and seeds instead, or the file that it writes
    cluster: Annotated[str | None, optional("ADDRESS", "none")] = None
    # name of the data set
    dataset: Annotated[str | None, optional("NAME", "the recipe's first, else mnist5k")] = None
    # folder of TensorFlow Datasets, or with mnist.npz, IDX files or cifar-10-batches-py
    data_dir: Annotated[Path | None, FOLDER] = None
    # folder for the results
    out: Annotated[Path | None, optional("DIR", "results/NAME")] = None
    # number format of the arithmetic
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    # where to train: auto, cpu, gpu, gpu:0,1 or cpu:N (N logical devices, to try replicas)
    devices: Annotated[str, tyro.conf.arg(metavar="DEVICES")] = "auto"
    deterministic: bool = False  # the same bits from the same GPU again, at some cost in time
    fresh: bool = False  # train everything again; else finished arms and seeds are kept
    replot: bool = False  # draw the figure again from results.json, without training


def preset_of(arguments: list[str]) -> str:
    """The preset that they name. Raises UsageError if they name two."""
    named = [name for name in ("smoke", "paper") if f"--{name}" in arguments]
    if len(named) == 2:
        raise UsageError("expected --smoke or --paper, received both")
    return named[0] if named else "default"


def parse_recipe(arguments: list[str], module: str, about: str, config: Any) -> tuple[Flags, Any]:
    """Flags and hyperparameters of the recipe of that module; those not named are as in `config`.

    Raises UsageError. After --help, which begins with `about`, it raises SystemExit.
    """
    fields = [("common", Flags), ("recipe", type(config))]
    command = dataclasses.make_dataclass("command", fields, frozen=True)
    *folders, name = module.split(".")
    parsed = parse(
        command,
        arguments,
        about,
        prog=f"make recipe-{name.replace('_', '-')}" if folders else f"python {name}.py",
        default=command(Flags(), config),
        config=(tyro.conf.OmitArgPrefixes,),
    )
    return parsed.common, parsed.recipe


def parse(command: type, arguments: list[str], about: str, config: tuple = (), **how: Any) -> Any:
    """`tyro.cli` whose errors are a UsageError, and whose help begins with `about`, wrapped."""
    if {"-h", "--help"} & set(arguments):
        width = min(100, Console().width)
        for part in about.strip().split("\n\n"):  # an indented one is a command
            print(part if part.startswith(" ") else textwrap.fill(part, width), end="\n\n")
    config = (tyro.conf.FlagCreatePairsOff, *config)
    with tyro._errors.on_parse_error(_refuse):
        return tyro.cli(command, args=arguments, description=" ", config=config, **how)


def _refuse(event: tyro._errors.ParseErrorEvent) -> None:
    """Raises what tyro is about to print, as one line.

    The hook belongs to tyro's internal interface; a test tells if an upgrade changes it.
    """
    argument = getattr(event, "argument", None)
    name = argument.lowered.name_or_flags[-1] if argument else ""
    match event:
        case tyro._errors.UnrecognizedArgs(tokens=tokens):
            reason = f"expected flags that --help lists, received {' '.join(tokens)}"
        case tyro._errors.InvalidChoice(value=value, choices=choices):
            reason = f"{name}: expected one of {', '.join(choices)}; received {value}"
        case tyro._errors.BadValue():
            reason = f"{name}: expected a value, received {event.offending_value or 'none'}"
        case tyro._errors.InstantiationFailure(message=message) if argument:
            kind = "a whole number" if "int()" in message else "a number"
            quoted = re.search(r"""(?:base 10|to float): (["'])(.*)\1""", message)
            value = quoted[2] or "nothing" if quoted else message
            reason = f"{name}: expected {kind}, received {value}"
        case tyro._errors.InstantiationFailure(message=reason):  # of a config's __post_init__
            pass
        case _:
            return
    raise UsageError(reason)
