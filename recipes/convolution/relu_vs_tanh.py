"""ReLU learns CIFAR-10 sooner than tanh, each at its best learning rate, but not six times sooner.

Source: Krizhevsky, Sutskever & Hinton (NIPS 2012), section 3.1 and figure 1: on CIFAR-10 a
convolutional net of four layers reaches 25 % training error six times sooner with ReLU than with
tanh, without regularization, each at the learning rate that makes it fastest. The paper does not
give the net; the size of the effect, it says, varies with it.

Differs from the source: four convolutions of 3 x 3 with stride 2 and a linear layer learn 10,000,
2,000 and 400 images; --paper, with all, a fifth and a 25th, has not been run. Learning rates are
searched among .01, .03 and .1 on seed 0 and 10,000 images, by training error alone; .03 is best for
both units. Tanh takes 1.3 times as many epochs on 10,000 images, 1.4 on 2,000 and 1.1 on 400; to
50 % error 1.7, 1.3 and 1.1: the number of images is not the cause, up to here. Nor are the weights:
from N(0, .01^2), on one seed at .03, tanh takes 25 epochs, and ReLU is at chance after 8. Why six
does not come out is unknown.

    make recipe-relu-vs-tanh          three to seven minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge, Lt
from keras import layers

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Lower, Printed
from common.ingredients.learned import StopAt, epochs_to
from common.training import fit

ERRORS = (50, 25)  # training errors (%) to which epochs are counted; the last ends the training
SHARES = {"": 1, ", a fifth": 5, ", a 25th": 25}  # what follows a unit's name: n_train over images


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 10_000  # training images of the largest subset
    learning_rate_relu: float = 0.03  # of ReLU
    learning_rate_tanh: float = 0.03  # of tanh
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9  # of gradient descent
    batch_size: int = 128  # images in a mini-batch
    epochs: int = 120  # passes over the images at most
    width: int = 32  # maps of the first layer; the others have twice as many


ARMS = {
    f"{name}{images}": {"unit": unit, "fewer": fewer}
    for images, fewer in SHARES.items()
    for name, unit in (("ReLU", "relu"), ("tanh", "tanh"))
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 32, 32, 3) pixels minus their mean -> (B, 10) logits."""
    generator = keras.random.SeedGenerator(seed)
    he_or_glorot = {"relu": keras.initializers.HeNormal, "tanh": keras.initializers.GlorotNormal}
    initial = he_or_glorot[arm["unit"]](seed=generator)
    conv = {"strides": 2, "padding": "same", "activation": arm["unit"]}
    x = inputs = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 64)(x)  # to a standard deviation of about one
    for k in range(4):
        maps = config.width * (2 if k else 1)
        x = layers.Conv2D(maps, 3, kernel_initializer=initial, **conv)(x)
    last = layers.Dense(10, kernel_initializer=initial)
    return keras.Model(inputs, last(layers.Flatten()(x)))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x, y), _ = data
    n = max(1, config.n_train // arm["fewer"])
    x, y = x[:n], y[:n]
    centered = layers.Rescaling(1.0, -x.mean(axis=0, dtype="float64").astype("float32"))
    net = build_model(config, arm, seed)
    model = keras.Sequential([keras.Input((32, 32, 3)), centered, net])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rates = {"relu": config.learning_rate_relu, "tanh": config.learning_rate_tanh}
    sgd = keras.optimizers.SGD(rates[arm["unit"]], config.momentum)
    model.compile(sgd, loss, metrics=["accuracy"])
    steps = {"batch_size": config.batch_size, "epochs": config.epochs}
    history = fit(model, x, y, **steps, callbacks=[StopAt(ERRORS[-1])]).history
    errors = [100 * (1 - value) for value in history["accuracy"]]
    metrics = {f"epochs to {e} % training error": epochs_to(e, errors) for e in ERRORS}
    return Outcome(metrics, {"training error (%)": errors})


# ---- findings
EPOCHS, EARLY = (f"epochs to {error} % training error" for error in (25, 50))
SOURCE = "Krizhevsky et al. 2012, figure 1"
FINDINGS = (
    Lower(EPOCHS, "ReLU", than="tanh", ratio=True, source=SOURCE),
    Lower(EARLY, "ReLU", than="tanh", ratio=True),
    Printed(EPOCHS, "tanh", 6, SOURCE, over="ReLU", preset="paper"),
)


def plot(results: Results):
    """Training error by epoch as in the source, and how many times sooner ReLU has learned."""
    figure, axes = figures.panels(results.titled("ReLU and tanh, each at its best"), 2, 2)
    *learning, factors = axes.ravel()
    sizes = [results.config["n_train"] // fewer for fewer in SHARES.values()]
    for panel, share, n in zip(learning, SHARES, sizes, strict=True):
        figures.label(panel, f"{n:,} images", "epoch", "training error (%)")
        for unit, how, color in (("ReLU", "-", 0), ("tanh", "--", 1)):
            errors = results.curves("training error (%)", unit + share)
            epochs = np.arange(1, errors.shape[1] + 1)
            lines = panel.plot(epochs, errors.T, how, color=figures.COLORS[color])
            lines[0].set_label(unit)
        panel.axhline(ERRORS[-1], color=figures.GRAY, linestyle=":")
        panel.set(ylim=(0, 95), xlim=(0, None))
        figures.legend(panel)
    for metric, error, color in ((EARLY, 50, 3), (EPOCHS, 25, 2)):
        epochs = [[results.metric(metric, u + s) for s in SHARES] for u in ("ReLU", "tanh")]
        ratios = np.array(epochs[1]) / np.array(epochs[0])  # (sizes, seeds)
        figures.curve(factors, ratios.T, f"to {error} % error", figures.COLORS[color], sizes)
    factors.axhline(6, color=figures.GRAY, linestyle=":", label="printed, to 25 %")
    figures.label(factors, "Epochs of tanh over those of ReLU", "training images", "factor")
    factors.set(xscale="log", ylim=(0, 6.5))
    factors.set_xticks(sizes, [f"{n:,}" for n in sizes])
    factors.minorticks_off()
    figures.legend(factors)
    return figure


SMOKE, PAPER = {"n_train": 800, "epochs": 2}, {"n_train": 50_000}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, PAPER, datasets=("cifar10",), seeds=3)

if __name__ == "__main__":
    main(RECIPE)
