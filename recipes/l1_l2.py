"""Weight decay keeps a net from learning 1,000 digits by heart; L1 does it with few weights.

Source: Nielsen, Neural Networks and Deep Learning (2015), chapter 3, "Regularization": the net and
images of `overfitting`, with the penalty lambda / (2 n) * sum of squared weights (L2) or
lambda / n * sum of absolute weights (L1) added to the cost; biases go free. n is the number of
training images, so that lambda weighs the penalty against the cost of all of them.

Differs from the source: it has no curve for L1, both, or max-norm (a bound on the norm of a unit's
weights, Srivastava et al. 2014); their strengths were chosen on 1,000 other training images. L1 is
unsteady: on one seed of four its accuracy falls to 60 % for one epoch, 8 before the end, and
recovers, but 61 % of the weights end under 0.01, against 84 % on the others.

    make recipe-l1-l2          about two minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np

from common import figures
from common.claims import Band, Effect
from common.command import AtLeast, main
from common.experiment import Outcome, Recipe, Run
from common.losses import sigmoid_cross_entropy
from common.results import Results
from common.training import fit

NIELSEN = "Nielsen 2015, ch. 3"
EPOCHS = [51, 101, 281, 400]  # after which the book's curves are known
PUBLISHED = {"none": [81.40, 81.63, 82.21, 82.23], "L2": [82.87, 84.12, 86.45, 86.95]}
NEAR_ZERO = 0.01  # of a weight's size; at the start 0.8 % of N(0, 1) weights are that small
SIZES = np.logspace(-5, 1, 61)  # edges of the histogram of weights' sizes


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    n_train: int = 1_000  # n: training images, the first ones of the data set
    l2: Annotated[float, AtLeast(0)] = 0.1  # lambda: cost + l2 / (2 n) * sum of w^2
    l1: Annotated[float, AtLeast(0)] = 0.1  # lambda: cost + l1 / n * sum of |w|
    bound: float = 4.0  # max-norm: the largest norm of the weights into one unit
    rate: float = 0.5  # learning rate of plain gradient descent
    batch_size: int = 10  # images in a mini-batch
    epochs: int = 400  # passes over the training images


ARMS = {  # shares of each lambda, and whether the norms are bounded
    "none": {"l1": 0.0, "l2": 0.0, "bound": False},
    "L2": {"l1": 0.0, "l2": 1.0, "bound": False},
    "L1": {"l1": 1.0, "l2": 0.0, "bound": False},
    "both": {"l1": 0.5, "l2": 0.5, "bound": False},
    "max-norm": {"l1": 0.0, "l2": 0.0, "bound": True},
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28, 1) in [0, 1] -> (B, 10) logits of sigmoid outputs, parameters from N(0, 1)."""
    rng = keras.random.SeedGenerator(seed)
    l1 = arm["l1"] * config.l1 / config.n_train
    l2 = arm["l2"] * config.l2 / (2 * config.n_train)
    settings = {
        "kernel_initializer": keras.initializers.RandomNormal(stddev=1.0, seed=rng),
        "bias_initializer": keras.initializers.RandomNormal(stddev=1.0, seed=rng),
        "kernel_regularizer": keras.regularizers.L1L2(l1, l2) if l1 or l2 else None,
        "kernel_constraint": keras.constraints.MaxNorm(config.bound) if arm["bound"] else None,
    }
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(30, activation="sigmoid", **settings),
            keras.layers.Dense(10, **settings),
        ]
    )


def train(run: Run, arm: dict) -> Outcome:
    config = run.config
    few, test = run.data.train.first(config.n_train), run.data.test
    targets = keras.utils.to_categorical(few.labels, 10)
    model = build_model(config, arm, run.seed)
    accuracy = fit(
        model,
        few.images,
        targets,
        optimizer=keras.optimizers.SGD(config.rate),
        loss=sigmoid_cross_entropy,
        metrics=["accuracy"],
        batch_size=config.batch_size,
        epochs=config.epochs,
        seed=run.seed,
        callbacks=run.watch(),
        validation_data={"test": (test.images, keras.utils.to_categorical(test.labels, 10))},
    ).history["test_accuracy"]
    kernels = [layer.kernel.numpy() for layer in model.layers[1:]]
    weights = np.abs(np.concatenate([kernel.ravel() for kernel in kernels]))
    metrics = {
        "final_accuracy": 100 * accuracy[-1],
        "peak_accuracy": 100 * max(accuracy),
        "near_zero": 100 * np.mean(weights < NEAR_ZERO),
        "largest_norm": max(np.linalg.norm(kernel, axis=0).max() for kernel in kernels),
        "decay_error": decay_error(config, arm, run.seed, few.images, targets),
    }
    sizes = np.histogram(np.clip(weights, SIZES[0], SIZES[-1]), SIZES)[0] / len(weights)
    return Outcome(metrics, {"test_accuracy": 100 * np.array(accuracy), "sizes": 100 * sizes})


