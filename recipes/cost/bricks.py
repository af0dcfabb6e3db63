"""Nets are built of bricks, each with a forward and a backward step, and train as Keras's do.

Source: lecture of TU Darmstadt, backpropagation as Lego: `Sequential` calls the bricks B1 .. BM
forward and BM .. B1 backward; no numbers. Its ramp, min(-1, max(1, x)), is -1 for every x;
min(1, max(-1, x)) is meant, whose derivative it prints. Its "LogSoftMax" is minus log softmax.

Differs from the source: margins, left open there, are 1; linear bricks have biases. Square, log and
hinge loss set each class, as 1 or -1, against all others. Both nets calculate in double precision.

    make recipe-bricks          a minute on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge
from keras import layers, ops

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Exact, Lower
from common.ingredients.bricks import LOSSES, Convolution, Flatten, Linear, Sequential, activation
from common.ingredients.losses import loss_of_outputs


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 3_000  # training images, each seen once
    width: int = 30  # hidden units
    maps: int = 4  # feature maps of the convolution, whose kernels are 5 x 5
    batch_size: Annotated[int, Ge(1)] = 10  # images in a mini-batch
    learning_rate: float = 0.05  # of gradient descent


PAIRS = {"log_softmax": "relu", "square": "tanh", "log": "sigmoid", "hinge": "ramp"}
PAIRS |= {"max_margin": "leaky_relu"}
ARMS = {f"{loss}, {f}": {"loss": loss, "f": f, "conv": False} for loss, f in PAIRS.items()}
ARMS |= {"log_softmax, convolution": {"loss": "log_softmax", "f": "relu", "conv": True}}
SAME, START, END = "largest |bricks - Keras| of a weight", "cost, first tenth", "cost, last tenth"


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28, 1) inputs in 0..1 -> (B, 10) outputs."""
    glorot = keras.initializers.GlorotUniform(keras.random.SeedGenerator(seed))
    how = {"kernel_initializer": glorot, "dtype": "float64"}
    f = {"ramp": lambda x: ops.clip(x, -1, 1), "leaky_relu": lambda x: ops.maximum(0.01 * x, x)}
    f = f.get(arm["f"], arm["f"])
    x = inputs = keras.Input((28, 28, 1), dtype="float64")
    x = layers.Conv2D(config.maps, 5, activation=f, **how)(x) if arm["conv"] else x
    x = layers.Flatten(dtype="float64")(x)
    x = x if arm["conv"] else layers.Dense(config.width, f, **how)(x)
    return keras.Model(inputs, layers.Dense(10, **how)(x))


class InKeras(keras.losses.Loss):
    """The loss bricks for Keras, which derives them itself."""

    def __init__(self, name):
        super().__init__(name=name, dtype="float64")

    def call(self, hot, x):
        """(B, K) one-hot classes, (B, K) outputs -> (B,)."""
        return loss_of_outputs(self.name, x, hot)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x, y), (x_test, y_test) = data
    x, hot = x[: config.n_train, ..., None] / 255, np.eye(10)[y[: config.n_train]]
    model, loss = build_model(config, arm, seed), LOSSES[arm["loss"]]
    model.compile(keras.optimizers.SGD(config.learning_rate), InKeras(arm["loss"]))
    first, bias, last, bias_last = model.get_weights()
    hidden = [Flatten(), Linear(first, bias), activation(arm["f"])]
    if arm["conv"]:
        hidden = [Convolution(first, bias), activation(arm["f"]), Flatten()]
    net = Sequential([*hidden, Linear(last, bias_last)])
    rate, costs, apart = float(np.float32(config.learning_rate)), [], []  # as Keras has it
    for i in range(0, len(x), config.batch_size):
        batch = x[i : i + config.batch_size], hot[i : i + config.batch_size]
        model.train_on_batch(*batch)
        cost, slope = loss(net.forward(batch[0]), batch[1])
        net.backward(slope / len(slope))
        net.step(rate)
        pairs = zip((w for b in net.bricks for w in b.weights), model.get_weights(), strict=True)
        costs.append(cost.mean())
        apart.append(max(np.abs(a - b).max() for a, b in pairs))
    outputs = [net.forward(part[..., None] / 255) for part in np.array_split(x_test, 20)]
    tenth = -(-len(costs) // 10)
    metrics = {"test error (%)": 100 * np.mean(np.concatenate(outputs).argmax(axis=1) != y_test)}
    metrics |= {START: np.mean(costs[:tenth]), END: np.mean(costs[-tenth:]), SAME: max(apart)}
    return Outcome(metrics, {"cost": costs, SAME: apart})


# ---- findings
SOURCE = "lecture of TU Darmstadt"
FINDINGS = (
    *(Exact(SAME, arm, 0, within=1e-5, source=SOURCE) for arm in ARMS),
    *(Lower(END, arm, than_metric=START, ratio=True) for arm in ARMS),
)


def plot(results: Results):
    """The bricks and their derivatives; what they cost, and how far they are from Keras."""
    figure, axes = figures.panels(results.titled("Nets of bricks"), 2, 2)
    x, ones = np.linspace(-3, 3, 301), np.ones(301)
    for (loss, f), color, lw in zip(PAIRS.items(), figures.COLORS, (7, 6, 5, 3.5, 2), strict=False):
        brick, outputs = activation(f), 1 if loss in ("square", "log", "hinge") else 2
        axes[0, 0].plot(x, brick.forward(x), color=color, label=f, lw=lw)
        axes[0, 0].plot(x, brick.backward(ones), "--", color=color)
        values = LOSSES[loss](np.stack([x, 0 * x], 1)[:, :outputs], np.eye(2)[[0] * 301, :outputs])
        axes[0, 1].plot(x, values[0], color=color, label=loss, lw=lw)
        axes[0, 1].plot(x, values[1][:, 0], "--", color=color)
    figures.label(axes[0, 0], "activations", "x", "y; dashed: dy/dx")
    figures.label(axes[0, 1], "losses", "output for the class (0 for another)", "E; dashed: dE/dx")
    figures.curves(axes[1, 0], results, "cost", xlabel="step")
    figures.curves(axes[1, 1], results, SAME, xlabel="step", title="weights: bricks - Keras")
    axes[1, 1].set_ylabel("largest difference")
    for panel in axes.ravel()[:3]:
        figures.legend(panel)
    axes[1, 1].set_yscale("log")
    return figure


SMOKE = {"n_train": 50}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE)

if __name__ == "__main__":
    main(RECIPE)
