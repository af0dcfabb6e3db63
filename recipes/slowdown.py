"""A neuron that is badly wrong learns slowly under the quadratic cost, fast under cross-entropy.

Source: Nielsen, Neural Networks and Deep Learning (2015), chapter 3, "The cross-entropy cost
function": one sigmoid neuron learns to turn x = 1 into y = 0 from two starts (w, b) in 300 steps of
gradient descent. `slowdown_net` shows the same on digits.

Differs from the source: the outputs after 300 steps are computed with the true gradient, which the
book's animation of the cross-entropy does not follow. Nothing is random: one seed says it all.

    make recipe-slowdown          15 seconds on 2 cores, most of it TensorFlow's start
"""

from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from common import figures
from common.claims import Band
from common.command import main
from common.experiment import Outcome, Recipe, Run
from common.results import Results
from common.training import fit

NIELSEN = "Nielsen 2015, ch. 3"
STARTS = {"(0.6, 0.9)": (0.6, 0.9), "(2, 2)": (2.0, 2.0)}  # weight and bias


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    steps: int = 300  # gradient steps from each start


ARMS = {
    "quadratic": {"cost": "quadratic", "rate": 0.15},
    "cross-entropy slow": {"cost": "cross-entropy", "rate": 0.005},
    "cross-entropy": {"cost": "cross-entropy", "rate": 0.15},
}

# Each cost: (B, 1) targets y and weighted inputs z = w x + b (the logits) of the neuron -> (B,);
# its activation a(z) is part of the cost. dC/dz is (a - y) a'(z) under the quadratic cost and a - y
# under cross-entropy: the slope a' is next to nothing where the neuron is saturated, and that is
# the slowdown.
COSTS = {
    "quadratic": lambda y, z: ops.sum(ops.square(ops.sigmoid(z) - y), axis=-1) / 2,
    "cross-entropy": lambda y, z: ops.sum(ops.binary_crossentropy(y, z, from_logits=True), axis=-1),
}


def build_model(weight: float, bias: float) -> keras.Model:
    """(B, 1) -> (B, 1) the weighted input z = w x + b (the logit) of one sigmoid neuron."""
    start = keras.initializers.Constant
    neuron = keras.layers.Dense(1, kernel_initializer=start(weight), bias_initializer=start(bias))
    return keras.Sequential([keras.Input((1,)), neuron])


def output(y, z):
    """The metric that is followed: the neuron's output a."""
    return ops.sigmoid(z)


def train(run: Run, arm: dict) -> Outcome:
    x, y = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    cost = COSTS[arm["cost"]]
    metrics, history = {}, {}
    for part, (start, (weight, bias)) in enumerate(STARTS.items(), start=1):
        neuron = build_model(weight, bias)
        a = 1 / (1 + np.exp(-(weight + bias)))
        with tf.GradientTape() as tape:
            first_cost = cost(y, neuron(x))
        gradient = float(tape.gradient(first_cost, neuron.trainable_weights[0].value)[0, 0])
        closed_form = a * a * (1 - a) if arm["cost"] == "quadratic" else a
        after = fit(
            neuron,
            x,
            y,
            optimizer=keras.optimizers.SGD(arm["rate"]),
            loss=cost,
            metrics=[output],
            batch_size=1,
            epochs=run.config.steps,
            callbacks=run.watch(part, of=len(STARTS)),
            validation_data={"after": (x, y)},
        ).history
        history[f"output {start}"] = [a, *after["after_output"]]
        history[f"cost {start}"] = [float(first_cost[0]), *after["after_loss"]]
        metrics[f"last output {start}"] = after["after_output"][-1]
        metrics[f"output at half time {start}"] = history[f"output {start}"][run.config.steps // 2]
        metrics[f"gradient error {start}"] = abs(gradient - closed_form)
    return Outcome(metrics, history)


LAST_OUTPUTS = {
    "quadratic": (0.094, 0.20),
    "cross-entropy slow": (0.418, 0.780),
    "cross-entropy": (0.012, 0.012),
}
CLAIMS = (
    *(
        Band(
            f"{arm}: output after 300 steps from {start}",
            f"{arm}/last output {start}",
            {"none": (round(value - 0.005, 3), round(value + 0.005, 3))},
            f"{NIELSEN}, computed",
            value,
        )
        for arm, values in LAST_OUTPUTS.items()
        for start, value in zip(STARTS, values, strict=True)
    ),
    Band(
        "quadratic: output still above 0.9 after 150 steps from (2, 2)",
        "quadratic/output at half time (2, 2)",
        {"none": (0.9, 1.0)},
        NIELSEN,
        0.933,
    ),
    *(
        Band(
            f"{arm}: the first gradient is {formula}, from {start} (error)",
            f"{arm}/gradient error {start}",
            {"none": (0, 1e-6)},
            NIELSEN,
            0,
        )
        for arm, formula in (("quadratic", "a a'"), ("cross-entropy", "a"))
        for start in STARTS
    ),
)


def plot(results: Results):
    figure, axes = figures.panels("Learning slowdown: one sigmoid neuron, x = 1, y = 0", 2, 2)
    steps = np.arange(results.config["steps"] + 1)
    for column, start in enumerate(STARTS):
        for row, quantity in enumerate(("output", "cost")):
            panel = axes[row, column]
            figures.label(panel, f"{quantity} from (w, b) = {start}", "step", quantity)
            for color, arm in zip(figures.COLORS, ARMS, strict=False):
                name = f"{ARMS[arm]['cost']}, rate {ARMS[arm]['rate']}"
                series = results.history(f"{arm}/{quantity} {start}")
                figures.curve(panel, series, name, color, steps)
                if quantity == "output":
                    figures.points(panel, [300], [LAST_OUTPUTS[arm][column]], color=color)
            panel.set_ylim(bottom=0)
    figures.legend(axes[0, 0], "published, computed")
    return figure


RECIPE = Recipe(
    __doc__, Config, ARMS, train, CLAIMS, plot, smoke={"steps": 5}, paper={}, seeds=1, datasets=()
)

if __name__ == "__main__":
    main(RECIPE)
