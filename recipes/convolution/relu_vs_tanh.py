"""At one learning rate ReLU learns sooner than tanh; with each at its best, little of that remains.

Source: Krizhevsky, Sutskever & Hinton (NIPS 2012), section 3.1 and figure 1: on CIFAR-10 a net of
four layers reaches 25 % training error about six times sooner with ReLU than with tanh, without
regularization, each at a learning rate of its own. The paper does not give the net's sizes.

Differs from the source: the net of the recipe cuda-convnet, half as wide and without response
normalization, learns 2,000 images. At ReLU's best learning rate tanh is not there after 50 epochs.
With each at its best (found on seed 0 among .001, .003, .01, .03, .1) little remains of the lead,
and with Glorot's and He's weights, which keep the size of the signal, tanh is the sooner one. Why
the factor of six does not come out is unknown. --paper takes all images and the full width, at
these learning rates; it has not been run.

    make recipe-relu-vs-tanh          three minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
from annotated_types import Ge, Lt
from keras import layers

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Lower, Printed
from common.training import fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 2_000  # training images
    epochs: int = 50  # passes over them at most
    error: float = 25.0  # training error (%) that ends the training
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9  # of gradient descent
    batch_size: int = 32  # images in a mini-batch
    width: int = 16  # maps of the first two layers; the third has twice as many


ARMS = {
    "ReLU": {"unit": "relu", "learning_rate": 0.003, "balanced": False},
    "tanh, same rate": {"unit": "tanh", "learning_rate": 0.003, "balanced": False},
    "tanh, own rate": {"unit": "tanh", "learning_rate": 0.03, "balanced": False},
    "ReLU, He": {"unit": "relu", "learning_rate": 0.003, "balanced": True},
    "tanh, Glorot": {"unit": "tanh", "learning_rate": 0.01, "balanced": True},
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 32, 32, 3) pixels minus their mean -> (B, 10) logits; `balanced`: He or Glorot."""
    generator = keras.random.SeedGenerator(seed)
    he_or_glorot = {"relu": keras.initializers.HeNormal, "tanh": keras.initializers.GlorotUniform}

    def initial(stddev: float) -> keras.initializers.Initializer:
        if arm["balanced"]:
            return he_or_glorot[arm["unit"]](seed=generator)
        return keras.initializers.RandomNormal(stddev=stddev, seed=generator)

    def conv(maps: int, stddev: float) -> layers.Layer:
        settings = {"activation": arm["unit"], "kernel_initializer": initial(stddev)}
        return layers.Conv2D(maps, 5, padding="same", **settings)

    x = inputs = keras.Input((32, 32, 3))
    # Balanced weights want inputs of standard deviation about one, the small ones pixels.
    x = layers.Rescaling(1 / 64 if arm["balanced"] else 1.0)(x)
    x = layers.MaxPooling2D(3, 2, "same")(conv(config.width, 1e-4)(x))
    for maps in (config.width, 2 * config.width):
        x = layers.AveragePooling2D(3, 2, "same")(conv(maps, 0.01)(x))
    last = layers.Dense(10, kernel_initializer=initial(0.01))
    return keras.Model(inputs, last(layers.Flatten()(x)))


class StopAt(keras.callbacks.Callback):
    """Ends the training once the training error (%) is low enough."""

    def __init__(self, error: float):
        super().__init__()
        self.error = error

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training |= 100 * (1 - logs["accuracy"]) <= self.error


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x, y), _ = data
    x, y = x[: config.n_train], y[: config.n_train]
    centered = layers.Rescaling(1.0, -x.mean(axis=0))
    net = build_model(config, arm, seed)
    model = keras.Sequential([keras.Input((32, 32, 3)), centered, net])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sgd = keras.optimizers.SGD(arm["learning_rate"], config.momentum)
    model.compile(sgd, loss, metrics=["accuracy"])
    steps = {"batch_size": config.batch_size, "epochs": config.epochs}
    history = fit(model, x, y, **steps, callbacks=[StopAt(config.error)]).history
    errors = [100 * (1 - value) for value in history["accuracy"]]
    metrics = {"epochs to 25 % training error": len(errors), "training error (%)": errors[-1]}
    return Outcome(metrics, {"training error (%)": errors})


# ---- findings
EPOCHS, SOURCE = "epochs to 25 % training error", "Krizhevsky et al. 2012, figure 1"
FINDINGS = (
    Lower("training error (%)", "ReLU", than="tanh, same rate", by=10, source=SOURCE),
    Lower(EPOCHS, "tanh, Glorot", than="ReLU, He", ratio=True),
    Printed(EPOCHS, "tanh, own rate", 6, over="ReLU", source=SOURCE),
)


def plot(results: Results):
    """Training error by epoch, with small weights and with balanced ones."""
    figure, axes = figures.panels(results.titled("ReLU and tanh"), 1, 2)
    titles = ("N(0, .0001²) and N(0, .01²) weights", "He's and Glorot's weights")
    error = results.config["error"]
    for panel, balanced, title in zip(axes[0], (False, True), titles, strict=True):
        arms = {
            name: f"{name.partition(',')[0]}, learning rate {arm['learning_rate']:g}"
            for name, arm in ARMS.items()
            if arm["balanced"] == balanced
        }
        figures.curves(panel, results, "training error (%)", arms, title=title, each_seed=True)
        panel.axhline(error, color=figures.GRAY, linestyle="--", label=f"{error:g} %")
        panel.set_ylim(0, 90)
        figures.legend(panel)
    return figure


SMOKE, PAPER = {"n_train": 64, "epochs": 2}, {"n_train": 50_000, "width": 32, "batch_size": 128}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, PAPER, datasets=("cifar10",), seeds=3)

if __name__ == "__main__":
    main(RECIPE)
