"""Every recipe at its default budget, against its findings and against recorded results.

A recipe passes on a data set if every finding that is judged there is shown, and no metric moved
since it was recorded (a two-sample t-test at 99.9 %). With --quick one arm of one seed is trained
first; where that repeats the record, or does not differ from it, the record stands for all seeds.
Besides, the one-file copies of some recipes are trained at full length with stock Keras, and must
give the recorded metrics too.

Recipes are trained side by side, in processes, and under results/regress/, where finished runs are
kept: the same command, run again after an interruption, trains only what is missing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import math
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import recipes  # noqa: F401  starts TensorFlow quietly

# isort: split
import keras
import tensorflow as tf
import tyro
from rich.console import Console

from common import data, dispatch, flags, system
from common.experiment import command, grid, record, report, results, wording
from common.system import UsageError
from tools import catalog, copying

SCHEMA = 2
SHOWN, NOT_SHOWN, MOVED, BROKEN, NOT_JUDGED = "shown", "NOT SHOWN", "MOVED", "BROKEN", "not judged"
COPIES = (
    "slowdown",
    "overfitting",
    "dropout",
    "vanishing_gradient",
)  # trained with stock Keras too
COPY_SEEDS = 2  # 1 with --quick
MOST_MEMORY = 3 * 2**30  # bytes; a process that holds more after a recipe is replaced
QUICK = " With --quick: where a row names a run, that alone was trained, and the record was judged."
Content = Mapping[str, Any]  # results.json without curves
Key = tuple[str, str]  # recipe and data set; a copy has "copy" in place of the data set


@dataclass(frozen=True)
class Flags:
    """Train every recipe, or those named, at its default budget on each of its data sets; judge
    all findings; compare with recorded results. Exits with 1 if anything fails."""

    recipes: Annotated[
        tyro.conf.Positional[tuple[str, ...]], flags.optional("NAME", "all")
    ] = ()  # all if none is named
    # train little of what does not differ from its record, and report what is left out
    quick: bool = False
    # regress.json of another run, to compare with that instead of the recorded results
    against: Annotated[Path | None, flags.optional("FILE", "docs/results")] = None
    # number of processes side by side
    jobs: Annotated[int | None, flags.optional("N", "one per core, 1 on a GPU")] = None
    # folder of the runs; the reports are DIR.md and DIR.json
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("results/regress")
    fresh: bool = False  # train everything again; else finished runs are kept


@dataclass(frozen=True)
class Task:
    """One recipe on one data set; `reference` are results to compare with, if there are any."""

    recipe: str
    dataset: str
    reference: Content | None
    quick: bool
    fresh: bool
    out: Path

    @property
    def data(self) -> str:
        """The data set that it trains on."""
        return catalog.load(self.recipe).default_dataset if self.dataset == "copy" else self.dataset


@dataclass(frozen=True)
class Row:
    """What came of a task. `sample` says so where not all seeds were trained."""

    recipe: str
    dataset: str
    status: str
    why: str = ""
    sample: str = ""
    seconds: float = 0.0
    content: Content | None = None
    record: Mapping[str, Any] | None = None  # the comparison with the reference

    @property
    def name(self) -> str:
        """The name in reports."""
        return f"{catalog.target(self.recipe)}, {self.dataset}"

    @property
    def entries(self) -> Sequence[Mapping[str, Any]]:
        """The findings that were judged."""
        found = self.content["findings"] if self.content else ()
        return [entry for entry in found if entry["shown"] is not None]

    @property
    def failed(self) -> bool:
        """Whether it makes the exit code 1."""
        return self.status in (NOT_SHOWN, MOVED, BROKEN)


def measure(task: Task, on_progress: dispatch.Report | None = None) -> Row:
    """Trains and judges; an exception becomes a row that is BROKEN."""
    began = time.perf_counter()
    try:
        row = _copy(task) if task.dataset == "copy" else _recipe(task)
    except Exception as error:
        row = Row(task.recipe, task.dataset, BROKEN, "".join(traceback.format_exception(error)))
    return dataclasses.replace(row, seconds=round(time.perf_counter() - began, 1))


def _recipe(task: Task) -> Row:
    recipe, key = catalog.load(task.recipe), (task.recipe, task.dataset)
    folder = task.out / f"{task.recipe}-{task.dataset}"
    arguments = ["--out", str(folder), "--jobs", "1", "--dataset", task.dataset]
    fresh = ["--fresh"] * task.fresh
    if task.quick and task.reference:
        first = recipe.arms_for("default", task.dataset)[0]
        content, said = _run(recipe, [*arguments, *fresh, "--seeds", "1"], folder, (first,))
        if content is None:
            return Row(*key, BROKEN, said)
        compared = record.compare(content, task.reference, whole=False)
        if content["config"] == task.reference["config"] and not compared["moved"]:
            # The findings of today judge the seeds that stand in the reference.
            judged = report.judged(recipe, task.reference)["findings"]
            sample = f"{first}, seed 0: {record.describe(compared)}"
            return _row(key, {**task.reference, "findings": judged}, compared, sample)
        fresh = []
    content, said = _run(recipe, [*arguments, *fresh], folder, None)
    if content is None:
        return Row(*key, BROKEN, said)
    compared = record.compare(content, task.reference) if task.reference else None
    return _row(key, content, compared)


def _row(key: Key, content: Content, compared: Mapping | None, sample: str = "") -> Row:
    row = Row(*key, SHOWN, sample=sample, content=content, record=compared)
    failing = [entry["name"] for entry in row.entries if not entry["shown"]]
    if catalog.runs_are_missing(content):
        return dataclasses.replace(row, status=BROKEN, why=content["findings"][0]["why"])
    if failing:
        return dataclasses.replace(row, status=NOT_SHOWN, why="; ".join(failing))
    if compared and compared["moved"]:
        return dataclasses.replace(row, status=MOVED, why=record.describe(compared))
    if not row.entries and not compared:
        return dataclasses.replace(row, status=NOT_JUDGED, why="no finding is judged there")
    return row


def _run(
    recipe: Any, arguments: list[str], folder: Path, arms: tuple[str, ...] | None
) -> tuple[Content | None, str]:
    """The recipe's own command -> its results, None if it failed, and the last line printed."""
    log = folder.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w") as stream,
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
    ):
        code = command.run(recipe, arguments, arms)
    if code == command.INTERRUPTED:
        raise KeyboardInterrupt
    if code not in (command.DONE, command.FAILED):
        return None, (log.read_text().splitlines() or [""])[-1]
    return without_curves(json.loads((folder / "results.json").read_text())), ""


