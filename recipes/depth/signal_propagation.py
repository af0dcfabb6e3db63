"""Before training, Xavier's weights halve the second moment of a ReLU layer; He's keep it.

Source: He, Zhang, Ren & Sun (ICCV 2015), section 2.2: a ReLU layer multiplies the second moment of
activations (forward) and of gradients (backward) by n Var(w) / 2: 1/2 under Xavier's N(0, 1/n), 1
under He's N(0, 2/n). Glorot & Bengio (AISTATS 2010), section 4.2.1: in a tanh net the mean singular
value of a layer's Jacobian is about .5 under the standard U(-a, a), a = 1/sqrt(n), and about .8
under their normalized one, a = sqrt(6 / (n_in + n_out)).

Differs from the source: 30 dense layers (tanh: 5 as there, of 500 units, not 1,000), on MNIST minus
its mean image; Gaussian noise takes the place of an error's gradient. The theory is about the mean
over nets; a single net strays from it, less so if it is wider.

    make recipe-signal-propagation          a minute on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
import tensorflow as tf
from annotated_types import Ge
from keras import layers

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Alike, Higher, Lower


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 300  # images that go in, the first ones
    depth: Annotated[int, Ge(2)] = 30  # layers of the ReLU nets
    tanh_depth: Annotated[int, Ge(2)] = 5  # layers of the tanh nets
    tanh_width: int = 500  # units in a layer of the tanh nets


ARMS = {  # weights of variance scale / n_in; under tanh from U(-a, a)
    "Xavier, width 100": {"activation": "relu", "scale": 1.0, "width": 100},
    "He, width 100": {"activation": "relu", "scale": 2.0, "width": 100},
    "Xavier, width 400": {"activation": "relu", "scale": 1.0, "width": 400},
    "He, width 400": {"activation": "relu", "scale": 2.0, "width": 400},
    "standard, tanh": {"activation": "tanh", "scale": 1 / 3, "width": None},  # a = 1/sqrt(n)
    "normalized, tanh": {"activation": "tanh", "scale": 1.0, "width": None},
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels minus their mean, in -255..255 -> (B, width); layers of one width."""
    tanh = arm["activation"] == "tanh"
    law = "uniform" if tanh else "untruncated_normal"
    generator = keras.random.SeedGenerator(seed)
    initial = keras.initializers.VarianceScaling(arm["scale"], "fan_in", law, seed=generator)
    x = inputs = keras.Input((28, 28))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(x))
    for _ in range(config.tanh_depth if tanh else config.depth):
        width = arm["width"] or config.tanh_width
        x = layers.Dense(width, arm["activation"], kernel_initializer=initial)(x)
    return keras.Model(inputs, x)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, _), _ = data
    x = x_train[: config.n_train] - x_train[:10_000].mean(axis=0, dtype="float32")
    model = build_model(config, arm, seed)
    back = np.random.default_rng(seed).normal(size=(len(x), model.output_shape[1]))
    forward, backward = moments(model, x, back.astype("float32"))
    ratios, back_ratios = np.diff(np.log2(forward)), -np.diff(np.log2(backward))
    metrics = {  # geometric means over the layers, without the first, which has other inputs
        "second moment over that of the layer before": 2 ** ratios.mean(),
        "gradient's second moment over that of the layer after": 2 ** back_ratios.mean(),
        "spread of the layers' ratios (log2)": ratios.std(),
    }
    if arm["activation"] == "tanh":
        metrics["mean singular value of the Jacobian"] = singular_value(model, x[:1])
    ends = {"activations": forward / forward[0], "gradients": backward / backward[-1]}
    curves = {f"log2 of the second moment of {name}": np.log2(m) for name, m in ends.items()}
    return Outcome(metrics, curves)


def moments(model: keras.Model, x: np.ndarray, back: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Second moments of each layer's activations and of the gradients that reach them, (layers,).

    x (n, 28, 28) goes in, and `back` (n, width) comes back from the output.
    """
    probe = keras.Model(model.inputs[0], [layer.output for layer in model.layers[3:]])
    with tf.GradientTape() as tape:
        activations = probe(x)
        error = tf.reduce_sum(activations[-1] * back)
    gradients = tape.gradient(error, activations)
    return tuple(np.mean(np.square(each), axis=(1, 2)) for each in (activations, gradients))


def singular_value(model: keras.Model, x: np.ndarray) -> float:
    """Mean singular value of the Jacobians d a_(k+1) / d a_k of a tanh net, at x (1, 28, 28)."""
    means = []
    for layer in model.layers[4:]:  # all dense ones but the first
        a = keras.Model(model.inputs[0], layer.output)(x)
        jacobian = layer.get_weights()[0] * (1 - np.square(a))  # tanh' = 1 - tanh^2
        means.append(np.linalg.svd(jacobian, compute_uv=False).mean())
    return np.mean(means)


# ---- findings
FORWARD = "second moment over that of the layer before"
BACKWARD = "gradient's second moment over that of the layer after"
SPREAD, SINGULAR = "spread of the layers' ratios (log2)", "mean singular value of the Jacobian"
HE, GLOROT = "He et al. 2015, section 2.2", "Glorot & Bengio 2010, section 4.2.1"
FINDINGS = (
    Lower(FORWARD, "Xavier, width 100", than="He, width 100", ratio=True, source=HE),
    *(
        Alike(metric, f"{name}, width {width}", to=theory, within=0.05 * theory, source=HE)
        for name, theory in (("Xavier", 0.5), ("He", 1.0))
        for width in (100, 400)
        for metric in (FORWARD, BACKWARD)
    ),
    Higher(SPREAD, "He, width 100", than="He, width 400", by=1.5, ratio=True),
    Lower(FORWARD, "standard, tanh", than="normalized, tanh", source=GLOROT),
    Lower(SINGULAR, "standard, tanh", than="normalized, tanh", source=GLOROT),
)


def plot(results: Results):
    """Second moments of activations and gradients by layer, with what theory expects."""
    figure, axes = figures.panels(results.titled("Signal before training"), 1, 2)
    depth = results.config["depth"]
    theory = {"activations": ("first", [0, 1 - depth]), "gradients": ("last", [1 - depth, 0])}
    for panel, (what, (end, xavier)) in zip(axes[0], theory.items(), strict=True):
        how = {"xlabel": "layer", "title": f"relative to the {end} layer"}
        figures.curves(panel, results, f"log2 of the second moment of {what}", **how)
        panel.plot([1, depth], xavier, ":", color=figures.GRAY, label="theory")
        panel.axhline(0, color=figures.GRAY, linestyle=":")
    figures.legend(axes[0, 0])
    return figure


SMOKE = {"n_train": 10, "depth": 3, "tanh_width": 20}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, seeds=20)

if __name__ == "__main__":
    main(RECIPE)
