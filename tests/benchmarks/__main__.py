"""Runs every benchmark of this folder and writes results/benchmarks.md, or the page in docs/.

python -m tests.benchmarks [--record]
"""

import sys
from pathlib import Path

import jax
import torch

from common import system
from tests.benchmarks import (
    adversarial,
    alexnet,
    augmentation,
    contest,
    costs,
    gradients,
    kernels,
    replicas,
    steps,
)
from tests.benchmarks.timing import ROUNDS

ROOT = Path(__file__).parents[2]
PAGES = {(): ROOT / "results" / "benchmarks.md", ("--record",): ROOT / "docs" / "benchmarks.md"}

arguments = tuple(sys.argv[1:])
if arguments not in PAGES:
    print(f"expected --record or nothing, received {' '.join(arguments)}", file=sys.stderr)
    sys.exit(2)
versions = system.versions() | {"torch": torch.__version__, "jax": jax.__version__}
parts = [
    "# Benchmarks\n",
    f"Made by `make bench` on one core; {ROUNDS} rounds, ratios within each.\n",
    f"{system.hardware()}; {', '.join(f'{name} {one}' for name, one in versions.items())}.\n",
]
PARTS = (contest, kernels, steps, costs, gradients, augmentation, alexnet, adversarial, replicas)
for benchmark in PARTS:
    parts.append(benchmark.measure())
    print(parts[-1], flush=True)
system.write_whole(PAGES[arguments], "\n".join(parts).encode())
print(f"written to {PAGES[arguments].relative_to(ROOT)}")
