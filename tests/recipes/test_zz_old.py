"""`kill -9` at random moments: the same command, run again, ends with the same bits."""

import contextlib
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.forks import Fork

# Every epoch is kept, so that the moments of a kill fall before, within and after a writing.
START = """
import sys
import recipes
from common import training
training.SAVE_SECONDS, training.SAVE_SHARE = 0.0, 1e9
from recipes.{name} import RECIPE
from common.command import main
main(RECIPE, sys.argv[1:])
"""
DIGITS = ["--dataset", "digits", "--seeds", "1", "--jobs", "1"]
COMMANDS = {
    "dropout": [*DIGITS, "--epochs", "60"],
    "augmentation": [*DIGITS, "--images-seen", "8000"],
    "early_stopping": [*DIGITS, "--epochs", "150", "--patience", "40"],
}
KILLS = 7  # of each; together more than 20
MOMENT = 0.1  # seconds between a checkpoint and a kill, at most: several epochs


def content(out: Path) -> dict:
    return {**json.loads((out / "results.json").read_text()), "seconds": None}


def wait_for_a_checkpoint(process: Fork, out: Path, began: float) -> bool:
    """Until this process has written one; False if it ends before."""
    while process.poll() is None:
        if any(file.stat().st_mtime > began for file in states(out)):
            return True
        time.sleep(0.01)
    return False


def states(out: Path) -> list[Path]:
    with contextlib.suppress(FileNotFoundError):  # one that is being renamed
        return [file for file in out.glob("runs/*/*.unfinished/*.state") if file.exists()]
    return []


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_and_begun_anew(name, tmp_path, forks):
    """Each process goes on from what the killed one left, trains a little, and is killed."""
    moments = random.Random(name)
    whole, broken, script = tmp_path / "whole", tmp_path / "broken", tmp_path / "start.py"
    script.write_text(START.format(name=name))

    def start(out: Path) -> Fork:
        return forks.start(str(script), *COMMANDS[name], "--out", str(out))

    process = start(whole)
    assert process.wait() in (0, 1), process.stderr
    kills = 0
    while kills < KILLS:
        began, process = time.time(), start(broken)
        trains = wait_for_a_checkpoint(process, broken, began)
        assert trains, f"it ended after {kills} kills: too short for this test"
        time.sleep(moments.uniform(0, MOMENT))
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        kills += 1
    process = start(broken)
    assert process.wait() in (0, 1), process.stderr
    assert "damaged" not in process.stderr
    assert content(broken) == content(whole)
    assert not list(broken.glob("runs/*/*.unfinished"))
