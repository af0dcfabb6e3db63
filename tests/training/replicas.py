"""Trains small nets for three epochs on the devices named, and saves the numbers.

python -m tests.training.replicas DEVICES OUT.npz [NET ...]

Run by test_distribution.py in processes of their own, since devices are settled once a process.
"""

import sys

import common.startup  # noqa: F401

# isort: split
import keras
import numpy as np
from keras import layers

from common import data
from common.ingredients.callbacks import Evaluate
from common.training import context, distribution, fit


def net(*hidden: layers.Layer) -> keras.Model:
    """(B, 28, 28) -> (B, 10), with these layers inside."""
    scaled = [keras.Input((28, 28)), layers.Rescaling(1 / 255), layers.Reshape((28, 28, 1))]
    return keras.Sequential([*scaled, *hidden, layers.Flatten(), dense(10)])


def dense(units: int, activation: str | None = None) -> layers.Layer:
    return layers.Dense(units, activation, kernel_initializer=glorot(units))


def glorot(seed: int) -> keras.initializers.Initializer:
    return keras.initializers.GlorotUniform(seed=seed)


def conv(*first: layers.Layer) -> keras.Model:
    convolution = layers.Conv2D(8, 5, activation="relu", kernel_initializer=glorot(1))
    return net(*first, convolution, layers.MaxPooling2D())


class Attacked(keras.Sequential):
    """A step of its own, in which gradients with respect to the inputs are taken."""

    def train_step(self, batch):
        import tensorflow as tf

        x, y = batch
        x = tf.cast(x, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = self.compute_loss(y=y, y_pred=self(x, training=True))
        return super().train_step((x + 10 * tf.sign(tape.gradient(loss, x)), y))


NETS = {
    "dense": lambda: net(layers.Flatten(), dense(30, "sigmoid")),
    "bn": lambda: net(
        layers.Flatten(), dense(30), layers.BatchNormalization(), layers.Activation("sigmoid")
    ),
    "conv": conv,
    "dropout": lambda: net(layers.Flatten(), dense(64, "relu"), layers.Dropout(0.5, seed=1)),
    "augmentation": lambda: conv(layers.RandomTranslation(0.1, 0.1, seed=1)),
    "attacked": lambda: Attacked(conv().layers),
}

TESTED = {"dense": 10_000}  # images; of the others 1,000


@keras.saving.register_keras_serializable("tests")
class Count(keras.metrics.Metric):
    """How many examples were evaluated."""

    def __init__(self, name="count", **settings):
        super().__init__(name=name, **settings)
        self.n = self.add_variable((), "zeros", name="n")

    def update_state(self, y, y_pred, sample_weight=None):
        self.n.assign_add(keras.ops.cast(keras.ops.shape(y)[0], "float32"))

    def result(self):
        return self.n


def main(devices: str, out: str, names: list[str]) -> None:
    """Of every net: histories, and the weights after three epochs."""
    distribution.start(devices)
    (x, y), (x_test, y_test) = data.load("mnist5k").arrays
    found = {}
    for name in names or ["dense", "bn", "conv"]:
        # 357 images in mini-batches of 100 leave 57, which two and four replicas cannot share.
        # 10,000 test images leave none, three more do.
        n = TESTED.get(name, 1_000)
        many, labels = np.resize(x_test, (n + 3, 28, 28)), np.resize(y_test, n + 3)
        with distribution.scope(), context.running(context.Context(0)):
            model = NETS[name]()
            model.compile(
                # So slow that three epochs do not let a difference in the last digit grow.
                optimizer=keras.optimizers.SGD(0.02, momentum=0.5),
                loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy", Count()],
            )
            history = fit(
                model,
                x[:357],
                y[:357],
                batch_size=100,
                epochs=3,
                validation_data=(many[:n], labels[:n]),
                callbacks=[Evaluate("odd", many, labels)],
            ).history
        found |= {f"{name}/{key}": np.array(values) for key, values in history.items()}
        weights = [np.ravel(np.array(weight)) for weight in model.get_weights()]
        found[f"{name}/weights"] = np.concatenate(weights)
    if distribution.is_chief():
        np.savez(out, **found)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
