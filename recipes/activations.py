"""Five hidden layers let a gradient through if their activation is tanh, ReLU or leaky ReLU.

Source: the lecture "network paralysis" (Technosphere, Moscow 2017): in a sigmoid net of five hidden
layers of 100, 841 inputs and 26 outputs, the mean |dE/dw| of the layers, first to output, was
6.2e-8, 2.2e-6, 1.6e-5, 1.1e-4, 7e-4 and .015. On ReLU, Glorot, Bordes & Bengio, Deep sparse
rectifier neural networks (AISTATS 2011); on leaky ReLU, whose units cannot die, Maas, Hannun & Ng,
Rectifier nonlinearities improve neural network acoustic models (ICML workshop, 2013).

Differs from the source: the lecture's 26 letters are not public; here 10 of the 26 outputs occur,
on MNIST padded to 29x29 = 841 pixels. The lecture does not say how its weights were drawn: its
ratio of 7 between layers is that of U(-.1, .1). Beside these stand N(0, .01^2), "small", and
N(0, 1/n_in). On three seeds of four more ReLUs are dead before training than after it.

    make recipe-activations          one to two minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
import tensorflow as tf

from common import data, figures
from common.claims import Band, Effect
from common.command import AtLeast, main
from common.experiment import Outcome, Recipe, Run
from common.results import Results
from common.training import fit

LECTURE = "Technosphere 2017"
GLOROT, MAAS = "Glorot et al. 2011", "Maas et al. 2013"
PUBLISHED = [6.2e-8, 2.2e-6, 1.6e-5, 1.1e-4, 7e-4, 0.015]
HIDDEN = 5  # hidden layers


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    n_train: int = 10_000  # training images, the first ones of the data set
    width: int = 100  # units in a hidden layer
    leak: Annotated[float, AtLeast(0)] = 0.01  # slope of leaky ReLU below zero
    rate: float = 0.1  # learning rate of plain gradient descent
    batch_size: int = 50  # images in a mini-batch
    epochs: int = 5  # passes over the training images


ARMS = {  # stddev None: 1 / sqrt(n_in)
    "sigmoid, small": {"activation": "sigmoid", "stddev": 0.01},
    "sigmoid, lecture": {"activation": "sigmoid", "stddev": 0.1 / 3**0.5},  # that of U(-.1, .1)
    "sigmoid": {"activation": "sigmoid", "stddev": None},
    "tanh": {"activation": "tanh", "stddev": None},
    "ReLU": {"activation": "relu", "stddev": None},
    "leaky ReLU": {"activation": "leaky ReLU", "stddev": None},
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28, 1) in [0, 1] -> (B, 26) logits of a softmax; only 10 of the classes occur."""
    rng = keras.random.SeedGenerator(seed)
    if arm["stddev"]:
        initial = keras.initializers.RandomNormal(stddev=arm["stddev"], seed=rng)
    else:
        initial = keras.initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal", seed=rng)
    name = arm["activation"]
    layers = [keras.Input((28, 28, 1)), keras.layers.ZeroPadding2D(((0, 1), (0, 1)))]
    layers.append(keras.layers.Flatten())  # 29 * 29 = 841
    for _ in range(HIDDEN):
        layers.append(keras.layers.Dense(config.width, kernel_initializer=initial))
        layers.append(
            keras.layers.LeakyReLU(config.leak)
            if name == "leaky ReLU"
            else keras.layers.Activation(name)
        )
    return keras.Sequential([*layers, keras.layers.Dense(26, kernel_initializer=initial)])


