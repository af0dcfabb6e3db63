"""When a net has learned enough, and how long that took."""

import itertools
import math

import keras


class StopAt(keras.callbacks.Callback):
    """Ends the training once the training error (%) is at most `error`; needs the accuracy."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def on_epoch_end(self, epoch, logs=None):
        """Reads the accuracy of the epoch."""
        self.model.stop_training |= 100 * (1 - logs["accuracy"]) <= self.error


def epochs_to(error, errors, chance=90.0):
    """Epochs after which `errors` (one an epoch, `chance` before) first fall to `error`, or inf.

    Between two epochs they fall on a straight line.
    """
    for k, (before, after) in enumerate(itertools.pairwise([chance, *errors])):
        if after <= error:
            return k + (before - error) / (before - after)
    return math.inf
