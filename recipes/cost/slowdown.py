"""A neuron that is badly wrong learns slowly under the quadratic cost, fast under cross-entropy.

Source: Nielsen, Neural Networks and Deep Learning (2015), chapter 3, "The cross-entropy cost
function": one sigmoid neuron learns to turn x = 1 into y = 0 in 300 steps of gradient descent, from
two starts (w, b). Under the quadratic cost the first gradient is a a' (equation 55), under
cross-entropy it is a (equation 61), where a is the output and a' the slope of the sigmoid.

Differs from the source: no output under cross-entropy is compared with the book, whose animation of
that cost does not follow the true gradient. Nothing is random: all seeds give the same numbers, and
there are three because an ordering is judged from three on. `slowdown_net` shows digits.

    make recipe-slowdown          15 seconds on 2 cores, most of it TensorFlow's start
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from common.experiment import Data, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Exact, Higher, Lower, Printed
from common.ingredients.callbacks import Record
from common.ingredients.losses import sigmoid_cross_entropy
from common.training import evaluate, fit

# Each cost takes (B, 1) targets y and weighted inputs z (logits) and returns (B,); the activation
# a(z) is part of it. dC/dz is (a - y) a' under the quadratic cost and a - y under cross-entropy:
# a' is close to zero where the neuron is saturated, and that is the slowdown.
COSTS = {
    "quadratic": lambda y, z: ops.sum(ops.square(ops.sigmoid(z) - y), axis=-1) / 2,
    "cross-entropy": sigmoid_cross_entropy,
}


@dataclass(frozen=True)
class Config:
    """Hyperparameters."""

    steps: int = 300  # steps of gradient descent from each start


ARMS = {  # start: weight and bias
    f"{name} from {start}": {"cost": cost, "learning_rate": learning_rate, "start": start}
    for start in ((0.6, 0.9), (2, 2))
    for name, cost, learning_rate in (
        ("quadratic", "quadratic", 0.15),
        ("slow cross-entropy", "cross-entropy", 0.005),
        ("cross-entropy", "cross-entropy", 0.15),
    )
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 1) inputs x -> (B, 1) weighted inputs z = w x + b, the logits of one sigmoid neuron."""
    weight, bias = map(keras.initializers.Constant, arm["start"])
    neuron = layers.Dense(1, kernel_initializer=weight, bias_initializer=bias)
    return keras.Sequential([keras.Input((1,)), neuron])


def output(y, z):
    """The output a of the neuron, followed as a metric."""
    return ops.sigmoid(z)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    """Follows output and cost from the start on; the first gradient is read off the first step."""
    x, y = np.ones((1, 1), np.float32), np.zeros((1, 1), np.float32)
    model = build_model(config, arm, seed)
    sgd = keras.optimizers.SGD(arm["learning_rate"])
    model.compile(optimizer=sgd, loss=COSTS[arm["cost"]], metrics=[output])
    first = evaluate(model, x, y)
    weight = Record(lambda: model.get_weights()[0].item())
    history = fit(
        model,
        x,
        y,
        batch_size=1,
        epochs=config.steps,
        validation_data=(x, y),
        callbacks=[weight],
    ).history
    outputs = [first["output"], *history["val_output"]]
    metrics = {
        "output at the end": outputs[-1],
        "output halfway": outputs[config.steps // 2],
        "first gradient": (arm["start"][0] - weight.values[0]) / arm["learning_rate"],
    }
    return Outcome(metrics, {"output": outputs, "cost": [first["loss"], *history["val_loss"]]})


# ---- findings
NIELSEN = "Nielsen 2015, ch. 3"
WRONG, CURED = "quadratic from (2, 2)", "cross-entropy from (2, 2)"
CLOSED_FORMS = {  # output after 300 steps and first gradient, in float64
    "quadratic from (0.6, 0.9)": (0.0940, 0.1219),
    "slow cross-entropy from (0.6, 0.9)": (0.4177, 0.8176),
    "cross-entropy from (0.6, 0.9)": (0.0116, 0.8176),
    "quadratic from (2, 2)": (0.2028, 0.0173),
    "slow cross-entropy from (2, 2)": (0.7796, 0.9820),
    "cross-entropy from (2, 2)": (0.0120, 0.9820),
}
PRINTED = {"quadratic from (0.6, 0.9)": 0.09, "quadratic from (2, 2)": 0.20}
FINDINGS = (
    Lower("output halfway", CURED, than=WRONG),
    Higher("output halfway", WRONG, than=0.9, source=NIELSEN),
    Higher("first gradient", CURED, than=WRONG, ratio=True, source=f"{NIELSEN}, (55) and (61)"),
    *(
        Printed("output at the end", arm, value, source=NIELSEN, decimals=2)
        for arm, value in PRINTED.items()
    ),
    *(
        Exact(metric, arm, value, within=1e-4, preset="default")
        for arm, values in CLOSED_FORMS.items()
        for metric, value in zip(("output at the end", "first gradient"), values, strict=True)
    ),
)


def plot(results: Results):
    """Output and cost by step, one column for each start."""
    figure, axes = figures.panels("Learning slowdown: one sigmoid neuron, x = 1, y = 0", 2, 2)
    steps = np.arange(results.config["steps"] + 1)
    for column, start in enumerate(("(0.6, 0.9)", "(2, 2)")):
        names = {
            arm: f"{ARMS[arm]['cost']}, learning rate {ARMS[arm]['learning_rate']}"
            for arm in results.arms
            if arm.endswith(start)
        }
        for panel, series in zip(axes[:, column], ("output", "cost"), strict=True):
            title = f"from (w, b) = {start}" if series == "output" else ""
            figures.curves(panel, results, series, names, x=steps, xlabel="step", title=title)
            panel.set_ylim(bottom=0)
        figures.points(axes[0, column], [300], [PRINTED[f"quadratic from {start}"]], NIELSEN)
    figures.legend(axes[0, 0])
    return figure


RECIPE = Recipe(
    Config, ARMS, train, FINDINGS, plot, smoke={"steps": 5}, paper={}, seeds=3, datasets=()
)

if __name__ == "__main__":
    main(RECIPE)
