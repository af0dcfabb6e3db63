"""Packs recipes for a machine with a GPU, where one command trains them on JAX and compares.

python -m tools.gpu_check DIR

writes four recipes as one file each, their data, what is recorded here, Keras as wheels, and
`run.py`. On a machine with JAX and NumPy, and neither TensorFlow nor a network,

    python DIR/run.py [--smoke]

trains each on all devices that JAX sees, and prints times and metrics beside the recorded ones.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from common import data, system
from tools import catalog, copying

RECIPES = ("overfitting", "dropout", "glorot_vs_he", "alexnet")
# What Keras needs besides JAX and NumPy.
WHEELS = ("keras", "absl-py", "rich", "namex", "h5py", "optree", "ml-dtypes", "packaging")
WHEELS += ("pygments", "markdown-it-py", "mdurl", "typing-extensions")
RUN = '''"""Trains the recipes beside this file on JAX and compares them with what is recorded."""

import importlib
import json
import os
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
os.environ["KERAS_BACKEND"] = "jax"
if not (HERE / "site").exists():
    how = ["--quiet", "--no-index", "--no-deps", "--target", str(HERE / "site")]
    wheels = [str(file) for file in (HERE / "wheels").glob("*.whl")]
    subprocess.run([sys.executable, "-m", "pip", "install", *how, *wheels], check=True)
sys.path[:0] = [str(HERE / "site"), str(HERE)]

import jax
import keras
import numpy as np

devices = jax.devices()
print(f"Keras {keras.__version__}, JAX {jax.__version__}, {devices}", flush=True)
if len(devices) > 1:  # each of them computes a share of a mini-batch
    keras.distribution.set_distribution(keras.distribution.DataParallel())
for name, record in json.loads((HERE / "records.json").read_text()).items():
    recipe, began = importlib.import_module(name), time.perf_counter()
    with np.load(HERE / f"{record['dataset']}.npz") as arrays:
        data = [(arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test")]
    smoke = "--smoke" in sys.argv
    config = recipe.Config(**(record["smoke"] if smoke else {}))
    for arm, metrics in record["arms"].items():
        measured = {metric: [] for metric in metrics}
        for seed in range(1 if smoke else 3):
            keras.utils.set_random_seed(seed)
            outcome = recipe.train(config, recipe.ARMS[arm], seed, data)
            for metric in metrics:
                measured[metric].append(float(outcome.metrics[metric]))
        for metric, (mean, std) in metrics.items():
            found = np.array(measured[metric])
            print(f"{name}, {arm}: {metric} {found.mean():.4g}, recorded {mean:.4g} +- {std:.2g}")
    print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)
'''


def main(arguments: list[str]) -> int:
    """Writes the folder; the exit code."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print(f"gpu_check: expected DIR, received {' '.join(arguments) or 'none'}", file=sys.stderr)
        return 2
    folder, records = Path(arguments[0]), {}
    for name in RECIPES:
        for file, text in copying.script(name).items():
            system.write_whole(folder / file, text.encode())
        recipe = catalog.load(name)
        content = catalog.records(name)[0]
        arms = {
            arm: {metric: (np.mean(v), np.std(v, ddof=1)) for metric, v in found["metrics"].items()}
            for arm, found in content["arms"].items()
        }
        records[name] = {"dataset": recipe.default_dataset, "smoke": recipe.smoke, "arms": arms}
    for dataset in {record["dataset"] for record in records.values()}:
        (x, y), (x_test, y_test) = data.load(dataset).arrays
        arrays = {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}
        np.savez_compressed(folder / f"{dataset}.npz", **arrays)
    system.write_whole(folder / "records.json", json.dumps(records).encode())
    system.write_whole(folder / "run.py", RUN.encode())
    return fetch(
        [f"{name}=={importlib.metadata.version(name)}" for name in WHEELS], folder / "wheels"
    )


def fetch(packages: list[str], folder: Path) -> int:
    """Downloads wheels for this version of Python and this system; pip's exit code."""
    how = ["--quiet", "--no-deps", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *how, *packages]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
