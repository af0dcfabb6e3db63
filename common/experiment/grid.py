"""Every arm of a recipe on every seed: trained once, kept, and put into results.json.

What an (arm, seed) measured is written as soon as it is finished, under OUT/runs/KEY/, where KEY
stands for everything that the numbers depend on (hyperparameters, data, versions, source code). The
same command therefore trains only what is missing, and other hyperparameters or edited code neither
use old numbers nor destroy them. Findings and figures may be edited without training again.
"""

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import json
import os
import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from common import data, dispatch, source, system
from common.experiment import report, results
from common.experiment.recipe import Recipe, examples_used
from common.experiment.results import Results
from common.flags import Flags
from common.training import context, distribution

# What the file of a run holds; pictures are beside it.
KEPT = ("metrics", "history", "seconds", "hardware", "devices")
Run = tuple[str, int]  # arm and seed
Request = tuple[str, Path | None, int | None]  # data set, its folder, side of photographs


@dataclass(frozen=True)
class Plan:
    """One command: a recipe with everything that decides its numbers, and where they go."""

    recipe: Recipe
    preset: str
    config: Any
    flags: Flags
    seeds: int
    jobs: int
    data: data.Dataset
    out: Path
    arms: tuple[str, ...] | None = None  # those trained, None: all that apply

    @property
    def request(self) -> Request:
        """What a process loads."""
        folder = self.flags.data_dir and self.flags.data_dir.absolute()
        return self.data.name, folder, self.recipe.side(self.config)

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
        config = dataclasses.asdict(self.config)
        depends_on = {
            "schema": results.SCHEMA,
            "config": config,
            "files": {
                name: hashlib.sha256(value.read_bytes()).hexdigest()
                for name, value in config.items()
                if isinstance(value, Path) and value.is_file()
            },
            "arms": {name: dict(arm) for name, arm in self.recipe.arms.items()},
            "data": self.data.sha256,
            "precision": self.flags.precision,
            **({"deterministic": True} if self.flags.deterministic else {}),
            "versions": system.versions(),
            "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS"),  # it rounds differently
            **source.of_training(self.recipe.file),
        }
        # Replicas and GPUs round differently too. Of several processes each has one device.
        if distribution.replicas() > 1 or tf.config.get_visible_devices("GPU"):
            alone = self.jobs > 1 or self.flags.cluster is not None
            each = "1 replica" if alone else distribution.describe()
            depends_on["devices"] = each, system.hardware()
        key = hashlib.sha256(json.dumps(depends_on, sort_keys=True, default=str).encode())
        return self.out / "runs" / key.hexdigest()[:12]

    def file(self, run: Run) -> Path:
        """Where one finished run is kept."""
        arm, seed = run
        return self.folder / f"{system.file_stem(arm)}.{seed}.json"


@dataclass(frozen=True)
class Done:
    """What came of a plan: the results, and why they are not complete, if they are not."""

    results: Results | None
    kept: int  # runs finished by an earlier command
    missing: Mapping[Run, str]  # why
    retried: int  # runs that were begun again after the death of their process
    interrupted: bool


