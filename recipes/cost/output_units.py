"""If output unit and cost belong together, dC/dz is a - y, and a net that is wrong learns at once.

Source: lecture of Konstanz: classes that exclude each other take softmax and log-likelihood, labels
that do not take sigmoid and cross-entropy, and real numbers linear units and the quadratic cost; no
figures. Nielsen, Neural Networks and Deep Learning (2015), chapter 3, has a - y for each of them.

Differs from the source: three wrong pairs as well, at the same learning rates. A digit's labels are
"even", "above four", "has a loop"; the real number is the angle by which its image is turned.

    make recipe-output-units          a minute on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
import tensorflow as tf
from annotated_types import Ge
from keras import ops

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Exact, Lower
from common.ingredients.callbacks import Record
from common.ingredients.digit_nets import nielsen_net
from common.training import fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 3_000  # training images, the first ones
    epochs: Annotated[int, Ge(1)] = 20  # passes over the training images


TASKS = {"classes": (10, 0.5), "labels": (3, 0.5), "angle": (1, 0.01)}  # outputs, learning rate
PAIRS = {
    "classes": ("softmax, log-likelihood", "softmax, quadratic"),
    "labels": ("sigmoid, cross-entropy", "sigmoid, quadratic"),
    "angle": ("linear, quadratic", "tanh, quadratic"),
}
ARMS = {pair: {"pair": pair, "task": task} for task, pairs in PAIRS.items() for pair in pairs}
PASSED, EARLY, END = "dC/dz over a - y at the start (%)", "error, epoch 5", "error at the end"
UNITS = {"softmax": ops.softmax, "sigmoid": ops.sigmoid, "tanh": ops.tanh, "linear": lambda z: z}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, K) weighted inputs z of the output units."""
    return nielsen_net(30, seed, TASKS[arm["task"]][0])


def cost_of(pair):
    """Targets y and weighted inputs z, (B, K) each -> (B,), summed over the units."""
    unit, cost = pair.split(", ")
    return {
        "log-likelihood": lambda y, z: ops.categorical_crossentropy(y, z, from_logits=True),
        "cross-entropy": lambda y, z: ops.sum(ops.softplus(z) - y * z, axis=-1),
        "quadratic": lambda y, z: ops.sum(ops.square(UNITS[unit](z) - y), axis=-1) / 2,
    }[cost]


def slopes(pair, y, z):
    """dC/dz and a - y, (n, K) each, of targets and weighted inputs (n, K)."""
    z = tf.constant(z, "float32")
    with tf.GradientTape() as tape:
        tape.watch(z)
        total = ops.sum(cost_of(pair)(y, z))
    return np.array(tape.gradient(total, z)), np.array(UNITS[pair.split(", ")[0]](z)) - y


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    task, pair, rng = arm["task"], arm["pair"], np.random.default_rng(seed)
    x, y = examples(task, *(part[: config.n_train] for part in data[0]), rng)
    test = examples(task, *data[1], rng)
    model = build_model(config, arm, seed)
    model.compile(keras.optimizers.SGD(TASKS[task][1]), cost_of(pair))
    slope, gap = slopes(pair, y, model.predict_on_batch(x)[: len(y)])  # several GPUs may add rows
    errors = Record(lambda: error(task, pair, model, *test))
    first = errors.measure()
    fit(model, x, y, batch_size=10, epochs=config.epochs, callbacks=[errors])
    metrics = {PASSED: 100 * np.abs(slope).sum() / np.abs(gap).sum()}
    metrics |= {EARLY: errors.values[:5][-1], END: errors.values[-1]}
    return Outcome(metrics, {"error": [first, *errors.values]})


def examples(task, images, digits, rng):
    """(n, 28, 28) pixels in 0..255, and their targets (n, K)."""
    if task == "classes":
        return images, np.eye(10, dtype="float32")[digits]
    if task == "labels":
        loop = np.isin(digits, (0, 6, 8, 9))
        return images, np.stack([digits % 2 == 0, digits > 4, loop], axis=1).astype("float32")
    turn = rng.uniform(-1, 1, len(images))  # of 45 degrees
    c, s, m, o = np.cos(turn * np.pi / 4), np.sin(turn * np.pi / 4), 13.5, 0 * turn
    around = np.stack([c, -s, m - c * m + s * m, s, c, m - s * m - c * m, o, o], axis=1)
    turned = ops.image.affine_transform(images[..., None].astype("float32"), around)
    return np.array(turned)[..., 0], turn[:, None].astype("float32")


def error(task, pair, model, x, y):
    """Wrong classes or labels (%), or the root mean square of the angles' errors (degrees)."""
    gap = slopes(pair, y, model.predict_on_batch(x)[: len(y)])[1]  # a - y
    if task == "angle":
        return 45 * np.sqrt(np.mean(gap**2))
    wrong = (y + gap > 0.5) != y if task == "labels" else (y + gap).argmax(1) != y.argmax(1)
    return 100 * np.mean(wrong)


# ---- findings
FINDINGS = (
    *(Exact(PASSED, right, 100, within=1e-3, source="Nielsen 2015") for right, _ in PAIRS.values()),
    *(Lower(PASSED, wrong, than=100) for _, wrong in PAIRS.values()),
    *(Lower(EARLY, right, than=wrong) for right, wrong in PAIRS.values()),
)


def plot(results: Results):
    """Errors by epoch; below, the slope of the cost of a unit that should be 1."""
    figure, axes = figures.panels(results.titled("Output units and costs"), 2, 3)
    z, x = np.linspace(-6, 6, 241)[:, None], np.arange(results.config["epochs"] + 1)
    for (task, pairs), (above, below) in zip(PAIRS.items(), axes.T, strict=True):
        figures.curves(above, results, "error", pairs, x=x, title=task)
        above.set(ylim=(0, 60), ylabel="error (degrees)" if task == "angle" else "error (%)")
        figures.legend(above)
        for pair, color in zip(pairs, figures.COLORS, strict=False):
            two = (np.eye(2)[[0] * 241], z * [1, 0]) if task == "classes" else (0 * z + 1, z)
            below.plot(z, slopes(pair, *two)[0][:, 0], color=color)
        below.set(xlabel="z of a unit that should be 1", ylabel="dC/dz", ylim=(-1.5, 0.75))
    return figure


RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, smoke={"n_train": 50, "epochs": 1})

if __name__ == "__main__":
    main(RECIPE)
