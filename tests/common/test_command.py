"""What a person at the command line meets: flags, refusals, resuming, results.json, exit codes."""

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

import numpy as np
import pytest

from common import command, data, dependence, experiment, figures, results
from common.claims import Band, Effect
from common.experiment import Outcome, Recipe

ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Config:
    """Knobs of a recipe that trains nothing."""

    epochs: int = 3  # how long
    rate: float = 0.5  # how fast
    drop: Annotated[float, command.AtLeast(0, below=1)] = 0.2  # share of units


def train(run, arm):
    if arm.get("refuse"):
        run.data.train.first(10**9)
    calls.append((arm["level"], run.seed))
    if arm.get("interrupt") and run.seed == 1:
        raise KeyboardInterrupt
    run.report(0.5)
    series = [arm["level"] + run.seed + epoch / 10 for epoch in range(run.config.epochs)]
    return Outcome({"last": series[-1], "nothing": float("nan")}, {"curve": series})


calls: list = []


def plot(found):
    figure, axes = figures.panels(found.titled("Nothing"), 1, 1)
    for arm in found.content["arms"]:
        figures.curve(axes[0, 0], found.history(f"{arm}/curve"), arm)
    return figure


def recipe(low=0.0, arms=None):
    claims = (
        Band("the last value of low", "low/last", {"digits": (low, 10)}, "nowhere", 1.2),
        Effect("high beats low", "high/last", "low/last", "nowhere", more_than=1),
    )
    arms = arms or {"low": {"level": 0.0}, "high": {"level": 5.0}}
    return Recipe(
        "A recipe that trains nothing.",
        Config,
        arms,
        train,
        claims,
        plot,
        smoke={"epochs": 1},
        paper={"epochs": 9},
        datasets=("digits",),
        jobs=1,
    )


@pytest.fixture(autouse=True)
def forget():
    calls.clear()


def call(out, *arguments, of=None):
    """Exit code of the command line."""
    with pytest.raises(SystemExit) as exit_:
        command.main(of or recipe(), ["--out", str(out), *arguments])
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


def test_results_hold_what_the_design_promises(tmp_path):
    assert call(tmp_path) == 0
    content = read(tmp_path)
    assert set(content) == {
        *("schema", "recipe", "preset", "config", "precision", "dataset", "arms", "claims"),
        *("versions", "hardware", "devices", "seconds", "commit", "key"),
    }
    assert content["recipe"] == "test_command"
    assert content["config"] == {"epochs": 3, "rate": 0.5, "drop": 0.2}
    assert content["dataset"] == {
        "name": "digits",
        "source": "scikit-learn",
        "sha256": data.load("digits").sha256,
        "n_train": 1297,
        "n_validation": 0,
        "n_test": 500,
    }
    assert content["arms"]["high"] == {
        "seeds": [0, 1, 2],
        "metrics": {"last": [5.2, 6.2, 7.2], "nothing": [None] * 3},
        "history": {"curve": [[5.0, 5.1, 5.2], [6.0, 6.1, 6.2], [7.0, 7.1, 7.2]]},
    }
    band, effect = content["claims"]
    assert band["holds"] is True
    assert band["published"] == 1.2
    assert band["measured"]["mean"] == pytest.approx(1.2)
    assert band["measured"]["n"] == 3
    assert effect["holds"] is True
    assert effect["measured"]["ci95"] == pytest.approx([5, 5])
    assert {"python", "tensorflow", "keras", "numpy"} <= set(content["versions"])
    assert not list(tmp_path.rglob("*.part"))


