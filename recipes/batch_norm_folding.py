"""Once a net is trained, batch normalisation folds into the layer before it and costs nothing.

Source: Ioffe & Szegedy, Batch Normalization (ICML 2015): algorithm 1 (a mini-batch is normalised),
the gradients of section 3, and algorithm 2, lines 10 and 11: at prediction time the layer is
linear, y = g / sqrt(v + eps) * x + (b - g m / sqrt(v + eps)), and so part of the layer before it.

Differs from the source: the paper proves this; here Keras's layer is compared with the written
algorithm and gradients, and trained nets, dense and convolutional, with their folded copies.

    make recipe-batch-norm-folding          half a minute on 2 cores
"""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from common import data, figures
from common.claims import Band
from common.command import main
from common.experiment import Outcome, Recipe, Run
from common.results import Results
from common.training import fit

SOURCE, MOST = "Ioffe & Szegedy 2015", "largest relative difference of Keras's"
SHARES = np.linspace(0, 1, 101)  # of the test images


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    n_train: int = 1_000  # training images, the first ones of the data set
    width: int = 100  # units in a hidden layer of the dense net
    channels: int = 16  # feature maps in a layer of the convolutional net
    rate: float = 0.1  # learning rate of plain gradient descent
    batch_size: int = 50  # images in a mini-batch
    epochs: int = 10  # passes over the training images


ARMS = {"dense": {"convolves": False}, "conv": {"convolves": True}}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28, 1) in [0, 1] -> (B, 10) logits. Where BN follows, a layer needs no bias."""
    initial = keras.initializers.GlorotUniform(seed=keras.random.SeedGenerator(seed))
    settings = {"use_bias": False, "kernel_initializer": initial}
    layers = [keras.Input((28, 28, 1))]
    if not arm["convolves"]:
        layers.append(keras.layers.Flatten())
    for _ in range(2):
        if arm["convolves"]:
            layers.append(keras.layers.Conv2D(config.channels, 5, 2, "same", **settings))
        else:
            layers.append(keras.layers.Dense(config.width, **settings))
        layers += [keras.layers.BatchNormalization(), keras.layers.Activation("relu")]
    if arm["convolves"]:
        layers.append(keras.layers.Flatten())
    return keras.Sequential([*layers, keras.layers.Dense(10, kernel_initializer=initial)])


def fold(
    layer: keras.layers.Layer, norm: keras.layers.BatchNormalization
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of one layer that predicts what a layer followed by its BN predicts.

    The layer is a linear Dense (n_in, n_out) or convolution (..., n_in, n_out), with bias or
    without; ValueError for any other, and for one with an activation before the normalisation.
    """
    linear = getattr(layer, "activation", None) is keras.activations.linear
    kinds = (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
    if not (isinstance(layer, kinds) and linear):
        raise ValueError(f"expected a linear Dense or convolution, received {layer}")
    mean, variance = norm.moving_mean.numpy(), norm.moving_variance.numpy()
    gamma = norm.gamma.numpy() if norm.scale else 1.0
    beta = norm.beta.numpy() if norm.center else 0.0
    bias = layer.bias.numpy() if layer.use_bias else 0.0
    factor = gamma / np.sqrt(variance + norm.epsilon)
    return layer.kernel.numpy() * factor, beta + (bias - mean) * factor  # outputs: the last axis


def folded(model: keras.Sequential) -> keras.Sequential:
    """A copy of the net without its BatchNormalization layers, for prediction."""
    layers, weights = [], []
    for before, layer in zip([None, *model.layers], model.layers, strict=False):
        if isinstance(layer, keras.layers.BatchNormalization):
            weights[-1] = fold(before, layer)
            layers[-1] = type(before).from_config(before.get_config() | {"use_bias": True})
        else:
            layers.append(type(layer).from_config(layer.get_config()))
            weights.append(layer.get_weights())
    copy = keras.Sequential([keras.Input(model.input_shape[1:]), *layers])
    for layer, values in zip(layers, weights, strict=True):
        layer.set_weights(values)
    return copy


def normalise(x, gamma, beta, epsilon):
    """Algorithm 1: x (n, channels) -> y (n, channels), over the mini-batch of n."""
    return gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + epsilon) + beta


def backward(x, gamma, dy, epsilon):
    """Section 3: x, dE/dy (n, channels) -> dE/dx (n, channels), dE/dgamma, dE/dbeta (channels,)."""
    n, centred, variance = len(x), x - x.mean(axis=0), x.var(axis=0) + epsilon
    dnormal = dy * gamma
    dvariance = np.sum(dnormal * centred, axis=0) * -0.5 * variance**-1.5
    dmean = -np.sum(dnormal, axis=0) / np.sqrt(variance) - 2 * dvariance * centred.mean(axis=0)
    dx = dnormal / np.sqrt(variance) + dvariance * 2 * centred / n + dmean / n
    return dx, np.sum(dy * centred / np.sqrt(variance), axis=0), dy.sum(axis=0)


