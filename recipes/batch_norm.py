"""Batch normalisation learns in fewer steps, and at rates at which the plain net learns nothing.

Source: Ioffe & Szegedy, Batch Normalization (ICML 2015), algorithms 1 and 2 and section 4.1: MNIST
as binary images, three hidden layers of 100 sigmoid units, small Gaussian weights, batches of 60,
50,000 steps. It shows two figures and no number: the normalised net is ahead from the start, and
the {15, 50, 85}th percentiles of the input of a typical sigmoid in the last hidden layer stay where
they are.

Differs from the source: 12,000 images and 10,000 steps by default; --paper has 60,000 and 50,000.
It names neither the rate nor the deviation of the weights. `batch_norm_folding` shows that the
layer costs nothing once the net is trained.

    make recipe-batch-norm          about two minutes on 2 cores
"""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from common import data, figures
from common.claims import Band, Effect
from common.command import main
from common.experiment import Outcome, Recipe, Run
from common.results import Results
from common.training import fit

PAPER = "Ioffe & Szegedy 2015, 4.1"


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    width: int = 100  # units in each of the three hidden layers
    stddev: float = 0.1  # of the Gaussian weights
    rate: float = 0.5  # learning rate of plain gradient descent
    batch_size: int = 60  # images in a mini-batch
    steps: int = 10_000  # mini-batches trained on
    every: int = 200  # steps between two evaluations


ARMS = {
    f"{name}{f' x{times}' if times > 1 else ''}": {"normalised": normalised, "times": times}
    for times in (1, 10, 30)
    for name, normalised in (("plain", False), ("BN", True))
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 784) binary -> (B, 10) logits. Where BN follows a layer has no bias: beta replaces it."""
    rng = keras.random.SeedGenerator(seed)
    normal = keras.initializers.RandomNormal(stddev=config.stddev, seed=rng)
    normalised = arm["normalised"]
    layers = []
    for _ in range(3):
        layers.append(
            keras.layers.Dense(config.width, use_bias=not normalised, kernel_initializer=normal)
        )
        if normalised:
            layers.append(keras.layers.BatchNormalization())
        layers.append(keras.layers.Activation("sigmoid"))
    return keras.Sequential(
        [keras.Input((784,)), *layers, keras.layers.Dense(10, kernel_initializer=normal)]
    )


def binary(images: np.ndarray) -> np.ndarray:
    """(n, 28, 28, 1) in 0..255 -> (n, 784), 1.0 where a pixel is brighter than half."""
    return (images.reshape(len(images), -1) > 127).astype(np.float32)


def train(run: Run, arm: dict) -> Outcome:
    config = run.config
    first, test = run.data.train, run.data.test
    pixels = binary(test.images)
    model = build_model(config, arm, run.seed)
    inputs = keras.Model(model.inputs, model.layers[-2].input)  # of the last hidden sigmoids
    some, percentiles = tf.constant(pixels[:1_000]), []
    responses = tf.function(lambda: inputs(some, training=False), autograph=False)
    record = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: percentiles.append(np.percentile(responses(), [15, 50, 85], axis=0))
    )
    history = fit(
        model,
        binary(first.images),
        first.labels,
        optimizer=keras.optimizers.SGD(config.rate * arm["times"]),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        batch_size=config.batch_size,
        epochs=config.steps // config.every,
        steps_per_epoch=config.every,
        seed=run.seed,
        callbacks=[*run.watch(), record],
        validation_data={"test": (pixels, test.labels)},
    ).history
    percentiles = np.array(percentiles)  # (epochs, 3, units)
    accuracy = 100 * np.array(history["test_accuracy"])
    spread = (percentiles[-1, 2] - percentiles[-1, 0]).mean()
    drift = np.abs(percentiles - percentiles[-1]).mean()
    step = np.abs(np.diff(percentiles, axis=0)).mean()
    metrics = {
        "early": accuracy[: max(1, len(accuracy) // 10)].mean(),
        "final": accuracy[-5:].mean(),
        "drift": drift,
        "drift_rel": drift / spread,
        "spread": spread,
        "step": step / spread,
        "median_move": np.abs(percentiles[-1, 1] - percentiles[0, 1]).mean(),
    }
    series = {"accuracy": accuracy}
    for name, values in zip(("p15", "p50", "p85"), percentiles[:, :, 0].T, strict=False):
        pass
    return Outcome(metrics, series)


CLAIMS = ()


def plot(results: Results):
    figure, axes = figures.panels(results.titled("Batch normalisation"), 1, 1)
    for color, arm in zip(figures.COLORS, ARMS, strict=False):
        figures.curve(axes[0, 0], results.history(f"{arm}/accuracy"), arm, color)
    figures.legend(axes[0, 0])
    return figure


RECIPE = Recipe(
    __doc__,
    Config,
    ARMS,
    train,
    CLAIMS,
    plot,
    smoke={"steps": 20, "every": 10},
    paper={"steps": 50_000},
)

if __name__ == "__main__":
    main(RECIPE)
