"""Every arm of a recipe on every seed: trained once, kept, judged, written to results.json.

Each (arm, seed) is a run of its own; what it measured is written as soon as it is finished, under
OUT/runs/KEY/, where KEY stands for everything that the numbers depend on (hyperparameters, data,
versions, source code). The same command therefore trains only what is missing, and other
hyperparameters or edited code never use old numbers nor destroy them. Findings and figures may be
edited without training again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import io
import json
import os
import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common import data, source, system
from common.experiment import report, results, workers
from common.experiment.recipe import Recipe
from common.training import context, distribution

COMMON = Path(__file__).parents[1]
Run = tuple[str, int]  # arm and seed


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
    arms: tuple[str, ...] | None = None  # those trained, None: all that apply

    @property
    def runs(self) -> list[Run]:
        """Seed by seed, so that an interrupted experiment holds whole comparisons."""
        arms = self.arms or self.recipe.arms_for(self.preset, self.data.name)
        return [(arm, seed) for seed in range(self.seeds) for arm in arms]

    @functools.cached_property
    def folder(self) -> Path:
        """Where finished runs are kept: one folder for all that may share them.

        Settled once: an edit while the recipe runs must not mix the numbers of two versions.
        """
        code = self.recipe.file.read_text()
        names = {name for name in source.imported(code) if name.startswith("common.ingredients.")}
        files = [COMMON.parent / f"{name.replace('.', '/')}.py" for name in names]
        files += [*(COMMON / "training").glob("*.py"), *(COMMON / "data").glob("*.py")]
        depends_on = {
            "schema": results.SCHEMA,
            "config": dataclasses.asdict(self.config),
            "files": {
                name: hashlib.sha256(value.read_bytes()).hexdigest()
                for name, value in dataclasses.asdict(self.config).items()
                if isinstance(value, Path) and value.is_file()
            },
            "arms": {name: dict(arm) for name, arm in self.recipe.arms.items()},
            "data": self.data.sha256,
            "precision": self.precision,
            "versions": system.versions(),
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS"),  # it rounds differently
            "recipe": source.what_trains(code),
            "common": [
                source.what_runs(file.read_text()) for file in sorted(files) if file.exists()
            ],
        }
        if distribution.replicas() > 1 or tf.config.get_visible_devices("GPU"):  # so do these
            depends_on["devices"] = distribution.describe(), system.hardware()
        key = hashlib.sha256(json.dumps(depends_on, sort_keys=True, default=str).encode())
        return self.out / "runs" / key.hexdigest()[:12]

    def file(self, run: Run) -> Path:
        """Where one finished run is kept."""
        arm, seed = run
        return self.folder / f"{arm.replace('/', '-').replace(' ', '-')}.{seed}.json"


def carry_out(plan: Plan, fresh: bool, on_progress: Callable[[Run, float], None]) -> report.Report:
    """Trains what is missing and writes results.json afterwards, interrupted or not.

    Args:
        fresh: forget what earlier commands finished.
        on_progress: called with (run, share done), 1.0 exactly when a run is finished.

    Raises:
        UsageError: what a run refused; other exceptions of a run as they are.
        KeyboardInterrupt: with the finished runs written and described in its `report`.
        OSError: results could not be written.
    """
    began = time.perf_counter()
    distribution.agree(
        "key of code, hyperparameters, data and versions",
        f"{plan.folder.name} of {plan.seeds} seeds",
    )
    if fresh and distribution.is_chief():
        shutil.rmtree(plan.folder, ignore_errors=True)
    found = {run: None if fresh else _finished(plan.file(run)) for run in plan.runs}
    everywhere = distribution.least([int(found[run] is not None) for run in plan.runs])
    finished = {run: found[run] for run, has in zip(plan.runs, everywhere, strict=True) if has}
    kept = len(finished)
    for run, outcome in finished.items():
        on_progress(run, 1.0)
        # The time in results.json is that of the whole experiment, not of its last command.
        began -= outcome.get("seconds", 0) / min(plan.jobs, len(plan.runs))

    def keep(run: Run, outcome: dict) -> None:
        if distribution.is_chief():
            pictures = outcome.pop("pictures")
            if pictures:
                stream = io.BytesIO()
                np.savez_compressed(stream, **pictures)
                system.write_whole(plan.file(run).with_suffix(".npz"), stream.getvalue())
            system.write_whole(plan.file(run), results.encode(outcome))
            shutil.rmtree(plan.file(run).with_suffix(".unfinished"), ignore_errors=True)
        finished[run] = outcome
        on_progress(run, 1.0)

    side = plan.recipe.side(plan.config)
    todo = {
        run: Task(
            plan.recipe.train,
            plan.config,
            run,
            plan.recipe.arms[run[0]],
            (plan.data.name, plan.data_dir, side),
            plan.data.sha256,
            plan.file(run),
        )
        for run in plan.runs
        if run not in finished
    }
    try:
        jobs = min(plan.jobs, len(todo)) or 1
        start = Start(plan.precision, plan.devices)
        outcomes = workers.run(todo, _train, start, jobs, on_progress, keep)
        for error in outcomes.errors.values():
            raise error
        return report.conclude(plan, finished, outcomes.deaths, kept, time.perf_counter() - began)
    except KeyboardInterrupt as interrupt:
        interrupt.report = report.conclude(plan, finished, {}, kept, time.perf_counter() - began)
        raise


@dataclass(frozen=True)
class Start:
    """Sets up a process: how many threads its operations share, in which precision, and where."""

    precision: str
    devices: str

    def __call__(self, threads: int) -> None:
        """Called once in the process, before its first operation."""
        distribution.start(self.devices)
        with contextlib.suppress(RuntimeError):  # TensorFlow already runs
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        keras.config.set_dtype_policy(self.precision)


@dataclass(frozen=True)
class Task:
    """One run, in a form that can be sent to another process."""

    train: Callable[[Any, Mapping[str, Any], int, data.Data], Any]
    config: Any
    run: Run
    arm: Mapping[str, Any]
    request: tuple[str, str | None, int | None]  # data set, its folder, side of photographs
    sha256: str
    file: Path


def _train(task: Task, on_progress: workers.Report) -> dict:
    """One run, in whichever process: -> what its file holds, and pictures."""
    began, (arm, seed) = time.perf_counter(), task.run
    loaded = _load(*task.request)
    if loaded.sha256 != task.sha256:
        raise data.DataError(
            f"expected {loaded.name} with checksum {task.sha256[:12]}, received "
            f"{loaded.sha256[:12]}: it changed while the experiment ran"
        )
    keras.utils.set_random_seed(seed)  # for whatever a recipe leaves unseeded
    shared, fits = task.file.parent / "shared", _FITS.get((task.train, arm), 1)
    run = context.Context(seed, task.file.with_suffix(".unfinished"), shared, on_progress, fits)
    with context.running(run), distribution.scope():
        try:
            outcome = task.train(task.config, task.arm, seed, loaded.arrays)
        except ValueError as error:
            raise _about_input(error, task.train) from error
    _FITS[task.train, arm] = run.begun
    keras.utils.clear_session(free_memory=False)
    return {
        "metrics": {name: results.short(value) for name, value in outcome.metrics.items()},
        "history": {
            name: [results.short(value) for value in series]
            for name, series in outcome.curves.items()
        },
        "seconds": round(time.perf_counter() - began, 2),
        "pictures": {
            f"{arm}/{name}": np.asarray(array)
            for name, array in outcome.pictures.items()
            if seed == 0
        },
    }


_FITS: dict[tuple[Callable, str], int] = {}  # calls of `fit` that an arm made on its last run


def _about_input(error: ValueError, train: Callable) -> ValueError:
    """A UsageError if a line of the recipe or of an ingredient raised it: it is about the input.

    One that a library raised is a fault, and keeps its traceback.
    """
    where = traceback.extract_tb(error.__traceback__)[-1]
    file = Path(where.filename)
    own = file.parent == COMMON / "ingredients" or file == Path(inspect.getfile(train))
    return system.UsageError(str(error)) if own and where.line.startswith("raise ") else error


@functools.cache
def _load(name: str, data_dir: str | None, side: int | None) -> data.Dataset:
    """A process loads its data once, not once a run."""
    return data.load(name, data_dir, side=side)


def _finished(file: Path) -> dict | None:
    """What a finished run measured, None if there is none. A damaged file is trained again."""
    with contextlib.suppress(OSError, ValueError, TypeError):
        found = json.loads(file.read_bytes())
        return found if {"metrics", "history"} <= set(found) else None
    return None
