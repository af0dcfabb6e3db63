"""A net of 24,000 weights learns 1,000 digits by heart and stops getting better at new ones.

Source: Nielsen, Neural Networks and Deep Learning (2015), chapter 3, "Overfitting and
regularization", and the curves published with it: 784-30-10, sigmoid units, cross-entropy summed
over the ten outputs, weights and biases from N(0, 1), mini-batches of 10, learning rate 0.5, 400
epochs on the first 1,000 MNIST training images. He shows one run; here are twelve seeds.

Differs from the source: nothing but the random numbers.

    make recipe-overfitting          about a minute on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Higher, Lower, Printed
from common.ingredients.callbacks import Evaluate
from common.ingredients.digit_nets import nielsen_net
from common.ingredients.losses import sigmoid_cross_entropy
from common.training import fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 1_000  # training images, the first ones
    width: int = 30  # units in the hidden layer
    learning_rate: float = 0.5  # of plain gradient descent
    batch_size: int = 10  # images in a mini-batch
    epochs: int = 400  # passes over the training images


ARMS = {"plain": {}}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 10) logits of sigmoid outputs."""
    return nielsen_net(config.width, seed)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, y_train), (x_test, y_test) = data
    x, y = x_train[: config.n_train], keras.utils.to_categorical(y_train[: config.n_train], 10)
    test = x_test, keras.utils.to_categorical(y_test, 10)
    model = build_model(config, arm, seed)
    sgd = keras.optimizers.SGD(config.learning_rate)
    model.compile(sgd, sigmoid_cross_entropy, metrics=["accuracy"])
    steps = {"batch_size": config.batch_size, "epochs": config.epochs}
    after_epoch = [Evaluate("train", x, y)]  # with the weights at the end of the epoch
    history = fit(model, x, y, **steps, validation_data=test, callbacks=after_epoch).history
    curves = {
        "training cost": np.array(history["train_loss"]),
        "test cost": np.array(history["val_loss"]),
        "training accuracy (%)": 100 * np.array(history["train_accuracy"]),
        "test accuracy (%)": 100 * np.array(history["val_accuracy"]),
    }
    return Outcome(measure(curves), curves)


def measure(curves: dict[str, np.ndarray]) -> dict[str, float]:
    """Where overfitting shows in the four curves; epochs are counted from 1."""
    accuracy, cost = curves["test accuracy (%)"], curves["test cost"]
    trained = curves["training accuracy (%)"]
    return {
        "peak test accuracy (%)": accuracy.max(),
        "final test accuracy (%)": accuracy[-1],
        "final training accuracy (%)": trained[-1],
        "gap between training and test accuracy (points)": trained[-1] - accuracy[-1],
        "training accuracy after 100 epochs (%)": trained[:100][-1],
        "epoch within one point of the peak": 1 + np.argmax(accuracy > accuracy.max() - 1),
        "epoch of the lowest test cost": 1 + np.argmin(cost),
        "lowest test cost": cost.min(),
        "final test cost": cost[-1],
    }


# ---- findings
BOOK, FINAL, LOWEST = "Nielsen 2015, ch. 3", "final test cost", "lowest test cost"
PRINTED = {
    "peak test accuracy (%)": 82.27,
    "final test accuracy (%)": 82.23,
    "gap between training and test accuracy (points)": 17.77,
    "epoch of the lowest test cost": 15,
    LOWEST: 1.2028,
    FINAL: 1.7731,
}
OF_400 = {"preset": "default", "source": BOOK}  # epochs; those after the 150th gain under a point
FIRST_100 = "training accuracy after 100 epochs (%)"  # printed: 1,000 of 1,000 images
FINDINGS = (
    Higher("final training accuracy (%)", "plain", than_metric="final test accuracy (%)"),
    Higher(FINAL, "plain", than_metric=LOWEST, ratio=True, by=1.25),
    Lower("epoch within one point of the peak", "plain", than=150, **OF_400),
    *(Printed(metric, "plain", value, source=BOOK) for metric, value in PRINTED.items()),
    Printed(FIRST_100, "plain", 100, decimals=1, source=BOOK),
)


def plot(results: Results):
    """The book's four curves, with its printed points."""
    title = f"Overfitting on {results.config['n_train']:,} images"
    figure, axes = figures.panels(results.titled(title), 2, 2)
    cost, accuracy, test_cost, fitted = axes.flat
    for panel, series, title in (
        (cost, "training cost", "Training cost falls and falls"),
        (accuracy, "test accuracy (%)", "Test accuracy stops improving"),
        (test_cost, "test cost", "Test cost turns and rises"),
        (fitted, "training accuracy (%)", "Training accuracy reaches 100 %"),
    ):
        figures.curves(panel, results, series, {"plain": "mean ± standard deviation"}, title=title)
    cost.set_ylim(bottom=0)
    accuracy.set_ylim(bottom=results.curves("test accuracy (%)", "plain").max() - 12)
    printed = ([51, 101, 281, 400], [81.40, 81.63, 82.21, 82.23])
    figures.points(accuracy, *printed, f"{BOOK}: 1,000", joined=True)
    figures.points(test_cost, [15, 400], [PRINTED[LOWEST], PRINTED[FINAL]], f"{BOOK}: 1,000")
    figures.points(fitted, [68], [100], f"{BOOK}: first 100 %")
    for panel in axes.flat:
        figures.legend(panel)
    return figure


RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, smoke={"epochs": 2, "n_train": 200}, seeds=12)

if __name__ == "__main__":
    main(RECIPE)
