"""Five hidden layers let a gradient through if their activation is tanh, ReLU or leaky ReLU.

Source: the lecture "network paralysis" (Technosphere, Moscow 2017): in a sigmoid net of five hidden
layers of 100, 841 inputs and 26 outputs, the mean |dE/dw| of the layers, first to output, was
6.2e-8, 2.2e-6, 1.6e-5, 1.1e-4, 7e-4 and .015. On ReLU, Glorot, Bordes & Bengio, Deep sparse
rectifier neural networks (AISTATS 2011); on leaky ReLU, whose units cannot die, Maas, Hannun & Ng,
Rectifier nonlinearities improve neural network acoustic models (ICML workshop, 2013).

Differs from the source: the lecture's 26 letters are not public, so its figures are drawn but not
compared. Here 10 of the 26 classes occur, on MNIST padded to 29 x 29 = 841 pixels. How its weights
were initialized is not said; its ratio of 7 between layers is that of U(-.1, .1). Beside these
stand N(0, .01^2), "small", and N(0, 1/n_in). Most dead ReLU units were dead before training: on
three of four seeds they were more before it than after it.

    make recipe-activations          one to two minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
import tensorflow as tf
from annotated_types import Ge
from keras import layers

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Higher, Lower
from common.training import fit

HIDDEN = 5  # hidden layers
EXAMINED = 1_000  # training images, the first ones, on which gradients and slopes are measured


@dataclass(frozen=True)
class Config:
    """Hyperparameters."""

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
    "leaky ReLU": {"activation": "leaky ReLU", "stddev": None},
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 26) logits of a softmax; only 10 of the classes occur."""
    generator = keras.random.SeedGenerator(seed)
    initial = keras.initializers.VarianceScaling(
        1.0, "fan_in", "untruncated_normal", seed=generator
    )
    if arm["stddev"]:
        initial = keras.initializers.RandomNormal(stddev=arm["stddev"], seed=generator)
    leaky = arm["activation"] == "leaky ReLU"
    x = inputs = keras.Input((28, 28))
    x = layers.Reshape((28, 28, 1))(layers.Rescaling(1 / 255)(x))
    x = layers.Flatten()(layers.ZeroPadding2D(((0, 1), (0, 1)))(x))  # 29 * 29 = 841
    for k in range(1, HIDDEN + 1):
        x = layers.Dense(config.width, kernel_initializer=initial)(x)
        name = f"activation{k}"
        x = (
            layers.LeakyReLU(config.leak, name=name)(x)
            if leaky
            else layers.Activation(arm["activation"], name=name)(x)
        )
    return keras.Model(inputs, layers.Dense(26, kernel_initializer=initial)(x))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    """Trains one arm; examines it before and after."""
    (x_train, y_train), test = data
    x_train, y_train = x_train[: config.n_train], y_train[: config.n_train]
    model = build_model(config, arm, seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(config.learning_rate), loss, metrics=["accuracy"])
    gradients, _, dead_before = examine(model, x_train[:EXAMINED], y_train[:EXAMINED])
    history = fit(
        model,
        x_train,
        y_train,
        batch_size=config.batch_size,
        epochs=config.epochs,
        validation_data=test,
    ).history
    _, saturated, dead = examine(model, x_train[:EXAMINED], y_train[:EXAMINED])
    accuracy = 100 * np.array(history["val_accuracy"])
    metrics = {
        "mean |dE/dw| of the first layer": gradients[0],
        "mean |dE/dw| of the output layer": gradients[-1],
        "mean |dE/dw| of a hidden layer over the one before": (gradients[-2] / gradients[1])
        ** (1 / (HIDDEN - 2)),
        "saturated responses (%)": 100 * np.mean(saturated),
        "dead units (%)": 100 * np.mean(dead),
        "dead units before training (%)": 100 * np.mean(dead_before),
        "test accuracy (%)": accuracy[-1],
    }
    return Outcome(metrics, {"mean |dE/dw|": gradients, "test accuracy (%)": accuracy})


def examine(model: keras.Model, x: np.ndarray, y: np.ndarray) -> tuple[list, list, list]:
    """What every layer does with the images x, labeled y.

    Returns the mean |dE/dw| of the weights of each layer (layers,), E averaged over the images; of
    the responses of each hidden layer with z > 0 the proportion whose slope a'(z) is less than a
    tenth of the largest (hidden,); and the proportion of dead units, whose slope is less than a
    thousandth for every image, so that hardly any gradient reaches their weights (hidden,).
    """
    kernels = [layer.kernel for layer in model.layers if isinstance(layer, layers.Dense)]
    with tf.GradientTape() as tape:
        error = tf.reduce_mean(model.loss(y, model(x)))
    gradients = [np.mean(np.abs(gradient)) for gradient in tape.gradient(error, kernels)]
    saturated, dead = [], []
    activations = [layer for layer in model.layers if layer.name.startswith("activation")]
    inputs = keras.Model(model.inputs, [activation.input for activation in activations])(x)
    for activation, z in zip(activations, inputs, strict=True):
        with tf.GradientTape() as tape:
            tape.watch(z)
            a = activation(z)
        slope = tape.gradient(a, z).numpy()
        positive = slope[z.numpy() > 0]
        saturated.append(np.mean(positive < slope.max() / 10) if len(positive) else 0.0)
        dead.append(np.mean(slope.max(axis=0) < 1e-3))
    return gradients, saturated, dead
