"""The command line of a recipe: progress, the table of findings, and the exit code."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import tensorflow as tf
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

from common import data
from common.experiment import findings, grid, record, report, results
from common.experiment.flags import Flags, parse_recipe
from common.experiment.grid import Plan
from common.experiment.recipe import Recipe, check_numbers, examples_used
from common.experiment.results import Results
from common.system import UsageError, cores
from common.training import distribution

DONE, FAILED, BAD_USAGE, INTERRUPTED = 0, 1, 2, 130
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
COLORS = {"shown": "green", "NOT SHOWN": "bold red", "differs": "yellow", "not judged": "dim"}


def main(recipe: Recipe, arguments: list[str] | None = None) -> NoReturn:
    """Runs a recipe as the command line says and exits with the code that `run` returns."""
    sys.exit(run(recipe, sys.argv[1:] if arguments is None else arguments))


def run(recipe: Recipe, arguments: list[str], arms: tuple[str, ...] | None = None) -> int:
    """Runs a recipe with the given flags; what is wrong with them goes to stderr, in one line.

    Args:
        arms: those trained; None: all that apply.

    Returns:
        0 all is shown and nothing moved, 1 not shown, moved or runs missing, 2 bad usage or input,
        130 interrupted.
    """
    try:
        return _run(recipe, arguments, arms)
    except SystemExit as end:  # after --help
        return end.code or DONE
    except KeyboardInterrupt:  # before the first run began
        return INTERRUPTED
    except UsageError as error:
        return _refuse(recipe, str(error))
    except tf.errors.OpError as error:
        if not distribution.has_workers():
            raise
        print(
            f"{recipe.name}: lost a worker ({error.message.splitlines()[0][:200]}); the same "
            "command, run again on all, continues from the last checkpoint",
            file=sys.stderr,
        )
        return FAILED
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        reason = f"expected to read data and write results, received: {error.strerror or error}"
        return _refuse(recipe, reason + where)


def failed(content: dict[str, Any]) -> bool:
    """Whether results.json says that a finding is not shown, or that a metric moved."""
    moved = content["record"] and content["record"]["moved"]
    return bool(moved) or any(entry["shown"] is False for entry in content["findings"])


def _refuse(recipe: Recipe, reason: str) -> int:
    print(f"{recipe.name}: {' '.join(reason.split())}", file=sys.stderr)
    return BAD_USAGE


def _run(recipe: Recipe, arguments: list[str], arms: tuple[str, ...] | None) -> int:
    preset, flags, config = parse_recipe(recipe, arguments, "")
    out = flags.out or Path("results") / recipe.name
    # A log file has no width of its own; there the table may be as wide as it needs.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    existing = out / "results.json"
    if flags.replot:
        return _replot(recipe, existing, console)
    _check(recipe, flags, config)
    distribution.start(flags.devices)
    console.quiet = not distribution.is_chief()
    loaded = _load(recipe, flags, config)
    for notice in loaded.notices:
        console.print(f"[bold reverse] ! [/] [bold]{escape(notice)}[/]", highlight=False)
    config = parse_recipe(recipe, arguments, loaded.name)[2]
    where = f" (running on {loaded.name})" if loaded.arrays else ""
    with _hint(where):
        check_numbers(config)
        examples_used(config, loaded.n_train, loaded.n_test)
    if existing.exists() and not flags.fresh:
        with _hint("; move it away, or replace it with --fresh"):
            results.read_results(existing, recipe.name)
    jobs = _jobs(flags)
    made = _writable(out) if distribution.is_chief() else []
    plan = Plan(
        recipe=recipe,
        preset=preset,
        config=config,
        seeds=flags.seeds or (1 if flags.smoke else recipe.seeds),
        data=loaded,
        data_dir=str(flags.data_dir) if flags.data_dir else None,
        precision=flags.precision,
        jobs=jobs,
        out=out,
        devices=flags.devices,
        arms=arms,
    )
    began, interrupted = time.perf_counter(), False
    try:
        with _progress(console, plan) as on_progress:
            try:
                with _hint(where):
                    done = grid.carry_out(plan, flags.fresh, on_progress)
            except KeyboardInterrupt as interrupt:
                if not hasattr(interrupt, "report"):  # nothing was begun
                    raise
                done, interrupted = interrupt.report, True
    except BaseException:
        _remove_empty(made)
        raise
    _tell(done, plan, console, time.perf_counter() - began)
    if interrupted:
        return INTERRUPTED
    wrong = done.missing or (done.results and failed(done.results.content))
    return FAILED if wrong else DONE


def _check(recipe: Recipe, flags: Flags, config: Any) -> None:
    """Raises UsageError for a flag that makes no sense, or a data set not for this recipe."""
    for name in ("seeds", "jobs"):
        value = getattr(flags, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name}: expected a whole number of at least 1, received {value}")
    if flags.precision not in PRECISIONS:
        expected = f"{', '.join(PRECISIONS[:-1])} or {PRECISIONS[-1]}"
        raise UsageError(f"--precision: expected {expected}, received {flags.precision}")
    takes_photographs = recipe.side(config) is not None
    of_photographs = takes_photographs and flags.dataset not in data.NAMES
    if flags.dataset is not None and flags.dataset not in recipe.datasets and not of_photographs:
        expected = " or ".join(recipe.datasets) or "none"
        if takes_photographs:
            expected += ", folder, or a name of TensorFlow Datasets"
        raise UsageError(f"--dataset: expected {expected}, received {flags.dataset}")
    check_numbers(config)


def _load(recipe: Recipe, flags: Flags, config: Any) -> data.Dataset:
    """The data set asked for; where none was named and MNIST is not found, the bundled digits."""
    name = flags.dataset or recipe.default_dataset
    replaceable = name == "mnist" and "digits" in recipe.datasets
    fallback = None if flags.dataset or flags.data_dir or not replaceable else "digits"
    return data.load(name, flags.data_dir, fallback, side=recipe.side(config))


def _jobs(flags: Flags) -> int:
    """The number asked for, else one process for what takes seconds, else the usual number."""
    if distribution.replicas() > 1:  # they are busy together
        if flags.jobs and flags.jobs > 1:
            raise UsageError(f"--jobs: expected 1 with several replicas, received {flags.jobs}")
        return 1
    return flags.jobs or (1 if flags.smoke else usual_jobs(flags.devices))


def usual_jobs(devices: str = "auto") -> int:
    """One process per core; one on a GPU, which does not share well."""
    on_gpu = not devices.startswith("cpu") and tf.config.list_physical_devices("GPU")
    return 1 if on_gpu else cores()


@contextlib.contextmanager
def _hint(hint: str) -> Iterator[None]:
    try:
        yield
    except UsageError as error:
        raise type(error)(f"{error}{hint}") from None


def _writable(out: Path) -> list[Path]:
    """Makes sure that results can be written in `out`; returns the folders made for that."""
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
        picture = report.draw(recipe, found, file.parent)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UsageError(
            f"expected complete results in {file}, received a damaged file ({error!r})"
        ) from None
    if picture is None:
        raise UsageError(f"expected all arms in {file}, received {', '.join(found.arms) or 'none'}")
    _say(console, f"figure   {picture}")
    return DONE


@contextlib.contextmanager
def _progress(console: Console, plan: Plan) -> Iterator[Callable[[grid.Run, float], None]]:
    """Yields on_progress(run, share): a bar with ETA, or in a log a line for each finished run."""
    total = len(plan.runs)
    shares: dict[grid.Run, float] = {}
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

        def on_progress(run: grid.Run, share: float) -> None:
            finished_before = shares.get(run) == 1.0
            shares[run] = share
            done = sum(value == 1.0 for value in shares.values())
            about = f"{plan.recipe.name} {done}/{total}"
            bar.update(task, completed=sum(shares.values()), description=about)
            if share == 1.0 and not finished_before and not console.is_terminal:
                seconds = time.perf_counter() - began
                console.print(
                    f"{done}/{total} {run[0]}, seed {run[1]} ({seconds:.0f} s)", highlight=False
                )

        yield on_progress


def _tell(done: report.Report, plan: Plan, console: Console, seconds: float) -> None:
    """What a person reads at the end: the table, where the files are, and what is missing."""
    if done.results is not None:
        content = done.results.content
        console.print(findings_table(done.results))
        unjudged = [
            entry["why"] for entry in content["findings"] if findings.verdict(entry) == "not judged"
        ]
        for why in dict.fromkeys(unjudged):
            console.print(f"{unjudged.count(why)} not judged: {why}", highlight=False)
        _say(console, f"record   {record.describe(content['record'])}")
        picture = plan.out / f"{plan.recipe.name}.png"
        _say(console, f"results  {plan.out / 'results.json'}")
        if picture.exists():
            _say(console, f"figure   {picture}")
    for (arm, seed), why in done.missing.items():
        _say(console, f"missing: {arm}, seed {seed}: {why}")
    if done.missing:
        console.print("Finished runs are kept; the same command trains the rest.")
    kept = f", {done.kept} of {len(plan.runs)} runs kept from before" if done.kept else ""
    console.print(f"time     {seconds:.0f} s{kept}", highlight=False)


def _say(console: Console, line: str) -> None:
    """Prints a line as it is: a path may hold what rich takes for markup."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def findings_table(found: Results) -> Table:
    """The findings with what was measured, what was printed, and the verdict."""
    title = found.titled(found.content["recipe"])
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("finding", ratio=1)
    for column in ("measured", "printed"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for entry in found.content["findings"]:
        verdict = findings.verdict(entry)
        color = COLORS.get(verdict, "green")
        table.add_row(
            entry["name"],
            findings.measured_text(entry),
            findings.printed_text(entry),
            f"[{color}]{verdict}[/]",
        )
    return table
