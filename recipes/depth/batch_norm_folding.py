"""Once a net is trained, batch normalization folds into the layer before it and costs nothing.

Source: Ioffe & Szegedy (ICML 2015), algorithm 2, lines 10 and 11: in prediction the layer is
linear, y = g / sqrt(v + eps) * x + (b - g m / sqrt(v + eps)), and so part of the layer before it.

Differs from the source: the paper derives this; here it is measured on trained nets.

    make recipe-batch-norm-folding          half a minute on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from keras import layers

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Alike, Exact
from common.training import fit

SHARES = np.linspace(0, 1, 101)  # of the test images


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 1_000  # training images, the first ones
    width: int = 100  # units in a hidden layer of the dense net
    channels: int = 16  # feature maps in a layer of the convolutional net
    learning_rate: float = 0.1  # of plain gradient descent
    batch_size: int = 50  # images in a mini-batch
    epochs: int = 10  # passes over the training images


ARMS = {"dense": {"convolutions": False}, "conv": {"convolutions": True}}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 10) logits. Where BN follows, a layer needs no bias."""
    glorot = keras.initializers.GlorotUniform(seed=keras.random.SeedGenerator(seed))
    settings = {"use_bias": False, "kernel_initializer": glorot}
    stack = [keras.Input((28, 28)), layers.Rescaling(1 / 255)]
    stack.append(layers.Reshape((28, 28, 1)) if arm["convolutions"] else layers.Flatten())
    for _ in range(2):
        if arm["convolutions"]:
            stack.append(layers.Conv2D(config.channels, 5, 2, "same", **settings))
        else:
            stack.append(layers.Dense(config.width, **settings))
        stack += [layers.BatchNormalization(), layers.Activation("relu")]
    return keras.Sequential([*stack, layers.Flatten(), layers.Dense(10, kernel_initializer=glorot)])


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, y_train), (x_test, y_test) = data
    x_train, y_train = x_train[: config.n_train], y_train[: config.n_train]
    model = build_model(config, arm, seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(config.learning_rate), loss)
    fit(model, x_train, y_train, batch_size=config.batch_size, epochs=config.epochs)
    full, ours = (net.predict(x_test, 1_000, verbose=0) for net in (model, folded(model)))
    difference = np.abs(full - ours).max(axis=1) / np.abs(full).max()
    metrics = {
        "largest difference of logits / largest logit": difference.max(),
        "test accuracy, full net (%)": 100 * np.mean(full.argmax(axis=1) == y_test),
        "test accuracy, folded net (%)": 100 * np.mean(ours.argmax(axis=1) == y_test),
    }
    return Outcome(metrics, {"difference / largest logit": np.quantile(difference, SHARES)})


def folded(model: keras.Sequential) -> keras.Sequential:
    """A copy of the net without its BatchNormalization layers, for prediction."""
    stack, weights = [], []
    for before, layer in zip([None, *model.layers], model.layers, strict=False):
        if isinstance(layer, layers.BatchNormalization):
            weights[-1] = fold(before, layer)
            stack[-1] = type(before).from_config(before.get_config() | {"use_bias": True})
        else:
            stack.append(type(layer).from_config(layer.get_config()))
            weights.append(layer.get_weights())
    copy = keras.Sequential([keras.Input(model.input_shape[1:]), *stack])
    for layer, values in zip(stack, weights, strict=True):
        layer.set_weights(values)
    return copy


def fold(layer: layers.Layer, norm: layers.BatchNormalization) -> list[np.ndarray]:
    """Kernel and bias of one layer that predicts what a layer followed by its BN predicts.

    Raises ValueError unless the layer is a Dense or a convolution without an activation.
    """
    kinds = (layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv3D)
    if not (isinstance(layer, kinds) and layer.activation is keras.activations.linear):
        raise ValueError(f"expected a linear Dense or convolution, received {layer}")
    gamma, beta, mean, variance = norm.get_weights()
    kernel, *bias = layer.get_weights()
    factor = gamma / np.sqrt(variance + norm.epsilon)
    bias = (bias[0] if bias else 0.0) - mean
    return [kernel * factor, beta + bias * factor]  # the last axis is that of the outputs


# ---- findings
SOURCE, ERROR = "Ioffe & Szegedy 2015", "largest difference of logits / largest logit"
FULL, FOLDED = "test accuracy, full net (%)", "test accuracy, folded net (%)"
FINDINGS = (
    *(Exact(ERROR, arm, 0.0, within=1e-5, source=SOURCE) for arm in ARMS),
    *(Alike(FOLDED, arm, to_metric=FULL, within=0.05, source=SOURCE) for arm in ARMS),
)


def plot(results: Results):
    """How much the logits of each test image differ."""
    figure, [[panel]] = figures.panels(results.titled("A net without its BatchNormalization"), 1, 1)
    xlabel = "test images (%), sorted"
    figures.curves(panel, results, "difference / largest logit", x=100 * SHARES, xlabel=xlabel)
    panel.axhline(2**-23, color=figures.GRAY, linewidth=1)
    panel.text(0, 2**-23, "machine epsilon of float32", va="bottom", color=figures.GRAY)
    panel.set_ylim(0)
    figures.legend(panel)
    return figure


RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, smoke={"n_train": 100, "epochs": 1}, seeds=6)

if __name__ == "__main__":
    main(RECIPE)
