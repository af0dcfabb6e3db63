"""More training images raise the accuracy of the same small net: from 69 % (100) to 94 % (10,000).

Source: Nielsen, Neural Networks and Deep Learning (2015), chapter 3, "Overfitting and
regularization", figure on the size of the training set: 784-30-10, N(0, 1) weights, cross-entropy
summed over the outputs, learning rate 0.5, mini-batches of 10, lambda / n = 0.0001, and the same
150,000 steps for every size, measured on the 10,000 validation images (MNIST's last).

Differs from the source: by default up to 10,000 images and 60,000 steps; --paper as there.

    make recipe-more-data          about four minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Higher, Printed
from common.ingredients.digit_nets import nielsen_net
from common.ingredients.losses import sigmoid_cross_entropy
from common.training import evaluate, fit


@dataclass(frozen=True)
class Config:
    n_validation: Annotated[int, Examples("validation")] = 10_000  # the last training images
    steps: int = 60_000  # mini-batches for every size, in whole passes over its images
    batch_size: int = 10  # images in a mini-batch
    learning_rate: float = 0.5  # of plain gradient descent
    decay: Annotated[float, Ge(0)] = 0.0001  # lambda / n: cost + decay / 2 * sum of w^2


SIZES = (100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)  # training images
ARMS = {f"{n:,} images": {"n_train": n} for n in SIZES}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 10) logits of sigmoid outputs."""
    return nielsen_net(30, seed, kernel_regularizer=keras.regularizers.L2(config.decay / 2))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x, y), _ = data
    y, n = keras.utils.to_categorical(y, 10), arm["n_train"]
    model = build_model(config, arm, seed)
    sgd = keras.optimizers.SGD(config.learning_rate)
    model.compile(sgd, sigmoid_cross_entropy, metrics=["accuracy"])
    epochs = max(1, config.steps * config.batch_size // n)
    fit(model, x[:n], y[:n], batch_size=config.batch_size, epochs=epochs)
    measured = evaluate(model, x[-config.n_validation :], y[-config.n_validation :])
    return Outcome({"validation accuracy (%)": 100 * measured["accuracy"]})


# ---- findings
BOOK, ACCURACY = "Nielsen 2015, ch. 3", "validation accuracy (%)"
PRINTED = (69.09, 76.37, 85.29, 88.85, 91.27, 93.24, 94.89, 95.85, 95.97)
FINDINGS = (
    Higher(ACCURACY, "1,000 images", than="100 images", by=15, source=BOOK),
    Higher(ACCURACY, "10,000 images", than="1,000 images", by=4, dataset="mnist", source=BOOK),
    *(
        Printed(ACCURACY, arm, value, source=BOOK, preset="paper")
        for arm, value in zip(ARMS, PRINTED, strict=True)
    ),
)


def plot(results: Results):
    """Validation accuracy by the number of training images."""
    figure, axes = figures.panels(results.titled("More training images"), 1, 1)
    panel = axes[0, 0]
    sizes = [ARMS[arm]["n_train"] for arm in results.arms]
    accuracy = np.stack([results.metric(ACCURACY, arm) for arm in results.arms], axis=1)
    figures.label(panel, "", "training images", ACCURACY)
    name = f"784-30-10, {results.config['steps']:,} steps"
    figures.curve(panel, accuracy, name, x=np.array(sizes))
    if results.dataset == "mnist":
        figures.points(panel, SIZES, PRINTED, f"{BOOK}, 150,000 steps", joined=True)
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter("{x:,.0f}")
    figures.legend(panel)
    return figure


def applies(arm: dict, preset: str, dataset: str) -> bool:
    """Sizes that take long only with --paper; on mnist5k no more images than there are."""
    largest = 2_000 if dataset == "mnist5k" else 50_000 if preset == "paper" else 10_000
    return arm["n_train"] <= largest


SMOKE, PAPER, ON = {"steps": 100}, {"steps": 150_000}, {"mnist5k": {"n_validation": 1_500}}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, PAPER, ON, seeds=6, applies=applies)

if __name__ == "__main__":
    main(RECIPE)
