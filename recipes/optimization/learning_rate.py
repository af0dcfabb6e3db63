"""Too small a learning rate is slow; one too large jumps around the minimum and never settles.

Source: Nielsen, Neural Networks and Deep Learning (2015), chapter 3, "How to choose a neural
network's hyper-parameters?", and its `multiple_eta.json`: the cost of the training images, with L2
penalty, after each epoch. The net has 784, 30 and 10 sigmoid units and the cross-entropy cost.

Differs from the source: three seeds, not one, and learning rates share their initial weights.

    make recipe-learning-rate          three minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Lower, Printed
from common.ingredients.callbacks import Evaluate
from common.ingredients.digit_nets import nielsen_net
from common.ingredients.losses import sigmoid_cross_entropy
from common.training import fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 50_000  # n: training images, the first ones
    l2: Annotated[float, Ge(0)] = 5.0  # lambda: cost + l2 / (2 n) * sum of w^2
    batch_size: int = 10  # images in a mini-batch
    epochs: Annotated[int, Ge(2)] = 30  # passes over the training images


ARMS = {
    "too small, 0.025": {"learning_rate": 0.025},
    "good, 0.25": {"learning_rate": 0.25},
    "too large, 2.5": {"learning_rate": 2.5},
}
FIRST, LAST = "cost after epoch 1", "cost after the last epoch"
LEAST, MOST = "lowest cost", "highest cost"
RISES = "epochs after which the cost is higher"


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 10) logits of sigmoid outputs; kernels N(0, 1 / n_in)."""
    generator = keras.random.SeedGenerator(seed)
    scaled = keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal", generator)
    penalty = keras.regularizers.L2(config.l2 / (2 * config.n_train))
    return nielsen_net(30, seed, kernel_initializer=scaled, kernel_regularizer=penalty)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x, y), _ = data
    x, y = x[: config.n_train], keras.utils.to_categorical(y[: config.n_train], 10)
    model = build_model(config, arm, seed)
    model.compile(keras.optimizers.SGD(arm["learning_rate"]), sigmoid_cross_entropy)
    how = {"batch_size": config.batch_size, "epochs": config.epochs}
    history = fit(model, x, y, callbacks=[Evaluate("train", x, y)], **how).history
    cost = np.array(history["train_loss"])
    metrics = {FIRST: cost[0], LAST: cost[-1], LEAST: cost.min(), MOST: cost.max()}
    metrics[RISES] = np.sum(np.diff(cost) > 0)
    return Outcome(metrics, {"cost": cost})


# ---- findings
SMALL, GOOD, LARGE = ARMS
BOOK = "Nielsen 2015, ch. 3"
EPOCHS = (1, 5, 10, 20, 30)
PRINTED = {
    SMALL: (0.8781, 0.5175, 0.4310, 0.3706, 0.3392),
    GOOD: (0.4950, 0.3738, 0.3434, 0.3302, 0.3388),
    LARGE: (0.9249, 0.7812, 0.8013, 0.7504, 0.8607),
}
FINDINGS = (
    Lower(LAST, GOOD, than=LARGE, source=BOOK),
    Lower(FIRST, GOOD, than=SMALL, source=BOOK),
    *(Lower(RISES, SMALL, than=arm, source=BOOK) for arm in (GOOD, LARGE)),
    *(Printed(RISES, arm, rises, BOOK) for arm, rises in zip(ARMS, (0, 12, 14), strict=True)),
    *(Printed(FIRST, arm, costs[0], BOOK, decimals=4) for arm, costs in PRINTED.items()),
    *(Printed(LAST, arm, costs[-1], BOOK, decimals=4) for arm, costs in PRINTED.items()),
    Printed(LEAST, GOOD, 0.3200, BOOK, decimals=4),
    Printed(LEAST, LARGE, 0.7249, BOOK),
    Printed(MOST, LARGE, 1.1366, BOOK),
)


def plot(results: Results):
    """Cost of the training images by epoch, and the book's."""
    figure, [[panel]] = figures.panels(results.titled("Three learning rates"), 1, 1)
    figures.curves(panel, results, "cost", each_seed=True)
    if results.dataset == "mnist":
        for color, values in zip(figures.COLORS, PRINTED.values(), strict=False):
            figures.points(panel, EPOCHS, values, color=color)
    panel.set(ylim=(0, None), title="cost with its penalty, on all training images")
    figures.legend(panel, BOOK if results.dataset == "mnist" else None)
    return figure


SMOKE = {"n_train": 200, "epochs": 2}
ON = {"mnist5k": {"n_train": 3_500, "l2": 0.35}}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, on=ON, seeds=3)

if __name__ == "__main__":
    main(RECIPE)
