"""Gradient descent brings sharpness to 2 / learning rate and keeps it there: the edge of stability.

Source: Cohen, Kaur, Li, Kolter & Talwalkar, Gradient descent on neural networks typically occurs at
the edge of stability (ICLR 2021), curves without numbers. Sharpness is the largest eigenvalue of
the cost's Hessian. A quadratic cost diverges where sharpness exceeds 2 / learning rate. A net's
sharpness comes to this value from below or above and stays; the cost falls, but not at every step.

Differs from the source: 100 tanh units on 1,000 images of MNIST minus their mean, not two layers of
200 on 5,000 of CIFAR-10; weights from N(0, 1/n_in). At .1 sharpness only gets to .64 of 2 / rate.

    make recipe-edge-of-stability          three minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge
from keras import layers, ops

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Exact, Higher, Lower
from common.ingredients.callbacks import Record
from common.ingredients.curvature import sharpness
from common.training import fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 1_000  # training images, the first ones
    width: int = 100  # hidden units
    steps: Annotated[int, Ge(4)] = 2_000  # of gradient descent, each on all training images
    every: Annotated[int, Ge(1)] = 25  # steps between two measurements of the sharpness
    iterations: Annotated[int, Ge(1)] = 8  # power iterations in a measurement


START, END = "sharpness at the start", "sharpness, last quarter"  # of the steps
RATIO = "sharpness, last quarter, over 2 / learning rate"
RISING = "steps on which the cost rises, last quarter (%)"
ARMS = {f"learning rate {rate}": {"learning_rate": rate} for rate in (0.1, 0.2, 0.4)}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels over 255, minus their mean -> (B, 10) outputs."""
    generator = keras.random.SeedGenerator(seed)
    normal = keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal", generator)
    x = inputs = keras.Input((28, 28))
    x = layers.Dense(config.width, "tanh", kernel_initializer=normal)(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(10, kernel_initializer=normal)(x))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x, y), _ = data
    x = x[: config.n_train] / np.float32(255)
    x, y = x - x.mean(axis=0), np.eye(10, dtype="float32")[y[: config.n_train]]
    model = build_model(config, arm, seed)
    model.compile(keras.optimizers.SGD(arm["learning_rate"]), half_squared_error)
    measure = sharpness(model, half_squared_error, x, y, config.iterations, seed)
    start = [measure()[0] for _ in range(10)][-1]  # until the vector is an eigenvector
    record = Record(lambda: measure()[0], config.every)
    how = {"batch_size": len(x), "epochs": config.steps, "callbacks": [record]}
    cost = np.array(fit(model, x, y, **how).history["loss"])
    measured = [start, *record.values]
    end = np.mean(measured[-max(1, len(record.values) // 4) :])
    rising = np.mean(np.diff(cost[len(cost) * 3 // 4 :]) > 0)
    metrics = {START: start, END: end, RATIO: end * arm["learning_rate"] / 2}
    metrics |= {RISING: 100 * rising, "cost at the end": cost[-1]}
    return Outcome(metrics, {"sharpness": measured, "cost": cost})


def half_squared_error(targets, outputs):
    """(B, C), (B, C) -> (B,): half the sum of the squared differences."""
    return ops.sum(ops.square(targets - outputs), axis=-1) / 2


# ---- findings
BELOW, FROM_BELOW, FROM_ABOVE = ARMS
SOURCE = "Cohen et al. 2021"
FINDINGS = (
    *(Exact(RATIO, arm, 1, within=0.05, source=SOURCE) for arm in (FROM_BELOW, FROM_ABOVE)),
    Higher(END, FROM_BELOW, than_metric=START, source=SOURCE),
    Lower(END, FROM_ABOVE, than_metric=START, source=SOURCE),
    Exact(RISING, BELOW, 0, within=0, source=SOURCE),
    *(Higher(RISING, arm, than=0, source=SOURCE) for arm in (FROM_BELOW, FROM_ABOVE)),
)


def plot(results: Results):
    """Sharpness and cost by step; dashed: 2 / learning rate."""
    figure, [[left, right]] = figures.panels(results.titled("The edge of stability"), 1, 2)
    config = results.config
    steps = config["every"] * np.arange(config["steps"] // config["every"] + 1)
    figures.curves(left, results, "sharpness", x=steps, xlabel="step")
    for name, color in zip(results.arms, figures.COLORS, strict=False):
        left.axhline(2 / ARMS[name]["learning_rate"], color=color, linestyle="--")
    left.set(title="dashed: 2 / learning rate", ylim=(0, 22))
    figures.curves(right, results, "cost", xlabel="step", each_seed=True)
    right.set_yscale("log")
    figures.legend(left)
    return figure


SMOKE = {"n_train": 100, "steps": 40, "every": 10}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, seeds=3)

if __name__ == "__main__":
    main(RECIPE)
