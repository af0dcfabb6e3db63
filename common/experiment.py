"""From a recipe to its results: every arm on every seed, judged, written to results.json.

A recipe hands over one `Recipe`. Each (arm, seed) is a run of its own; what it measured is written
as soon as it is finished, under OUT/runs/KEY/, where KEY stands for everything the numbers depend
on (config, data, versions, source code). The same command therefore trains only what is missing,
and another config or edited code never picks up old numbers nor destroys them. Claims and figures
may be edited without training anew.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from common import (
    checkpoint,
    claims,
    data,
    dependence,
    distribution,
    figures,
    images,
    results,
    training,
    workers,
)
from common.results import Results

HERE = Path(__file__).parent
# Modules of `common` that no number depends on.
SHOWING = {"claims", "command", "experiment", "figures", "results", "startup"}
REPORT_SECONDS = 0.2  # between two reports of how far a run is


@dataclass(frozen=True)
class Outcome:
    """What one run measured: final numbers, and series with one number an epoch.

    `weights` are kept as a checkpoint, OUT/ARM.SEED.npz, with `about`, what they are of.
    """

    metrics: Mapping[str, float]
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    weights: Sequence[np.ndarray] = ()
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """What `train` is given: the knobs, one seed, the data, and whom to tell how far it is."""

    config: Any
    seed: int
    data: data.Dataset
    report: workers.Report = lambda done: None

    def watch(self, part: int = 1, of: int = 1) -> list[keras.callbacks.Callback]:
        """Callbacks that show progress; who trains several nets says which `part` `of` all."""
        return [_Progress(self.report, part, of)]


class _Progress(keras.callbacks.Callback):
    """Reports how far a training is; some epochs last a millisecond, so not after each."""

    remembers = ()  # nothing that a resumed training would miss

    def __init__(self, report: workers.Report, part: int, of: int):
        super().__init__()
        self._report, self._part, self._of = report, part, of
        self._reported = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if time.monotonic() - self._reported > REPORT_SECONDS:
            self._reported = time.monotonic()
            self._report((self._part - 1 + (epoch + 1) / self.params["epochs"]) / self._of)


def _parses(cell: str) -> bool:
    """Whether a notebook's cell is Python; a mistyped one stays in the history."""
    try:
        ast.parse(cell)
    except SyntaxError:
        return False
    return True


def _split(config: Any, n: int) -> tuple[int, int]:
    """As most recipes split n training images: by their knobs `n_train` and `n_validation`."""
    return min(getattr(config, "n_train", 0) or n, n), getattr(config, "n_validation", 0)


@dataclass(frozen=True)
class Recipe:
    """One technique: the variants compared, how to train one, and what is claimed of them."""

    about: str  # the docstring of its module
    config: type  # of the knobs; importable by name, as `train`
    arms: Mapping[str, Mapping[str, Any]]
    train: Callable[[Run, Mapping[str, Any]], Outcome]  # one arm on one seed
    claims: Sequence[claims.Claim]
    plot: Callable[[Results], Figure]  # from the results alone
    smoke: Mapping[str, Any]  # the knobs that --smoke changes
    paper: Mapping[str, Any]  # those that --paper does
    # Those that change on a data set, by its name.
    on: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seeds: int = 3
    datasets: tuple[str, ...] = ("mnist", "digits")  # the first is used unless another is named
    usual: Callable[[Any], str] | None = None  # config -> the data set used instead of the first
    # config -> pixels; then any data set of photographs may be named, cut to squares of that side.
    side: Callable[[Any], int] | None = None
    half: bool = False  # trains in mixed_bfloat16 where the processor computes in it
    # (arm, preset, data set) -> whether the arm is trained there.
    applies: Callable[[Mapping[str, Any], str, str], bool] = lambda arm, preset, dataset: True
    # (config, n) -> how many of n training images are trained on, and how many validate.
    split: Callable[[Any, int], tuple[int, int]] = _split
    # Does something else than to train where the knobs ask for it, and says in a line what.
    instead: Callable[[Any, Path], str | None] = lambda config, out: None
    jobs: int | None = None  # None: as many as cores; 1 for nets that use all cores by themselves

    @property
    def module(self) -> ModuleType:
        """The recipe itself; `__main__` where it was started, or lives in a notebook."""
        return sys.modules[self.train.__module__]

    @property
    def file(self) -> Path:
        """Where the recipe stands."""
        return Path(self.module.__file__)

    @property
    def in_notebook(self) -> bool:
        """Whether it is made of a notebook's cells."""
        return hasattr(self.module, "get_ipython")

    @property
    def source(self) -> str:
        """The recipe's code; that of all cells run so far if it is a notebook."""
        if not self.in_notebook:
            return self.file.read_text()
        return "\n".join(
            filter(_parses, self.module.get_ipython().history_manager.input_hist_parsed)
        )

    @property
    def name(self) -> str:
        """The name by which it is called."""
        return self.file.stem

    def knobs(self, preset: str, dataset: str = "") -> Any:
        """The config of a preset (`default`, `smoke` or `paper`) on a data set."""
        changed = {"default": {}, "smoke": self.smoke, "paper": self.paper}[preset]
        return self.config(**{**self.on.get(dataset, {}), **changed})

    def usual_dataset(self, config: Any) -> str:
        """The data set that is used if none is named."""
        if self.usual:
            return self.usual(config)
        return self.datasets[0] if self.datasets else "none"

    def arms_for(self, preset: str, dataset: str) -> list[str]:
        """The arms that are trained under a preset on a data set."""
        return [name for name, arm in self.arms.items() if self.applies(arm, preset, dataset)]


