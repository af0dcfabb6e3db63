"""Early in training dropout and random crops slow AlexNet down; what they are worth shows later.

Source: Krizhevsky, Sutskever & Hinton (NIPS 2012), sections 3.3, 3.4 and 4, on ImageNet: response
normalization lowers the top-1 error by 1.4 points, overlapping pools by .4, the color shift by
more than 1; without random crops, or without dropout, the net overfits.

Differs from the source: half the maps and units of the recipe alexnet, 4,000 images of CIFAR-10,
ten epochs. That early the net does not overfit yet, and without dropout it errs less on test
images too. Three seeds cannot tell the other parts from chance. "no crops and mirrors" leaves out
the color shift too. Pools of 2 x 2 leave larger maps, so that arm has more weights. --paper trains
on all images for 60 epochs, which takes hours and has not been run.

    make recipe-alexnet-ablation          five to ten minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge, Lt
from keras import layers

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Lower
from common.ingredients.alexnet import alexnet
from common.ingredients.layers import Crop, pca_colors
from common.training import fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 4_000  # training images, the first ones
    epochs: int = 10  # passes over them
    learning_rate: float = 0.01  # of gradient descent with momentum
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9  # of gradient descent
    weight_decay: Annotated[float, Ge(0)] = 5e-4  # times the weights, added to their gradient
    batch_size: int = 64  # images in a mini-batch


WHOLE = {"normalize": True, "pool": 3, "dropout": 0.5, "crops": True, "colors": True}
ARMS = {
    "whole": WHOLE,
    "no dropout": WHOLE | {"dropout": 0.0},
    "no crops and mirrors": WHOLE | {"crops": False},
    "no color shift": WHOLE | {"colors": False},
    "no response normalization": WHOLE | {"normalize": False},
    "no overlapping pools": WHOLE | {"pool": 2},
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 32, 32, 3) pixels minus their mean -> (B, 10) logits."""
    parts = {name: arm[name] for name in ("normalize", "pool", "dropout")}
    size = {"maps": (16, 32, 48, 48, 32), "units": 256}
    return alexnet(10, seed, weight_decay=config.weight_decay, **size, **parts)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, y_train), test = data
    x_train, y_train = x_train[: config.n_train], y_train[: config.n_train]
    mean = x_train.mean(axis=0, dtype="float64")
    crop = layers.Rescaling(1.0, -mean, dtype="float32")
    if arm["crops"]:
        crop = Crop(32, mean, 4, pca_colors(x_train) if arm["colors"] else None, seed)
    net = build_model(config, arm, seed)
    model = keras.Sequential([keras.Input((32, 32, 3)), crop, net])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sgd = keras.optimizers.SGD(config.learning_rate, config.momentum)
    model.compile(sgd, loss, metrics=["accuracy"])
    how = {"batch_size": config.batch_size, "epochs": config.epochs}
    how |= {"validation_data": test, "validation_freq": config.epochs}
    history = fit(model, x_train, y_train, **how).history
    training = 100 * (1 - np.array(history["accuracy"]))
    error = 100 * (1 - history["val_accuracy"][-1])
    metrics = {"test error (%)": error, "training error (%)": training[-1]}
    return Outcome(metrics, {"training error (%)": training})


# ---- findings
ERROR = "test error (%)"
FINDINGS = (
    Lower("training error (%)", "no dropout", than="whole"),
    Lower("training error (%)", "no crops and mirrors", than="whole"),
    Lower(ERROR, "no dropout", than="whole"),
)


def plot(results: Results):
    """Training error by epoch, and the test error of each seed at the end."""
    title = results.titled("AlexNet without one of its parts")
    figure, [[learning, end]] = figures.panels(title, 1, 2)
    figures.curves(learning, results, "training error (%)", title="learning")
    figures.legend(learning)
    figures.label(end, "at the end", "test error (%), each seed", "")
    for row, (color, arm) in enumerate(zip(figures.COLORS, results.arms, strict=False)):
        error = results.metric(ERROR, arm)
        end.plot(error, [-row] * len(error), "o", color=color, markersize=14)
    end.set_yticks([-row for row in range(len(results.arms))], results.arms)
    return figure


SMOKE = {"n_train": 128, "epochs": 1}
PAPER = {"n_train": 50_000, "epochs": 60, "batch_size": 128}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, PAPER, datasets=("cifar10",), seeds=3)

if __name__ == "__main__":
    main(RECIPE)
