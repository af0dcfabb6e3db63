"""What `make` starts, and what it says where it cannot; nothing is installed or trained."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tools import catalog

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(*arguments: str) -> subprocess.CompletedProcess:
    """`make ARGUMENTS`, as if no other make had started these tests."""
    handed_down = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARGS")
    environment = {name: value for name, value in os.environ.items() if name not in handed_down}
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_target_is_a_recipe_with_its_flags(tmp_path):
    done = make("-n", f"VENV={tmp_path}/venv", "recipe-l1-l2", "ARGS=--smoke")
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path}/venv/bin/python -m recipes.regularization.l1_l2 --smoke\n" in done.stdout
    assert not list(tmp_path.iterdir())


TOOLS = {  # what is typed, what runs then
    "copy-l1-l2 DEST=there": "copying script 'l1-l2' 'there'",
    "copy-l1-l2 DEST=there FULL=1": "copying script 'l1-l2' 'there' --full",
    "copy-l1-l2 DEST=there FORCE=1 FULL=1": "copying script 'l1-l2' 'there' --force --full",
    "notebook-dropout DEST=there FORCE=1": "copying notebook 'dropout' 'there' --force",
    "workers-l1-l2 ARGS=--smoke": "workers l1_l2 2 --smoke",
    "workers-l1-l2 WORKERS=3": "workers l1_l2 3",
    "record-l1-l2 ARGS=--paper": "catalog record l1_l2 --paper",
    "record-all": "catalog record-all",
    "regress RECIPES=dropout ARGS=--quick": "regress dropout --quick",
    "regress": "regress",
    "list": "catalog list",
    "readme": "catalog readme",
    "site": "site",
    "notebooks": "notebooks",
    "notebooks DEST=there FORCE=1": "notebooks 'there' --force",
    "notebooks ARGS=--keep": "notebooks --keep",
    "site ARGS=there": "site there",
}


@pytest.mark.parametrize("typed", TOOLS)
def test_a_target_is_a_tool_with_its_arguments(typed, tmp_path):
    done = make("-n", f"VENV={tmp_path}/venv", *typed.split())
    assert done.returncode == 0, done.stderr
    started = done.stdout.splitlines()[-1]
    assert started.split() == f"{tmp_path}/venv/bin/python -m tools.{TOOLS[typed]}".split()


def test_a_recipe_there_is_not_is_answered_with_those_there_are(tmp_path):
    (tmp_path / ".installed").touch()
    done = make(f"VENV={tmp_path}", "recipe-nothing")
    assert done.returncode == 2
    said = done.stderr.splitlines()[0]
    for name in catalog.recipes():
        assert f" {catalog.target(name)}" in said
    assert said.endswith("received: nothing")


def test_without_a_python_it_says_which_ones_it_looked_for(tmp_path):
    done = make("PYTHONS=false no-python", f"VENV={tmp_path}/venv", "list")
    assert done.returncode == 2
    assert "found none of: false no-python; install one" in done.stderr
    assert not list(tmp_path.iterdir())
