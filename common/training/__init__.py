"""Training: `fit` in compiled epochs, resumed to the bit, on one device or many."""

import common.startup  # noqa: F401  before TensorFlow is imported elsewhere
from common.training.context import once
from common.training.loop import evaluate, fit

__all__ = ["evaluate", "fit", "once"]