def _copy(task: Task) -> Row:
    """The one-file copy, trained at full length by stock Keras, against the record."""
    recipe, key = catalog.load(task.recipe), (task.recipe, task.dataset)
    file = task.out / "copies" / f"{task.recipe}.py"
    system.write_whole(file, copying.script(task.recipe)[file.name].encode())
    spec = importlib.util.spec_from_file_location(f"copy_of_{task.recipe}", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    arrays, seeds = data.load(recipe.default_dataset).arrays, 1 if task.quick else COPY_SEEDS
    arms = {}
    for arm in recipe.arms_for("default", recipe.default_dataset):
        found = []
        for seed in range(seeds):
            keras.utils.set_random_seed(seed)
            found.append(module.train(module.Config(), module.ARMS[arm], seed, arrays).metrics)
        arms[arm] = {
            # Seeds of its own: mini-batches come in another order than in the record.
            "seeds": [f"copy {seed}" for seed in range(seeds)],
            "metrics": {name: [float(one[name]) for one in found] for name in found[0]},
        }
    compared = record.compare({"arms": arms}, task.reference)
    status = MOVED if compared["moved"] else SHOWN
    return Row(*key, status, why=record.describe(compared), record=compared)


def without_curves(content: Content) -> Content:
    """results.json without its longest part: comparisons need only the metrics."""
    arms = {
        name: {part: value for part, value in arm.items() if not part.startswith("history")}
        for name, arm in content["arms"].items()
    }
    return {**content, "arms": arms}


def tasks(chosen: Flags, reference: Mapping[Key, Content]) -> list[Task]:
    """One for each recipe and data set, and for some copies; the longest come first."""
    named = [catalog.find(name) for name in chosen.recipes] or catalog.recipes()

    def task(name: str, dataset: str, against: Content | None) -> Task:
        return Task(name, dataset, against, chosen.quick, chosen.fresh, chosen.out)

    found = [
        task(name, dataset, reference.get((name, dataset)))
        for name in dict.fromkeys(named)
        for dataset in catalog.load(name).datasets
    ]
    kept = recorded()
    for name in COPIES[:1] if chosen.quick else COPIES:
        against = kept.get((name, catalog.load(name).default_dataset))
        if name in named and against:
            found.append(task(name, "copy", against))

    def seconds(one: Task) -> float:
        if one.reference is None or one.dataset == "copy":  # by stock Keras, far slower
            return math.inf
        share = catalog.seeds(one.reference) * len(one.reference["arms"]) if one.quick else 1
        return one.reference["seconds"] / share

    return sorted(found, key=seconds, reverse=True)


def recorded() -> dict[Key, Content]:
    """What docs/results holds of the default preset, by recipe and data set."""
    contents = [content for name in catalog.recipes() for content in catalog.records(name)]
    return {
        (content["recipe"], content["dataset"]["name"]): content
        for content in contents
        if content["preset"] == "default"
    }


def read(file: Path) -> tuple[str, dict[Key, Content]]:
    """Another run's regress.json: its name with versions and commit, and what it holds.

    Raises UsageError for a file that is none.
    """
    try:
        found = json.loads(file.read_bytes())
        if found["schema"] != SCHEMA:
            raise ValueError(f"schema {found['schema']}")
        rows = [row for row in found["rows"] if row["content"]]
        versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
        name = f"{file.name} ({versions}; commit {found['commit']})"
        return name, {(row["recipe"], row["dataset"]): row["content"] for row in rows}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a damaged or another file"
        raise UsageError(f"--against: expected regress.json, received {file}: {reason}") from None


def regress(chosen: Flags, reference: Mapping[Key, Content], console: Console) -> list[Row]:
    """Measures everything and tells as it goes; rows in the order of recipes.

    Raises UsageError for a recipe or a file that is not there, OSError where nothing can be
    written.
    """
    waiting = tasks(chosen, reference)
    chosen.out.mkdir(parents=True, exist_ok=True)
    rows: dict[Key, Row] = {}

    def tell(key: Key, row: Row) -> None:
        rows[key] = row
        said = row.why or f"{len(row.entries)} findings"
        said = f"{row.name}: {row.status}, {said}, {row.seconds:.0f} s"
        said += f" ({row.sample})" * bool(row.sample)
        console.print(f"{len(rows)}/{len(waiting)} {said}", highlight=False, soft_wrap=True)

    absent = {}
    for dataset in {task.data for task in waiting}:  # those found are now cached
        try:
            data.load(dataset)
        except data.DataError as error:
            absent[dataset] = str(error)
    todo = {}
    for task in waiting:
        key = task.recipe, task.dataset
        if task.data in absent:
            tell(key, Row(*key, NOT_JUDGED, absent[task.data]))
        elif chosen.quick and not task.reference:
            tell(key, Row(*key, NOT_JUDGED, "not recorded, and --quick trains no whole recipe"))
        else:
            todo[key] = task
    jobs = chosen.jobs or command.usual_jobs()
    lost, _ = dispatch.run(todo, measure, _start, jobs, lambda *_: None, tell, renew=MOST_MEMORY)
    for key, cause in lost.items():
        tell(key, Row(*key, BROKEN, cause))
    return [rows[key] for key in sorted(rows)]


def _start(threads: int, number: int | None) -> None:
    grid.start_process(flags.Flags(), threads, number)
    tf.config.list_logical_devices()  # starts TensorFlow, whose number of threads is settled then


def page(rows: Sequence[Row], chosen: Flags, against: str, seconds: float) -> str:
    """regress.md; `against` names what is compared with."""
    statuses = [row.status for row in rows]
    count = {status: statuses.count(status) for status in dict.fromkeys(statuses)}
    versions = ", ".join(f"{name} {version}" for name, version in system.versions().items())
    head = ("recipe", "data", "verdict", "findings shown", "as recorded", "s")
    lines = [
        "# Regression\n",
        ", ".join(f"{status}: {n}" for status, n in count.items()) + f".{QUICK * chosen.quick}",
        f"Compared with {against}. {seconds / 60:.0f} minutes on {system.hardware()}; {versions}; "
        f"commit {system.commit()}.\n",
        catalog.row(*head),
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        shown = catalog.counted([entry["shown"] for entry in row.entries])
        status = f"**{row.status}**" if row.failed else row.status
        about = row.sample or record.describe(row.record)
        about = {BROKEN: "", NOT_JUDGED: row.why}.get(row.status, about)
        shown += " (of the record)" * bool(row.sample)
        cells = catalog.target(row.recipe), row.dataset, status, shown, about, f"{row.seconds:.0f}"
        lines.append(catalog.row(*cells))
    for row in rows:
        if row.status == BROKEN:
            lines += [f"\n## {row.name}\n", *(f"    {line}" for line in row.why.splitlines())]
        elif row.status == NOT_SHOWN:
            lines += [f"\n## {row.name}\n", catalog.row("finding", "measured", "verdict")]
            lines += ["|---|---|---|"]
            lines += [
                catalog.row(e["name"], wording.measured_text(e), wording.verdict(e))
                for e in row.entries
                if not e["shown"]
            ]
        if row.failed and row.record and row.record["moved"]:
            heading = catalog.row("moved", "recorded", "now", "by standard deviations")
            lines += [f"\n## {row.name}: what moved\n", heading, "|---|---|---|---|"]
            lines += [
                catalog.row(m["metric"], _text(m["then"]), _text(m["now"]), f"{m['by']:+.1f}")
                for m in row.record["moved"]
            ]
    return "\n".join(lines) + "\n"


def _text(mean: float | None) -> str:
    return "none" if mean is None else f"{mean:.6g}"


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code: 0, 1 for a failure, 2 bad usage, 130 interrupted."""
    began, console = time.perf_counter(), Console()
    try:
        chosen = flags.parse(Flags, arguments, __doc__, prog="make regress")
        if chosen.jobs is not None and chosen.jobs < 1:
            raise UsageError(f"--jobs: expected a number of at least 1, received {chosen.jobs}")
        # Read before hours go by, and before the file is overwritten, if it is this run's own.
        against, reference = (
            read(chosen.against) if chosen.against else ("docs/results", recorded())
        )
        rows = regress(chosen, reference, console)
    except OSError as error:
        reason = f"expected a folder to write in, received: {error.strerror or error}"
        print(f"regress: --out {chosen.out}: {reason}", file=sys.stderr)
        return command.BAD_USAGE
    except UsageError as error:
        print(f"regress: {error}", file=sys.stderr)
        return command.BAD_USAGE
    except KeyboardInterrupt:
        console.print("Interrupted. Finished runs are kept; the same command goes on.")
        return command.INTERRUPTED
    content = {
        "schema": SCHEMA,
        "quick": chosen.quick,
        "versions": system.versions(),
        "hardware": system.hardware(),
        "commit": system.commit(),
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    reports = {end: chosen.out.parent / f"{chosen.out.name}.{end}" for end in ("json", "md")}
    system.write_whole(reports["json"], results.encode(content))
    text = page(rows, chosen, against, time.perf_counter() - began)
    system.write_whole(reports["md"], text.encode())
    console.print(f"report   {reports['md']}", highlight=False, markup=False, soft_wrap=True)
    return command.FAILED if any(row.failed for row in rows) else command.DONE


if __name__ == "__main__":
    from tools import regress  # by the name under which other processes import it

    sys.exit(regress.main(sys.argv[1:]))
