"""The command line of a recipe: progress, the table of findings, and the exit code."""

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import tensorflow as tf
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, TimeElapsedColumn
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
    code = BAD_USAGE
    try:
        return _run(recipe, arguments, arms)
    except SystemExit as end:  # after --help
        return end.code or DONE
    except KeyboardInterrupt:  # before the first run began, or after the last
        return INTERRUPTED
    except UsageError as error:
        reason = str(error)
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
    preset, flags, config = parse_recipe(recipe, arguments, "")
    out = flags.out or Path("results") / recipe.name
    # A log file has no width of its own; there the table may be as wide as it needs.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    if flags.replot:
        _say(console, f"figure   {_replot(recipe, out / 'results.json')}")
        return DONE
    check_numbers(flags)
    check_numbers(config)
    distribution.start(flags.devices)
    console.quiet = not distribution.is_chief()
    loaded = _load(recipe, flags, recipe.side(config))
    for notice in loaded.notices:
        console.print(f"[bold reverse] ! [/] [bold]{escape(notice)}[/]", highlight=False)
    config = parse_recipe(recipe, arguments, loaded.name)[2]
    examples_used(config, loaded)
    if (out / "results.json").exists() and not flags.fresh:
        results.read_results(out / "results.json", recipe.name)
    seeds = flags.seeds or (1 if flags.smoke else recipe.seeds)
    jobs = _jobs(flags)
    _check_writable(out)
    plan = Plan(recipe, preset, config, flags, seeds, jobs, loaded, out, arms)
    began = time.perf_counter()
    with _progress(console, plan) as on_progress:
        done = grid.carry_out(plan, on_progress)
    _tell(done, plan, console, time.perf_counter() - began)
    if done.interrupted:
        return INTERRUPTED
    return FAILED if done.missing or failed(done.results.content) else DONE


def failed(content: dict[str, Any]) -> bool:
    """Whether results.json says that a finding is not shown, or that a metric moved."""
    moved = content["record"] and content["record"]["moved"]
    return bool(moved) or any(entry["shown"] is False for entry in content["findings"])


def _replot(recipe: Recipe, file: Path) -> Path:
    found = results.read_results(file, recipe.name)
    try:
        picture = report.draw(recipe, found, file.parent)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        reason = f"expected complete results in {file}, received a damaged file ({error!r})"
        raise UsageError(reason) from None
    if picture is None:
        raise UsageError(f"expected all arms in {file}, received {', '.join(found.arms) or 'none'}")
    return picture


def _load(recipe: Recipe, flags: Flags, side: int | None) -> data.Dataset:
    """The data set asked for; where none was named and MNIST is not found, the bundled digits."""
    of_photographs = side is not None and flags.dataset not in data.NAMES
    is_other = flags.dataset is not None and flags.dataset not in recipe.datasets
    if is_other and not of_photographs:
        expected = " or ".join(recipe.datasets) or "none"
        expected += ", folder, or a name of TensorFlow Datasets" * (side is not None)
        raise UsageError(f"--dataset: expected {expected}, received {flags.dataset}")
    name = flags.dataset or recipe.default_dataset
    replaceable = name == "mnist" and "digits" in recipe.datasets
    fallback = None if flags.dataset or flags.data_dir or not replaceable else "digits"
    return data.load(name, flags.data_dir, fallback, side=side)


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


def _check_writable(out: Path) -> None:
    """Raises UsageError if no results can be written in `out`; leaves nothing there."""
    missing = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        reason = f"expected a folder to write in, received: {error.strerror}"
        raise UsageError(f"--out {out}: {reason}") from None
    finally:
        with contextlib.suppress(OSError):
            for folder in missing:
                folder.rmdir()


@contextlib.contextmanager
def _progress(console: Console, plan: Plan) -> Iterator[Callable[[grid.Run, float], None]]:
    """Yields on_progress(run, share): a bar with ETA, or in a log a line for each finished run."""
    total, began = len(plan.runs), time.perf_counter()
    shares: dict[grid.Run, float] = {}
    columns = (*Progress.get_default_columns(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(f"{plan.recipe.name} on {plan.data.name}", total=total)

        def on_progress(run: grid.Run, share: float) -> None:
            is_new = share == 1.0 and shares.get(run) != 1.0
            shares[run] = share
            done = list(shares.values()).count(1.0)
            about = f"{plan.recipe.name} {done}/{total}"
            bar.update(task, completed=sum(shares.values()), description=about)
            if is_new and not console.is_terminal:
                seconds = time.perf_counter() - began
                _say(console, f"{done}/{total} {run[0]}, seed {run[1]} ({seconds:.0f} s)")

        yield on_progress


def _tell(done: grid.Done, plan: Plan, console: Console, seconds: float) -> None:
    """What a person reads at the end: the table, where the files are, and what is missing."""
    if done.results is not None:
        content = done.results.content
        console.print(findings_table(done.results))
        entries = content["findings"]
        unjudged = [one["why"] for one in entries if findings.verdict(one) == "not judged"]
        for why in dict.fromkeys(unjudged):
            _say(console, f"{unjudged.count(why)} not judged: {why}")
        _say(console, f"record   {record.describe(content['record'])}")
        _say(console, f"results  {plan.out / 'results.json'}")
        picture = plan.out / f"{plan.recipe.name}.png"
        if picture.exists():
            _say(console, f"figure   {picture}")
    for (arm, seed), why in done.missing.items():
        _say(console, f"missing: {arm}, seed {seed}: {why}")
    if done.missing:
        _say(console, "Finished runs are kept; the same command trains the rest.")
    kept = f", {done.kept} of {len(plan.runs)} runs kept from before" if done.kept else ""
    _say(console, f"time     {seconds:.0f} s{kept}")


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
        texts = escape(entry["name"]), findings.measured_text(entry), findings.printed_text(entry)
        table.add_row(*texts, f"[{COLORS.get(verdict, 'green')}]{verdict}[/]")
    return table
