"""Speed side by side with what a user would pick instead; needs requirements-bench.txt."""

import os

# One core for all: TensorFlow, PyTorch and NumPy, and the processes that they are measured in,
# take as many threads as they may use cores, and not all can be told otherwise.
if hasattr(os, "sched_setaffinity"):  # Linux
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import recipes  # noqa: F401  starts TensorFlow quietly, before any of these imports Keras
