"""Training: `fit` in compiled epochs, resumed to the bit, on one device or many."""

from common.training.context import once
from common.training.loop import evaluate, fit

__all__ = ["evaluate", "fit", "once"]
