"""Recipes on JAX, through `keras.Model.fit`: `make test-backends`."""

import os
import re
import subprocess
import sys

import pytest

from common import source
from tools import catalog

NAMES = [name for name in catalog.recipes() if not source.needs_tensorflow(catalog.path(name))]


def run(name: str, *flags: str) -> str:
    """What it says; it must end well."""
    done = subprocess.run(
        [sys.executable, "-m", catalog.module(name), *flags],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_smoke_preset_runs(name, tmp_path):
    assert "results.json" in run(name, "--smoke", "--jobs", "1", "--out", str(tmp_path))


@pytest.mark.parametrize("name", ["slowdown", "overfitting", "slowdown_net"])
def test_metrics_agree_with_the_record(name, tmp_path):
    """At the default budget, in distribution: no metric moved."""
    said = run(name, "--out", str(tmp_path), "--dataset", catalog.load(name).datasets[-1])
    assert re.search(r"^record +.*unchanged", said, re.MULTILINE), said
