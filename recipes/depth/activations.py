"""Five hidden layers let a gradient through if their activation is tanh, ReLU or leaky ReLU.

Source: lecture of Technosphere Moscow, "network paralysis, an experiment": mean |dE/dw| by layer
in a sigmoid net of 841 inputs, five hidden layers of 100 and 26 outputs. ReLU: Glorot, Bordes &
Bengio (AISTATS 2011). Leaky ReLU, whose units cannot die: Maas, Hannun & Ng (ICML workshop, 2013).

Differs from the source: the lecture's 26 letters are not public, so its numbers are drawn but not
compared; MNIST's ten digits stand in. Its initial weights are unknown; the deviation of U(-.1, .1)
fits inner ratios. On five of six seeds (mnist5k: three) training revives dead ReLU units.

    make recipe-activations          one to two minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
import tensorflow as tf
from annotated_types import Ge
from keras import layers, ops

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Higher
from common.training import fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 10_000  # training images, the first ones
    width: int = 100  # units in a hidden layer
    leak: Annotated[float, Ge(0)] = 0.01  # slope of leaky ReLU below zero
    learning_rate: float = 0.1  # of plain gradient descent
    batch_size: int = 50  # images in a mini-batch
    epochs: int = 5  # passes over the training images


ARMS = {  # stddev of the initial weights, None: 1 / sqrt(n_in)
    "sigmoid, small": {"activation": "sigmoid", "stddev": 0.01},
    "sigmoid, lecture": {"activation": "sigmoid", "stddev": 0.1 / 3**0.5},  # that of U(-.1, .1)
    "sigmoid": {"activation": "sigmoid", "stddev": None},
    "tanh": {"activation": "tanh", "stddev": None},
    "ReLU": {"activation": "relu", "stddev": None},
    "leaky ReLU": {"activation": "leaky", "stddev": None},
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 26) logits of a softmax; only 10 of the classes occur."""
    generator, name = keras.random.SeedGenerator(seed), arm["activation"]
    initial = keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal", generator)
    if arm["stddev"]:
        initial = keras.initializers.RandomNormal(stddev=arm["stddev"], seed=generator)
    x = inputs = keras.Input((28, 28))
    x = layers.Flatten()(ops.pad(layers.Rescaling(1 / 255)(x), ((0, 0), (0, 1), (0, 1))))  # 841
    for _ in range(5):
        z = layers.Dense(config.width, kernel_initializer=initial)(x)
        x = layers.LeakyReLU(config.leak)(z) if name == "leaky" else layers.Activation(name)(z)
    return keras.Model(inputs, layers.Dense(26, kernel_initializer=initial)(x))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, y_train), test = data
    x_train, y_train = x_train[: config.n_train], y_train[: config.n_train]
    model = build_model(config, arm, seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(config.learning_rate), loss, metrics=["accuracy"])
    examined = x_train[:1_000], y_train[:1_000]
    gradients, _, dead_before = examine(model, *examined)
    steps = {"batch_size": config.batch_size, "epochs": config.epochs}
    history = fit(model, x_train, y_train, **steps, validation_data=test).history
    _, saturated, dead = examine(model, *examined)
    over_hidden_layers = gradients[-2] / gradients[1]  # the first layer is wider
    accuracy = 100 * np.array(history["val_accuracy"])
    metrics = {
        "mean |dE/dw| of the first layer": gradients[0],
        "mean |dE/dw| of the output layer": gradients[-1],
        "mean |dE/dw| of a hidden layer over the one before": over_hidden_layers ** (1 / 3),
        "saturated responses (%)": 100 * np.mean(saturated),
        "dead units (%)": 100 * np.mean(dead),
        "dead units before training (%)": 100 * np.mean(dead_before),
        "test accuracy (%)": accuracy[-1],
    }
    curves = {"mean |dE/dw| before training": gradients, "test accuracy (%)": accuracy}
    return Outcome(metrics, curves)


def examine(model: keras.Model, x: np.ndarray, y: np.ndarray) -> tuple[list, list, list]:
    """Three lists with one number per layer, for images x labeled y.

    The mean |dE/dw|, output layer included; of the responses with z > 0 the share whose slope a'(z)
    is under a tenth of the layer's largest; the share of dead units (slope < .001 on every image).
    """
    dense, activations = model.layers[3::2], model.layers[4::2]  # after 841 inputs
    with tf.GradientTape() as tape:
        error = tf.reduce_mean(model.loss.call(y, model(x)))  # `call`: one loss an image
    gradients = tape.gradient(error, [layer.kernel for layer in dense])
    saturated, dead = [], []
    for layer, activation in zip(dense, activations, strict=False):
        with tf.GradientTape() as tape:
            tape.watch(z := keras.Model(model.inputs[0], layer.output)(x))
            a = activation(z)
        slope, positive = tape.gradient(a, z).numpy(), z.numpy() > 0
        saturated.append(np.mean(slope[positive] < slope.max() / 10) if positive.any() else 0.0)
        dead.append(np.mean(slope.max(axis=0) < 1e-3))
    return [np.mean(np.abs(gradient)) for gradient in gradients], saturated, dead


# ---- findings
ACCURACY, RATIO = "test accuracy (%)", "mean |dE/dw| of a hidden layer over the one before"
OUTPUT, FIRST = "mean |dE/dw| of the output layer", "mean |dE/dw| of the first layer"
LECTURE, PRINTED = "Technosphere 2017", [6.2e-8, 2.2e-6, 1.6e-5, 1.1e-4, 7e-4, 0.015]
FINDINGS = (
    *(Higher(RATIO, "sigmoid", than=arm) for arm in list(ARMS)[3:]),
    *(Higher(ACCURACY, arm, than="sigmoid") for arm in list(ARMS)[3:]),
    Higher(OUTPUT, "sigmoid, small", than_metric=FIRST, by=1e6, ratio=True, source=LECTURE),
    Higher(OUTPUT, "sigmoid, lecture", than_metric=FIRST, by=1e4, ratio=True, source=LECTURE),
    Higher(OUTPUT, "sigmoid", than_metric=FIRST, by=1e3, ratio=True, source=LECTURE),
    Higher("saturated responses (%)", "tanh", than=1.0, source="Glorot et al. 2011"),
    Higher("dead units (%)", "ReLU", than=0.0, source="Maas et al. 2013"),
)


def plot(results: Results):
    """Gradients by layer before training, and accuracy by epoch."""
    figure, [[before, during]] = figures.panels(results.titled("Activations in a deep net"), 1, 2)
    figures.curves(before, results, "mean |dE/dw| before training", xlabel="layer (6: output)")
    figures.points(before, range(1, 7), PRINTED, LECTURE, joined=True)
    before.set_yscale("log")
    figures.curves(during, results, ACCURACY)
    during.xaxis.get_major_locator().set_params(integer=True)
    during.annotate("all sigmoid nets", (1, results.curves(ACCURACY, "sigmoid").mean() + 2))
    for panel in (before, during):
        panel.lines[5].set_linestyle("--")  # leaky ReLU hides ReLU
    figures.legend(before)
    return figure


SMOKE, ON = {"n_train": 200, "epochs": 2}, {"mnist5k": {"n_train": 3_500, "epochs": 14}}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, on=ON, seeds=6)

if __name__ == "__main__":
    main(RECIPE)
