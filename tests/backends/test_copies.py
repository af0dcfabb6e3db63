"""One-file copies on the other backends of Keras: `make test-backends`."""

import os
import subprocess
import sys

import pytest

from tools import copying

# Sets the data that a machine without a network cannot load, and runs the copy as a program.
DRIVER = """
import runpy, sys
import keras, numpy as np
rng = np.random.default_rng(0)
def images(n):
    return rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.uint8)
keras.datasets.mnist.load_data = lambda: (images(2_000), images(1_000))
assert keras.backend.backend() == sys.argv[2], keras.backend.backend()
file, sys.argv = sys.argv[1], [sys.argv[1], "--smoke"]
runpy.run_path(file, run_name="__main__")
"""


@pytest.mark.parametrize("backend", ["jax", "torch", "tensorflow"])
@pytest.mark.parametrize("name", ["slowdown", "overfitting", "dropout"])
def test_a_copy_runs_on_the_backend(name, backend, tmp_path):
    (tmp_path / "driver.py").write_text(DRIVER)
    for file, text in copying.script(name).items():
        (tmp_path / file).write_text(text)
    done = subprocess.run(
        [sys.executable, "-P", "driver.py", f"{name}.py", backend],
        cwd=tmp_path,
        env=os.environ | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) >= 3
    assert all("nan" not in line for line in lines), done.stdout
