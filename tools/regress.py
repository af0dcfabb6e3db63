"""Every recipe at its default budget, against its claims and against recorded results.

A recipe passes on a data set if every band and effect that is claimed there holds. Besides, each
metric is compared with its record, seed by seed: its drift is the mean difference in units of the
deviation between recorded seeds. A drift fails nothing, bands do; it shows what moved, worst first.

Recipes are trained in a few processes that stay, and under results/regress/, where finished runs
are kept: the same command, run again after an interruption, trains only what is missing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import recipes  # noqa: F401  starts TensorFlow quietly

# isort: split
import numpy as np
import tensorflow as tf
import tyro
from matplotlib.figure import Figure
from rich.console import Console

from common import claims, command, data, experiment, results, workers
from common.experiment import Recipe
from common.results import Results, UsageError
from tools import catalog

SCHEMA = 1
SHOWN = 25  # drifts in regress.md; regress.json has all
HOLDS, FAILS, BROKEN, NOT_JUDGED = "holds", "FAILS", "BROKEN", "not judged"
Content = Mapping[str, Any]  # results.json without histories


@dataclass(frozen=True)
class Flags:
    """Train every recipe, or those named, at its default budget on each of its data sets; hold all
    claims against it; compare with recorded results. Exits with 1 if anything fails."""

    recipes: Annotated[
        tyro.conf.Positional[tuple[str, ...]], command.unless("NAME", "all")
    ] = ()  # all if none is named
    # train little of what has not changed since it was recorded, and report what is left out
    quick: bool = False
    # regress.json of another run, to compare with that instead of the recorded results
    against: Annotated[Path | None, command.unless("FILE", "docs/results")] = None
    # processes side by side
    jobs: Annotated[int | None, command.unless("N", "one a core, 1 on a GPU")] = None
    # where the runs go; the reports are DIR.md and DIR.json
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("results/regress")
    fresh: bool = False  # train everything anew; else finished runs are kept


@dataclass(frozen=True)
class Task:
    """One recipe on one data set; `reference` are results of it to compare with, if there are."""

    recipe: str
    dataset: str
    reference: Content | None
    quick: bool
    fresh: bool
    out: Path


@dataclass(frozen=True)
class Row:
    """What came of a task. `alone` says why one seed was enough, where not all were trained."""

    recipe: str
    dataset: str
    status: str
    why: str = ""
    alone: str = ""
    seconds: float = 0.0
    content: Content | None = None
    drift: Mapping[str, float] = field(default_factory=dict)  # by arm/metric, see `drift`

    @property
    def name(self) -> str:
        """As reports call it."""
        return f"{catalog.target(self.recipe)} on {self.dataset}"

    @property
    def held(self) -> str:
        """How many claims hold."""
        return f"{sum(claim['holds'] for claim in self.claims)} of {len(self.claims)}"

    @property
    def claims(self) -> Sequence[Mapping[str, Any]]:
        """The judged ones."""
        found = self.content["claims"] if self.content else ()
        return [claim for claim in found if claim["holds"] is not None]


def metrics(content: Content) -> dict[str, np.ndarray]:
    """`arm/metric` -> one value a seed, (seeds,)."""
    found = Results(content)
    return {
        f"{arm}/{name}": found.metric(f"{arm}/{name}")
        for arm, measured in content["arms"].items()
        for name in measured["metrics"]
    }


def drift(now: np.ndarray, then: np.ndarray, deviation: float) -> float:
    """How far a metric moved: the mean difference over the seeds that both have, in deviations.

    Args:
        now, then: one value a seed, from seed 0 on, (seeds,) each.
        deviation: between seeds; NaN if there is none to measure by.

    Returns:
        0 where all are equal to the last bit; infinite where seeds never differed and now do, or
        where a number exists in only one of them; NaN where there is no deviation.
    """
    both = min(len(now), len(then))
    if np.array_equal(now[:both], then[:both], equal_nan=True):
        return 0.0
    moved = float(np.mean(now[:both] - then[:both]))
    if math.isnan(moved):
        return math.inf
    return moved / deviation if deviation != 0 else math.copysign(math.inf, moved)


def drifts(now: Content, then: Content, recorded: Content | None) -> dict[str, float]:
    """The drift of each metric that both have, in deviations of `then`, else of the record."""
    found, before, usual = metrics(now), metrics(then), metrics(recorded) if recorded else {}

    def deviation(name: str) -> float:
        for values in (before[name], usual.get(name, ())):
            if len(values) > 1:
                return float(np.std(values, ddof=1))
        return math.nan

    return {
        name: drift(found[name], before[name], deviation(name)) for name in found if name in before
    }


def enough(now: Content, reference: Content | None, all_arms: bool) -> str:
    """Why what was trained of the first seed stands for all seeds; empty if it does not.

    It does if it repeats the reference to the last bit, in all arms, or if the reference is of the
    same code, knobs, data and versions. Where there is none, if claims could be judged.
    """
    if reference is None:
        judged = any(claim["holds"] is not None for claim in now["claims"])
        return "nothing recorded, holds on one" if judged else ""
    if now["config"] != reference["config"]:
        return ""
    repeats = set(drifts(now, reference, None).values()) == {0.0}
    same = now["key"] == reference.get("key")
    if not (same or (repeats and all_arms)):
        return ""
    how = "the record to the bit" if repeats else "the record's code, data and versions"
    return f"{'all arms' if all_arms else 'one arm'}: {how}"


def measure(task: Task, report: workers.Report | None = None) -> Row:
    """Trains and judges; what goes wrong is said in the row."""
    began = time.perf_counter()
    try:
        row = _measure(task)
    except Exception as error:
        row = Row(task.recipe, task.dataset, BROKEN, "".join(traceback.format_exception(error)))
    return dataclasses.replace(row, seconds=round(time.perf_counter() - began, 1))


def _measure(task: Task) -> Row:
    recipe = catalog.load(task.recipe)
    folder = task.out / f"{task.recipe}-{task.dataset}"
    arguments = ["--out", str(folder), "--jobs", "1"]
    arguments += [] if task.dataset == "none" else ["--dataset", task.dataset]
    for i, (trained, flags) in enumerate(_steps(recipe, task)):
        fresh = ["--fresh"] if task.fresh and i == 0 else []
        code, said = _run(trained, [*arguments, *flags, *fresh], folder.with_suffix(".log"))
        if code not in (command.HOLDS, command.FAILS):
            return Row(task.recipe, task.dataset, BROKEN, said)
        content = catalog.without_history(json.loads((folder / "results.json").read_text()))
        stands = flags and code == command.HOLDS
        alone = enough(content, task.reference, trained is recipe) if stands else ""
        if alone:
            break
    if alone and task.reference:  # the claims of today judge the seeds that stand there
        content = {**content, "claims": experiment.judge(recipe, task.reference)}
    row = Row(task.recipe, task.dataset, HOLDS, alone=alone, content=content)
    failing = [claim["name"] for claim in row.claims if not claim["holds"]]
    if code == command.FAILS and not failing:
        return dataclasses.replace(row, status=BROKEN, why=said)  # runs are missing
    if failing:
        return dataclasses.replace(row, status=FAILS, why="; ".join(failing))
    if not row.claims:
        return dataclasses.replace(row, status=NOT_JUDGED, why="nothing is claimed there")
    return row


def _steps(recipe: Recipe, task: Task) -> list[tuple[Recipe, list[str]]]:
    """What is trained, until it is enough: the recipe, perhaps of one arm only, and flags."""
    if not task.quick:
        return [(recipe, [])]
    one = ["--seeds", "1"]
    first = recipe.arms[recipe.arms_for("default", task.dataset)[0]]
    # The figure of one arm would show nothing.
    sample = dataclasses.replace(recipe, applies=lambda arm, *_: arm is first, plot=_nothing)
    return [*([(sample, one)] if task.reference else []), (recipe, one), (recipe, [])]


def _nothing(found: Results) -> Figure:
    return Figure()


def _run(recipe: Recipe, arguments: list[str], log: Path) -> tuple[int, str]:
    """The recipe's own command -> its exit code and the last line that it said."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("w") as stream,
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
    ):
        code = command.run(recipe, arguments)
    if code == command.INTERRUPTED:
        raise KeyboardInterrupt
    return code, (log.read_text().splitlines() or [""])[-1]


