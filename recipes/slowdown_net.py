"""On digits too the quadratic cost slows a net down at its start, and a softmax layer does not.

Source: Nielsen, Neural Networks and Deep Learning (2015), chapter 3, "The cross-entropy cost
function" and "Softmax": 784-30-10 with weights and biases from N(0, 1), which saturate many units
at the start, in batches of 10. "Softmax" is a softmax layer with the log-likelihood cost
(categorical cross-entropy). `slowdown` shows one neuron alone.

Differs from the source: 10,000 training images, 40 epochs, and one rate for all costs. The book
gives the quadratic cost a rate six times higher, which makes up for most of the slowdown: that arm
is shown, and nothing is claimed of it. The book counts no epochs; the comparisons are the recipe's
own.

    make recipe-slowdown-net          about a minute on 2 cores
"""

from dataclasses import dataclass

import keras
from keras import ops

from common import figures
from common.claims import Band, Effect
from common.command import main
from common.experiment import Outcome, Recipe, Run
from common.results import Results
from common.training import fit

NIELSEN = "Nielsen 2015, ch. 3"


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    n_train: int = 10_000  # training images, the first ones of the data set
    epochs: int = 40  # passes over the training images
    batch_size: int = 10  # images in a mini-batch
    threshold: float = 90.0  # test accuracy (%) that counts as having learned


ARMS = {
    "quadratic": {"cost": "quadratic", "rate": 0.5},
    "quadratic fast": {"cost": "quadratic", "rate": 3.0},
    "cross-entropy": {"cost": "cross-entropy", "rate": 0.5},
    "softmax": {"cost": "log-likelihood", "rate": 0.5},
}

# Each cost: (B, 10) one-hot targets y and logits z of the output units -> (B,), summed over the
# units; their activation a(z) is part of the cost. dC/dz is (a - y) a'(z) under the quadratic cost
# and a - y under the other two: the slope a' of a saturated unit is what slows it down.
COSTS = {
    "quadratic": lambda y, z: ops.sum(ops.square(ops.sigmoid(z) - y), axis=-1) / 2,
    "cross-entropy": lambda y, z: ops.sum(ops.binary_crossentropy(y, z, from_logits=True), axis=-1),
    "log-likelihood": lambda y, z: ops.categorical_crossentropy(y, z, from_logits=True),
}


def build_model(seed: int) -> keras.Model:
    """(B, 28, 28, 1) in [0, 1] -> (B, 10) logits z; parameters from N(0, 1)."""
    rng = keras.random.SeedGenerator(seed)
    normal = {
        "kernel_initializer": keras.initializers.RandomNormal(stddev=1.0, seed=rng),
        "bias_initializer": keras.initializers.RandomNormal(stddev=1.0, seed=rng),
    }
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(30, activation="sigmoid", **normal),
            keras.layers.Dense(10, **normal),
        ]
    )


def train(run: Run, arm: dict) -> Outcome:
    config = run.config
    first, test = run.data.train.first(config.n_train), run.data.test
    accuracy = fit(
        build_model(run.seed),
        first.images,
        keras.utils.to_categorical(first.labels, 10),
        optimizer=keras.optimizers.SGD(arm["rate"]),
        loss=COSTS[arm["cost"]],
        metrics=["accuracy"],
        batch_size=config.batch_size,
        epochs=config.epochs,
        seed=run.seed,
        callbacks=run.watch(),
        validation_data={"test": (test.images, keras.utils.to_categorical(test.labels, 10))},
    ).history["test_accuracy"]
    reached = [
        epoch for epoch, value in enumerate(accuracy, start=1) if 100 * value >= config.threshold
    ]
    metrics = {
        "early_accuracy": 100 * sum(accuracy[:5]) / len(accuracy[:5]),
        "final_accuracy": 100 * accuracy[-1],
        # A net that never got there counts as having needed one epoch more than it was given.
        "epochs_needed": reached[0] if reached else config.epochs + 1,
    }
    return Outcome(metrics, {"accuracy": [100 * value for value in accuracy]})


CLAIMS = (
    Effect(
        "the quadratic cost needs over twice the epochs at the same rate (ratio)",
        larger="quadratic/epochs_needed",
        smaller="cross-entropy/epochs_needed",
        ratio=True,
        more_than=2,
        source=NIELSEN,
    ),
    Effect(
        "softmax, too, needs less than half the epochs of the quadratic cost (ratio)",
        larger="quadratic/epochs_needed",
        smaller="softmax/epochs_needed",
        ratio=True,
        more_than=2,
        source=f"{NIELSEN}, softmax",
    ),
    Effect(
        "softmax keeps up with cross-entropy, at most 3 points behind over 5 epochs",
        larger="softmax/early_accuracy",
        smaller="cross-entropy/early_accuracy",
        more_than=-3,
        source=f"{NIELSEN}, softmax",
    ),
    # Bands: mean +- 3 standard deviations over 10 seeds (MNIST) and 12 (digits), rounded outwards.
    # The quadratic cost has none: how late a net leaves its saturated start differs too much by
    # seed.
    Band(
        "cross-entropy: final test accuracy (%)",
        "cross-entropy/final_accuracy",
        {"mnist": (91.1, 92.5), "digits": (87.6, 93.7)},  # 91.77 +- 0.22, 90.67 +- 1.0
        "own runs",
    ),
    Band(
        "softmax: final test accuracy (%)",
        "softmax/final_accuracy",
        {"mnist": (90.1, 92.4), "digits": (87.2, 93.9)},  # 91.25 +- 0.35, 90.58 +- 1.1
        "own runs",
    ),
)


def plot(results: Results):
    figure, axes = figures.panels(results.titled("Learning slowdown in a 784-30-10 net"), 1, 1)
    panel = axes[0, 0]
    figures.label(panel, "", "epoch", "test accuracy (%)")
    for color, arm in zip(figures.COLORS, ARMS, strict=False):
        name = f"{ARMS[arm]['cost']}, rate {ARMS[arm]['rate']}"
        figures.curve(panel, results.history(f"{arm}/accuracy"), name, color)
    panel.axhline(results.config["threshold"], color=figures.GREY, linewidth=1)
    figures.legend(panel)
    return figure


RECIPE = Recipe(
    __doc__,
    Config,
    ARMS,
    train,
    CLAIMS,
    plot,
    smoke={"n_train": 200, "epochs": 2},
    paper={"n_train": 50_000, "epochs": 30},
    # On digits nets end at 91 % on average: 90 would be too near.
    on={"digits": {"n_train": 1_000, "threshold": 80.0}},
    seeds=5,
)

if __name__ == "__main__":
    main(RECIPE)