def decay_error(config: Config, arm: dict, seed: int, images, targets) -> float:
    """How far one step is from w - rate * (l2 / n * w + l1 / n * sign(w)), relative to max |w|.

    For weights from pixels that are black in the whole batch: the data give them no gradient.
    """
    model, images = build_model(config, arm, seed), images[: config.batch_size] / 255
    before = model.layers[1].kernel.numpy()
    model.compile(keras.optimizers.SGD(config.rate), sigmoid_cross_entropy, run_eagerly=True)
    model.train_on_batch(images, targets[: config.batch_size])
    l1, l2 = arm["l1"] * config.l1, arm["l2"] * config.l2
    penalty = config.rate / config.n_train * (l2 * before + l1 * np.sign(before))
    black = images.max(axis=0).ravel() == 0
    error = np.abs(model.layers[1].kernel.numpy() - (before - penalty))[black].max()
    return error / np.abs(before).max()


def beats(name: str, one: str, other: str, by, metric: str = "final_accuracy") -> Effect:
    return Effect(name, f"{one}/{metric}", f"{other}/{metric}", NIELSEN, by)


def within(name: str, metric: str, most: float) -> Band:
    bands = dict.fromkeys(("mnist", "digits", "mnist --paper"), (0, most))
    return Band(name, metric, bands, "exact")


# Means over 4 to 10 seeds stand beside, on MNIST, digits, and MNIST --paper.
CLAIMS = (
    Band(  # 87.46 +- 0.37, 92.44 +- 0.74; on MNIST the published figure +- 1.75
        "L2: final test accuracy (%)",
        "L2/final_accuracy",
        {"mnist": (85.2, 88.7), "digits": (90.2, 94.7)},
        NIELSEN,
        86.95,
    ),
    # 5.08 and 5.4; on digits 0.9 and -0.1, and no claim with a test set of 500
    beats("L2 beats none (points)", "L2", "none", {"mnist": 3}),
    beats("max-norm beats none (points)", "max-norm", "none", {"mnist": 3}),
    # 74, 52, 34; on MNIST 80, 80, 56, 80: seed 2 is the one that fell shortly before the end
    beats("weights under 0.01, L1 over L2 (points)", "L1", "L2", 20, "near_zero"),
    # -0.42; on digits -2.85, where this lambda is too much
    beats("test accuracy, L1 over L2: at most 2 behind (points)", "L1", "L2", {"mnist": -2}),
    within("L2: error of one step against the formula", "L2/decay_error", 1e-6),
    within("L1: error of one step against the formula", "L1/decay_error", 1e-6),
    within("both: error of one step against the formula", "both/decay_error", 1e-6),
    within("max-norm: largest norm of the weights into a unit", "max-norm/largest_norm", 4.00001),
    # 95.30 +- 0.11, 96.09 +- 0.12
    Band("none: peak (%)", "none/peak_accuracy", {"mnist --paper": (94.9, 95.7)}, NIELSEN, 95.33),
    Band("L2: peak (%)", "L2/peak_accuracy", {"mnist --paper": (95.7, 96.5)}, NIELSEN, 96.49),
)


def plot(results: Results):
    n = results.config["n_train"]
    figure, axes = figures.panels(results.titled(f"Weight penalties on {n:,} images"), 1, 2)
    figures.label(axes[0, 0], "", "epoch", "test accuracy (%)")
    size = "size of a weight (first bin: 1e-5 or less)"
    figures.label(axes[0, 1], "", size, "share of weights (%)")
    middles = np.sqrt(SIZES[:-1] * SIZES[1:])
    for color, arm in zip(figures.COLORS, ARMS, strict=False):
        figures.curve(axes[0, 0], results.history(f"{arm}/test_accuracy"), arm, color)
        figures.curve(axes[0, 1], results.history(f"{arm}/sizes"), arm, color, middles)
        if arm in PUBLISHED and results.dataset == "mnist" and results.content["preset"] != "paper":
            label = f"{NIELSEN}, {arm}"
            figures.points(axes[0, 0], EPOCHS, PUBLISHED[arm], label, color, joined=True)
    best = results.metric("L2/peak_accuracy").max()
    axes[0, 0].set_ylim(best - 12, best + 1)
    axes[0, 1].set_xscale("log")
    figures.legend(axes[0, 0])
    return figure


PAPER = {"n_train": 50_000, "l2": 5.0, "l1": 5.0, "epochs": 30}
RECIPE = Recipe(
    __doc__, Config, ARMS, train, CLAIMS, plot, smoke={"epochs": 2}, paper=PAPER, seeds=4
)

if __name__ == "__main__":
    main(RECIPE)
