"""`kill -9` at random moments: the same command, run again, ends with the same bits."""

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
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


def start(name: str, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", START.format(name=name), *COMMANDS[name], "--out", str(out)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def content(out: Path) -> dict:
    return {**json.loads((out / "results.json").read_text()), "seconds": None}


def wait_for_a_checkpoint(process: subprocess.Popen, out: Path, began: float) -> bool:
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
def test_killed_and_begun_anew(name, tmp_path):
    """Each process goes on from what the killed one left, trains a little, and is killed."""
    moments = random.Random(name)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    process = start(name, whole)
    _, said = process.communicate()
    assert process.returncode in (0, 1), said
    kills = 0
    while kills < KILLS:
        began, process = time.time(), start(name, broken)
        trains = wait_for_a_checkpoint(process, broken, began)
        assert trains, f"it ended after {kills} kills: too short for this test"
        time.sleep(moments.uniform(0, MOMENT))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        kills += 1
    process = start(name, broken)
    _, said = process.communicate()
    assert process.returncode in (0, 1), said
    assert "damaged" not in said
    assert content(broken) == content(whole)
    assert not list(broken.glob("runs/*/*.unfinished"))