@dataclass(frozen=True)
class Plan:
    """One command: a recipe with everything that decides its numbers, and where they go."""

    recipe: Recipe
    preset: str
    config: Any
    seeds: int
    data: data.Dataset
    data_dir: str | None
    precision: str
    jobs: int
    out: Path
    devices: str = "auto"

    @property
    def side(self) -> int | None:
        """Of the squares to which photographs are cut; None if the recipe takes none."""
        return self.recipe.side(self.config) if self.recipe.side else None

    @property
    def runs(self) -> list[tuple[str, int]]:
        """(arm, seed), seed by seed, so that an interrupted experiment holds whole comparisons."""
        arms = self.recipe.arms_for(self.preset, self.data.name)
        return [(arm, seed) for seed in range(self.seeds) for arm in arms]

    @functools.cached_property
    def folder(self) -> Path:
        """Where finished runs are kept: one folder for all that may share them.

        Settled once: who edits a recipe while it runs must not mix the numbers of two versions.
        """
        source = self.recipe.source
        names = (name.split(".") for name in dependence.imported(source))
        computing = {"training", "data", *(n[1] for n in names if n[0] == "common" and n[1:])}
        library = [HERE / f"{name}.py" for name in sorted(computing - SHOWING)]
        depends_on = {
            "schema": results.SCHEMA,
            "config": dataclasses.asdict(self.config),
            "files": {
                knob: hashlib.sha256(value.read_bytes()).hexdigest()
                for knob, value in dataclasses.asdict(self.config).items()
                if isinstance(value, Path) and value.is_file()
            },
            "arms": {name: dict(arm) for name, arm in self.recipe.arms.items()},
            "data": self.data.sha256,
            "precision": self.precision,
            "versions": results.versions(),
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS"),  # rounds otherwise
            "recipe": dependence.what_trains(source),
            "library": [dependence.what_runs(file.read_text()) for file in library],
        }
        if distribution.replicas() > 1 or tf.config.get_visible_devices("GPU"):  # round otherwise
            depends_on["devices"] = distribution.describe(), results.hardware()
            loop = (HERE / "distribution.py").read_text()
            depends_on["replicas"] = dependence.what_runs(loop)
        key = hashlib.sha256(json.dumps(depends_on, sort_keys=True, default=str).encode())
        return self.out / "runs" / key.hexdigest()[:12]

    def file(self, arm: str, seed: int) -> Path:
        """Where one finished run is kept."""
        return self.folder / f"{arm.replace('/', '-').replace(' ', '-')}.{seed}.json"


@dataclass(frozen=True)
class Report:
    """What came of a command: the results, and why they are not complete, if they are not."""

    results: Results | None
    kept: int  # runs finished by an earlier command
    missing: Mapping[tuple[str, int], str]  # (arm, seed) -> why


