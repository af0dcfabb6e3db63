"""Batch normalization needs fewer steps at a small learning rate, and bears one that stops others.

Source: Ioffe & Szegedy, Batch Normalization (ICML 2015), section 4.1: MNIST as binary images, three
hidden layers of 100 sigmoid units, small Gaussian weights, mini-batches of 60, 50,000 steps. It
shows two figures and no number: the normalized net is ahead from the start, and the {15, 50, 85}th
percentiles of the input to a typical sigmoid of the last hidden layer stay where they are.

Differs from the source: 10,000 steps by default (--paper: 50,000). The paper names neither the
learning rate nor the standard deviation of the weights, so learning rates from .1 to 30 stand side
by side. At 1, where the plain net does best, BN is ahead in the first tenth only; both end alike.

    make recipe-batch-norm          five to ten minutes on 2 cores
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from common.experiment import Data, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Alike, Higher, Lower
from common.ingredients.callbacks import Record
from common.training import fit

PERCENTILES = (15, 50, 85)


@dataclass(frozen=True)
class Config:
    """Hyperparameters."""

    width: int = 100  # units in each of the three hidden layers
    stddev: float = 0.1  # standard deviation of the Gaussian weights
    batch_size: int = 60  # images in a mini-batch
    steps: int = 10_000  # mini-batches trained on
    every: int = 200  # steps between two evaluations, which divide those of a pass
    learned: float = 90.0  # test accuracy (%) that counts as having learned
    good: float = 94.0  # test accuracy (%) that the plain net reaches in the end at .1

    def __post_init__(self):
        if self.steps < self.every:
            raise ValueError(f"--steps: expected at least --every, received {self.steps}")


ARMS = {
    f"{name}, rate {rate:g}": {"normalize": name == "BN", "learning_rate": rate}
    for rate in (0.1, 1.0, 10.0, 30.0)  # learning rates of plain gradient descent
    for name in ("plain", "BN")
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 10) logits. Beta of BN replaces the bias before it."""
    normal = keras.initializers.RandomNormal(
        stddev=config.stddev, seed=keras.random.SeedGenerator(seed)
    )
    inputs = keras.Input((28, 28))
    x = ops.cast(layers.Flatten()(inputs) > 127, "float32")
    for _ in range(3):
        x = layers.Dense(config.width, use_bias=not arm["normalize"], kernel_initializer=normal)(x)
        if arm["normalize"]:
            x = layers.BatchNormalization()(x)
        x = layers.Activation("sigmoid")(x)
    return keras.Model(inputs, layers.Dense(10, kernel_initializer=normal)(x))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, y_train), (x_test, y_test) = data
    model = build_model(config, arm, seed)
    model.compile(
        optimizer=keras.optimizers.SGD(arm["learning_rate"]),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    probe = keras.Model(model.inputs[0], model.layers[-2].input)  # into the last hidden sigmoids

    def percentiles() -> np.ndarray:
        """Of each unit's inputs, (3, width)."""
        z = ops.convert_to_numpy(probe(x_test[:1_000], training=False))
        return np.percentile(z, PERCENTILES, axis=0)

    record = Record(percentiles)
    history = fit(
        model,
        x_train,
        y_train,
        batch_size=config.batch_size,
        epochs=config.steps // config.every,
        steps_per_epoch=config.every,
        validation_data=(x_test, y_test),
        callbacks=[record],
    ).history
    accuracy, moved = 100 * np.array(history["val_accuracy"]), drift(np.array(record.values))

    def steps_to(wanted: float) -> int:  # one evaluation more than there are: never
        return config.every * (1 + int(np.argmax([*(accuracy >= wanted), True])))

    metrics = {
        "test accuracy in the first tenth (%)": accuracy[: max(1, len(accuracy) // 10)].mean(),
        "final test accuracy (%)": accuracy[-5:].mean(),
        "steps to learn": steps_to(config.learned),
        "steps to the plain net's final accuracy": steps_to(config.good),
        "drift of the percentiles": moved.mean(),
    }
    typical = np.argsort(moved)[len(moved) // 2]
    curves = {f"{p}th": np.array(record.values)[:, i, typical] for i, p in enumerate(PERCENTILES)}
    return Outcome(metrics, {"test accuracy (%)": accuracy, **curves})


def drift(percentiles: np.ndarray) -> np.ndarray:
    """(evaluations, 3, units) -> mean distance of each unit's percentiles from where they end.

    In units of the final distance of the outer two.
    """
    end = percentiles[-1]
    return np.abs(percentiles - end).mean(axis=(0, 1)) / (end[2] - end[0])


# ---- findings
EARLY, FINAL = "test accuracy in the first tenth (%)", "final test accuracy (%)"
SMALL = ("BN, rate 0.1", "plain, rate 0.1")  # a small learning rate
FINDINGS = (
    Lower("steps to learn", *SMALL, ratio=True, by=3),
    Lower("steps to the plain net's final accuracy", *SMALL, ratio=True, by=1.3),
    Lower("drift of the percentiles", *SMALL, ratio=True, by=1.1),
    Higher(EARLY, *SMALL, by=20),
    Higher(FINAL, *SMALL, by=0.5),
    Higher(EARLY, "BN, rate 1", than="plain, rate 1"),
    Alike(FINAL, "BN, rate 1", to="plain, rate 1", within=0.5, dataset="mnist"),
    Higher(EARLY, "BN, rate 10", than="plain, rate 10", by=20),
    Higher(FINAL, "BN, rate 30", than="plain, rate 30", by=60),
)


def plot(results: Results):
    """Test accuracy at each learning rate, and the percentiles at the smallest one."""
    figure, axes = figures.panels(results.titled("Batch normalization"), 2, 2)
    every = results.config["every"]
    for panel, chosen in zip(axes[0], (list(ARMS)[:4], list(ARMS)[4:]), strict=True):
        how = {"every": every, "xlabel": "step", "each_seed": True}
        figures.curves(panel, results, "test accuracy (%)", chosen, **how)
        panel.set_ylim(0, 100)
    for panel, name in zip(axes[1], ("plain, rate 0.1", "BN, rate 0.1"), strict=True):
        figures.label(panel, f"into a typical last sigmoid: {name}", "step", "percentile")
        for p, color in zip(PERCENTILES, figures.COLORS, strict=False):
            one_seed = results.curves(f"{p}th", name)[:1]  # units differ
            figures.lines(panel, one_seed, f"{p}th", color, every)
    axes[1, 1].sharey(axes[1, 0])
    for panel in (axes[0, 0], axes[0, 1], axes[1, 0]):
        figures.legend(panel)
    return figure


SMOKE, PAPER = {"steps": 20, "every": 10}, {"steps": 50_000}
DIGITS = {"digits": {"steps": 1_980, "every": 22, "learned": 80.0, "good": 88.0}}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, PAPER, on=DIGITS, seeds=4)

if __name__ == "__main__":
    main(RECIPE)