def carry_out(plan: Plan, on_progress: Callable[[Run, float], None]) -> Done:
    """Trains what is missing and writes results.json afterwards, interrupted or not.

    Calls on_progress(run, share done), with 1.0 exactly when a run is finished. Raises UsageError
    for what a run refused, other exceptions of a run as they are, and OSError.
    """
    began, fresh, recipe = time.perf_counter(), plan.flags.fresh, plan.recipe
    described = f"{plan.folder.name} of {plan.seeds} seeds"
    distribution.agree("key of code, hyperparameters, data and versions", described)
    if fresh and distribution.is_chief():
        shutil.rmtree(plan.folder, ignore_errors=True)
    found = {run: None if fresh else _finished(plan.file(run)) for run in plan.runs}
    everywhere = distribution.least([int(outcome is not None) for outcome in found.values()])
    finished = {run: found[run] for run, has in zip(found, everywhere, strict=True) if has}
    for run, outcome in finished.items():
        on_progress(run, 1.0)
        # The time in results.json is that of the whole experiment, not of its last command.
        began -= outcome["seconds"] / min(plan.jobs, len(plan.runs))

    def keep(run: Run, outcome: dict) -> None:
        if distribution.is_chief():
            file, numbers = plan.file(run), {name: outcome[name] for name in KEPT}
            if outcome["pictures"]:
                results.write_arrays(file.with_suffix(".npz"), outcome["pictures"])
            system.write_whole(file, results.encode(numbers))
            shutil.rmtree(file.with_suffix(".unfinished"), ignore_errors=True)
        finished[run] = outcome
        on_progress(run, 1.0)

    task = functools.partial(Task, recipe.train, plan.config, plan.request)
    remote, made = plan.flags.cluster is not None, []
    if remote:
        made = [one for one in (plan.folder, *plan.folder.parents) if not one.exists()]
        # Workers that see it write their checkpoints there.
        plan.folder.mkdir(parents=True, exist_ok=True)
    todo = [run for run in plan.runs if run not in finished]
    tasks = {run: task(run, recipe.arms[run[0]], plan.file(run).absolute(), remote) for run in todo}
    kept, jobs = len(finished), min(plan.jobs, len(tasks)) or 1
    if plan.jobs > 1 and distribution.replicas() > 1:
        jobs = max(2, jobs)  # in this process even a single run would use all replicas
    expected = identity(recipe.file, plan.data)
    start = functools.partial(_start, plan.flags, recipe.train, plan.request, expected)
    lost, retried, interrupted = {}, 0, False
    try:
        lost, retried = dispatch.run(
            tasks, _train, start, jobs, on_progress, keep, plan.flags.cluster
        )
    except KeyboardInterrupt:
        interrupted = True
    except system.UsageError:
        for folder in made:
            with contextlib.suppress(OSError):  # it is not empty
                folder.rmdir()
        raise
    missing = {run: lost.get(run, "not finished") for run in tasks if run not in finished}
    if not finished:
        return Done(None, kept, missing, retried, interrupted)
    found = _measured(plan, finished, time.perf_counter() - began)
    why_not = f"{len(missing)} of {len(plan.runs)} runs are missing" if missing else None
    found.content.update(report.judged(recipe, found.content, why_not, whole=plan.arms is None))
    if distribution.is_chief():
        results.write_arrays(plan.out / results.PICTURES, found.pictures)
        system.write_whole(plan.out / "results.json", results.encode(found.content))
        if report.draw(recipe, found, plan.out) is None:  # an older figure would show other runs
            (plan.out / f"{recipe.name}.png").unlink(missing_ok=True)
    return Done(found, kept, missing, retried, interrupted)


def _measured(plan: Plan, finished: Mapping[Run, dict], seconds: float) -> Results:
    """What the finished runs measured, without what is judged."""
    arms: dict[str, Any] = {}
    pictures: dict[str, np.ndarray] = {}
    for arm in plan.recipe.arms:
        seeds = [seed for seed in range(plan.seeds) if (arm, seed) in finished]
        runs = [finished[arm, seed] for seed in seeds]
        if runs:
            arms[arm] = {"seeds": seeds} | {
                part: {name: [run[part][name] for run in runs] for name in runs[0][part]}
                for part in ("metrics", "history")
            }
        for run in runs:
            pictures |= run["pictures"]
    dataset = {name: getattr(plan.data, name) for name in ("name", "source", "sha256")}
    content = {
        "schema": results.SCHEMA,
        "recipe": plan.recipe.name,
        "preset": plan.preset,
        "config": results.settings(plan.config),
        "precision": plan.flags.precision,
        "dataset": dataset | examples_used(plan.config, plan.data),
        "arms": arms,
        "versions": system.versions(),
        **{
            name: ", or ".join(dict.fromkeys(run[name] for run in finished.values()))
            for name in ("hardware", "devices")
        },
        "seconds": round(seconds, 1),
        "commit": system.commit(),
        "key": plan.folder.name,
    }
    return Results(content, pictures)


@dataclass(frozen=True)
class Task:
    """One run, in a form that can be sent to another process."""

    train: Callable[[Any, Mapping[str, Any], int, data.Data], Any]
    config: Any
    request: Request
    run: Run
    arm: Mapping[str, Any]
    file: Path  # where it is kept, and beside it what it shares and leaves unfinished
    is_remote: bool  # whether that folder may be another machine's


