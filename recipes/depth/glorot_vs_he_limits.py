"""At 30 layers batch normalization saves Xavier's weights, Adam only if there is no weight decay.

Source: He, Zhang, Ren & Sun, Delving deep into rectifiers (ICCV 2015), section 2.2: with 30 layers
"Xavier" stalls and He learns, under momentum .9, learning rate .01 and weight decay 5e-4. Adam
(Kingma & Ba 2015) divides out the size of a gradient; batch normalization (Ioffe & Szegedy 2015)
restores the size of every layer's signal.

Differs from the source: it tries one solver; this is a sweep around it, with the dense nets of
`glorot_vs_he` on MNIST. Before training the mean |gradient| of a weight in Xavier's net is 4e-8
from the data and 4e-5 from the penalty, so what Adam divides out is the size of the penalty's.
He's lead also ends at a learning rate of .03: his nets learn and lose it again.

    make recipe-glorot-vs-he-limits          seven minutes on 2 cores
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from common.experiment import Data, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Higher
from common.training import fit


@dataclass(frozen=True)
class Config:
    """Hyperparameters."""

    depth: int = 30  # layers with weights
    width: int = 96  # units in a hidden layer
    batch_size: int = 100  # images in a mini-batch
    steps: int = 1_200  # mini-batches trained on
    every: int = 100  # steps between two evaluations, which divide those of a pass

    def __post_init__(self):
        if self.steps < self.every:
            raise ValueError(f"--steps: expected at least --every, received {self.steps}")


SOLVERS = {
    "He's solver": {"learning_rate": 0.01, "weight_decay": 5e-4},
    "rate .003": {"learning_rate": 0.003, "weight_decay": 5e-4},
    "rate .03": {"learning_rate": 0.03, "weight_decay": 5e-4},
    "no decay": {"learning_rate": 0.01, "weight_decay": 0.0},
    "decay .005": {"learning_rate": 0.01, "weight_decay": 5e-3},
    "Adam": {"learning_rate": 0.001, "weight_decay": 5e-4, "adam": True},
    "Adam, no decay": {"learning_rate": 0.001, "weight_decay": 0.0, "adam": True},
    "BN": {"learning_rate": 0.01, "weight_decay": 5e-4, "normalize": True},
}
ARMS = {
    f"{name}, {solver}": {"scale": scale, "adam": False, "normalize": False} | settings
    for solver, settings in SOLVERS.items()
    for name, scale in (("Xavier", 1.0), ("He", 2.0))
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) scaled, minus the mean -> (B, 10) logits; weights from N(0, scale / n_in)."""
    settings = {
        "kernel_initializer": keras.initializers.VarianceScaling(
            arm["scale"], "fan_in", "untruncated_normal", keras.random.SeedGenerator(seed)
        ),
        "kernel_regularizer": keras.regularizers.L2(arm["weight_decay"] / 2),
    }
    stack = [keras.Input((28, 28)), layers.Flatten()]
    for _ in range(config.depth - 1):
        stack.append(layers.Dense(config.width, use_bias=not arm["normalize"], **settings))
        if arm["normalize"]:
            stack.append(layers.BatchNormalization())
        stack.append(layers.Activation("relu"))
    return keras.Sequential([*stack, layers.Dense(10, **settings)])


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, y_train), (x_test, y_test) = data
    net = build_model(config, arm, seed)
    mean = x_train.mean(axis=0, dtype="float64")
    centered = layers.Rescaling(1 / 255, -(mean / 255).astype("float32"))
    model = keras.Sequential([keras.Input((28, 28)), centered, net])
    momentum = keras.optimizers.SGD(arm["learning_rate"], momentum=0.9)
    model.compile(
        optimizer=keras.optimizers.Adam(arm["learning_rate"]) if arm["adam"] else momentum,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    history = fit(
        model,
        x_train,
        y_train,
        batch_size=config.batch_size,
        epochs=config.steps // config.every,
        steps_per_epoch=config.every,
        validation_data=(x_test, y_test),
    ).history
    accuracy = 100 * np.array(history["val_accuracy"])
    return Outcome({"test accuracy (%)": accuracy[-1]}, {"test accuracy (%)": accuracy})


# ---- findings
ACCURACY = "test accuracy (%)"
PAPER = {"dataset": "mnist", "source": "He et al. 2015, 2.2"}
FINDINGS = (
    Higher(ACCURACY, "Xavier, BN", than="Xavier, He's solver", dataset="mnist"),
    Higher(ACCURACY, "Xavier, BN", than="He, BN", by=-10, source="Ioffe & Szegedy 2015"),
    Higher(ACCURACY, "He, He's solver", than="Xavier, He's solver", by=60, **PAPER),
    Higher(ACCURACY, "He, Adam", than="Xavier, Adam", by=60, dataset="mnist"),
    Higher(ACCURACY, "Xavier, Adam, no decay", than="Xavier, Adam", by=20, dataset="mnist"),
    Higher(ACCURACY, "He, rate .003", than="Xavier, rate .003", by=60, dataset="mnist"),
    Higher(ACCURACY, "He, decay .005", than="Xavier, decay .005", by=60, dataset="mnist"),
    Higher(ACCURACY, "He, rate .003", than="He, rate .03", by=30, dataset="mnist"),
)


def plot(results: Results):
    """Test accuracy of every seed by step, one panel a solver."""
    title = results.titled(f"Xavier against He, {results.config['depth']} layers")
    figure, axes = figures.panels(title, 2, 4)
    solvers = [solver for solver in SOLVERS if f"He, {solver}" in results.arms]
    for panel in axes.flat[len(solvers) :]:
        panel.set_axis_off()
    for panel, solver in zip(axes.flat, solvers, strict=False):
        arms = {f"{name}, {solver}": name for name in ("Xavier", "He")}
        how = {"every": results.config["every"], "xlabel": "step", "each_seed": True}
        figures.curves(panel, results, ACCURACY, arms, title=solver, **how)
        panel.set_ylim(0, 100)
    figures.legend(axes[0, 0])
    return figure


def applies(arm: dict, preset: str, dataset: str) -> bool:
    """On digits, where nothing is published, only He's own learning rate and weight decay."""
    hes_own = (arm["learning_rate"], arm["weight_decay"]) == (0.01, 5e-4)
    return hes_own or (preset != "smoke" and dataset == "mnist")


RECIPE = Recipe(
    Config,
    ARMS,
    train,
    FINDINGS,
    plot,
    smoke={"depth": 3, "steps": 4, "every": 2},
    paper={"steps": 4_800},
    on={"digits": {"steps": 390, "every": 13}},
    seeds=3,
    applies=applies,
)

if __name__ == "__main__":
    main(RECIPE)
