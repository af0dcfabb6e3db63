"""Runs of arms and seeds: by what they are known, what arms share, what is kept of them."""

import importlib.util
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from common import data, dispatch, source, system
from common.experiment import command, grid, record, report
from common.flags import Flags
from common.training import context, distribution, once
from tools import catalog

# --- once: what the arms of a seed share


def test_without_a_run_arrays_are_made_each_time(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return (np.ones(2),)

    assert isinstance(once("net", make), list)
    with context.running(context.Context(0)):  # one without a folder that arms share
        once("net", make)
    assert len(calls) == 2


def test_arms_of_a_seed_make_arrays_once(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return [np.full((2, 3), len(calls), np.float32), np.array([True]), np.array(7, np.int64)]

    def ask(name: str, seed: int) -> list[np.ndarray]:
        with context.running(context.Context(seed, shared=tmp_path / "shared")):
            return once(name, make)

    first = ask("eight classes", 0)
    again = ask("eight classes", 0)
    assert len(calls) == 1
    for one, other in zip(first, again, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert ask("eight classes", 1)[0][0, 0] == 2  # another seed makes its own
    assert ask("eight/classes of two", 0)[0][0, 0] == 3  # and another name
    assert ask("eight classes", 0)[0][0, 0] == 1
    assert len(calls) == 3


def test_many_arrays_keep_their_order(tmp_path):
    arrays = [np.array(i) for i in range(12)]
    for _ in range(2):
        with context.running(context.Context(0, shared=tmp_path)):
            assert once("net", lambda: arrays) == arrays


def test_what_could_not_be_made_is_made_by_the_next(tmp_path):
    def fail():
        raise ZeroDivisionError("on purpose")

    with context.running(context.Context(0, shared=tmp_path)):
        with pytest.raises(ZeroDivisionError):
            once("net", fail)
        (found,) = once("net", lambda: [np.ones(2)])
    assert found.tolist() == [1, 1]


def test_the_arm_that_makes_them_goes_on_as_those_that_find_them(tmp_path):
    """With the same random numbers, whatever was drawn to make them."""

    def make():
        return [keras.random.normal((3,)), np.random.rand(2)]  # noqa: NPY002  the global one

    after = []
    for _ in range(2):
        keras.utils.set_random_seed(5)
        with context.running(context.Context(5, shared=tmp_path)):
            once("net", make)
            drawn = keras.random.normal((3,)), np.random.rand(2)  # noqa: NPY002
            after.append([np.asarray(one).tolist() for one in drawn])
    assert after[0] == after[1]


def start(threads, number):
    """Of each process."""


def ask(task, report):
    """In a process: asks for arrays by a name, or is killed while it makes them."""
    folder, name, dies = task
    others = folder / f"{name}.making"
    if name == "both":  # which meet before they ask
        (folder / f"{os.getpid()}.there").touch()
        wait_for(lambda: len(list(folder.glob("*.there"))) == 2)
    elif not dies:
        wait_for(others.exists)

    def make():
        with others.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(0.5)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return [np.array(os.getpid())]

    with context.running(context.Context(0, shared=folder)):
        (found,) = once(name, make)
    return int(found), os.getpid()


def wait_for(condition) -> None:
    until = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_of_two_processes_one_makes_the_arrays_and_the_other_waits(tmp_path):
    """If the one that makes them is killed, the other makes them, for both."""
    tasks = {
        "a": (tmp_path, "both", False),
        "b": (tmp_path, "both", False),
        "killed": (tmp_path, "left", True),
        "left": (tmp_path, "left", False),
    }
    results = {}
    lost, again = dispatch.run(tasks, ask, start, 2, lambda *_: None, results.__setitem__)
    assert (lost, again) == ({}, 1)
    (one, first), (other, second) = results["a"], results["b"]
    assert first != second
    assert one == other
    assert (tmp_path / "both.making").read_text() == f"{one}\n"
    made, maker = results["left"]
    assert made == maker
    assert results["killed"][0] == made
    assert len((tmp_path / "left.making").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("devices", "number", "gpus", "expected"),
    [
        ("auto", None, 4, "auto"),  # a process of its own has all of them
        ("auto", 0, 0, "auto"),
        ("auto", 1, 4, "gpu:1"),
        ("auto", 5, 4, "gpu:1"),
        ("gpu", 2, 4, "gpu:2"),
        ("gpu:1,3", 0, 4, "gpu:1"),
        ("gpu:1,3", 1, 4, "gpu:3"),
        ("cpu", 1, 4, "cpu"),
    ],
)
def test_of_several_processes_each_has_one_gpu(devices, number, gpus, expected, monkeypatch):
    started = []
    monkeypatch.setattr(distribution, "start", started.append)
    monkeypatch.setattr(grid.tf.config, "list_physical_devices", lambda _: list(range(gpus)))
    grid.start_process(Flags(devices=devices), 1, number)
    assert started == [expected]


@pytest.mark.parametrize("asked", [False, True])
def test_operations_are_deterministic_if_that_is_asked_for(asked, monkeypatch):
    calls = []
    monkeypatch.setattr(distribution, "start", lambda _: None)
    switch = "enable_op_determinism"
    monkeypatch.setattr(grid.tf.config.experimental, switch, lambda: calls.append(1))
    grid.start_process(Flags(deterministic=asked), 1, None)
    assert bool(calls) is asked


def test_of_several_processes_none_joins_a_training_of_several_workers(monkeypatch):
    """`srun dask worker` has the variables of a job step with many tasks."""
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setenv("TF_CONFIG", "{}")
    monkeypatch.setattr(distribution, "start", lambda _: None)
    grid.start_process(Flags(), 1, None)
    assert {"SLURM_STEP_NUM_TASKS", "TF_CONFIG"} <= os.environ.keys()
    grid.start_process(Flags(), 1, 0)
    assert not {"SLURM_STEP_NUM_TASKS", "TF_CONFIG"} & os.environ.keys()


# --- the key of a run


RECIPE = '''
"""A recipe that trains nothing."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.experiment import Outcome, Recipe, figures
from common.experiment.findings import Lower
from common.ingredients.losses import sigmoid_cross_entropy

SCALE = 2.0  # of the metric


@dataclass(frozen=True)
class Config:
    """Hyperparameters."""

    epochs: int = 3  # how long
    speed: float = 0.5  # how fast
    image: Path = Path("digit.png")  # a file


ARMS = {"a": {"level": 1}, "b c/d": {"level": 2}}


def train(config, arm, seed, data):
    """Measures what it is told."""
    assert sigmoid_cross_entropy
    return Outcome(
        {"cost": SCALE * arm["level"] + seed}, {}, {"eye": np.eye(2) + seed, "level": arm["level"]}
    )


# ---- findings
FINDINGS = (Lower("cost", "a", than="b c/d"),)


def plot(results):
    """Nothing."""
    return figures.panels("title", 1, 1)[0]


RECIPE = Recipe(
    Config,
    ARMS,
    train,
    FINDINGS,
    plot,
    smoke={"epochs": 1},
    paper={"epochs": 3},
    datasets=("mnist5k", "mnist"),
    seeds=1,
)
'''


@pytest.fixture
def plain(monkeypatch, tmp_path):
    """Nothing is drawn or compared; `common` is read from a copy that may be edited."""
    monkeypatch.setattr(record, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(report, "draw", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(source.COMMON, tmp_path / "common", ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(source, "COMMON", tmp_path / "common")
    (tmp_path / "digit.png").write_bytes(b"pixels")
    yield tmp_path
    keras.config.set_dtype_policy("float32")


def measured(folder: Path, *flags: str, code: str = RECIPE) -> dict:
    """results.json of that recipe with these flags, written to FOLDER/out unless they say else."""
    file = folder / "tiny.py"
    file.write_text(code)
    spec = importlib.util.spec_from_file_location("tiny", file)
    sys.modules["tiny"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    out = [] if "--out" in flags else ["--out", str(folder / "out")]
    assert command.run(module.RECIPE, ["--jobs", "1", *out, *flags]) in (0, 1)
    out = Path([*out, *flags][[*out, *flags].index("--out") + 1])
    return json.loads((out / "results.json").read_text())


def key(*how, **more) -> str:
    return measured(*how, **more)["key"]


def replaced(code: str, before: str, after: str) -> str:
    assert code.count(before) == 1, before
    return code.replace(before, after)


def test_the_key_is_the_name_of_the_folder_of_runs(plain):
    found = key(plain)
    assert [one.name for one in plain.glob("out/runs/*")] == [found]
    files = {one.name for one in plain.glob("out/runs/*/*") if one.is_file()}
    assert files == {"a.0.json", "a.0.npz", "b-c%2Fd.0.json", "b-c%2Fd.0.npz"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("SCALE = 2.0", "SCALE = 3.0"),
        ('SCALE * arm["level"]', 'SCALE + arm["level"]'),
        ('"a": {"level": 1}', '"a": {"level": 5}'),
        ('"a": {"level": 1}', '"z": {"level": 0}, "a": {"level": 1}'),
        ("losses import", "callbacks import Record as"),
    ],
)
def test_code_that_trains_changes_the_key(before, after, plain):
    assert key(plain, code=replaced(RECIPE, before, after)) != key(plain)


def test_an_arm_that_is_computed_changes_the_key(plain):
    """Its values count, not only its code."""
    code = replaced(RECIPE, '"a": {"level": 1}', '"a": {"level": len(__doc__)}')
    other = replaced(code, "trains nothing", "trains nothing at all")
    assert key(plain, code=code) != key(plain, code=other)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("A recipe that trains nothing", "Other words"),
        ("Measures what it is told", "Other words"),
        ("# of the metric", "# another comment"),
        ("# how fast", "# another help"),
        ('Lower("cost", "a", than="b c/d")', 'Lower("cost", "b c/d", than="a")'),
        ('figures.panels("title", 1, 1)', 'figures.panels("another", 1, 1)'),
        ("seeds=1", "seeds=2"),
    ],
)
def test_words_findings_and_figure_do_not(before, after, plain):
    assert key(plain, code=replaced(RECIPE, before, after)) == key(plain)


@pytest.mark.parametrize(
    "flags",
    [["--epochs", "4"], ["--speed", "0.25"], ["--smoke"], ["--precision", "mixed_bfloat16"]],
    ids=" ".join,
)
def test_hyperparameters_and_precision_change_the_key(flags, plain):
    assert key(plain, *flags) != key(plain)


def test_how_a_run_is_started_does_not(plain):
    first = key(plain)
    for flags in (
        ["--seeds", "2"],
        ["--fresh"],
        ["--out", str(plain / "elsewhere")],
        ["--epochs", "3"],  # as it is by default
        ["--paper"],  # whose hyperparameters are the default ones here
        ["--data-dir", str(plain)],  # mnist5k comes from a package
    ):
        assert key(plain, *flags) == first, flags


def test_the_content_of_a_file_changes_the_key(plain):
    first = key(plain)
    (plain / "digit.png").write_bytes(b"other pixels")
    second = key(plain)
    assert second != first
    (plain / "digit.png").unlink()
    assert key(plain) not in (first, second)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("training/loop.py", True),
        ("training/resume.py", True),
        ("data/datasets.py", True),
        ("ingredients/losses.py", True),
        ("ingredients/alexnet.py", False),  # which the recipe does not use
        ("experiment/findings.py", False),
        ("experiment/figures.py", False),
        ("startup.py", False),
    ],
)
def test_which_files_of_common_change_the_key(file, changes, plain):
    first = key(plain)
    file = plain / "common" / file
    text = file.read_text()
    file.write_text(f"# Another comment.\n{text}")
    assert key(plain) == first
    file.write_text(f"{text}\nADDED = 1\n")
    assert (key(plain) != first) is changes


def test_ingredients_use_no_others():
    """Whose edits would not change the key."""
    for file in (source.COMMON / "ingredients").glob("*.py"):
        assert not {one for one in source.imported(file.read_text()) if "common." in one}


def test_data_versions_arithmetic_and_devices_change_the_key(plain, monkeypatch):
    keys = [key(plain)]
    bundled = data.load("mnist5k")
    other = data.Dataset("mnist5k", bundled.arrays, bundled.source, "f" * 64)
    with monkeypatch.context() as patch:
        patch.setattr(data, "load", lambda *_, **__: other)
        grid._load.cache_clear()
        keys.append(key(plain))
    grid._load.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(system, "versions", lambda: {"tensorflow": "3.0.0"})
        keys.append(key(plain))
    with monkeypatch.context() as patch:
        patch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
        keys.append(key(plain))
    with monkeypatch.context() as patch:
        patch.setattr(distribution, "replicas", lambda: 2)
        keys.append(key(plain))
    assert len(set(keys)) == len(keys)
    assert key(plain) == keys[0]


def test_a_data_set_that_changes_while_recipes_run_is_refused(plain, monkeypatch, capsys):
    bundled = data.load("mnist5k")
    other = data.Dataset("mnist5k", bundled.arrays, bundled.source, "f" * 64)
    monkeypatch.setattr(grid, "_load", lambda *_: other)
    with pytest.raises(AssertionError):
        measured(plain)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"data: expected {bundled.sha256[:12]}, received ffffffffffff" in said
    assert not list(plain.glob("out/results.json"))


@pytest.mark.parametrize("name", catalog.recipes())
def test_arms_have_files_of_their_own(name):
    """Also where a file system takes capital letters for small ones."""
    plan = SimpleNamespace(folder=Path("runs"))
    arms = catalog.load(name).arms
    files = {str(grid.Plan.file(plan, (arm, 0))).lower() for arm in arms}
    assert len(files) == len(arms)


# --- what is kept


def test_pictures_are_kept_of_seed_0_only(plain):
    content = measured(plain, "--seeds", "3")
    assert content["arms"]["a"]["seeds"] == [0, 1, 2]
    kept = {file.name for file in plain.glob("out/runs/*/*.npz")}
    assert kept == {"a.0.npz", "b-c%2Fd.0.npz"}
    with np.load(plain / "out" / "pictures.npz") as stored:
        assert set(stored) == {"a/eye", "a/level", "b c/d/eye", "b c/d/level"}
        np.testing.assert_array_equal(stored["a/eye"], np.eye(2))
        assert stored["b c/d/level"] == 2


def test_pictures_of_kept_runs_come_back(plain):
    measured(plain)
    file = plain / "out" / "pictures.npz"
    before = dict(np.load(file))
    file.unlink()
    measured(plain, "--seeds", "2")
    after = dict(np.load(file))
    assert before.keys() == after.keys()
    for name, picture in before.items():
        np.testing.assert_array_equal(after[name], picture)


def test_a_recipe_without_pictures_keeps_an_empty_file(plain):
    code = replaced(RECIPE, ', {"eye": np.eye(2) + seed, "level": arm["level"]}', "")
    measured(plain, code=code)
    assert not list(plain.glob("out/runs/*/*.npz"))
    with np.load(plain / "out" / "pictures.npz") as stored:
        assert not stored.files