def layer_errors(norm: keras.layers.BatchNormalization, x: np.ndarray, dy: np.ndarray):
    """Largest relative differences of Keras's layer in training mode from the source's formulas.

    Of the output from algorithm 1, and of the gradients from section 3, each relative to its
    largest value. x and dy (..., channels): what enters the layer, and the dE/dy that comes back.
    """
    variables = [norm.gamma, norm.beta]
    with tf.GradientTape() as tape:
        tape.watch(entering := tf.constant(x))
        y = norm(entering, training=True)
        error = tf.reduce_sum(y * dy)
    found = tape.gradient(error, [entering, *variables])
    rows, dys = (np.float64(a).reshape(-1, a.shape[-1]) for a in (x, dy))
    gamma, beta = (np.float64(variable.numpy()) for variable in variables)
    expected = normalise(rows, gamma, beta, norm.epsilon), *backward(rows, gamma, dys, norm.epsilon)
    errors = [
        np.abs(np.reshape(one, other.shape) - other).max() / np.abs(other).max()
        for one, other in zip([y, *found], expected, strict=True)
    ]
    return errors[0], max(errors[1:])


def predict(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """(n, 28, 28, 1) in [0, 1] -> (n, 10) logits. keras.Model.predict warns of tracing each net."""
    example = tf.TensorSpec((None, *images.shape[1:]), tf.float32)
    compiled = tf.function(lambda x: model(x, training=False), autograph=False)
    compiled = compiled.get_concrete_function(example)
    parts = (images[i : i + 1_000] for i in range(0, len(images), 1_000))
    return np.concatenate([compiled(tf.constant(part)).numpy() for part in parts])


def train(run: Run, arm: dict) -> Outcome:
    config = run.config
    first, test = run.data.train.first(config.n_train), run.data.test
    model = build_model(config, arm, run.seed)
    history = fit(
        model,
        first.images,
        first.labels,
        optimizer=keras.optimizers.SGD(config.rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        batch_size=config.batch_size,
        epochs=config.epochs,
        seed=run.seed,
        callbacks=run.watch(),
        validation_data={"test": (test.images, test.labels)},
    ).history
    images = data.unit(test.images)
    whole, small = predict(model, images), predict(folded(model), images)
    last = [la for la in model.layers if isinstance(la, keras.layers.BatchNormalization)][-1]
    x = keras.Model(model.inputs[0], last.input)(images[: config.batch_size]).numpy()
    dy = np.random.default_rng(run.seed).normal(size=x.shape).astype(np.float32)
    output_error, gradient_error = layer_errors(last, x, dy)
    difference = np.abs(whole - small).max(axis=1) / np.abs(whole).max()  # of each image
    metrics = {
        "fold_error": difference.max(),
        "output_error": output_error,
        "gradient_error": gradient_error,
        "accuracy": 100 * history["test_accuracy"][-1],
        "folded_accuracy": 100 * np.mean(small.argmax(axis=1) == test.labels),
    }
    return Outcome(metrics, {"difference": np.quantile(difference, SHARES)})


def within(name: str, metric: str, most: float) -> Band:
    return Band(name, metric, dict.fromkeys(("mnist", "digits"), (0, most)), SOURCE)


def claims(arm: str, mnist: tuple[float, float], digits: tuple[float, float]) -> list[Band]:
    bands = {"mnist": mnist, "digits": digits}
    return [
        within(f"{arm}: {MOST} output from algorithm 1", f"{arm}/output_error", 1e-5),
        within(f"{arm}: {MOST} gradients from section 3", f"{arm}/gradient_error", 1e-4),
        within(f"{arm}: folded logits differ by at most", f"{arm}/fold_error", 1e-5),
        Band(f"{arm}: test accuracy, folded (%)", f"{arm}/folded_accuracy", bands, "own runs"),
    ]


CLAIMS = (
    *claims("dense", (86.9, 88.8), (90.6, 95.4)),  # 87.85 +- 0.30, 93.00 +- 0.78 over 8 seeds
    *claims("conv", (79.7, 98.6), (79.5, 99.2)),  # 89.2 +- 3.1, 89.4 +- 3.3
)


def plot(results: Results):
    figure, axes = figures.panels(results.titled("A net without its BatchNormalization"), 1, 1)
    panel = axes[0, 0]
    figures.label(panel, "", "test images (%), sorted", "difference of logits / largest logit")
    for color, arm in zip(figures.COLORS, ARMS, strict=False):
        figures.curve(panel, results.history(f"{arm}/difference"), arm, color, 100 * SHARES)
    panel.axhline(2**-23, color=figures.GREY, linewidth=1)
    panel.text(0, 2**-23, "float32's own step", va="bottom", color=figures.GREY)
    panel.set_ylim(0)
    figures.legend(panel)
    return figure


RECIPE = Recipe(
    __doc__, Config, ARMS, train, CLAIMS, plot, smoke={"n_train": 100, "epochs": 1}, paper={}
)

if __name__ == "__main__":
    main(RECIPE)