def tasks(flags: Flags, reference: Mapping[tuple[str, str], Content]) -> list[Task]:
    """One for each recipe and data set; those that take longest come first."""
    named = [catalog.find(name) for name in flags.recipes] or catalog.recipes()
    found = [
        Task(name, dataset, reference.get((name, dataset)), flags.quick, flags.fresh, flags.out)
        for name in dict.fromkeys(named)
        for dataset in catalog.load(name).datasets or ("none",)
    ]

    def seconds(task: Task) -> float:
        content = catalog.recorded(task.recipe)
        if content is None:
            return math.inf
        share = catalog.seeds(content) * len(content["arms"]) if task.quick else 1
        return content["seconds"] / share

    return sorted(found, key=seconds, reverse=True)


def recorded() -> dict[tuple[str, str], Content]:
    """What docs/results holds, by recipe and data set."""
    contents = [content for name in catalog.recipes() if (content := catalog.recorded(name))]
    return {(content["recipe"], content["dataset"]["name"]): content for content in contents}


def read(file: Path) -> dict[tuple[str, str], Content]:
    """What another run's regress.json holds. Raises UsageError for a file that is none."""
    try:
        found = json.loads(file.read_bytes())
        if found["schema"] != SCHEMA:
            raise ValueError(f"schema {found['schema']}")
        rows = [row for row in found["rows"] if row["content"]]
        return {(row["recipe"], row["dataset"]): row["content"] for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a damaged or another file"
        raise UsageError(f"--against: expected regress.json, received {file}: {reason}") from None


def regress(flags: Flags, console: Console) -> list[Row]:
    """Measures everything and tells as it goes; rows in the order of recipes.

    Raises UsageError for a recipe or a file that is not there, OSError where nothing can be
    written.
    """
    record = recorded()
    reference = read(flags.against) if flags.against else record
    waiting = tasks(flags, reference)
    flags.out.mkdir(parents=True, exist_ok=True)
    rows: dict[tuple[str, str], Row] = {}

    def tell(key: tuple[str, str], row: Row) -> None:
        rows[key] = row
        said = f"{row.held} claims, {row.seconds:.0f} s" if row.claims else row.why
        said = f"{row.name}: {row.status}, {said}" + f" ({row.alone})" * bool(row.alone)
        console.print(f"{len(rows)}/{len(waiting)} {said}", highlight=False, soft_wrap=True)

    absent = {}
    for dataset in {task.dataset for task in waiting}:  # and those that are there are now cached
        try:
            data.load(dataset)
        except data.DataError as error:
            absent[dataset] = str(error)
    todo = {}
    for task in waiting:
        key = task.recipe, task.dataset
        if task.dataset in absent:
            tell(key, Row(*key, NOT_JUDGED, absent[task.dataset]))
        elif flags.quick and any(name == task.recipe for name, _ in todo):
            tell(key, Row(*key, NOT_JUDGED, "--quick judges the first data set that is there"))
        else:
            todo[key] = task
    jobs = flags.jobs or command.usual_jobs()
    outcomes = workers.run(todo, measure, _start, jobs, lambda *_: None, tell)
    for key in todo.keys() - rows.keys():
        cause = outcomes.deaths.get(key, "not begun, since every process died")
        tell(key, Row(*key, BROKEN, cause))
    return [
        dataclasses.replace(row, drift=drifts(row.content, reference[key], record.get(key)))
        if row.content and key in reference
        else row
        for key, row in sorted(rows.items())
    ]


def _start(threads: int) -> None:
    experiment.Start("float32", "auto")(threads)
    tf.config.list_logical_devices()  # settles it, before a recipe takes all cores for itself


def failed(rows: Sequence[Row]) -> list[Row]:
    """Those that make the exit code 1."""
    return [row for row in rows if row.status in (FAILS, BROKEN)]


def moved(rows: Sequence[Row]) -> list[tuple[Row, str, float]]:
    """(row, arm/metric, drift) of all that moved, worst first; what has no deviation comes last."""
    found = [(row, name, size) for row in rows for name, size in row.drift.items() if size != 0]
    return sorted(found, key=lambda one: -1 if math.isnan(one[2]) else abs(one[2]), reverse=True)


def page(rows: Sequence[Row], flags: Flags, seconds: float) -> str:
    """regress.md."""
    statuses = [row.status for row in rows]
    count = {status: statuses.count(status) for status in dict.fromkeys(statuses)}
    versions = ", ".join(f"{name} {version}" for name, version in results.versions().items())
    against = flags.against.name if flags.against else "docs/results"
    unjudged = [f"- {row.name}: {row.why}" for row in rows if row.status == NOT_JUDGED]
    parts = [
        "# Regression\n",
        ", ".join(f"{status}: {n}" for status, n in count.items()) + ".",
        f"Compared with {against}. {seconds / 60:.0f} minutes on {results.hardware()}; {versions}; "
        f"commit {results.commit()}.\n",
        *_overview(rows),
        *(["\n## Not judged\n", *unjudged] if unjudged else []),
        *(["\n## Failures\n"] if failed(rows) else []),
        *(line for row in failed(rows) for line in _failure(row)),
        "\n## Drift\n",
        "The mean difference over common seeds, in deviations between seeds; worst first.\n",
        *_drift(rows),
    ]
    return "\n".join(parts) + "\n"


def _overview(rows: Sequence[Row]) -> list[str]:
    worst = {row.name: size for row, _, size in reversed(moved(rows))}
    head = ("recipe", "data", "verdict", "claims that hold", "seeds", "largest drift", "s")
    lines = [catalog.row(*head), "|---|---|---|---|---|---|---|"]
    for row in rows:
        seeds = str(catalog.seeds(row.content)) if row.content else ""
        cells = (
            catalog.target(row.recipe),
            row.dataset,
            f"**{row.status}**" if row in failed(rows) else row.status,
            row.held if row.claims else "",
            f"{seeds} ({row.alone})" if row.alone else seeds,
            f"{worst.get(row.name, 0.0):.2g}" if row.drift else "",
            f"{row.seconds:.0f}",
        )
        lines.append(catalog.row(*cells))
    return lines


def _failure(row: Row) -> list[str]:
    if row.status == BROKEN:
        return [f"{row.name}:\n", *(f"    {line}" for line in row.why.splitlines()), ""]
    lines = [f"{row.name}:\n", catalog.row("claim", "published", "measured", "expected")]
    lines += ["|---|---|---|---|"]
    for claim in row.claims:
        if not claim["holds"]:
            cells = catalog.published(claim), claims.describe(claim), claim["expected"]
            lines.append(catalog.row(claim["name"], *cells))
    return [*lines, ""]


def _drift(rows: Sequence[Row]) -> list[str]:
    found, compared = moved(rows), sum(len(row.drift) for row in rows)
    if not found:
        return [f"Nothing moved: all {compared} metrics are what they were, to the last bit."]
    lines = [catalog.row("recipe", "data", "metric", "drift"), "|---|---|---|---|"]
    for row, name, size in found[:SHOWN]:
        lines.append(catalog.row(catalog.target(row.recipe), row.dataset, name, f"{size:+.2f}"))
    return [*lines, f"\n{len(found)} metrics of {compared} moved."]


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code: 0, 1 for a failure, 2 bad usage, 130 interrupted."""
    began, console = time.perf_counter(), Console()
    try:
        flags = command.parse(Flags, arguments, __doc__, prog="python -m tools.regress")
        if flags.jobs is not None and flags.jobs < 1:
            raise UsageError(f"--jobs: expected a number of at least 1, received {flags.jobs}")
        rows = regress(flags, console)
    except OSError as error:
        reason = f"expected a folder to write in, received: {error.strerror}"
        print(f"regress: --out {flags.out}: {reason}", file=sys.stderr)
        return command.BAD_USAGE
    except UsageError as error:
        print(f"regress: {' '.join(str(error).split())}", file=sys.stderr)
        return command.BAD_USAGE
    except KeyboardInterrupt:
        console.print("Interrupted. What is finished is kept; the same command goes on.")
        return command.INTERRUPTED
    content = {
        "schema": SCHEMA,
        "quick": flags.quick,
        "versions": results.versions(),
        "hardware": results.hardware(),
        "commit": results.commit(),
        "rows": [dataclasses.asdict(row) for row in rows],
    }
    reports = {end: flags.out.parent / f"{flags.out.name}.{end}" for end in ("json", "md")}
    results.write_whole(reports["json"], results.encode(content))
    text = page(rows, flags, time.perf_counter() - began)
    results.write_whole(reports["md"], text.encode())
    console.print(f"report   {reports['md']}", highlight=False, markup=False, soft_wrap=True)
    return command.FAILS if failed(rows) else command.HOLDS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
