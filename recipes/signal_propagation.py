"""Before any training, Xavier's weights halve the signal of a ReLU layer and He's keep it.

Source: He, Zhang, Ren & Sun, Delving deep into rectifiers (ICCV 2015), section 2.2: through a ReLU
layer the second moment of activations (forward) and of gradients (backward) is multiplied by
n Var(w) / 2: 1/2 under Xavier's N(0, 1/n), 1 under He's N(0, 2/n). Glorot & Bengio, Understanding
the difficulty of training deep feedforward neural networks (AISTATS 2010), section 4.2.1: in a tanh
net the mean singular value of a layer's Jacobian is about .5 under the old U(+-1/sqrt(n)) and .8
under U(+-sqrt(6 / (n_in + n_out))).

Differs from the source: dense layers, 30 of them (tanh: 5 as there, of 500 units, not 1,000), on
mean-subtracted MNIST; Gaussian noise comes back in place of an error's gradient. A single net
strays from the theory, which is about the mean over nets: how far, and how that shrinks with the
width, is shown.

    make recipe-signal-propagation          a minute on 2 cores
"""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from common import data, figures
from common.claims import Band, Effect
from common.command import main
from common.experiment import Outcome, Recipe, Run
from common.results import Results

HE = "He et al. 2015, 2.2"
GLOROT = "Glorot & Bengio 2010, 4.2.1"
WIDTHS = (100, 400)  # units in a layer of the ReLU nets


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    n_train: int = 300  # images that go in, the first ones of the data set
    depth: int = 30  # layers of the ReLU nets
    tanh_depth: int = 5  # layers of the tanh nets
    tanh_width: int = 500  # units in a layer of the tanh nets


ARMS = {
    **{
        f"{name}, width {width}": {"activation": "relu", "scale": scale, "width": width}
        for width in WIDTHS
        for name, scale in (("Xavier", 1.0), ("He", 2.0))
    },
    "old, tanh": {"activation": "tanh", "scale": 1 / 3, "width": None},  # U(+-1/sqrt(n))
    "Glorot, tanh": {"activation": "tanh", "scale": 1.0, "width": None},
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 784) mean-subtracted -> (B, width); layers of one width, weight variance scale / n_in."""
    width, tanh = arm["width"] or config.tanh_width, arm["activation"] == "tanh"
    initial = keras.initializers.VarianceScaling(
        arm["scale"],
        "fan_in",
        "uniform" if tanh else "untruncated_normal",
        seed=keras.random.SeedGenerator(seed),
    )
    layers = [
        keras.layers.Dense(width, arm["activation"], kernel_initializer=initial)
        for _ in range(config.tanh_depth if tanh else config.depth)
    ]
    return keras.Sequential([keras.Input((784,)), *layers])


def moments(model: keras.Model, x: np.ndarray, back: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Second moments of each layer's activations and of the gradients that reach them.

    One compiled pass: x (n, 784) goes in, and `back` (n, width) comes back from the output.
    Returns two arrays (layers,), first layer first.
    """

    def both(x, back):
        activations = []
        with tf.GradientTape() as tape:
            for layer in model.layers:
                x = layer(x)
                tape.watch(x)
                activations.append(x)
            error = tf.reduce_sum(x * back)
        gradients = tape.gradient(error, activations)
        return [[tf.reduce_mean(tf.square(a)) for a in each] for each in (activations, gradients)]

    example = tf.constant(x), tf.constant(back)
    compiled = tf.function(both, autograph=False).get_concrete_function(*example)
    forward, backward = compiled(*example)
    return np.array(forward), np.array(backward)


def singular_value(model: keras.Model, x: np.ndarray) -> float:
    """Mean singular value of the Jacobians d a_(k+1) / d a_k of a tanh net, at one input (784,)."""
    means, a = [], model.layers[0](x[None])
    for layer in model.layers[1:]:
        a = layer(a)
        jacobian = layer.kernel.numpy() * (1 - a.numpy() ** 2)  # tanh' = 1 - tanh^2
        means.append(np.linalg.svd(jacobian, compute_uv=False).mean())
    return float(np.mean(means))


