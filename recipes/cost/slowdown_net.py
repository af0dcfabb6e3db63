"""On digits too the quadratic cost slows a net down at its start, and a softmax layer does not.

Source: Nielsen, Neural Networks and Deep Learning (2015), chapter 3, "The cross-entropy cost
function" and "Softmax": 784-30-10 with weights and biases from N(0, 1), which saturate many units
at the start, and mini-batches of 10. "softmax" is a softmax layer with the log-likelihood cost
(categorical cross-entropy). `slowdown` shows one neuron alone.

Differs from the source: 10,000 training images, 40 epochs, and one learning rate for all costs. The
book gives the quadratic cost a learning rate six times higher, which makes up for most of the
slowdown: that arm is in the figure and in no finding. The book counts no epochs; the comparisons
are the recipe's own.

    make recipe-slowdown-net          about a minute on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from keras import layers, ops

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Alike, Lower
from common.ingredients.losses import sigmoid_cross_entropy
from common.training import fit

# Each cost takes (B, 10) one-hot targets y and logits z and returns (B,), summed over the units;
# the activation a(z) is part of it. dC/dz is (a - y) a' under the quadratic cost and a - y under
# the other two: the slope a' of a saturated unit is what slows it down.
COSTS = {
    "quadratic": lambda y, z: ops.sum(ops.square(ops.sigmoid(z) - y), axis=-1) / 2,
    "cross-entropy": sigmoid_cross_entropy,
    "log-likelihood": lambda y, z: ops.categorical_crossentropy(y, z, from_logits=True),
}


@dataclass(frozen=True)
class Config:
    """Hyperparameters."""

    n_train: Annotated[int, Examples("train")] = 10_000  # training images, the first ones
    epochs: int = 40  # passes over the training images
    batch_size: int = 10  # images in a mini-batch
    threshold: float = 90.0  # test accuracy (%) that counts as having learned


ARMS = {
    "quadratic": {"cost": "quadratic", "learning_rate": 0.5},
    "fast quadratic": {"cost": "quadratic", "learning_rate": 3.0},
    "cross-entropy": {"cost": "cross-entropy", "learning_rate": 0.5},
    "softmax": {"cost": "log-likelihood", "learning_rate": 0.5},
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 10) logits; weights and biases from N(0, 1)."""
    normal = keras.initializers.RandomNormal(stddev=1.0, seed=keras.random.SeedGenerator(seed))
    dense = {"kernel_initializer": normal, "bias_initializer": normal}
    inputs = keras.Input((28, 28))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(inputs))
    x = layers.Dense(30, "sigmoid", **dense)(x)
    return keras.Model(inputs, layers.Dense(10, **dense)(x))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    """Trains one arm; a net that never learned counts as needing one epoch more than it had."""
    (x_train, y_train), (x_test, y_test) = data
    y_train, y_test = (keras.utils.to_categorical(y, 10) for y in (y_train, y_test))
    model = build_model(config, arm, seed)
    sgd = keras.optimizers.SGD(arm["learning_rate"])
    model.compile(optimizer=sgd, loss=COSTS[arm["cost"]], metrics=["accuracy"])
    history = fit(
        model,
        x_train[: config.n_train],
        y_train[: config.n_train],
        batch_size=config.batch_size,
        epochs=config.epochs,
        validation_data=(x_test, y_test),
    ).history
    accuracy = 100 * np.array(history["val_accuracy"])
    learned = accuracy >= config.threshold
    metrics = {
        "epochs to learn": 1 + np.argmax(learned) if learned.any() else config.epochs + 1,
        "mean test accuracy of epochs 1 to 5 (%)": accuracy[:5].mean(),
        "final test accuracy (%)": accuracy[-1],
    }
    return Outcome(metrics, {"test accuracy (%)": accuracy})


# ---- findings
NIELSEN = "Nielsen 2015, ch. 3"
EPOCHS, EARLY = "epochs to learn", "mean test accuracy of epochs 1 to 5 (%)"
FINDINGS = (
    Lower(EPOCHS, "cross-entropy", than="quadratic", by=2, ratio=True, source=NIELSEN),
    Lower(EPOCHS, "softmax", than="quadratic", by=2, ratio=True, source=f"{NIELSEN}, softmax"),
    Alike(EARLY, "softmax", to="cross-entropy", within=3.0, source=f"{NIELSEN}, softmax"),
)


def plot(results: Results):
    """Test accuracy by epoch, and the accuracy that counts as having learned."""
    figure, axes = figures.panels(results.titled("Learning slowdown in a 784-30-10 net"), 1, 1)
    names = {arm: f"{ARMS[arm]['cost']}, {ARMS[arm]['learning_rate']}" for arm in results.arms}
    figures.curves(axes[0, 0], results, "test accuracy (%)", names)
    threshold = results.config["threshold"]
    learned = f"learned: {threshold:g} %"
    axes[0, 0].axhline(threshold, color=figures.GRAY, linewidth=1, label=learned)
    axes[0, 0].legend(title="cost, learning rate")
    return figure


RECIPE = Recipe(
    Config,
    ARMS,
    train,
    FINDINGS,
    plot,
    smoke={"n_train": 200, "epochs": 2},
    paper={"n_train": 50_000, "epochs": 30},
    on={"digits": {"n_train": 1_000, "threshold": 80.0}},  # 90 is near the nets' last accuracy
    seeds=6,
)

if __name__ == "__main__":
    main(RECIPE)
