"""The command line of a recipe: flags, progress, the table of claims, and the exit code."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import math
import re
import sys
import textwrap
import time
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NoReturn

import tensorflow as tf
import tyro
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from common import claims, data, distribution, experiment, results, workers
from common.experiment import Plan, Recipe
from common.results import Results, UsageError

HOLDS, FAILS, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
# What tyro complains of, as an error message says it here.
COMPLAINTS = {
    r"Error parsing (\S+): (?:invalid literal for int|no type matching .*INT).*'(.*)'.*": (
        r"\1: expected a whole number, received \2"
    ),
    r"Error parsing (\S+): could not convert string to float: '(.*)'": (
        r"\1: expected a number, received \2"
    ),
    r"invalid choice '(.*)' for argument '(\S+)'\. Expected one of \((.*)\)\.": (
        r"\2: expected one of \3; received \1"
    ),
    r"Unrecognized options: (.*)": r"expected flags that --help lists, received \1",
}


def unless(metavar: str, default: str) -> Any:
    """How --help shows a flag that may be left out."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


@dataclass(frozen=True)
class Flags:
    """The flags that every recipe has."""

    # The comment of each is its help.
    smoke: bool = False  # a few steps in seconds to see that everything runs; judges nothing
    paper: bool = False  # the published protocol as written; may take hours
    # how many seeds: 0 to N-1
    seeds: Annotated[int | None, unless("N", "the recipe's own number")] = None
    # arms and seeds side by side, in so many processes
    jobs: Annotated[int | None, unless("N", "one a core, 1 on a GPU")] = None
    # the data set by name
    dataset: Annotated[str | None, unless("NAME", "the recipe's, else digits")] = None
    # folder of TensorFlow Datasets
    data_dir: Annotated[Path | None, unless("DIR", "$TFDS_DATA_DIR, ~/tensorflow_datasets")] = None
    # where results go
    out: Annotated[Path | None, unless("DIR", "results/NAME")] = None
    # number format of the arithmetic: float32, mixed_bfloat16 or mixed_float16
    precision: Annotated[
        str | None, unless("FORMAT", "float32; AlexNet mixed_bfloat16 where the processor has it")
    ] = None
    # where to train: auto, cpu, gpu, gpu:0,1 or cpu:N (N logical devices, to try replicas)
    devices: Annotated[str, tyro.conf.arg(metavar="DEVICES")] = "auto"
    fresh: bool = False  # train everything anew; else finished arms and seeds are kept
    replot: bool = False  # only draw the figure again, from results.json


@dataclass(frozen=True)
class AtLeast:
    """Annotates a knob that may lie in [low, below); knobs without it must be positive."""

    low: float
    below: float = math.inf


@dataclass(frozen=True)
class MultipleOf:
    """Annotates a knob that must be a multiple of another one, named here."""

    knob: str


def main(recipe: Recipe, arguments: list[str] | None = None) -> NoReturn:
    """Runs a recipe as the command line says and exits with the code that `run` returns."""
    sys.exit(run(recipe, sys.argv[1:] if arguments is None else arguments))


def run(recipe: Recipe, arguments: list[str]) -> int:
    """Runs a recipe with the given flags, as in a notebook; what is wrong with them goes to stderr.

    Returns:
        0 all claims hold, 1 one fails or runs are missing, 2 bad usage or input, 130 interrupted.
    """
    try:
        return _run(recipe, arguments)
    except SystemExit as end:  # after --help
        return end.code or HOLDS
    except KeyboardInterrupt:  # before the first run began
        return INTERRUPTED
    except (UsageError, data.DataError) as error:
        return _refuse(recipe, str(error))
    except tf.errors.OpError as error:
        if not distribution.has_workers():
            raise
        print(
            f"{recipe.name}: lost a worker ({error.message.splitlines()[0][:200]}); the same "
            "command, run again on all, goes on from the last checkpoint",
            file=sys.stderr,
        )
        return FAILS
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        reason = f"expected to read data and write results, received: {error.strerror or error}"
        return _refuse(recipe, reason + where)