def train(run: Run, arm: dict) -> Outcome:
    """Nothing is trained: the net is as it was drawn."""
    config = run.config
    x = data.unit(run.data.train.first(config.n_train).images).reshape(-1, 784)
    x -= data.unit(run.data.train.images[:10_000]).reshape(-1, 784).mean(axis=0)
    model = build_model(config, arm, run.seed)
    back = np.random.default_rng(run.seed).normal(size=(len(x), model.output_shape[1]))
    forward, backward = moments(model, x, back.astype(np.float32))
    layers = len(forward) - 1
    metrics = {
        # Geometric means over the layers of one net; the first, of another width, left out.
        "forward": (forward[-1] / forward[0]) ** (1 / layers),
        "backward": (backward[0] / backward[-1]) ** (1 / layers),
    }
    if arm["activation"] == "tanh":
        metrics["singular"] = singular_value(model, x[0])
    else:
        metrics["spread"] = np.std(np.log2(forward[1:] / forward[:-1]))
    ends = {"forward": forward / forward[0], "backward": backward / backward[-1]}
    return Outcome(metrics, {name: np.log2(values) for name, values in ends.items()})


def near(arm: str, way: str, theory: float) -> Band:
    """To within 5 % of theory, for the mean of 20 seeds; fewer may miss it."""
    name = f"{arm}: second moment over that of the layer before, {way}"
    bands = dict.fromkeys(("mnist", "digits"), (0.95 * theory, 1.05 * theory))
    return Band(name, f"{arm}/{way}", bands, HE, theory)


def tanh(name: str, metric: str, mnist: tuple, digits: tuple, published=None) -> Band:
    return Band(name, metric, {"mnist": mnist, "digits": digits}, GLOROT, published)


OLD = (0.32, 0.35)
VARIANCE, SINGULAR = "variance over that of the layer before", "mean singular value"

# Means and deviations over 20 seeds on MNIST and digits stand beside. From one net of width 100 to
# another the forward ratio deviates by 3.2 %: over 29 ratios that is a factor of 2.5 either way.
CLAIMS = (
    *(
        near(f"{name}, width {width}", way, theory)
        for name, theory in (("Xavier", 0.5), ("He", 1.0))
        for width in WIDTHS
        for way in ("forward", "backward")
    ),
    Effect(  # about 2, the root of 400 / 100
        "He: spread of the layers' ratios (in log2), width 100 over 400",
        "He, width 100/spread",
        "He, width 400/spread",
        HE,
        1.5,
        ratio=True,
    ),
    # .331 +- .002, .331 +- .003 (theory 1/3); .907 +- .004, .923 +- .007 (theory 1)
    tanh(f"old, tanh: {VARIANCE}", "old, tanh/forward", OLD, OLD),
    tanh(f"Glorot, tanh: {VARIANCE}", "Glorot, tanh/forward", (0.88, 0.94), (0.90, 0.96)),
    # .489, .489; .811 +- .002, .823 +- .003
    tanh(f"old, tanh: {SINGULAR}", "old, tanh/singular", (0.48, 0.50), (0.48, 0.50), 0.5),
    tanh(f"Glorot, tanh: {SINGULAR}", "Glorot, tanh/singular", (0.79, 0.83), (0.80, 0.84), 0.8),
)


def plot(results: Results):
    figure, axes = figures.panels(results.titled("Signal before training"), 1, 2)
    for panel, way in zip(axes[0], ("forward", "backward"), strict=True):
        what = {"forward": "activations", "backward": "gradients"}[way]
        figures.label(panel, what, "layer", "log2 of the second moment")
        for color, arm in zip(figures.COLORS, ARMS, strict=False):
            figures.curve(panel, results.history(f"{arm}/{way}"), arm, color)
        layers = np.arange(1, results.config["depth"] + 1)
        start = 1 if way == "forward" else layers[-1]
        for slope in (-1, 0):
            panel.plot(layers, slope * abs(layers - start), ":", color=figures.GREY, linewidth=2)
    axes[0, 0].plot([], [], ":", color=figures.GREY, label="theory")
    figures.legend(axes[0, 0])
    return figure


SMOKE = {"n_train": 10, "depth": 3, "tanh_width": 20}
RECIPE = Recipe(__doc__, Config, ARMS, train, CLAIMS, plot, smoke=SMOKE, paper={}, seeds=20)

if __name__ == "__main__":
    main(RECIPE)
