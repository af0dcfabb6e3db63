"""Halving a large learning rate when the validation error stalls lowers the net's test error.

Source: lecture of TU Darmstadt: start with a large learning rate and halve it when the validation
error stalls; Nielsen, Neural Networks and Deep Learning (2015), chapter 3, has the same rule as an
exercise, and LeCun et al., Efficient BackProp (1998), the decay as 1 / t. None prints a result.

Differs from the source: a stall is three epochs without a new lowest validation error. "Impatient"
waits for one, which noise soon brings. Cosine and 1 / t use no error and err as rarely. "Small"
gains nothing from halving, and its net errs as rarely on test images as that of "large, halved". On
the fewer images of mnist5k "large" settles on four of five seeds, which learn the images by heart.

    make recipe-rate-decay          three minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge
from keras import layers, ops

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Alike, Higher, Lower
from common.ingredients.callbacks import Record
from common.training import evaluate, fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 10_000  # training images, the first ones
    n_validation: Annotated[int, Examples("validation")] = 5_000  # the last training images
    large: float = 0.5  # learning rate
    small: float = 0.02  # learning rate
    patience: int = 3  # epochs without a new lowest validation error before the halving
    width: int = 100  # hidden units
    batch_size: int = 10  # images in a mini-batch
    epochs: Annotated[int, Ge(2)] = 30  # passes over the training images


ARMS = {
    "large": {"start": "large", "decay": None},
    "small": {"start": "small", "decay": None},
    "large, halved": {"start": "large", "decay": "halved"},
    "small, halved": {"start": "small", "decay": "halved"},
    "large, impatient": {"start": "large", "decay": "impatient"},
    "large, cosine": {"start": "large", "decay": "cosine"},
    "large, 1 / t": {"start": "large", "decay": "1 / t"},
}
COST, TEST = "training cost, last epoch", "test error at the end (%)"
FIRST = "epochs at the first learning rate"


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 10) logits."""
    he = keras.initializers.HeNormal(keras.random.SeedGenerator(seed))
    x = inputs = keras.Input((28, 28))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(x))
    x = layers.Dense(config.width, "relu", kernel_initializer=he)(x)
    return keras.Model(inputs, layers.Dense(10, kernel_initializer=he)(x))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x, y), (x_test, y_test) = data
    held_out = x[-config.n_validation :], y[-config.n_validation :]
    x, y = x[: config.n_train], y[: config.n_train]
    start, steps = getattr(config, arm["start"]), -(-len(x) // config.batch_size)  # in an epoch
    schedules = {
        "cosine": keras.optimizers.schedules.CosineDecay(start, steps * config.epochs),
        "1 / t": keras.optimizers.schedules.InverseTimeDecay(start, steps, decay_rate=1.0),
    }
    model = build_model(config, arm, seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sgd = keras.optimizers.SGD(schedules.get(arm["decay"], start))
    model.compile(sgd, loss, metrics=["accuracy"])
    callbacks = [rate := Record(lambda: float(ops.convert_to_numpy(model.optimizer.learning_rate)))]
    if arm["decay"] in ("halved", "impatient"):
        wait = 1 if arm["decay"] == "impatient" else config.patience
        stalls = {"monitor": "val_accuracy", "mode": "max", "patience": wait, "min_delta": 0}
        callbacks.append(keras.callbacks.ReduceLROnPlateau(factor=0.5, **stalls))
    how = {"batch_size": config.batch_size, "epochs": config.epochs, "callbacks": callbacks}
    history = fit(model, x, y, validation_data=held_out, **how).history
    metrics = {COST: history["loss"][-1], "learning rate, last epoch": rate.values[-1]}
    metrics[TEST] = 100 * (1 - evaluate(model, x_test, y_test)["accuracy"])
    metrics[FIRST] = np.sum(np.equal(rate.values, rate.values[0]))
    curves = {"training cost": history["loss"], "learning rate": rate.values}
    curves["validation error (%)"] = 100 * (1 - np.array(history["val_accuracy"]))
    return Outcome(metrics, curves)


# ---- findings
LARGE, SMALL, HALVED, SLOWED, IMPATIENT, COSINE, _ = ARMS
FINDINGS = (
    Lower(TEST, HALVED, than=LARGE, dataset="mnist"),
    Lower(COST, HALVED, than=LARGE, ratio=True, by=3, dataset="mnist"),
    Lower(COST, HALVED, than=SMALL, ratio=True),
    Alike(TEST, HALVED, to=SMALL, within=0.5, dataset="mnist"),
    Higher(COST, SLOWED, than=SMALL, ratio=True),
    Lower(FIRST, IMPATIENT, than=HALVED),
    Higher(COST, IMPATIENT, than=HALVED, ratio=True),
    Lower(COST, COSINE, than=HALVED, ratio=True, dataset="mnist"),
)


def plot(results: Results):
    """Validation error, training cost and learning rate by epoch."""
    figure, axes = figures.panels(results.titled("Learning rates that decay"), 2, 2)
    series = ("validation error (%)", "validation error (%)", "training cost", "learning rate")
    shown = ([LARGE, SMALL, HALVED], list(ARMS)[2:], results.arms, results.arms)
    for panel, one, arms in zip(axes.ravel(), series, shown, strict=True):
        for arm, color in zip(results.arms, figures.COLORS, strict=True):
            if arm in arms:
                values = results.curves(one, arm)[:1]
                figures.curve(panel, np.where(values > 0, values, np.nan), arm, color)
        figures.label(panel, "", "epoch", f"{one}, seed 0")
        panel.set_yscale("log")
        if "error" in one:
            panel.set(yscale="linear", ylim=(3, 14))
            figures.legend(panel)
    return figure


SMOKE = {"n_train": 200, "n_validation": 100, "epochs": 3}
ON = {"mnist5k": {"n_train": 2_500, "n_validation": 1_000}}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, on=ON, seeds=5)

if __name__ == "__main__":
    main(RECIPE)
