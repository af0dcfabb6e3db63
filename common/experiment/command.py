"""The command line of a recipe: progress, the table of findings, and the exit code."""

import contextlib
import dataclasses
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import keras
import tensorflow as tf
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table

from common import data, source
from common.experiment import grid, record, report, results, wording
from common.experiment.grid import Done, Plan
from common.experiment.recipe import Recipe, examples_used
from common.flags import Flags, parse_recipe, preset_of
from common.hyperparameters import check_numbers
from common.system import UsageError, cores, message
from common.training import distribution

DONE, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130
SIGNS = "± standard deviation over seeds; (a .. b) 95 % interval of the mean"
COLORS = {"NOT SHOWN": "bold red", "differs": "yellow", "not judged": "dim"}


def main(recipe: Recipe, arguments: list[str] | None = None) -> NoReturn:
    """Runs a recipe as the command line says and exits with the code that `run` returns."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # by `early.answer`
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run(_importable(recipe), sys.argv[1:] if arguments is None else arguments))


def _importable(recipe: Recipe) -> Recipe:
    """The recipe whose functions and classes other processes can import, by its file's name.

    A module that was started as a program is called `__main__`, which each process has of its own.
    """
    module = recipe.module
    if module.__name__ != "__main__":
        return recipe
    name = module.__spec__.name if module.__spec__ else recipe.name
    named = importlib.import_module(name)
    train, config = (getattr(named, one.__name__) for one in (recipe.train, recipe.config))
    return dataclasses.replace(recipe, train=train, config=config)


def run(recipe: Recipe, arguments: list[str], arms: tuple[str, ...] | None = None) -> int:
    """Runs a recipe with the given flags, on `arms` if they are given, else on all that apply.

    Returns 0 if all is shown and nothing moved, 1 if not, or if runs are missing, 2 for bad usage
    or input, which is told in one line of stderr, 130 if it was interrupted.
    """
    code = BAD_USAGE
    try:
        return _run(recipe, arguments, arms)
    except SystemExit as end:  # after --help
        return end.code or DONE
    except KeyboardInterrupt:  # before the first run began, or after the last
        return INTERRUPTED
    except UsageError as error:
        reason = str(error)
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        expected = "expected hyperparameters whose training fits into memory"
        reason = f"{expected}, received: {message(error).splitlines()[0]}"
    except tf.errors.OpError as error:
        if not distribution.has_workers():
            raise
        code, lost = FAILED, error.message.splitlines()[0][:200]
        reason = f"lost a worker ({lost}); the same command, run again on all, "
        reason += "continues from the last checkpoint"
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        received = f"{error.strerror or error}{where}"
        reason = f"expected to read data and write results, received: {received}"
    print(f"{recipe.name}: {' '.join(reason.split())}", file=sys.stderr)
    return code


def _run(recipe: Recipe, arguments: list[str], arms: tuple[str, ...] | None) -> int:
    began = time.perf_counter()
    preset = preset_of(arguments)

    def parsed(dataset: str) -> tuple[Flags, Any]:
        about, config = recipe.module.__doc__ or "", recipe.configured(preset, dataset)
        return parse_recipe(arguments, recipe.module.__name__, about, config)

    flags, config = parsed("")
    # No shell expands ~ after =.
    paths = {"out": flags.out, "data_dir": flags.data_dir}
    homes = {name: path and path.expanduser() for name, path in paths.items()}
    flags = dataclasses.replace(flags, **homes)
    out = Path("results", recipe.name) if flags.out is None else flags.out
    if out == Path():
        raise UsageError("--out: expected a folder of its own, received this one")
    # A log file has no width of its own; there the table may be as wide as it needs.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    if flags.replot:
        _say(console, f"figure   {_replot(recipe, out / 'results.json')}")
        return DONE
    check_numbers(flags)
    check_numbers(config)
    distribution.start(flags.devices)
    _check_backend(recipe, flags)
    console.quiet = not distribution.is_chief()
    loaded = _load(recipe, flags, recipe.side(config))
    for notice in loaded.notices:
        console.print(f"[bold reverse] ! [/] [bold]{escape(notice)}[/]", highlight=False)
    _, config = parsed(loaded.name)
    examples_used(config, loaded)
    if (out / "results.json").exists() and not flags.fresh:
        results.read_results(out / "results.json", recipe.name)
    there = next(place for place in (out, *out.parents) if place.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        received = "one without permission to write" if there.is_dir() else "a file"
        raise UsageError(f"--out {out}: expected a folder to write in, received {received}")
    seeds = flags.seeds or (1 if flags.smoke else recipe.seeds)
    plan = Plan(recipe, preset, config, flags, seeds, _jobs(flags), loaded, out, arms)
    with _progress(console, plan) as on_progress:
        done = grid.carry_out(plan, on_progress)
    _tell(done, plan, console, time.perf_counter() - began)
    if done.interrupted:
        return INTERRUPTED
    if done.missing:
        return FAILED
    content = done.results.content
    moved = content["record"] and content["record"]["moved"]
    return FAILED if moved or any(e["shown"] is False for e in content["findings"]) else DONE


def _check_backend(recipe: Recipe, flags: Flags) -> None:
    if (backend := keras.backend.backend()) == "tensorflow":
        return
    if source.needs_tensorflow(recipe.file):
        expected = "expected tensorflow, whose gradients this recipe takes"
        raise UsageError(f"KERAS_BACKEND: {expected}; received {backend}")
    if distribution.replicas() > 1:
        expected = f"expected one replica under KERAS_BACKEND={backend}"
        raise UsageError(f"--devices: {expected}, received {distribution.describe()}")


def _replot(recipe: Recipe, file: Path) -> Path:
    found = results.read_results(file, recipe.name)
    try:
        picture = report.draw(recipe, found, file.parent)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        reason = f"expected complete results in {file}, received a damaged file ({error!r})"
        raise UsageError(f"{reason}, unless plot() is at fault") from None
    if picture is None:
        seeds = ", ".join(f"{arm} on seeds {found.seeds(arm)}" for arm in found.arms)
        raise UsageError(
            f"expected all arms on the same seeds in {file}, received {seeds or 'none'}"
        )
    return picture


def _load(recipe: Recipe, flags: Flags, side: int | None) -> data.Dataset:
    """The data set asked for; where none was named and MNIST is not found, `mnist5k`."""
    name = flags.dataset or recipe.default_dataset
    if name not in recipe.datasets and (side is None or name in data.NAMES):
        expected = " or ".join(recipe.datasets)
        expected += ", folder, or a name of TensorFlow Datasets" * (side is not None)
        raise UsageError(f"--dataset: expected {expected}, received {name}")
    replaceable = name == "mnist" and "mnist5k" in recipe.datasets
    fallback = "mnist5k" if replaceable and not (flags.dataset or flags.data_dir) else None
    return data.load(name, flags.data_dir, fallback, side=side)


def _jobs(flags: Flags) -> int:
    """Number of processes: --jobs, else 1 for a smoke run, else `usual_jobs`. Raises UsageError."""
    if flags.jobs and flags.cluster:
        raise UsageError("expected --jobs or --cluster, received both")
    on_gpus = tf.config.get_visible_devices("GPU") and not distribution.has_workers()
    if distribution.replicas() > 1 and not on_gpus:  # of several GPUs each run has one
        if flags.jobs and flags.jobs > 1:
            raise UsageError(f"--jobs: expected 1 with several replicas, received {flags.jobs}")
        if flags.cluster:
            raise UsageError(f"--cluster: expected one replica, received {distribution.describe()}")
    return flags.jobs or (1 if flags.smoke else usual_jobs())


def usual_jobs() -> int:
    """One process per core; one on GPUs or for several replicas, which train one run at a time."""
    is_shared = distribution.replicas() > 1 or tf.config.get_visible_devices("GPU")
    return 1 if is_shared else cores()


@contextlib.contextmanager
def _progress(console: Console, plan: Plan) -> Iterator[Callable[[grid.Run, float], None]]:
    """Yields on_progress(run, share): a bar with ETA, or in a log a line for each finished run."""
    shares, total, began = {}, len(plan.runs), time.perf_counter()
    columns = (*Progress.get_default_columns(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(plan.recipe.name, total=total)

        def on_progress(run: grid.Run, share: float) -> None:
            shares[run] = share
            bar.update(task, completed=sum(shares.values()))
            if share == 1.0 and not console.is_terminal:
                done, seconds = list(shares.values()).count(1.0), time.perf_counter() - began
                _say(console, f"{done}/{total} {run[0]}, seed {run[1]} ({seconds:.0f} s)")

        yield on_progress


def _tell(done: Done, plan: Plan, console: Console, seconds: float) -> None:
    """What a person reads at the end: the table, where the files are, and what is missing."""
    lines = []
    if done.results is not None:
        content = done.results.content
        console.print(_table(done.results.titled(plan.recipe.name), content["findings"]))
        unjudged = [e["why"] for e in content["findings"] if wording.verdict(e) == "not judged"]
        lines += [f"{unjudged.count(why)} not judged: {why}" for why in dict.fromkeys(unjudged)]
        lines.append(f"record   {record.describe(content['record'])}")
        lines.append(f"results  {plan.out / 'results.json'}")
        picture = plan.out / f"{plan.recipe.name}.png"
        lines += [f"figure   {picture}"] * picture.exists()
    lines += [f"missing: {arm}, seed {seed}: {why}" for (arm, seed), why in done.missing.items()]
    if done.retried:
        lines.append(f"runs begun again after the death of their process: {done.retried}")
    if done.missing:
        lines.append("Finished runs are kept; the same command trains the rest.")
    kept = f", {done.kept} of {len(plan.runs)} runs kept from before" if done.kept else ""
    _say(console, "\n".join([*lines, f"time     {seconds:.0f} s{kept}"]))


def _say(console: Console, text: str) -> None:
    """Prints a text as it is: a path may hold what rich takes for markup."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _table(title: str, entries: list[wording.Entry]) -> Table:
    """The findings with what was measured, what was printed, and the verdict."""
    how = {"title_justify": "left", "caption_justify": "left", "box": box.SIMPLE_HEAD}
    table = Table(title=title, caption=SIGNS, **how)
    table.add_column("finding", ratio=1)
    for column in ("measured", "printed"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for entry in entries:
        verdict = wording.verdict(entry)
        texts = escape(entry["name"]), wording.measured_text(entry), wording.printed_text(entry)
        table.add_row(*texts, f"[{COLORS.get(verdict, 'green')}]{verdict}[/]")
    return table
