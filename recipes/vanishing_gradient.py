"""In a deep sigmoid net the gradient shrinks about five times a layer on its way to the input.

Source: Nielsen, Neural Networks and Deep Learning (2015), chapter 5, "The vanishing gradient
problem": hidden layers of 30 sigmoid units, weights from N(0, 1/n_in), biases from N(0, 1), the
first 1,000 MNIST images. The speed of a layer is the norm of the average gradient with respect to
its biases; it is measured before training, and after each of 500 steps of plain gradient descent
on all images at once (cross-entropy, rate .1, weight decay lambda = 5).

Differs from the source: 20 seeds, not one, and 200 steps by default. `vanishing_chain` shows the
cause on a chain of single neurons; `activations` goes on to tanh, ReLU and leaky ReLU.

    make recipe-vanishing-gradient          one to three minutes on 2 cores
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
import tensorflow as tf

from common import data, figures
from common.claims import Band, Effect
from common.command import AtLeast, main
from common.experiment import Outcome, Recipe, Run
from common.losses import sigmoid_cross_entropy
from common.results import Results
from common.training import Record, fit

NIELSEN = "Nielsen 2015, ch. 5"
PUBLISHED = {  # speed of each hidden layer before training, first to last
    "2 layers": [0.0657, 0.309],
    "3 layers": [0.0118, 0.0600, 0.283],
    "4 layers": [0.00298, 0.0171, 0.0695, 0.285],
}
STEPS = [0, 10, 20, 30, 50]
IN_TRAINING = [  # the book's curve of each of four hidden layers after so many steps
    [2.98e-3, 2.66e-4, 6.37e-5, 2.87e-5, 2.06e-5],
    [1.71e-2, 1.47e-3, 3.20e-4, 1.04e-4, 4.80e-5],
    [6.95e-2, 8.40e-3, 1.84e-3, 5.85e-4, 2.47e-4],
    [2.85e-1, 3.66e-2, 7.91e-3, 2.49e-3, 1.04e-3],
]


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    n_train: int = 1_000  # training images, the first ones of the data set
    width: int = 30  # units in a hidden layer
    rate: float = 0.1  # learning rate of plain gradient descent
    l2: Annotated[float, AtLeast(0)] = 5.0  # lambda: cost + l2 / (2 n_train) * sum of w^2
    epochs: int = 200  # steps, each on all training images


ARMS = {"2 layers": {"hidden": 2}, "3 layers": {"hidden": 3}, "4 layers": {"hidden": 4}}


def build_model(config: Config, hidden: int, seed: int) -> keras.Model:
    """(B, 28, 28, 1) in [0, 1] -> (B, 10) logits of sigmoid outputs; `hidden` sigmoid layers."""
    rng = keras.random.SeedGenerator(seed)
    settings = {
        "kernel_initializer": keras.initializers.VarianceScaling(
            1.0, "fan_in", "untruncated_normal", seed=rng
        ),
        "bias_initializer": keras.initializers.RandomNormal(stddev=1.0, seed=rng),
        "kernel_regularizer": keras.regularizers.L2(config.l2 / (2 * config.n_train)),
    }
    layers = [
        keras.layers.Dense(config.width, activation="sigmoid", **settings) for _ in range(hidden)
    ]
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            *layers,
            keras.layers.Dense(10, **settings),
        ]
    )


def speedometer(model: keras.Model, images, targets) -> Callable[[], np.ndarray]:
    """-> a function that measures the speed of each hidden layer: one compiled pass, (hidden,)."""
    images, targets = tf.constant(images), tf.constant(targets, tf.float32)
    biases = [layer.bias for layer in model.layers[1:-1]]

    def speeds():
        with tf.GradientTape() as tape:
            cost = tf.reduce_mean(sigmoid_cross_entropy(targets, model(images)))
        return tf.stack([tf.norm(gradient) for gradient in tape.gradient(cost, biases)])

    compiled = tf.function(speeds, autograph=False).get_concrete_function()
    return lambda: compiled().numpy()


def train(run: Run, arm: dict) -> Outcome:
    config = run.config
    first = run.data.train.first(config.n_train)
    targets = keras.utils.to_categorical(first.labels, 10)
    model = build_model(config, arm["hidden"], run.seed)
    speeds = speedometer(model, data.unit(first.images), targets)
    start, record = speeds(), Record(speeds)
    fit(
        model,
        first.images,
        targets,
        optimizer=keras.optimizers.SGD(config.rate),
        loss=sigmoid_cross_entropy,
        batch_size=config.n_train,
        epochs=config.epochs,
        seed=run.seed,
        callbacks=[*run.watch(), record],
    )
    measured = np.array([start, *record.values])  # (1 + epochs, hidden)
    metrics = {
        "overall": measured[0, -1] / measured[0, 0],
        "first_trained": measured[-1, 0],
        "last_trained": measured[-1, -1],
    }
    for k in range(1, arm["hidden"]):
        metrics[f"ratio_{k}"] = measured[0, k] / measured[0, k - 1]
    series = {f"layer_{k}": speed for k, speed in enumerate(measured.T, start=1)}
    return Outcome(metrics, {"start": measured[0], **series})


def neighbours(arm: str, k: int) -> Band:
    speeds = PUBLISHED[arm]
    return Band(
        f"{arm}: speed of hidden layer {k + 1} over that of layer {k}",
        f"{arm}/ratio_{k}",
        {"mnist": (4.0, 6.0), "digits": (4.0, 6.0)},
        NIELSEN,
        speeds[k] / speeds[k - 1],
    )


# The mean of 20 seeds lies between 4.9 and 5.2 for every pair on both data sets; one seed's
# deviation is .5 to .8, that of the mean .12 to .17.
CLAIMS = (
    *(neighbours(arm, k) for arm, about in ARMS.items() for k in range(1, about["hidden"])),
    Band(  # 129 +- 22 and 131 +- 23; the mean of 20 +- 5
        "4 layers: speed of the last hidden layer over that of the first",
        "4 layers/overall",
        {"mnist": (100, 160), "digits": (100, 160)},
        NIELSEN,
        PUBLISHED["4 layers"][-1] / PUBLISHED["4 layers"][0],
    ),
    Effect(  # 68 (60 .. 77)
        "4 layers: speed of the last hidden layer over that of the first, after training (ratio)",
        "4 layers/last_trained",
        "4 layers/first_trained",
        NIELSEN,
        20,
        ratio=True,
    ),
)


def plot(results: Results):
    figure, axes = figures.panels(results.titled("Vanishing gradients"), 1, 2)
    figures.label(axes[0, 0], "before training", "hidden layer", "norm of the bias gradient")
    figures.label(axes[0, 1], "4 hidden layers, in training", "step", "norm of the bias gradient")
    for color, arm in zip(figures.COLORS, ARMS, strict=False):
        figures.curve(axes[0, 0], results.history(f"{arm}/start"), arm, color)
        if results.dataset == "mnist":
            speeds = PUBLISHED[arm]
            figures.points(axes[0, 0], range(1, 1 + len(speeds)), speeds, color=color)
    for k, color in zip(range(1, 5), figures.COLORS, strict=False):
        series = results.history(f"4 layers/layer_{k}")
        figures.curve(axes[0, 1], series, f"layer {k}", color, np.arange(series.shape[1]))
        if results.dataset == "mnist":
            figures.points(axes[0, 1], STEPS, IN_TRAINING[k - 1], color=color)
    for panel in axes[0]:
        panel.set_yscale("log")
        figures.legend(panel, NIELSEN if results.dataset == "mnist" else None)
    axes[0, 0].set_xticks([1, 2, 3, 4])
    return figure


SMOKE, PAPER = {"n_train": 100, "epochs": 2}, {"epochs": 500}
RECIPE = Recipe(__doc__, Config, ARMS, train, CLAIMS, plot, smoke=SMOKE, paper=PAPER, seeds=20)

if __name__ == "__main__":
    main(RECIPE)