def test_figure_is_a_png_for_a_projector(tmp_path):
    import struct

    call(tmp_path)
    content = (tmp_path / "test_command.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert struct.unpack(">II", content[16:24]) == (1600, 1000)


def test_a_failing_claim_gives_exit_code_1(tmp_path, capsys):
    assert call(tmp_path, of=recipe(low=5)) == 1
    assert "FAILS" in capsys.readouterr().out
    assert read(tmp_path)["claims"][0]["holds"] is False


def test_smoke_judges_nothing_and_says_so(tmp_path, capsys):
    assert call(tmp_path, "--smoke", of=recipe(low=5)) == 0
    content = read(tmp_path)
    assert [claim["holds"] for claim in content["claims"]] == [None, None]
    assert content["preset"] == "smoke"
    assert content["config"]["epochs"] == 1
    assert "2 not judged: a smoke run shows nothing" in capsys.readouterr().out


def test_other_knobs_are_not_judged(tmp_path):
    assert call(tmp_path, "--epochs", "5", of=recipe(low=5)) == 0
    why = {claim["why"] for claim in read(tmp_path)["claims"]}
    assert why == {"the knobs differ from the preset's"}


def test_paper_has_its_own_knobs_and_bands(tmp_path):
    assert call(tmp_path, "--paper") == 0
    content = read(tmp_path)
    assert content["config"]["epochs"] == 9
    assert content["claims"][0]["why"] == "no band for digits --paper"


def test_one_seed_or_two_judge_bands_but_no_effects(tmp_path):
    for seeds in ("1", "2"):
        assert call(tmp_path, "--seeds", seeds) == 0
        assert [claim["holds"] for claim in read(tmp_path)["claims"]] == [True, None]


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


def test_other_knobs_neither_reuse_nor_destroy(tmp_path):
    call(tmp_path)
    call(tmp_path, "--rate", "0.25")
    assert len(calls) == 12
    call(tmp_path)
    assert len(calls) == 12


def test_edited_code_trains_anew_but_edited_claims_do_not():
    source = '''"""A recipe."""
ARMS = {}
class Config: pass
RATE, WIDTH = 1, 2
def helper(): return RATE
def train(): return helper()
def band(): return 1
CLAIMS = (band(),)
def plot(): return 1
'''

    def key(text):
        return dependence.what_trains(text)

    before = key(source)
    for unimportant in ("(band(),)", "plot(): return 1", "band(): return 1", "A recipe"):
        assert unimportant in source
        assert key(source.replace(unimportant, unimportant.replace("1", "2") + " # new")) == before
    for important in ("ARMS = {}", "RATE, WIDTH = 1", "class Config: pass", "return helper()"):
        changed = important.replace("1", "3").replace("{}", "{1: 2}").replace("pass", "x = 1")
        assert key(source.replace(important, changed.replace("helper()", "2"))) != before


@pytest.mark.parametrize("damage", ["", "{", "[1, 2]", '{"metrics": {}}', "\x00\xff"])
def test_a_damaged_run_is_trained_anew(tmp_path, damage):
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
    assert [claim["holds"] for claim in content["claims"]] == [None, None]
    assert "3 of 6 runs are missing" in content["claims"][0]["why"]
    said = capsys.readouterr().out
    assert "missing: high, seed 1: not begun" in said
    assert "the same command trains the rest" in said


SLOW = """
import dataclasses, sys, time
sys.path.insert(0, {root!r})
import recipes
from common import command, figures
from common.experiment import Outcome, Recipe

@dataclasses.dataclass(frozen=True)
class Config:
    epochs: int = 3

def train(run, arm):
    run.report(0.1)
    if arm["slow"]:
        print("ready", flush=True)
        time.sleep(60)
    return Outcome({{"last": 1.0}}, {{"curve": [1.0]}})

def plot(found):
    return figures.panels("x", 1, 1)[0]

if __name__ == "__main__":
    command.main(Recipe("x", Config, {{"fast": {{"slow": False}}, "slow": {{"slow": True}}}},
                        train, (), plot, {{}}, {{}}, seeds=1, datasets=(), jobs=2))
"""


@pytest.mark.parametrize("kill", ["interrupt", "worker"])
def test_a_killed_worker_and_ctrl_c_name_what_is_missing(tmp_path, kill):
    script = tmp_path / "slow.py"
    script.write_text(SLOW.format(root=str(ROOT)))
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, str(script), "--out", str(out)],
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
        if kill == "interrupt":
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to parent and workers
        else:
            children = subprocess.run(
                ["pgrep", "-P", str(process.pid), "-f", "spawn_main"],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.split()
            for child in children:
                os.kill(int(child), signal.SIGKILL)
        said, errors = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert "Traceback" not in errors
    assert process.returncode == (130 if kill == "interrupt" else 1), said + errors
    why = "not begun" if kill == "interrupt" else "killed by SIGKILL"
    assert f"missing: slow, seed 0: {why}" in said
    assert set(read(out)["arms"]) == {"fast"}


# --- bad usage


KNOBS = [knob.name for knob in dataclasses.fields(Config)]


@pytest.mark.parametrize("knob", KNOBS)
@pytest.mark.parametrize("value", ["-1", "0", "nan", "inf", "-inf", "abc", "", "1e400"])
def test_nonsense_for_a_knob_is_refused(tmp_path, capsys, knob, value):
    if (knob, value) == ("drop", "0"):
        return  # the one knob here that may be zero, see the next test
    said = refusal(capsys, f"--{knob}={value}", "--out", str(tmp_path / "new"))
    assert f"--{knob}: expected a " in said
    received = said.split(", received ")[1].strip()
    assert received == (value or "nothing") or float(received) == float(value)
    assert not (tmp_path / "new").exists()


def test_a_knob_may_allow_zero_and_have_an_upper_bound(tmp_path, capsys):
    assert call(tmp_path, "--drop", "0") == 0
    assert "at least 0 and below 1, received 1.0" in refusal(capsys, "--drop", "1")


@pytest.mark.parametrize("flag", ["--seeds", "--jobs"])
@pytest.mark.parametrize("value", ["0", "-3", "nan", "1.5", "many"])
def test_nonsense_for_a_count_is_refused(capsys, flag, value):
    said = refusal(capsys, f"{flag}={value}")
    assert f"{flag}: expected a whole number" in said
    assert said.strip().endswith(f", received {value}")


def test_unknown_flags_and_words_are_refused(capsys):
    assert "expected flags that --help lists, received --rates" in refusal(capsys, "--rates", "3")
    assert "expected flags that --help lists, received extra" in refusal(capsys, "extra")
    expected = "--precision: expected float32, mixed_bfloat16 or mixed_float16, received float16"
    assert expected in refusal(capsys, "--precision", "float16")
    assert "received both" in refusal(capsys, "--smoke", "--paper")
    assert "expected digits, received mnist" in refusal(capsys, "--dataset", "mnist")


def test_data_dir_without_data_is_refused(tmp_path, capsys):
    mnist = dataclasses.replace(recipe(), datasets=("mnist", "digits"))
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
    def read_only(self, *args, **kwargs):
        raise OSError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "mkdir", read_only)
    assert "Read-only file system" in refusal(capsys, "--out", str(tmp_path / "out"))


