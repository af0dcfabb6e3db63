"""`kill -9` at random moments: the same command, run again, ends with the same bits."""

import json
import random
import signal
from pathlib import Path

import pytest

from tests.forks import Fork

# Every epoch is kept, so that the moments of a kill fall before, within and after a writing. The
# clock is set after three checkpoints, to a part or more of the time from one to the next, so that
# neither a fast nor a slow machine trains to the end; SIGALRM ends a process as SIGKILL does.
START = """
import os, signal, sys, time
import recipes
from common.training import resume
resume.SAVE_SECONDS, resume.SAVE_SHARE = 0.0, 1e9
write, written = resume.write, []
def write_and_set_the_clock(*state):
    write(*state)
    written.append(time.monotonic())
    if len(written) == 3 and "EPOCHS" in os.environ:
        epoch = min(written[1] - written[0], written[2] - written[1])
        signal.setitimer(signal.ITIMER_REAL, float(os.environ["EPOCHS"]) * epoch)
resume.write = write_and_set_the_clock
from recipes.regularization.{name} import RECIPE
from common.experiment import command
sys.exit(command.run(RECIPE, sys.argv[1:], ({arm!r},)))
"""
MNIST5K = ["--dataset", "mnist5k", "--seeds", "1", "--jobs", "1"]
COMMANDS = {  # recipe and arm
    ("dropout", "dropout"): [*MNIST5K, "--epochs", "45"],
    ("augmentation", "dense 1000 elastic"): [*MNIST5K, "--images-seen", "45000"],
    ("early_stopping", "validation cost"): [*MNIST5K, "--epochs", "100", "--patience", "40"],
}
KILLS = 5  # of each
MOMENT = 2.0  # epochs between a checkpoint and a kill, at most


def content(out: Path) -> dict:
    return {**json.loads((out / "results.json").read_text()), "seconds": None}


@pytest.mark.parametrize(("name", "arm"), COMMANDS)
def test_killed_and_started_again(name, arm, tmp_path, forks):
    """Each process goes on from what the killed one left, trains a little, and is killed."""
    moments = random.Random(name)
    whole, broken, script = tmp_path / "whole", tmp_path / "broken", tmp_path / "start.py"
    script.write_text(START.format(name=name, arm=arm))

    def run(out: Path, **how: str) -> Fork:
        return forks.run(str(script), *COMMANDS[name, arm], "--out", str(out), **how)

    process = run(whole)
    assert process.returncode in (0, 1), process.stderr
    for _ in range(KILLS):
        process = run(broken, EPOCHS=str(moments.uniform(0.01, MOMENT)))
        ended = process.stderr or "too short for this test"
        assert process.returncode == -signal.SIGALRM, f"it ended: {ended}"
    process = run(broken)
    assert process.returncode in (0, 1), process.stderr
    assert "damaged" not in process.stderr
    assert content(broken) == content(whole)
    assert not list(broken.glob("runs/*/*.unfinished"))