def _refuse(recipe: Recipe, reason: str) -> int:
    print(f"{recipe.name}: {' '.join(reason.split())}", file=sys.stderr)
    return BAD_USAGE


def _run(recipe: Recipe, arguments: list[str]) -> int:
    preset, flags, config = _parse(recipe, arguments)
    out = flags.out or Path("results") / recipe.name
    # A log file has no width of its own; there the table may be as wide as it likes to be.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    existing = out / "results.json"
    if flags.replot:
        return _replot(recipe, existing, console)
    _check(recipe, flags, config)
    if said := recipe.instead(config, out):
        console.print(said, highlight=False, markup=False)
        return HOLDS
    distribution.start(flags.devices)
    console.quiet = not distribution.is_chief()
    name = flags.dataset or recipe.usual_dataset(config)
    replaceable = name == "mnist" and "digits" in recipe.datasets
    named = flags.dataset or flags.data_dir
    side = recipe.side(config) if recipe.side else None
    fallback = "digits" if replaceable and not named else None
    loaded = experiment.load(name, flags.data_dir, side, fallback)
    for notice in loaded.notices:
        console.print(f"[bold reverse] ! [/] [bold]{escape(notice)}[/]", highlight=False)
    if existing.exists() and not flags.fresh:
        with _hint("; move it away, or replace it with --fresh"):
            results.read_results(existing, recipe.name)
    config = _parse(recipe, arguments, loaded.name)[2]
    check_knobs(config)
    jobs = _jobs(recipe, flags)
    made = _writable(out) if distribution.is_chief() else []
    plan = Plan(
        recipe=recipe,
        preset=preset,
        config=config,
        seeds=flags.seeds or (1 if flags.smoke else recipe.seeds),
        data=loaded,
        data_dir=str(flags.data_dir) if flags.data_dir else None,
        precision=flags.precision or _precision(recipe),
        jobs=jobs,
        out=out,
        devices=flags.devices,
    )
    began = time.perf_counter()
    interrupted = False
    where = f" (running on {loaded.name})" if loaded.train else ""
    try:
        with _progress(console, plan) as on_progress:
            try:
                with _hint(where):
                    report = experiment.carry_out(plan, flags.fresh, on_progress)
            except KeyboardInterrupt as interrupt:
                if not hasattr(interrupt, "report"):  # nothing was begun
                    raise
                report, interrupted = interrupt.report, True
    except BaseException:
        _remove_empty(made)
        raise
    _tell(report, plan, console, time.perf_counter() - began)
    if interrupted:
        return INTERRUPTED
    holds = [claim["holds"] for claim in report.results.content["claims"]] if report.results else []
    return FAILS if report.missing or False in holds else HOLDS


def _parse(recipe: Recipe, arguments: list[str], dataset: str = "") -> tuple[str, Flags, Any]:
    """Preset, flags and config; its knobs on the data set are the defaults that flags change."""
    presets = [name for name in ("smoke", "paper") if f"--{name}" in arguments]
    if len(presets) == 2:
        raise UsageError("expected --smoke or --paper, received both")
    preset = presets[0] if presets else "default"
    command = dataclasses.make_dataclass(
        "command", [("common", Flags), ("recipe", recipe.config)], frozen=True
    )
    parsed = parse(
        command,
        arguments,
        recipe.about,
        prog=_command(recipe),
        default=command(Flags(), recipe.knobs(preset, dataset)),
        config=(tyro.conf.OmitArgPrefixes,),
    )
    return preset, parsed.common, parsed.recipe


def _command(recipe: Recipe) -> str:
    """How the recipe is started: by its name in this repository, by its file elsewhere."""
    started_as_file = recipe.module.__name__ == "__main__" and recipe.module.__spec__ is None
    return f"python {recipe.file.name}" if started_as_file else f"python -m recipes.{recipe.name}"


