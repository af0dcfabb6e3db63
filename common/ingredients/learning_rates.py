"""One training for many learning rates: R nets that start alike, each with its own.

Every kernel of such a model is (R, in, out), biases included as weights from a constant input, and
its logits are (B, R, C). The nets share nothing, so that one that diverges leaves the others alone.
"""

import keras
import numpy as np
from keras import ops


class LearningRates(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate of an optimizer under which net r moves by `rates`[r], (R,).

    It works with every Keras optimizer that treats each parameter alone: not with Muon, Lamb and
    Adafactor.
    """

    def __init__(self, rates):
        super().__init__()
        self.rates = [float(rate) for rate in rates]

    def __call__(self, step):
        """(R, 1, 1), at every step."""
        return ops.reshape(ops.array(self.rates), (-1, 1, 1))

    def get_config(self):
        """What Keras saves."""
        return {"rates": self.rates}


def nets_alike(copies, hidden, activation, initializer, pool=1):
    """(B, 28, 28) pixels in 0..255 -> (B, copies, 10) logits of nets that start alike.

    Args:
        copies: R, how many nets.
        hidden: numbers of units of the layers between, none for softmax regression.
        activation: of these.
        initializer: of all kernels (in, out).
        pool: side of the squares of pixels whose means the nets see.
    """
    x = inputs = keras.Input((28, 28))
    x = keras.layers.Reshape((28, 28, 1))(keras.layers.Rescaling(1 / 255)(x))
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(pool)(x))
    return keras.Model(inputs, dense_alike(x, copies, hidden, activation, initializer))


def dense_alike(x, copies, hidden, activation, initializer):
    """Inputs (B, D) -> (B, copies, 10) logits of the dense layers of `nets_alike`."""
    x = ops.repeat(x[:, None], copies, axis=1)
    for units, function in [*((units, activation) for units in hidden), (10, None)]:
        x = ops.pad(x, ((0, 0), (0, 0), (0, 1)), constant_values=1.0)  # the input of the bias
        how = {"activation": function, "kernel_initializer": alike(initializer)}
        x = keras.layers.EinsumDense("bri,rio->bro", (copies, units), **how)(x)
    return x


def alike(initializer):
    """An initializer of kernels (R, in, out): R copies of one kernel, with 0 for the last input."""

    def initialize(shape, dtype=None):
        one = ops.pad(initializer((shape[1] - 1, shape[2]), dtype), ((0, 1), (0, 0)))
        return ops.tile(one[None], (shape[0], 1, 1))

    return initialize


def total_cost(targets, logits):
    """(B,) classes, (B, R, C) logits -> (B,): the nets' cross-entropies, added."""
    hot = ops.one_hot(ops.cast(ops.reshape(targets, (-1, 1)), "int32"), logits.shape[2])
    return -ops.sum(hot * ops.log_softmax(logits), axis=(1, 2))


@np.errstate(all="ignore")  # a net may have diverged
def evaluate_each(model, x, y):
    """Mean cross-entropy and error (%) of each net, (R,) each; NaN and about 90 if it diverged."""
    parts = [x[i : i + 1024] for i in range(0, len(x), 1024)]
    # Each replica answers for the whole batch.
    logits = np.concatenate([model.predict_on_batch(part)[: len(part)] for part in parts])
    logits = logits - logits.max(axis=2, keepdims=True)
    cost = np.log(np.exp(logits).sum(axis=2)) - logits[np.arange(len(y)), :, y]
    return cost.mean(axis=0), 100 * np.mean(logits.argmax(axis=2) != y[:, None], axis=0)