def carry_out(plan: Plan, fresh: bool, on_progress: Callable[[Any, float], None]) -> Report:
    """Trains what is missing and writes results.json after it, whatever came in between.

    Args:
        fresh: forget what earlier commands finished.
        on_progress: called with ((arm, seed), share done), 1.0 exactly when a run is finished.

    Raises:
        UsageError, DataError: what a run refused; other exceptions of a run as they are.
        KeyboardInterrupt: with the finished runs written and noted in its `report` attribute.
        OSError: results could not be written.
    """
    began = time.perf_counter()
    planned = f"{plan.folder.name} of {plan.seeds} seeds"
    distribution.agree("key of code, knobs, data and versions", planned)
    if fresh and distribution.is_chief():
        shutil.rmtree(plan.folder, ignore_errors=True)
    found = {run: None if fresh else _finished(plan.file(*run)) for run in plan.runs}
    everywhere = distribution.least([int(found[run] is not None) for run in plan.runs])
    finished = {run: found[run] for run, has in zip(plan.runs, everywhere, strict=True) if has}
    kept = len(finished)
    for run, outcome in finished.items():
        on_progress(run, 1.0)
        # The time in results.json is that of the whole experiment, not of its last command.
        began -= outcome.get("seconds", 0) / min(plan.jobs, len(plan.runs))

    def keep(run: tuple[str, int], outcome: dict) -> None:
        if distribution.is_chief():
            results.write_whole(plan.file(*run), results.encode(outcome))
            shutil.rmtree(_unfinished(plan.file(*run)), ignore_errors=True)
        finished[run] = outcome
        on_progress(run, 1.0)

    todo = {
        run: (
            plan.recipe.train,
            plan.recipe.arms[run[0]],
            plan.config,
            run[1],
            (plan.data.name, plan.data_dir, plan.side),
            plan.data.sha256,
            plan.file(*run),
        )
        for run in plan.runs
        if run not in finished
    }
    missing = {}
    try:
        start = Start(plan.precision, plan.devices)
        outcomes = workers.run(
            todo, _train, start, min(plan.jobs, len(todo)) or 1, on_progress, keep
        )
        for error in outcomes.errors.values():
            raise error
        missing = outcomes.deaths
        return _conclude(plan, finished, missing, kept, time.perf_counter() - began)
    except KeyboardInterrupt as interrupt:
        interrupt.report = _conclude(plan, finished, {}, kept, time.perf_counter() - began)
        raise


def _conclude(plan: Plan, finished: dict, deaths: Mapping, kept: int, seconds: float) -> Report:
    missing = {run: deaths.get(run, "not begun") for run in plan.runs if run not in finished}
    if not finished:
        return Report(None, kept, missing)
    found = Results(_content(plan, finished, missing, seconds))
    if not distribution.is_chief():
        return Report(found, kept, missing)
    results.write_whole(plan.out / "results.json", results.encode(found.content))
    for run, outcome in finished.items():
        kept_in = plan.file(*run).with_suffix(".npz")
        # A smoke run's weights never take the place of a trained net's.
        trained_before = plan.preset == "smoke" and (plan.out / kept_in.name).exists()
        if outcome.get("checkpoint") and not trained_before:
            results.write_whole(plan.out / kept_in.name, kept_in.read_bytes())
    if draw(plan.recipe, found, plan.out) is None:  # nor does an older figure stand for these
        (plan.out / f"{plan.recipe.name}.png").unlink(missing_ok=True)
    return Report(found, kept, missing)


def draw(recipe: Recipe, found: Results, out: Path) -> Path | None:
    """Draws the recipe's figure from its results; None if they lack a whole arm."""
    if set(found.content["arms"]) != set(recipe.arms_for(found.content["preset"], found.dataset)):
        return None
    file = out / f"{recipe.name}.png"
    with figures.style():
        picture = figures.png(recipe.plot(found))
    results.write_whole(file, picture)
    return file


@dataclass(frozen=True)
class Start:
    """Sets up a process: how many threads its operations share, in which precision, and where."""

    precision: str
    devices: str

    def __call__(self, threads: int) -> None:
        """Once in the process, before its first operation."""
        distribution.start(self.devices)
        with contextlib.suppress(RuntimeError):  # TensorFlow already runs, as in a notebook
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        keras.config.set_dtype_policy(self.precision)


def load(
    name: str, data_dir: str | None, side: int | None = None, fallback: str | None = None
) -> data.Dataset:
    """A data set by its name; with a `side` it may be any one of photographs, cut to squares.

    Raises DataError if it is not to be had.
    """
    if side is not None and name not in data.NAMES:
        return images.load(name, data_dir, side)
    return data.load(name, data_dir, fallback)


