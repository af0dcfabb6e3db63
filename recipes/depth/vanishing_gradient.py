"""In a deep sigmoid net the gradient shrinks about fivefold per layer on its way to the input.

Source: Nielsen, Neural Networks and Deep Learning (2015), chapter 5, "The vanishing gradient
problem": hidden layers of 30 sigmoid units, weights from N(0, 1/n_in), biases from N(0, 1). The
norm of the average gradient with respect to a layer's biases is measured before training and after
each of 500 steps of plain gradient descent on the first 1,000 MNIST images at once.

Differs from the source: 20 seeds (--paper: three), not one, and by default 200 steps.

    make recipe-vanishing-gradient          one to three minutes on 2 cores
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
import tensorflow as tf
from annotated_types import Ge
from keras import layers

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Higher, Printed
from common.ingredients.callbacks import Record
from common.ingredients.losses import sigmoid_cross_entropy
from common.training import fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 1_000  # training images, the first ones
    width: int = 30  # units in a hidden layer
    learning_rate: float = 0.1  # of plain gradient descent
    l2: Annotated[float, Ge(0)] = 5.0  # lambda: cost + lambda / (2 n_train) * sum of w^2
    epochs: int = 200  # steps, each on all training images


ARMS = {"2 layers": {"hidden": 2}, "3 layers": {"hidden": 3}, "4 layers": {"hidden": 4}}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 10) logits of sigmoid outputs."""
    generator = keras.random.SeedGenerator(seed)
    normal = keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal", generator)
    dense = {
        "kernel_initializer": normal,
        "bias_initializer": keras.initializers.RandomNormal(stddev=1.0, seed=generator),
        "kernel_regularizer": keras.regularizers.L2(config.l2 / (2 * config.n_train)),
    }
    x = inputs = keras.Input((28, 28))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(x))
    for k in range(1, arm["hidden"] + 1):
        x = layers.Dense(config.width, "sigmoid", **dense, name=f"hidden{k}")(x)
    return keras.Model(inputs, layers.Dense(10, **dense)(x))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, y_train), _ = data
    x_train = x_train[: config.n_train]
    targets = keras.utils.to_categorical(y_train[: config.n_train], 10)
    model = build_model(config, arm, seed)
    model.compile(keras.optimizers.SGD(config.learning_rate), sigmoid_cross_entropy)
    norms = gradient_norms(model, x_train, targets)
    start, record = norms(), Record(norms)
    steps = {"batch_size": config.n_train, "epochs": config.epochs}
    fit(model, x_train, targets, **steps, callbacks=[record])
    measured = np.array([start, *record.values])  # (1 + epochs, hidden)
    metrics = {}
    for which, k in (("first", 0), ("last", -1)):
        metrics[f"gradient norm of the {which} hidden layer"] = start[k]
        metrics[f"gradient norm of the {which} hidden layer after training"] = measured[-1, k]
    for k in range(1, arm["hidden"]):
        metrics[f"hidden layer {k + 1} over layer {k}"] = start[k] / start[k - 1]
    curves = {f"gradient norm of layer {k}": norm for k, norm in enumerate(measured.T, start=1)}
    return Outcome(metrics, {"gradient norm before training": start, **curves})


def gradient_norms(model: keras.Model, x: np.ndarray, targets: np.ndarray) -> Callable:
    """-> a compiled function () -> (hidden,): norms of the mean cost's gradients by the biases."""
    biases = [layer.bias for layer in model.layers if layer.name.startswith("hidden")]
    x, targets = tf.constant(x), tf.constant(targets, "float32")

    @tf.function(autograph=False)
    def norms():
        with tf.GradientTape() as tape:
            cost = tf.reduce_mean(sigmoid_cross_entropy(targets, model(x)))
        return tf.stack([tf.norm(gradient) for gradient in tape.gradient(cost, biases)])

    return lambda: norms().numpy()


# ---- findings
NIELSEN = "Nielsen 2015, chapter 5"
PRINTED = {  # gradient norms before training, first hidden layer to last
    "2 layers": [0.0657, 0.309],
    "3 layers": [0.0118, 0.0600, 0.283],
    "4 layers": [0.00298, 0.0171, 0.0695, 0.285],
}
STEPS = [0, 10, 20, 30, 50]
IN_TRAINING = [  # the book's curves of four hidden layers after so many steps
    [2.98e-3, 2.66e-4, 6.37e-5, 2.87e-5, 2.06e-5],
    [1.71e-2, 1.47e-3, 3.20e-4, 1.04e-4, 4.80e-5],
    [6.95e-2, 8.40e-3, 1.84e-3, 5.85e-4, 2.47e-4],
    [2.85e-1, 3.66e-2, 7.91e-3, 2.49e-3, 1.04e-3],
]
FIRST, LAST = (f"gradient norm of the {which} hidden layer" for which in ("first", "last"))
BOTH = ("default", "paper")
RATIOS = {"decimals": 2, "preset": BOTH}
TRAINED = {"than_metric": f"{FIRST} after training", "by": 20, "ratio": True}
FINDINGS = (
    Higher(LAST, "4 layers", than_metric=FIRST, ratio=True, source=NIELSEN),
    Printed(LAST, "4 layers", 95.6, NIELSEN, over="4 layers", metric2=FIRST, preset=BOTH),
    *(
        Printed(f"hidden layer {k + 1} over layer {k}", arm, x[k] / x[k - 1], NIELSEN, **RATIOS)
        for arm, x in PRINTED.items()
        for k in range(1, len(x))
    ),
    Higher(f"{LAST} after training", "4 layers", **TRAINED, source=NIELSEN),
)


def plot(results: Results):
    """Gradient norms of the layers before training, and of four layers in training."""
    figure, [[before, during]] = figures.panels(results.titled("Vanishing gradients"), 1, 2)
    figures.curves(before, results, "gradient norm before training", xlabel="hidden layer")
    before.set_xticks([1, 2, 3, 4])
    figures.label(during, "4 hidden layers, in training", "step", "gradient norm")
    for k, color in enumerate(figures.COLORS[:4]):
        norms = results.curves(f"gradient norm of layer {k + 1}", "4 layers")
        figures.curve(during, norms, f"layer {k + 1}", color, np.arange(norms.shape[1]))
    for panel, x, lines in ((before, [1, 2, 3, 4], PRINTED.values()), (during, STEPS, IN_TRAINING)):
        for norms, color in zip(lines, figures.COLORS, strict=False):
            figures.points(panel, x[: len(norms)], norms, color=color)
        panel.set_yscale("log")
        figures.legend(panel, NIELSEN)
    return figure


SMOKE, PAPER = {"n_train": 100, "epochs": 2}, {"epochs": 500}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, PAPER, seeds=20)

if __name__ == "__main__":
    main(RECIPE)