def start_process(flags: Flags, threads: int, number: int | None) -> None:
    """Sets up a process, which may use `threads` threads, before its first operation.

    Of several processes each has one device: the GPU of its number, if there are GPUs.
    """
    devices = flags.devices
    if number is not None:
        for name in ("TF_CONFIG", "SLURM_STEP_NUM_TASKS"):  # it trains alone, whoever started it
            os.environ.pop(name, None)
        kind, gpus = distribution.check(devices)
        gpus = gpus or range(len(tf.config.list_physical_devices("GPU")))
        if kind != "cpu" and gpus:
            devices = f"gpu:{gpus[number % len(gpus)]}"
    distribution.start(devices)
    with contextlib.suppress(RuntimeError):  # TensorFlow already runs
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    keras.config.set_dtype_policy(flags.precision)
    if flags.deterministic:
        tf.config.experimental.enable_op_determinism()


def _start(
    flags: Flags,
    train: Callable,
    request: Request,
    expected: Mapping[str, Any],
    threads: int,
    number: int | None,
) -> None:
    """Sets up a process; raises UsageError if it would not train what is expected of it."""
    start_process(flags, threads, number)
    for part, received in _identity(train, request).items():
        if received != expected[part]:
            raise system.UsageError(f"{part}: expected {expected[part]}, received {received}")


def identity(file: Path, dataset: data.Dataset) -> dict[str, Any]:
    """What decides the numbers of a process: versions, and checksums of code and data."""
    code = hashlib.sha256(json.dumps(source.of_training(file)).encode()).hexdigest()
    versions = ", ".join(f"{name} {version}" for name, version in system.versions().items())
    return {"versions": versions, "code": code[:12], "data": dataset.sha256[:12]}


@functools.cache  # of what this process has loaded, whatever becomes of the files afterwards
def _identity(train: Callable, request: Request) -> dict[str, Any]:
    return identity(Path(inspect.getfile(train)), _load(*request))


def _train(task: Task, on_progress: dispatch.Report) -> dict:
    """One run, in whichever process: -> KEPT and pictures."""
    began, (arm, seed) = time.perf_counter(), task.run
    loaded = _load(*task.request)
    keras.utils.set_random_seed(seed)  # for whatever a recipe leaves unseeded
    with contextlib.ExitStack() as stack:
        file = task.file
        if task.is_remote and not file.parent.is_dir():
            file = Path(stack.enter_context(tempfile.TemporaryDirectory()), file.name)
        shared, fits = file.parent / "shared", _FITS.get((task.train, arm), 1)
        run = context.Context(seed, file.with_suffix(".unfinished"), shared, on_progress, fits)
        stack.enter_context(context.running(run))
        stack.enter_context(distribution.scope())
        try:
            outcome = task.train(task.config, task.arm, seed, loaded.arrays)
        except ValueError as error:
            raise _about_input(error, task.train) from error
    _FITS[task.train, arm] = run.begun
    keras.utils.clear_session(free_memory=False)
    pictures = outcome.pictures if seed == 0 else {}
    return {
        "metrics": {name: results.short(value) for name, value in outcome.metrics.items()},
        "history": {name: [*map(results.short, values)] for name, values in outcome.curves.items()},
        "seconds": round(time.perf_counter() - began, 2),
        "hardware": system.hardware(),
        "devices": distribution.describe(),
        "pictures": {f"{arm}/{name}": np.asarray(array) for name, array in pictures.items()},
    }


_FITS: dict[tuple[Callable, str], int] = {}  # calls of `fit` that an arm made on its last run


def _about_input(error: ValueError, train: Callable) -> ValueError:
    """A UsageError if a line of the recipe or of an ingredient raised it: it is about the input.

    One that a library raised is a fault, and keeps its traceback.
    """
    where = traceback.extract_tb(error.__traceback__)[-1]
    file = Path(where.filename)
    own = file.parent == source.COMMON / "ingredients" or file == Path(inspect.getfile(train))
    return system.UsageError(str(error)) if own and where.line.startswith("raise ") else error


@functools.cache
def _load(name: str, data_dir: Path | None, side: int | None) -> data.Dataset:
    """The data, which a process loads once for all of its runs."""
    return data.load(name, data_dir, side=side)


def _finished(file: Path) -> dict | None:
    """KEPT and pictures of a finished run, None if there is none: a damaged one is repeated."""
    try:
        found = json.loads(file.read_bytes())
        pictures = results.read_arrays(file.with_suffix(".npz"))
        return {name: found[name] for name in KEPT} | {"pictures": pictures}
    except Exception:  # which kind depends on which byte is wrong
        return None