def look(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """What every layer of the net does with the images (n, 28, 28, 1) in [0, 1].

    Returns `gradient` (layers,), the mean |dE/dw| of each layer's weights, E averaged over the
    images; `saturated` (hidden,), of the responses with z > 0 the share whose slope a'(z) is under
    a tenth of the layer's largest; `dead` (hidden,), the share of units whose slope is under a
    thousandth for every image, so that hardly any gradient reaches their weights.
    """
    activations = model.layers[3:-1:2]
    probe = keras.Model(model.inputs[0], [layer.input for layer in activations])
    kernels = [layer.kernel for layer in (*model.layers[2:-1:2], model.layers[-1])]

    def whole(images, labels):
        with tf.GradientTape() as tape:
            cost = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            error = cost(labels, model(images))
        gradients = [tf.reduce_mean(tf.abs(one)) for one in tape.gradient(error, kernels)]
        saturated, dead = [], []
        for activation, z in zip(activations, probe(images), strict=True):
            with tf.GradientTape() as tape:
                tape.watch(z)
                a = activation(z)
            slope, on = tape.gradient(a, z), tf.cast(z > 0, tf.float32)
            flat = tf.cast(slope < tf.reduce_max(slope) / 10, tf.float32)
            saturated.append(tf.reduce_sum(flat * on) / tf.maximum(tf.reduce_sum(on), 1))
            dead.append(tf.reduce_mean(tf.cast(tf.reduce_max(slope, axis=0) < 1e-3, tf.float32)))
        return gradients, saturated, dead

    example = tf.constant(images), tf.constant(labels)
    compiled = tf.function(whole, autograph=False).get_concrete_function(*example)
    found = [np.array(values) for values in compiled(*example)]
    return dict(zip(("gradient", "saturated", "dead"), found, strict=True))


def train(run: Run, arm: dict) -> Outcome:
    config = run.config
    first, test = run.data.train.first(config.n_train), run.data.test
    some = first.first(min(1_000, len(first)))
    model = build_model(config, arm, run.seed)
    start = look(model, data.unit(some.images), some.labels)
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
    end = look(model, data.unit(some.images), some.labels)
    metrics = {
        "first": start["gradient"][0],
        "last": start["gradient"][-1],
        "ratio": (start["gradient"][-2] / start["gradient"][1]) ** (1 / (HIDDEN - 2)),
        "saturated": 100 * end["saturated"].mean(),
        "dead": 100 * end["dead"].mean(),
        "dead_start": 100 * start["dead"].mean(),
        "saturated_start": 100 * start["saturated"].mean(),
        "accuracy": 100 * history["test_accuracy"][-1],
    }
    series = {"gradient": start["gradient"], "accuracy": 100 * np.array(history["test_accuracy"])}
    return Outcome(metrics, series)


CALLED = {  # what a claim calls a metric
    "ratio": "mean |dE/dw| of a hidden layer over that of the one before",
    "saturated": "saturated after training (% of the responses with z > 0)",
    "dead": "dead units after training (%)",
    "accuracy": "test accuracy (%)",
}


def fall(arm: str, more_than: float, published=None) -> Effect:
    name = f"{arm}: mean |dE/dw| of the output layer over that of the first (ratio)"
    return Effect(name, f"{arm}/last", f"{arm}/first", LECTURE, more_than, True, published)


def band(arm: str, metric: str, mnist, digits, source="own runs", published=None) -> Band:
    bands = {"mnist": mnist, "digits": digits}
    return Band(f"{arm}: {CALLED[metric]}", f"{arm}/{metric}", bands, source, published)


def more(what: str, metric: str, arm: str, than: str, more_than: float, source: str) -> Effect:
    name = f"{arm}: {what} after training (points more than {than})"
    return Effect(name, f"{arm}/{metric}", f"{than}/{metric}", source, more_than)


# Means +- deviations over 8 seeds on MNIST and digits; of the first ratio 7.08 +- .38 on both.
CLAIMS = (
    fall("sigmoid, small", 1e6),  # 8e8, 4e8
    fall("sigmoid, lecture", 1e4, PUBLISHED[-1] / PUBLISHED[0]),  # 1.4e5, 7e4
    fall("sigmoid", 1e3),  # 1.0e4, 5e3
    band("sigmoid, lecture", "ratio", (5.9, 8.3), (5.9, 8.3), LECTURE, (7e-4 / 2.2e-6) ** (1 / 3)),
    band("tanh", "ratio", (0.89, 1.08), (0.82, 1.20)),  # .99 +- .03, 1.01 +- .06
    band("ReLU", "ratio", (0.98, 1.18), (0.88, 1.17)),  # 1.08 +- .03, 1.02 +- .05
    band("leaky ReLU", "ratio", (0.98, 1.18), (0.88, 1.17)),  # as ReLU
    band("ReLU", "saturated", (0, 0), (0, 0), GLOROT),  # by definition: its slope is 1 if z > 0
    more("saturated", "saturated", "tanh", "ReLU", 1, GLOROT),  # 4.2 +- .4, 4.0 +- .4
    band("leaky ReLU", "dead", (0, 0), (0, 0), MAAS),  # by definition
    more("dead units", "dead", "ReLU", "leaky ReLU", 0, MAAS),  # 1.2 +- .3, 4.8 +- 1.3
    band("sigmoid", "accuracy", (9.1, 10.9), (9.9, 10.4)),  # 10.02 +- .29, 10.18 +- .07
    band("tanh", "accuracy", (91.4, 94.7), (92.1, 95.0)),  # 93.06 +- .54, 93.55 +- .48
    band("ReLU", "accuracy", (90.3, 96.7), (88.9, 96.0)),  # 93.5 +- 1.1, 92.5 +- 1.2
    band("leaky ReLU", "accuracy", (92.1, 95.4), (90.2, 94.9)),  # 93.77 +- .54, 92.53 +- .76
)


def plot(results: Results):
    figure, axes = figures.panels(results.titled("Activations in a deep net"), 1, 2)
    figures.label(axes[0, 0], "before training", "layer (6: output)", "mean |dE/dw|")
    figures.label(axes[0, 1], "in training", "epoch", "test accuracy (%)")
    for color, arm in zip(figures.COLORS, ARMS, strict=False):
        figures.curve(axes[0, 0], results.history(f"{arm}/gradient"), arm, color)
        figures.curve(axes[0, 1], results.history(f"{arm}/accuracy"), arm, color)
    for panel in axes[0]:
        panel.lines[-1].set_linestyle("--")  # leaky ReLU hides ReLU
    figures.points(axes[0, 0], range(1, 7), PUBLISHED, LECTURE, joined=True)
    axes[0, 0].set_yscale("log")
    figures.legend(axes[0, 0])
    return figure


SMOKE, ON = {"n_train": 200, "epochs": 2}, {"digits": {"n_train": 1_297, "epochs": 30}}
RECIPE = Recipe(__doc__, Config, ARMS, train, CLAIMS, plot, smoke=SMOKE, paper={}, on=ON, seeds=4)

if __name__ == "__main__":
    main(RECIPE)