def parse(command: type, arguments: list[str], about: str, config: tuple = (), **how: Any) -> Any:
    """`tyro.cli` whose complaints are one line, and whose help begins with `about`, wrapped.

    Raises UsageError for flags that it refuses.
    """
    if {"-h", "--help"} & set(arguments):
        width = min(100, Console().width)
        for part in about.strip().split("\n\n"):  # an indented one is a command
            print(part if part.startswith(" ") else textwrap.fill(part, width), end="\n\n")
    stderr = io.StringIO()
    config = (tyro.conf.FlagCreatePairsOff, *config)
    try:
        with contextlib.redirect_stderr(stderr):
            return tyro.cli(command, args=arguments, description=" ", config=config, **how)
    except SystemExit as exit_:
        if not exit_.code:
            raise  # --help
        # Of tyro's box take what it says, up to the rule under which the help of the flag stands.
        # Where the encoding is not UTF-8 the box is of dashes.
        lines = [line.strip("│| ") for line in stderr.getvalue().splitlines()[1:]]
        parts = itertools.groupby(lines, key=lambda line: set(line) <= set("─╰╯-+"))
        reason = next(" ".join(part) for is_rule, part in parts if not is_rule)
        for pattern, plain in COMPLAINTS.items():
            if match := re.fullmatch(pattern, reason):
                said = match.expand(plain).replace("'", "")
                raise UsageError(said + "nothing" * said.endswith(" ")) from None
        raise UsageError(f"{reason} (--help lists the flags)") from None


def _check(recipe: Recipe, flags: Flags, config: Any) -> None:
    """Raises UsageError for a number that makes no sense or a data set not for this recipe."""
    for name in ("seeds", "jobs"):
        value = getattr(flags, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name}: expected a whole number of at least 1, received {value}")
    if flags.precision not in (None, *PRECISIONS):
        expected = f"{', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}"
        raise UsageError(f"--precision: expected {expected}, received {flags.precision}")
    any_photographs = recipe.side and flags.dataset not in data.NAMES
    if flags.dataset is not None and flags.dataset not in recipe.datasets and not any_photographs:
        expected = " or ".join(recipe.datasets) or "none"
        if recipe.side:
            expected += ", folder, or a name of TensorFlow Datasets"
        raise UsageError(f"--dataset: expected {expected}, received {flags.dataset}")
    check_knobs(config)


