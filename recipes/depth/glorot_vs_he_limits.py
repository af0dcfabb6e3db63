"""At 30 layers batch normalization saves Xavier's weights, Adam only if there is no weight decay.

Source: He, Zhang, Ren & Sun (ICCV 2015), section 2.2: with 30 layers "Xavier" stalls and He learns,
under momentum .9, learning rate .01 and weight decay 5e-4. Adam (Kingma & Ba 2015) divides out the
size of a gradient; batch normalization (Ioffe & Szegedy 2015) restores that of a layer's signal.

Differs from the source: it tries one solver; this is a sweep around it, with the dense nets of
`glorot_vs_he` on MNIST. Before training the mean |gradient| of a weight in Xavier's net is 4e-8
from the data and 4e-5 from the penalty, so Adam divides by the size of the penalty's. He's lead
shrinks at a learning rate of .03: his nets learn, then fall back. --paper was not run.

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
    depth: int = 30  # layers with weights
    width: int = 96  # units in a hidden layer
    batch_size: int = 100  # images in a mini-batch
    steps: int = 1_200  # mini-batches trained on
    every: int = 100  # steps between two evaluations; must divide those of a pass

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
    (x_train, y_train), test = data
    net = build_model(config, arm, seed)
    mean = x_train.mean(axis=0, dtype="float64")
    centered = layers.Rescaling(1 / 255, -(mean / 255).astype("float32"))
    model = keras.Sequential([keras.Input((28, 28)), centered, net])
    optimizer = keras.optimizers.SGD(arm["learning_rate"], momentum=0.9)
    if arm["adam"]:
        optimizer = keras.optimizers.Adam(arm["learning_rate"])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    steps = {"epochs": config.steps // config.every, "steps_per_epoch": config.every}
    how = {"batch_size": config.batch_size, "validation_data": test}
    history = fit(model, x_train, y_train, **steps, **how).history
    accuracy = 100 * np.array(history["val_accuracy"])
    return Outcome({"test accuracy (%)": accuracy[-1]}, {"test accuracy (%)": accuracy})


# ---- findings
ACCURACY, MNIST = "test accuracy (%)", {"dataset": "mnist"}  # mnist5k: He leads by 57 (39 .. 76)
SOURCE = {"He's solver": "He et al. 2015, 2.2"}
FINDINGS = (
    Higher(ACCURACY, "Xavier, BN", than="Xavier, He's solver"),
    Higher(ACCURACY, "Xavier, BN", than="He, BN", by=-10, source="Ioffe & Szegedy 2015"),
    *(
        Higher(ACCURACY, f"He, {x}", than=f"Xavier, {x}", by=60, **MNIST, source=SOURCE.get(x, ""))
        for x in ("He's solver", "Adam", "rate .003", "decay .005")
    ),
    Higher(ACCURACY, "Xavier, Adam, no decay", than="Xavier, Adam", by=20),
    Higher(ACCURACY, "He, rate .003", than="He, rate .03", by=30),
)


def plot(results: Results):
    """Test accuracy of every seed by step, one panel a solver."""
    title = results.titled(f"Xavier against He, {results.config['depth']} layers")
    figure, axes = figures.panels(title, 2, 4)
    how = {"every": results.config["every"], "xlabel": "step", "each_seed": True}
    for panel, solver in zip(axes.flat, SOLVERS, strict=True):
        arms = {f"{name}, {solver}": name for name in ("Xavier", "He")}
        if set(arms) <= set(results.arms):
            title = solver.replace("rate", "learning rate").replace("decay", "weight decay")
            title = title.replace("He's solver", "momentum, rate .01").replace("BN", "batch norm")
            figures.curves(panel, results, ACCURACY, arms, title=title, **how)
            panel.set_ylim(0, 100)
        else:
            panel.set_axis_off()
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def applies(arm: dict, preset: str, dataset: str) -> bool:
    """To see that it runs, He's own learning rate and weight decay are enough."""
    hes_own = (arm["learning_rate"], arm["weight_decay"]) == (0.01, 5e-4)
    return hes_own or preset != "smoke"


SMOKE, PAPER = {"depth": 3, "steps": 4, "every": 2}, {"steps": 4_800}
ON = {"mnist5k": {"steps": 1_190, "every": 35}}  # 35 steps are a pass
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, PAPER, ON, seeds=3, applies=applies)

if __name__ == "__main__":
    main(RECIPE)
