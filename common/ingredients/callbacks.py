"""Callbacks that measure a model after its epochs."""

import keras


class Evaluate(keras.callbacks.Callback):
    """Adds the loss and the metrics on further data to the History, as `{prefix}_loss` and so on.

    Args:
        prefix: of the names in the logs and in the History.
        x, y: the data, as for `keras.Model.evaluate`.
    """

    remembers = ()  # names of the attributes that a resumed training must restore

    def __init__(self, prefix, x, y):
        super().__init__()
        self.prefix, self.x, self.y = prefix, x, y

    def evaluate(self):
        """Loss and metrics by name."""
        return self.model.evaluate(self.x, self.y, batch_size=1000, return_dict=True, verbose=0)

    def on_epoch_end(self, epoch, logs=None):
        """Adds to the logs in place, so that callbacks after this one see them too."""
        logs.update({f"{self.prefix}_{name}": value for name, value in self.evaluate().items()})


class Record(keras.callbacks.Callback):
    """Appends what `measure()` returns, a number or an array, to `values` every `every` epochs."""

    remembers = ("values",)

    def __init__(self, measure, every=1):
        super().__init__()
        self.measure, self.every, self.values = measure, every, []

    def on_epoch_end(self, epoch, logs=None):
        """Measures."""
        if (epoch + 1) % self.every == 0:
            self.values.append(self.measure())
