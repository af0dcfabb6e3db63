"""A net of 24,000 weights learns 1,000 digits by heart and stops getting better at new ones.

Source: Nielsen, Neural Networks and Deep Learning (2015), chapter 3, "Overfitting and
regularization", and the curves published with it: 784-30-10, sigmoid units, cross-entropy summed
over the ten outputs, weights and biases from N(0, 1), batches of 10, rate 0.5, 400 epochs on the
first 1,000 MNIST training images. He shows one run; here are five seeds.

Differs from the source: nothing but the random numbers.

    make recipe-overfitting          about half a minute on 2 cores
"""

from dataclasses import dataclass

import keras
import numpy as np

from common import figures
from common.claims import Band, Effect
from common.command import main
from common.experiment import Outcome, Recipe, Run
from common.losses import sigmoid_cross_entropy
from common.results import Results
from common.training import fit

NIELSEN = "Nielsen 2015, ch. 3"


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    n_train: int = 1_000  # training images, the first ones of the data set
    hidden: int = 30  # units in the hidden layer
    rate: float = 0.5  # learning rate of plain gradient descent
    batch_size: int = 10  # images in a mini-batch
    epochs: int = 400  # passes over the training images


ARMS = {"plain": {}}


def build_model(hidden: int, seed: int) -> keras.Model:
    """(B, 28, 28, 1) in [0, 1] -> (B, 10) logits, every parameter from N(0, 1)."""
    rng = keras.random.SeedGenerator(seed)
    normal = {
        "kernel_initializer": keras.initializers.RandomNormal(stddev=1.0, seed=rng),
        "bias_initializer": keras.initializers.RandomNormal(stddev=1.0, seed=rng),
    }
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(hidden, activation="sigmoid", **normal),
            keras.layers.Dense(10, **normal),  # the output's sigmoid is part of the cost
        ]
    )


def train(run: Run, arm: dict) -> Outcome:
    config = run.config
    few, test = run.data.train.first(config.n_train), run.data.test
    few = few.images, keras.utils.to_categorical(few.labels, 10)
    history = fit(
        build_model(config.hidden, run.seed),
        *few,
        optimizer=keras.optimizers.SGD(config.rate),
        loss=sigmoid_cross_entropy,
        metrics=["accuracy"],
        batch_size=config.batch_size,
        epochs=config.epochs,
        seed=run.seed,
        callbacks=run.watch(),
        validation_data={
            "train": few,
            "test": (test.images, keras.utils.to_categorical(test.labels, 10)),
        },
    ).history
    curves = {
        "train_cost": history["train_loss"],
        "test_cost": history["test_loss"],
        "train_accuracy": [100 * value for value in history["train_accuracy"]],
        "test_accuracy": [100 * value for value in history["test_accuracy"]],
    }
    return Outcome(measure(curves), curves)


def measure(curves: dict[str, list[float]]) -> dict[str, float]:
    """Where overfitting shows in the four curves; accuracies in %, epochs counted from 1."""
    accuracy, cost = np.array(curves["test_accuracy"]), np.array(curves["test_cost"])
    fitted = np.array(curves["train_accuracy"]) == 100
    near_peak = accuracy > accuracy.max() - 1
    return {
        "peak_accuracy": accuracy.max(),
        "final_accuracy": accuracy[-1],
        "gap": curves["train_accuracy"][-1] - accuracy[-1],
        "fitted_epoch_100": curves["train_accuracy"][min(100, len(accuracy)) - 1],
        "epoch_all_fitted": 1 + np.argmax(fitted) if fitted.any() else len(accuracy) + 1,
        "epoch_within_1_of_peak": 1 + np.argmax(near_peak),
        "epoch_lowest_cost": 1 + np.argmin(cost),
        "lowest_cost": cost.min(),
        "final_cost": cost[-1],
        "epochs": len(accuracy),
    }


def band(name: str, metric: str, mnist: tuple, digits: tuple, published: float) -> Band:
    return Band(name, f"plain/{metric}", {"mnist": mnist, "digits": digits}, NIELSEN, published)


# Bands are the mean +- 3 standard deviations over 12 seeds, rounded outwards; those figures stand
# before each, for MNIST and digits.
CLAIMS = (
    # 82.51 +- 0.73, 92.05 +- 0.88
    band("peak test accuracy (%)", "peak_accuracy", (80.3, 84.8), (89.4, 94.7), 82.27),
    # 82.43 +- 0.70, 91.57 +- 1.1
    band("final test accuracy (%)", "final_accuracy", (80.3, 84.6), (88.2, 94.9), 82.23),
    # 17.57 +- 0.70, 8.43 +- 1.1
    band("gap to the training accuracy (points)", "gap", (15.4, 19.7), (5.1, 11.8), 17.77),
    # 99.99 +- 0.03 on both; the book's net is at 100 after 68 epochs (index 67 of its curve)
    band("training accuracy, epoch 100 (%)", "fitted_epoch_100", (99.8, 100), (99.8, 100), 100),
    # 15.5 +- 1.5, 26.9 +- 10; on MNIST the claim is: within the first 40
    band("epoch of the lowest test cost", "epoch_lowest_cost", (1, 40), (1, 60), 15),
    # 1.204 +- 0.034, 0.631 +- 0.062
    band("lowest test cost", "lowest_cost", (1.10, 1.31), (0.44, 0.82), 1.2028),
    Effect(
        "test cost at the end over its lowest (ratio)",
        larger="plain/final_cost",
        smaller="plain/lowest_cost",
        ratio=True,
        more_than={"mnist": 1.25, "digits": 1.1},
        published=1.7731 / 1.2028,
        source=NIELSEN,
    ),
    Effect(
        "epochs of training after accuracy came within 1 point of its peak",
        larger="plain/epochs",
        smaller="plain/epoch_within_1_of_peak",
        more_than=250,
        published=400 - 51,  # 81.40 after 51 epochs, the first point that is known
        source=NIELSEN,
    ),
)


def plot(results: Results):
    n = results.config["n_train"]
    figure, axes = figures.panels(results.titled(f"Overfitting on {n:,} images"), 2, 2)
    (fit_cost, test_accuracy), (test_cost, fit_accuracy) = axes
    for panel, series, title, unit in (
        (fit_cost, "train_cost", "Training cost falls and falls", "cost"),
        (test_accuracy, "test_accuracy", "Test accuracy stops improving", "accuracy (%)"),
        (test_cost, "test_cost", "Test cost turns and rises", "cost"),
        (fit_accuracy, "train_accuracy", "Training accuracy reaches 100 %", "accuracy (%)"),
    ):
        figures.label(panel, title, "epoch", unit)
        figures.curve(panel, results.history(f"plain/{series}"), "mean and deviation over seeds")
    test_accuracy.set_ylim(bottom=results.history("plain/test_accuracy").max() - 12)
    fit_cost.set_ylim(bottom=0)
    if results.dataset == "mnist":
        published = ([51, 101, 281, 400], [81.40, 81.63, 82.21, 82.23])
        figures.points(test_accuracy, *published, NIELSEN, joined=True)
        figures.points(test_cost, [15, 400], [1.2028, 1.7731], NIELSEN)
        figures.points(fit_accuracy, [68], [100], f"{NIELSEN}: first 100 %")
    for panel in axes.flat:
        figures.legend(panel)
    return figure


RECIPE = Recipe(
    __doc__,
    Config,
    ARMS,
    train,
    CLAIMS,
    plot,
    smoke={"epochs": 2, "n_train": 200},
    paper={},
    seeds=5,
)

if __name__ == "__main__":
    main(RECIPE)
