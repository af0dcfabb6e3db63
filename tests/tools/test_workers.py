"""`make workers-NAME`: workers of one recipe, what they write, and what becomes of a death."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLAGS = ["--dataset", "mnist5k", "--seeds", "1", "--epochs", "12"]
START = """
import sys
import recipes
from common.training import resume
resume.SAVE_SECONDS, resume.SAVE_SHARE = 0.0, 1e9
from recipes.regularization.dropout import RECIPE
from common.experiment import command
sys.exit(command.run(RECIPE, sys.argv[1:], ("dropout",)))
"""


@pytest.fixture
def patched(tmp_path, monkeypatch):
    """A start of the recipe that keeps every epoch, instead of the launcher's own."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "start.py").write_text(START)
    return tmp_path / "start.py"


def launch(name: str, workers: str, *flags: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tools.workers", name, workers, *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(process: subprocess.Popen) -> list[int]:
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(one) for one in listed.split()]


def content(out: Path) -> dict:
    return {**json.loads((out / "results.json").read_text()), "seconds": None}


@pytest.mark.skipif(not Path("/proc").exists(), reason="finds the workers in /proc")
def test_a_killed_worker_ends_all_and_the_rerun_goes_on(tmp_path, patched):
    """Twice, once the chief and once the other, at random moments after a checkpoint."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    moments = random.Random(0)
    code = "import sys; from tools import workers; sys.exit(workers.run(sys.argv[1:], 2))"

    def start(out: Path) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-c", code, str(patched), *FLAGS, "--out", str(out)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    process = start(whole)
    said, error = process.communicate(timeout=300)
    assert process.returncode == 0, said + error
    assert all(line.startswith("[0] ") for line in said.splitlines())  # the chief alone speaks
    assert content(whole)["devices"] == "2 workers, 2 replicas"
    for victim in (0, 1):
        began, process = time.time(), start(broken)
        while not any(
            file.stat().st_mtime > began for file in broken.glob("runs/*/*.unfinished/*.state")
        ):
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        time.sleep(moments.uniform(0, 1))
        workers = children(process)
        os.kill(workers[victim], signal.SIGKILL)
        _, error = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGKILL
        assert "a worker died by SIGKILL: ending the others" in error
        for worker in workers:
            assert not Path(f"/proc/{worker}").exists()
    process = start(broken)
    said, error = process.communicate(timeout=300)
    assert process.returncode == 0, said + error
    assert content(broken) == content(whole)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nothing", "2"], "expected one of the recipes"),
        ([], "expected one of the recipes"),
        (["dropout", "0"], "WORKERS: expected a number from 1 to 64, received 0"),
        (["dropout", "two"], "received two"),
        (["dropout"], "WORKERS: expected"),
    ],
)
def test_a_cluster_of_nothing_is_refused(arguments, expected):
    done = subprocess.run(
        [sys.executable, "-m", "tools.workers", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert expected in done.stderr


def test_bad_flags_end_all_workers(tmp_path):
    process = launch("overfitting", "2", "--epochs", "-1", "--out", str(tmp_path / "out"))
    said, _ = process.communicate(timeout=100)
    assert process.returncode == 2
    assert "--epochs: expected" in said
    assert not (tmp_path / "out").exists()