def _train(task: tuple, report: workers.Report) -> dict:
    """One run, in whichever process: -> what its file holds."""
    train, arm, config, seed, request, sha256, file = task
    loaded = _load(*request)
    if loaded.sha256 != sha256:
        raise data.DataError(
            f"expected {loaded.name} with checksum {sha256[:12]}, received "
            f"{loaded.sha256[:12]}: it changed while the experiment ran"
        )
    began = time.perf_counter()
    keras.utils.set_random_seed(seed)  # for whatever a recipe leaves unseeded
    with training.resumable(_unfinished(file)), distribution.scope():
        outcome = train(Run(config, seed, loaded, report), arm)
    keras.utils.clear_session(free_memory=False)
    if outcome.weights and distribution.is_chief():
        checkpoint.save(file.with_suffix(".npz"), outcome.weights, outcome.about)
    return {
        "metrics": {name: results.short(value) for name, value in outcome.metrics.items()},
        "history": {
            name: [results.short(v) for v in series] for name, series in outcome.history.items()
        },
        "seconds": round(time.perf_counter() - began, 2),
        "checkpoint": bool(outcome.weights),
    }


@functools.cache
def _load(name: str, data_dir: str | None, side: int | None) -> data.Dataset:
    """A process loads its data once, not once a run."""
    return load(name, data_dir, side)


def _unfinished(file: Path) -> Path:
    """The folder of a run's checkpoints, from which it goes on if it is killed."""
    return file.with_suffix(".unfinished")


def _finished(file: Path) -> dict | None:
    """What a finished run measured; None if it is not there. A damaged file is trained anew."""
    try:
        found = json.loads(file.read_bytes())
        if not {"metrics", "history"} <= set(found):
            return None
        lacks_weights = found.get("checkpoint") and not file.with_suffix(".npz").exists()
        return None if lacks_weights else found
    except (OSError, ValueError, TypeError):
        return None


def _content(plan: Plan, finished: Mapping, missing: Mapping, seconds: float) -> dict[str, Any]:
    arms: dict[str, Any] = {}
    for arm in plan.recipe.arms:
        seeds = [seed for seed in range(plan.seeds) if (arm, seed) in finished]
        if not seeds:
            continue
        runs = [finished[arm, seed] for seed in seeds]
        arms[arm] = {
            "seeds": seeds,
            "metrics": {
                name: [run["metrics"][name] for run in runs] for name in runs[0]["metrics"]
            },
            "history": {
                name: [run["history"][name] for run in runs] for name in runs[0]["history"]
            },
        }
    n_train, n_test = len(plan.data.train), len(plan.data.test)
    n_trained, n_validation = plan.recipe.split(plan.config, n_train)
    content = {
        "schema": results.SCHEMA,
        "recipe": plan.recipe.name,
        "preset": plan.preset,
        "config": {
            knob: str(value) if isinstance(value, Path) else value
            for knob, value in dataclasses.asdict(plan.config).items()
        },
        "precision": plan.precision,
        "dataset": {
            "name": plan.data.name,
            "source": plan.data.source,
            "sha256": plan.data.sha256,
            "n_train": n_trained,
            "n_validation": n_validation,
            "n_test": min(getattr(plan.config, "n_test", 0) or n_test, n_test),
        },
        "arms": arms,
        "versions": results.versions(),
        "hardware": results.hardware(),
        "devices": distribution.describe(),
        "seconds": round(seconds, 1),
        "commit": results.commit(),
        "key": plan.folder.name,
    }
    why_not = None
    if missing:
        why_not = f"{len(missing)} of {len(plan.runs)} runs are missing"
    elif plan.preset == "smoke":
        why_not = "a smoke run shows nothing"
    elif plan.config != plan.recipe.knobs(plan.preset, plan.data.name):
        why_not = "the knobs differ from the preset's"
    if missing:  # an arm may be absent altogether
        content["claims"] = [
            {
                "name": claim.name,
                "kind": claim.kind,
                "source": claim.source,
                "published": claim.published,
                "holds": None,
                "why": why_not,
            }
            for claim in plan.recipe.claims
        ]
    else:
        content["claims"] = judge(plan.recipe, content, why_not)
    return content


def judge(recipe: Recipe, content: Mapping[str, Any], why_not: str | None = None) -> list[dict]:
    """The recipe's claims, judged by results that hold all its arms: `claims` of results.json.

    With `why_not` they are left unjudged for that reason.
    """
    name = content["dataset"]["name"]
    setting = name + (" --paper" if content["preset"] == "paper" else "")
    applies = name in ("none", *recipe.datasets[:1])
    metric = Results(content).metric
    return [claims.judge(claim, metric, setting, why_not, applies) for claim in recipe.claims]
