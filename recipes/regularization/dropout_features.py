"""Dropout makes hidden units learn strokes and spots; without it their weights look like noise.

Source: Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov, Dropout (JMLR 15, 2014), sections
7.1 and 7.2, figures 7 and 8: an autoencoder with one layer of 256 ReLU units on MNIST. Without
dropout single features mean nothing, because units rely on each other (co-adaptation). With it they
detect edges, strokes and spots, and fewer are active at a time: mean activation .7, not 2.0.

Differs from the source: it names no optimizer, cost or epochs. Here: linear outputs, squared error,
momentum, small initial weights. Kurtosis measures strokes: well above a Gaussian's 3 if only a few
weights are large. The plain net's squared error is a seventh of dropout's; the paper's are similar.

    make recipe-dropout-features          two to three minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge, Lt
from keras import layers

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Higher, Lower, Printed
from common.ingredients.callbacks import Record
from common.training import fit

SHOWN = 10  # features along each side of the figure


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 60_000  # training images, the first ones
    hidden: int = 256  # number of hidden units
    drop: Annotated[float, Ge(0), Lt(1)] = 0.5  # probability of dropping a hidden unit
    stddev: float = 0.01  # standard deviation of the initial weights
    learning_rate: float = 1.0  # of gradient descent
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9  # of gradient descent
    batch_size: int = 100  # images in a mini-batch
    epochs: int = 25  # passes over the training images


ARMS = {"plain": {"dropout": False}, "dropout": {"dropout": True}}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 784), the same pixels in [0, 1]."""
    generator = keras.random.SeedGenerator(seed)
    initial = keras.initializers.RandomNormal(stddev=config.stddev, seed=generator)
    x = inputs = keras.Input((28, 28))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(x))
    x = layers.Dense(config.hidden, "relu", kernel_initializer=initial, name="hidden")(x)
    if arm["dropout"]:
        x = layers.Dropout(config.drop, seed=seed)(x)
    return keras.Model(inputs, layers.Dense(784, kernel_initializer=initial)(x))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, _), (x_test, _) = data
    x_train = x_train[: config.n_train]
    model = build_model(config, arm, seed)
    model.compile(keras.optimizers.SGD(config.learning_rate, config.momentum), "mean_squared_error")
    layer, test = model.get_layer("hidden"), (x_test, unit_pixels(x_test))
    watch = Record(lambda: kurtosis(layer.get_weights()[0]))
    how = {"batch_size": config.batch_size, "epochs": config.epochs, "callbacks": [watch]}
    history = fit(model, x_train, unit_pixels(x_train), **how, validation_data=test).history
    hidden = keras.Model(model.inputs[0], layer.output).predict(x_test, batch_size=1_000, verbose=0)
    kernel = layer.get_weights()[0]
    features = kernel[:, : SHOWN**2] / np.abs(kernel[:, : SHOWN**2]).max(axis=0)
    metrics = {
        "kurtosis of a unit's weights": watch.values[-1],
        "mean |correlation| of two units' responses": mean_correlation(hidden),
        "active units (%)": 100 * np.mean(hidden > 0),
        "mean activation": hidden.mean(),
        "test error per pixel": history["val_loss"][-1],
    }
    curves = {"kurtosis of a unit's weights": watch.values, "test error": history["val_loss"]}
    return Outcome(metrics, curves, {"features": features.T.reshape(-1, 28, 28)})


def unit_pixels(images: np.ndarray) -> np.ndarray:
    """(n, 28, 28) pixels in 0..255 -> (n, 784) in [0, 1]."""
    return images.reshape(len(images), -1) / np.float32(255)


def mean_correlation(units: np.ndarray) -> float:
    """(examples, units) -> mean absolute correlation of two different units; dead ones left out."""
    alive = units[:, units.std(axis=0) > 0]
    correlation = np.abs(np.corrcoef(alive, rowvar=False))
    n = len(correlation)
    return (correlation.sum() - n) / (n * (n - 1))


def kurtosis(kernel: np.ndarray) -> float:
    """(inputs, units) -> median over units of the kurtosis of a unit's weights; of Gaussians, 3."""
    deviations = kernel - kernel.mean(axis=0)
    return float(np.median(np.mean(deviations**4, axis=0) / np.mean(deviations**2, axis=0) ** 2))


# ---- findings
KURTOSIS, ACTIVATION = "kurtosis of a unit's weights", "mean activation"
CORRELATION = "mean |correlation| of two units' responses"
SOURCE = "Srivastava et al. 2014, section 7"
UNKNOWN = "The paper names no optimizer, cost or epochs; the ratio falls with epochs (paper preset)"
BOTH = ("default", "paper")  # 2.9 below is 2.0 / .7
FINDINGS = (
    Higher(KURTOSIS, "dropout", than="plain", ratio=True, by=2, source=SOURCE),
    Lower(CORRELATION, "dropout", than="plain", ratio=True, by=1.5, source=SOURCE),
    Lower("active units (%)", "dropout", than="plain", by=15, source=SOURCE),
    Lower(ACTIVATION, "dropout", than="plain", ratio=True, by=2, source=SOURCE),
    Printed(ACTIVATION, "plain", 2.9, SOURCE, over="dropout", cause=UNKNOWN, preset=BOTH),
)


def plot(results: Results):
    """The weights into the hidden units of seed 0, without dropout and with it."""
    figure, axes = figures.panels(results.titled("What hidden units look for"), 1, 2)
    for panel, arm in zip(axes[0], ARMS, strict=True):
        kurtosis, correlation = (results.metric(m, arm).mean() for m in (KURTOSIS, CORRELATION))
        title = f"{arm}: kurtosis {kurtosis:.1f}, |correlation| {correlation:.2f}"
        gray = np.round(4 * (1 + results.picture("features", arm))) / 8
        figures.show(panel, gray, SHOWN, title, interpolation="nearest")
    return figure


SMOKE, PAPER = {"n_train": 200, "epochs": 2}, {"epochs": 100}
ON = {"mnist5k": {"n_train": 3_500, "epochs": 400}}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, PAPER, ON, seeds=3)

if __name__ == "__main__":
    main(RECIPE)