def check_knobs(config: Any) -> None:
    """Raises UsageError for a number that is not finite, not positive (see `AtLeast`), or not a
    multiple (see `MultipleOf`)."""
    types = typing.get_type_hints(type(config), include_extras=True)
    for knob in dataclasses.fields(config):
        value = getattr(config, knob.name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        notes = typing.get_args(types[knob.name])[1:] if _annotated(types[knob.name]) else ()
        bound = next((note for note in notes if isinstance(note, AtLeast)), None)
        if bound:
            good = bound.low <= value < bound.below
            below = f" and below {bound.below:g}" if bound.below < math.inf else ""
            expected = f"at least {bound.low:g}{below}"
        else:
            good, expected = value > 0, "above 0"
        if not (good and math.isfinite(value)):
            flag = knob.name.replace("_", "-")
            raise UsageError(f"--{flag}: expected a finite number {expected}, received {value}")
    for knob in dataclasses.fields(config):
        for note in typing.get_args(types[knob.name])[1:] if _annotated(types[knob.name]) else ():
            if isinstance(note, MultipleOf) and getattr(config, knob.name) % getattr(
                config, note.knob
            ):
                flag = knob.name.replace("_", "-")
                raise UsageError(
                    f"--{flag}: expected a multiple of --{note.knob.replace('_', '-')} "
                    f"({getattr(config, note.knob)}), received {getattr(config, knob.name)}"
                )


def _annotated(hint: Any) -> bool:
    return typing.get_origin(hint) is Annotated


def _jobs(recipe: Recipe, flags: Flags) -> int:
    """As asked for; else the usual number, and one process for what is over in seconds."""
    # Several replicas are busy together, and other processes cannot import a notebook's cells.
    several = "with several replicas" if distribution.replicas() > 1 else ""
    if alone := several or ("in a notebook" if recipe.in_notebook else ""):
        if flags.jobs and flags.jobs > 1:
            raise UsageError(f"--jobs: expected 1 {alone}, received {flags.jobs}")
        return 1
    if flags.jobs:
        return flags.jobs
    if flags.smoke:
        return 1
    return recipe.jobs or usual_jobs(flags.devices)


def usual_jobs(devices: str = "auto") -> int:
    """One process a core; one on a GPU, which does not share well."""
    on_gpu = not devices.startswith("cpu") and tf.config.list_physical_devices("GPU")
    return 1 if on_gpu else workers.cores()


def _precision(recipe: Recipe) -> str:
    return "mixed_bfloat16" if recipe.half and results.computes_in_bfloat16() else "float32"


@contextlib.contextmanager
def _hint(hint: str):
    try:
        yield
    except (UsageError, data.DataError) as error:
        raise type(error)(f"{error}{hint}") from None


def _writable(out: Path) -> list[Path]:
    """Makes sure that results can be written in `out`; returns the folders it made for that."""
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        _remove_empty(missing)
        raise UsageError(
            f"--out {out}: expected a folder to write in, received: {error.strerror}"
        ) from None
    return missing


def _remove_empty(folders: list[Path]) -> None:
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def _replot(recipe: Recipe, file: Path, console: Console) -> int:
    found = results.read_results(file, recipe.name)
    try:
        picture = experiment.draw(recipe, found, file.parent)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UsageError(
            f"expected complete results in {file}, received a damaged file ({error!r})"
        ) from None
    if picture is None:
        raise UsageError(
            f"expected all arms in {file}, received {', '.join(found.content['arms']) or 'none'}"
        )
    _say(console, f"figure   {picture}")
    return HOLDS


@contextlib.contextmanager
def _progress(console: Console, plan: Plan):
    """Yields on_progress((arm, seed), share): a bar with ETA, or a line a finished run in a log."""
    total = len(plan.runs)
    shares: dict[Any, float] = {}
    began = time.perf_counter()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(f"{plan.recipe.name} on {plan.data.name}", total=total)

        def on_progress(run: tuple[str, int], share: float) -> None:
            finished_before = shares.get(run) == 1.0
            shares[run] = share
            done = sum(value == 1.0 for value in shares.values())
            bar.update(
                task,
                completed=sum(shares.values()),
                description=f"{plan.recipe.name} {done}/{total}",
            )
            if share == 1.0 and not finished_before and not console.is_terminal:
                seconds = time.perf_counter() - began
                console.print(
                    f"{done}/{total} {run[0]}, seed {run[1]} ({seconds:.0f} s)", highlight=False
                )

        yield on_progress


def _tell(report: experiment.Report, plan: Plan, console: Console, seconds: float) -> None:
    """What a person reads at the end: the table, where the files are, and what is missing."""
    if report.results is not None:
        console.print(claims_table(report.results))
        unjudged = [c["why"] for c in report.results.content["claims"] if c["holds"] is None]
        for why in dict.fromkeys(unjudged):
            console.print(f"{unjudged.count(why)} not judged: {why}", highlight=False)
        picture = plan.out / f"{plan.recipe.name}.png"
        _say(console, f"results  {plan.out / 'results.json'}")
        if picture.exists():
            _say(console, f"figure   {picture}")
    for (arm, seed), why in report.missing.items():
        _say(console, f"missing: {arm}, seed {seed}: {why}")
    if report.missing:
        console.print("What is finished is kept; the same command trains the rest.")
    kept = f", {report.kept} of {len(plan.runs)} runs kept from before" if report.kept else ""
    console.print(f"time     {seconds:.0f} s{kept}", highlight=False)


def _say(console: Console, line: str) -> None:
    """A line as it is: a path may hold what rich takes for markup."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def claims_table(found: Results) -> Table:
    """The claims with what was published, what was measured, and the verdict."""
    content = found.content
    table = Table(title=found.titled(content["recipe"]), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("claim", ratio=1)
    for column in ("published", "measured", "expected"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    verdicts = {True: "[green]holds[/]", False: "[bold red]FAILS[/]", None: "[dim]not judged[/]"}
    for claim in content["claims"]:
        published = claim.get("published")
        table.add_row(
            claim["name"],
            "" if published is None else f"{published:.4g}",
            claims.describe(claim),
            claim.get("expected", ""),
            verdicts[claim["holds"]],
        )
    return table
