"""A neuron that is badly wrong learns slowly under the quadratic cost, fast under cross-entropy.

Source: Nielsen, Neural Networks and Deep Learning (2015), chapter 3, "The cross-entropy cost
function": one sigmoid neuron learns to turn x = 1 into y = 0 from two starts (w, b) in 300 steps of
gradient descent. `slowdown_net` shows the same on digits.

Differs from the source: all steps follow the true gradient. The book's cross-entropy animation does
not: at its rate .005 true steps end behind the quadratic cost. Nothing is random: seeds are equal.

    make recipe-slowdown          15 seconds on 2 cores, most of it TensorFlow's start
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from common.experiment import Data, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Exact, Higher, Lower, Printed
from common.training import fit

STARTS = {"(0.6, 0.9)": (0.6, 0.9), "(2, 2)": (2.0, 2.0)}  # weight and bias


@dataclass(frozen=True)
class Config:
    steps: int = 300  # gradient steps from each start


ARMS = {
    "quadratic": {"cost": "quadratic", "learning_rate": 0.15},
    "cross-entropy, rate .005": {"cost": "cross-entropy", "learning_rate": 0.005},
    "cross-entropy": {"cost": "cross-entropy", "learning_rate": 0.15},
}

# Targets y and weighted inputs z = w x + b (logits), (B, 1) each -> cost (B,). With the output
# a = sigmoid(z), dC/dz is (a - y) a' under the quadratic cost and a - y under cross-entropy. Where
# the neuron is saturated the slope a' is close to zero: that is the slowdown.
COSTS = {
    "quadratic": lambda y, z: ops.sum(ops.square(ops.sigmoid(z) - y), axis=-1) / 2,
    "cross-entropy": lambda y, z: ops.sum(ops.binary_crossentropy(y, z, from_logits=True), axis=-1),
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 1) -> (B, 1), the weighted input z = w x + b of one sigmoid neuron."""
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])


def output(y, z):
    """The neuron's output a, as a metric."""
    return ops.sigmoid(z)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    x, y = np.ones((1, 1), "float32"), np.zeros((1, 1), "float32")
    metrics, curves = {}, {}
    for start, (weight, bias) in STARTS.items():
        neuron = build_model(config, arm, seed)
        neuron.set_weights([np.array([[weight]]), np.array([bias])])
        sgd = keras.optimizers.SGD(arm["learning_rate"])
        neuron.compile(sgd, COSTS[arm["cost"]], metrics=[output])
        # A metric of training is measured before its step, so one step more shows all outputs.
        history = fit(neuron, x, y, batch_size=1, epochs=config.steps + 1).history
        curves[f"output from {start}"] = history["output"]
        curves[f"cost from {start}"] = history["loss"]
        metrics[f"output after 300 steps from {start}"] = history["output"][config.steps]
        metrics[f"output after 150 steps from {start}"] = history["output"][min(150, config.steps)]
    return Outcome(metrics, curves)


# ---- findings
BOOK = "Nielsen 2015, ch. 3"
FIRST, SECOND = (f"output after 300 steps from {start}" for start in STARTS)
AFTER_300_STEPS = {  # computed in float64, by arm and start
    "quadratic": (0.0940, 0.2028),
    "cross-entropy, rate .005": (0.418, 0.780),
    "cross-entropy": (0.012, 0.012),
}
COMPUTED = {"within": 5e-4, "preset": "default", "source": "the formulas of the book, computed"}
FINDINGS = (
    Lower(SECOND, "cross-entropy", than="quadratic", by=0.1, preset="default"),
    Higher("output after 150 steps from (2, 2)", "quadratic", 0.9, preset="default", source=BOOK),
    Printed(FIRST, "quadratic", 0.09, source=BOOK),
    Printed(SECOND, "quadratic", 0.20, decimals=2, source=BOOK),
    *(
        Exact(metric, arm, value, **COMPUTED)
        for arm, values in AFTER_300_STEPS.items()
        for metric, value in zip((FIRST, SECOND), values, strict=True)
    ),
)


def plot(results: Results):
    """Output and cost by step from both starts."""
    figure, axes = figures.panels("Learning slowdown: one sigmoid neuron, x = 1, y = 0", 2, 2)
    names = {a: f"{how['cost']}, learning rate {how['learning_rate']}" for a, how in ARMS.items()}
    steps = range(results.config["steps"] + 1)
    for column, start in enumerate(STARTS):
        for panel, quantity in zip(axes[:, column], ("output", "cost"), strict=True):
            series, title = f"{quantity} from {start}", f"{quantity} from (w, b) = {start}"
            figures.curves(panel, results, series, names, x=steps, xlabel="step", title=title)
            panel.set_ylabel(quantity)
            panel.set_ylim(bottom=0)
        for color, values in zip(figures.COLORS, AFTER_300_STEPS.values(), strict=False):
            figures.points(axes[0, column], [300], [values[column]], color=color)
    figures.points(axes[0, 0], [], [], "computed independently, in float64")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, {"steps": 5}, datasets=("none",), seeds=3)

if __name__ == "__main__":
    main(RECIPE)
