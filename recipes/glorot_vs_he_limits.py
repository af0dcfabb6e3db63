"""Where He's lead at 30 layers ends: other rates, no decay, Adam, and batch normalisation.

Source: He, Zhang, Ren & Sun, Delving deep into rectifiers (ICCV 2015), section 2.2: with 30 layers
"Xavier" stalls and He learns, under momentum .9, rate .01 and weight decay 5e-4. Adam (Kingma & Ba
2015) divides out the size of a gradient, and batch normalisation (Ioffe & Szegedy 2015) that of a
signal: both should undo what small weights do.

Differs from the source: it tries one solver; this is a sweep around it, with the dense nets of
`glorot_vs_he` on MNIST. Nothing was tuned: the arms were fixed before the first run.

    make recipe-glorot-vs-he-limits          three to four minutes on 2 cores
"""

from dataclasses import dataclass

import keras
import numpy as np

from common import data, figures
from common.claims import Band, Effect
from common.command import main
from common.experiment import Outcome, Recipe, Run
from common.results import Results
from common.training import fit

PAPER = "He et al. 2015, 2.2"
CHANCE = 10  # % of ten classes


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    depth: int = 30  # layers with weights
    width: int = 96  # units in a hidden layer
    batch_size: int = 100  # images in a mini-batch
    steps: int = 1_200  # mini-batches trained on
    every: int = 100  # steps between two evaluations


SOLVERS = {
    "He's solver": {"rate": 0.01, "decay": 5e-4},
    "rate .003": {"rate": 0.003, "decay": 5e-4},
    "rate .03": {"rate": 0.03, "decay": 5e-4},
    "no decay": {"rate": 0.01, "decay": 0.0},
    "decay .005": {"rate": 0.01, "decay": 5e-3},
    "Adam": {"rate": 0.001, "decay": 5e-4, "adam": True},
    "BN": {"rate": 0.01, "decay": 5e-4, "normalised": True},
}
ARMS = {
    f"{name}, {solver}": {"scale": scale, **about}
    for solver, about in SOLVERS.items()
    for name, scale in (("Xavier", 1.0), ("He", 2.0))
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28, 1) mean-subtracted -> (B, 10) logits; weights from N(0, scale / n_in)."""
    settings = {
        "kernel_initializer": keras.initializers.VarianceScaling(
            arm["scale"], "fan_in", "untruncated_normal", keras.random.SeedGenerator(seed)
        ),
        "kernel_regularizer": keras.regularizers.L2(arm["decay"] / 2),
    }
    normalised = arm.get("normalised", False)
    layers = [keras.Input((28, 28, 1)), keras.layers.Flatten()]
    for _ in range(config.depth - 1):
        layers.append(keras.layers.Dense(config.width, use_bias=not normalised, **settings))
        if normalised:
            layers.append(keras.layers.BatchNormalization())
        layers.append(keras.layers.Activation("relu"))
    return keras.Sequential([*layers, keras.layers.Dense(10, **settings)])


def train(run: Run, arm: dict) -> Outcome:
    config = run.config
    images, test_images = (data.unit(part.images) for part in (run.data.train, run.data.test))
    mean = images.mean(axis=0)
    if arm.get("adam"):
        optimizer = keras.optimizers.Adam(arm["rate"])
    else:
        optimizer = keras.optimizers.SGD(arm["rate"], momentum=0.9)
    history = fit(
        build_model(config, arm, run.seed),
        images - mean,
        run.data.train.labels,
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        batch_size=config.batch_size,
        epochs=max(1, config.steps // config.every),
        steps_per_epoch=config.every,
        seed=run.seed,
        callbacks=run.watch(),
        validation_data={"test": (test_images - mean, run.data.test.labels)},
    ).history
    accuracy = 100 * np.array(history["test_accuracy"])
    metrics = {
        "final": accuracy[-1],
        "early": accuracy[: max(1, len(accuracy) // 3)].mean(),
        "at_chance": 100 * np.mean(np.abs(accuracy - CHANCE) <= 2),
    }
    return Outcome(metrics, {"accuracy": accuracy})


CLAIMS = ()


def plot(results: Results):
    title = results.titled(f"Xavier against He, {results.config['depth']} layers")
    figure, axes = figures.panels(title, 2, 4)
    every = results.config["every"]
    for panel, solver in zip(axes.flat, SOLVERS, strict=False):
        figures.label(panel, solver, "step", "test accuracy (%)")
        for color, name in zip(figures.COLORS, ("Xavier", "He"), strict=False):
            for i, one in enumerate(results.history(f"{name}, {solver}/accuracy")):
                steps = every * np.arange(1, 1 + len(one))
                panel.plot(steps, one, color=color, label=None if i else name)
        panel.set_ylim(0, 100)
        panel.label_outer()
    axes[1, 3].set_axis_off()
    axes[1, 3].legend(*axes[0, 0].get_legend_handles_labels(), loc="center")
    return figure


RECIPE = Recipe(
    __doc__,
    Config,
    ARMS,
    train,
    CLAIMS,
    plot,
    smoke={"depth": 3, "steps": 4, "every": 2},
    paper={"steps": 4_800},
)

if __name__ == "__main__":
    main(RECIPE)