def test_a_run_that_refuses_leaves_nothing(tmp_path, capsys):
    arms = {"low": {"level": 0.0, "refuse": True}, "high": {"level": 1.0}}
    said = refusal(capsys, "--out", str(tmp_path / "a" / "b"), of=recipe(arms=arms))
    assert "received 1000000000" in said
    assert not (tmp_path / "a").exists()


DAMAGED = [
    "",
    "{",
    "[]",
    '{"schema": 99, "recipe": "test_command"}',
    '{"schema": 1, "recipe": "x"}',
]


@pytest.mark.parametrize("content", DAMAGED)
def test_damaged_or_foreign_results_are_refused(tmp_path, capsys, content):
    file = tmp_path / "results.json"
    file.write_text(content)
    assert str(file) in refusal(capsys, "--out", str(tmp_path), "--replot")
    assert "--fresh" in refusal(capsys, "--out", str(tmp_path))
    assert file.read_text() == content
    assert call(tmp_path, "--fresh") == 0


def test_replot_draws_from_results_alone(tmp_path, capsys):
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
    for flag in ("seeds", "jobs", "smoke", "paper", "out", "precision", "fresh", "replot", "rate"):
        assert f"--{flag}" in said
    assert "how fast (default: 0.5)" in said
    assert "A recipe that trains nothing." in said


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
        found.history("a/x"), [[1, 2, 3], [4, float("nan"), float("nan")]]
    )


def test_seeds_are_run_whole_before_the_next(tmp_path):
    call(tmp_path)
    assert [seed for _, seed in calls] == [0, 0, 1, 1, 2, 2]


def test_knobs_left_alone_take_what_the_data_set_wants(tmp_path):
    of = dataclasses.replace(recipe(), on={"digits": {"epochs": 2, "rate": 0.1}})
    call(tmp_path, "--rate", "0.3", of=of)
    assert read(tmp_path)["config"] == {"epochs": 2, "rate": 0.3, "drop": 0.2}
    call(tmp_path, "--epochs", "3", of=of)  # the default elsewhere, but asked for
    assert read(tmp_path)["config"] == {"epochs": 3, "rate": 0.1, "drop": 0.2}
    assert experiment.Recipe.knobs(of, "default", "digits").rate == 0.1


def test_a_misspelt_metric_is_no_arm_that_was_not_trained(tmp_path):
    of = recipe()
    wrong = dataclasses.replace(of, claims=(Band("x", "low/lost", {"digits": (0, 1)}, "nowhere"),))
    with pytest.raises(ValueError, match="expected one of last, nothing of low, received lost"):
        command.run(wrong, ["--out", str(tmp_path)])


def test_help_returns_a_code_as_all_else(capsys):
    assert command.run(recipe(), ["--help"]) == 0
    assert "A recipe that trains nothing." in capsys.readouterr().out


def test_a_smoke_run_takes_no_trained_nets_place(tmp_path, monkeypatch):
    def weights(run, arm):
        return Outcome({"last": 1.0, "nothing": 0.0}, {"curve": [1.0]}, [np.ones(2)], {"net": "x"})

    of = dataclasses.replace(recipe(), train=weights)
    kept = tmp_path / "low.0.npz"
    call(tmp_path, "--smoke", of=of)
    assert kept.exists()
    call(tmp_path, of=of)
    trained = kept.read_bytes()
    kept.write_bytes(trained + b"trained")
    call(tmp_path, "--smoke", of=of)
    assert kept.read_bytes() == trained + b"trained"


@pytest.mark.parametrize(
    ("edited", "same"),
    [
        ('def train(run, arm):\n    """Other words."""\n    return X + 1\nX: float = 0.1', True),
        ('def train(run, arm):\n    """Words."""\n    return X + 1\nX: float = 0.2', False),
        ('def train(run, arm):\n    """Words."""\n    return X + 2\nX: float = 0.1', False),
    ],
)
def test_docstrings_decide_no_number_but_constants_do(edited, same):
    code = 'def train(run, arm):\n    """Words."""\n    return X + 1\nX: float = 0.1'
    before, after = map(dependence.what_trains, (code, edited))
    assert (before == after) is same
