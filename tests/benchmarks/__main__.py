"""Runs every benchmark of this folder, prints them and writes docs/benchmarks.md."""

from pathlib import Path

import tensorflow as tf
import torch

from common import results
from tests.benchmarks import adversarial, alexnet, augmentation, contest, costs, replicas
from tests.benchmarks.timing import ROUNDS

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"

tf.config.threading.set_intra_op_parallelism_threads(1)
torch.set_num_threads(1)
versions = results.versions() | {"torch": torch.__version__}
parts = [
    "# Benchmarks\n",
    f"Made by `make bench` in one process and one thread; {ROUNDS} rounds, ratios within each.\n",
    f"{results.hardware()}; {', '.join(f'{name} {one}' for name, one in versions.items())}.\n",
]
for benchmark in (contest, costs, augmentation, alexnet, adversarial, replicas):
    parts.append(benchmark.measure())
    print(parts[-1], flush=True)
results.write_whole(PAGE, "\n".join(parts).encode())
