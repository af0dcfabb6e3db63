"""Weight decay raises the accuracy of a net trained on 1,000 digits; so does L1, with few weights.

Source: Nielsen, Neural Networks and Deep Learning (2015), chapter 3, "Regularization": the net and
images of `overfitting`, with the penalty lambda / (2 n) * sum of squared weights (L2) or
lambda / n * sum of absolute weights (L1) added to the cost; biases are not penalized. n is the
number of training images, so that lambda weighs the penalty against the cost of all of them.

Differs from the source: it has no curve for L1, L1 + L2, max-norm (a bound on the norm of the
weights into a unit, Srivastava et al. 2014); their strengths were chosen on 1,000 other training
images. On one seed of six L1's accuracy falls to 60 % near the end, and 60 % of its weights end
near zero, not 84. --paper (50,000 images, lambda 5, 30 epochs): L2 gains .7, max-norm loses 2.3.

    make recipe-l1-l2          about three minutes on 2 cores
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
from common.training import fit

NEAR_ZERO = 0.01  # absolute value; at the start .8 % of N(0, 1) weights are that small
SIZES = np.logspace(-5, 1, 61)  # edges of the histogram of absolute weights


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 1_000  # n: training images, the first ones
    l2: Annotated[float, Ge(0)] = 0.1  # lambda: cost + l2 / (2 n) * sum of w^2
    l1: Annotated[float, Ge(0)] = 0.1  # lambda: cost + l1 / n * sum of |w|
    max_norm: float = 4.0  # largest norm of the weights into one unit
    learning_rate: float = 0.5  # of plain gradient descent
    batch_size: int = 10  # images in a mini-batch
    epochs: int = 400  # passes over the training images


ARMS = {  # shares of each lambda, and whether norms are bounded
    "none": {"l1": 0.0, "l2": 0.0, "max_norm": False},
    "L2": {"l1": 0.0, "l2": 1.0, "max_norm": False},
    "L1": {"l1": 1.0, "l2": 0.0, "max_norm": False},
    "both": {"l1": 0.5, "l2": 0.5, "max_norm": False},
    "max-norm": {"l1": 0.0, "l2": 0.0, "max_norm": True},
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 10) logits of sigmoid outputs."""
    l1 = arm["l1"] * config.l1 / config.n_train
    l2 = arm["l2"] * config.l2 / (2 * config.n_train)
    return nielsen_net(
        30,
        seed,
        kernel_regularizer=keras.regularizers.L1L2(l1, l2) if l1 or l2 else None,
        kernel_constraint=keras.constraints.MaxNorm(config.max_norm) if arm["max_norm"] else None,
    )


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, y_train), (x_test, y_test) = data
    model = build_model(config, arm, seed)
    sgd = keras.optimizers.SGD(config.learning_rate)
    model.compile(sgd, sigmoid_cross_entropy, metrics=["accuracy"])
    x, y = x_train[: config.n_train], keras.utils.to_categorical(y_train[: config.n_train], 10)
    test = x_test, keras.utils.to_categorical(y_test, 10)
    steps = {"batch_size": config.batch_size, "epochs": config.epochs}
    history = fit(model, x, y, **steps, validation_data=test).history
    accuracy = 100 * np.array(history["val_accuracy"])
    kernels = [layer.get_weights()[0] for layer in model.layers if layer.weights]
    weights = np.abs(np.concatenate([kernel.ravel() for kernel in kernels]))
    sizes = np.histogram(np.clip(weights, SIZES[0], SIZES[-1]), SIZES)[0] / len(weights)
    metrics = {
        "final test accuracy (%)": accuracy[-1],
        "peak test accuracy (%)": accuracy.max(),
        "weights below 0.01 (%)": 100 * np.mean(weights < NEAR_ZERO),
    }
    return Outcome(metrics, {"test accuracy (%)": accuracy, "share of weights (%)": 100 * sizes})


# ---- findings
BOOK = "Nielsen 2015, ch. 3"
FINAL, PEAK = "final test accuracy (%)", "peak test accuracy (%)"
PRINTED_EPOCHS = [51, 101, 281, 400]
PRINTED = {"none": [81.40, 81.63, 82.21, 82.23], "L2": [82.87, 84.12, 86.45, 86.95]}
FINDINGS = (
    Higher(FINAL, "L2", than="none", by=3, preset="default", source=BOOK),
    Higher(FINAL, "L2", than="none", preset="paper", source=BOOK),
    Higher(FINAL, "max-norm", than="none", by=3, preset="default"),
    Higher("weights below 0.01 (%)", "L1", than="L2", by=20, source=BOOK),
    Higher(FINAL, "L1", than="L2", by=-2, preset="default"),
    Printed(FINAL, "none", 82.23, source=BOOK),
    Printed(PEAK, "none", 82.27, source=BOOK),
    Printed(FINAL, "L2", 86.95, source=BOOK),
    Printed(PEAK, "L2", 87.1, decimals=2, source=BOOK),
    Printed(PEAK, "none", 95.33, source=BOOK, preset="paper"),
    Printed(PEAK, "L2", 96.49, source=BOOK, preset="paper"),
)


def plot(results: Results):
    """Test accuracy by epoch, and how large the weights are at the end."""
    title = "Weight penalties (L1 {l1:g}, L2 {l2:g}) on {n_train:,} images".format(**results.config)
    figure, [[learning, weights]] = figures.panels(results.titled(title), 1, 2)
    figures.label(learning, "median of the seeds", "epoch", "test accuracy (%)")
    for color, arm in zip(figures.COLORS, results.arms, strict=False):
        accuracy = np.median(results.curves("test accuracy (%)", arm), axis=0, keepdims=True)
        figures.curve(learning, accuracy, arm, color)
        smaller = results.curves("share of weights (%)", arm).cumsum(axis=1)
        figures.curve(weights, smaller, arm, color, SIZES[1:])
    figures.label(weights, "weights at the end", "absolute value", "share of smaller weights (%)")
    weights.set_xscale("log")
    if results.content["preset"] != "paper":
        for color, (arm, values) in zip(figures.COLORS, PRINTED.items(), strict=False):
            figures.points(learning, PRINTED_EPOCHS, values, f"{BOOK}, {arm}", color, joined=True)
    learning.set_ylim(*results.metric(PEAK, "L2").max() + np.array([-12, 1]))
    figures.legend(learning)
    return figure


SMOKE, PAPER = {"epochs": 2}, {"n_train": 50_000, "l2": 5.0, "l1": 5.0, "epochs": 30}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, PAPER, seeds=6)

if __name__ == "__main__":
    main(RECIPE)
