"""The cost of a run before it trains: seconds to the first epoch, and memory at its peak."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from tests.benchmarks.timing import spread

ROUNDS = 3
# Each stage's end in seconds after the start of the process, then peak memory in MB.
STAGES = """
import sys, time
began = float(sys.argv[1])
import recipes
print(time.time() - began)
import importlib
from common import data
from common.training import context
loaded = data.load(sys.argv[2])
print(time.time() - began)
first = []
context.REPORT_SECONDS = 0
module = importlib.import_module("recipes.{module}")
config = module.Config({settings})
note = lambda share: first.append(time.time() - began)
with context.running(context.Context(0, report=note)):
    module.train(config, next(iter(module.ARMS.values())), 0, loaded.arrays)
print(first[0])
status = open("/proc/self/status").read()  # getrusage would count what started this process
print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)
"""
RUNS = {
    "regularization.overfitting": ("mnist", ""),
    "regularization.dropout": ("mnist", "epochs=10"),
    "convolution.alexnet": ("cifar10", "epochs=1, n_train=2_000, n_test=1_000"),
}


def stages(name: str, cache: str) -> list[float]:
    """Seconds until TensorFlow is loaded, the data are, and the first epoch ends; peak MB."""
    dataset, settings = RUNS[name]
    code = STAGES.format(module=name, settings=settings)
    done = subprocess.run(
        [sys.executable, "-c", code, str(time.time()), dataset],
        env=os.environ | {"XDG_CACHE_HOME": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(line) for line in done.stdout.splitlines()[-4:]]


def measure() -> str:
    """The section of docs/benchmarks.md."""
    head = "| run | TensorFlow loaded | data, first time | data, cached | first epoch | peak MB |"
    rows = [head, "|---|---|---|---|---|---|"]
    for name in RUNS:
        cold, warm = [], []
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as cache:
                cold.append(stages(name, cache))
                warm.append(stages(name, cache))
        cells = [
            [one[0] for one in warm],
            [one[1] - one[0] for one in cold],
            [one[1] - one[0] for one in warm],
            [one[2] - one[1] for one in warm],
            [one[3] for one in warm],
        ]
        rows.append(f"| {name.split('.')[1]} | {' | '.join(spread(values) for values in cells)} |")
        print(rows[-1], flush=True)
    table = "\n".join(rows)
    return (
        "## Before it trains\n\nSeconds of each stage, minimum / median / maximum of "
        f"{ROUNDS} processes; the cached data are read and their checksum verified.\n\n{table}\n"
    )
