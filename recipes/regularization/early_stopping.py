"""Stop when the validation cost turns: the test cost stays low, but accuracy loses two points.

Source: Nielsen, Neural Networks and Deep Learning (2015), chapter 3, "Overfitting and
regularization", and the curves published with it (see `overfitting`): the test cost turns at about
epoch 15 while the accuracy creeps up for hundreds of epochs. Which of the two says where
overfitting begins? Each stops the training here when it has not improved on validation images for
`patience` epochs; the best weights are restored.

Differs from the source: the book stops by eye. Validation images are the training images that
follow the first 1,000; the test images only measure.

    make recipe-early-stopping          about two minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Higher, Lower
from common.ingredients.callbacks import Evaluate
from common.ingredients.digit_nets import nielsen_net
from common.ingredients.losses import sigmoid_cross_entropy
from common.training import evaluate, fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 1_000  # training images, the first ones
    n_validation: Annotated[int, Examples("validation")] = 1_000  # those that follow
    patience: int = 30  # epochs without improvement after which training stops
    learning_rate: float = 0.5  # of plain gradient descent
    batch_size: int = 10  # images in a mini-batch
    epochs: int = 400  # passes over the training images at most


ARMS = {
    "no stop": {"monitor": None},
    "validation cost": {"monitor": "val_loss"},
    "validation accuracy": {"monitor": "val_accuracy"},
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 10) logits of sigmoid outputs."""
    return nielsen_net(30, seed)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x, y), (x_test, y_test) = data
    y, y_test = (keras.utils.to_categorical(labels, 10) for labels in (y, y_test))
    n, end = config.n_train, config.n_train + config.n_validation
    model = build_model(config, arm, seed)
    sgd = keras.optimizers.SGD(config.learning_rate)
    model.compile(sgd, sigmoid_cross_entropy, metrics=["accuracy"])
    callbacks = [Evaluate("test", x_test, y_test)]
    if arm["monitor"]:
        how = {"patience": config.patience, "restore_best_weights": True}
        callbacks.append(stop := keras.callbacks.EarlyStopping(arm["monitor"], **how))
    steps = {"batch_size": config.batch_size, "epochs": config.epochs}
    held = x[n:end], y[n:end]
    history = fit(model, x[:n], y[:n], **steps, validation_data=held, callbacks=callbacks).history
    kept = evaluate(model, x_test, y_test)
    accuracy = 100 * np.array(history["test_accuracy"])
    metrics = {
        "epochs trained": len(accuracy),
        "best epoch": 1 + stop.best_epoch if arm["monitor"] else len(accuracy),
        "test cost": kept["loss"],
        "test accuracy (%)": 100 * kept["accuracy"],
        "peak test accuracy (%)": accuracy.max(),
    }
    return Outcome(metrics, {"test cost": history["test_loss"], "test accuracy (%)": accuracy})


# ---- findings
COST, ACCURACY, KEPT = "validation cost", "validation accuracy", "test accuracy (%)"
PEAK = {"than": "no stop", "than_metric": "peak test accuracy (%)"}
FINDINGS = (
    Lower("epochs trained", COST, than="no stop", ratio=True, by=5),
    Lower("test cost", COST, than="no stop", ratio=True, by=1.25),
    Lower("best epoch", COST, than=ACCURACY),
    Lower(KEPT, COST, **PEAK, by=0.5),
    Higher(KEPT, ACCURACY, **PEAK, by=-1.5, dataset="mnist"),  # a peak on few images is luck
    Lower("epochs trained", ACCURACY, than="no stop", by=200),
)


def plot(results: Results):
    """What is kept under each criterion, and where the training stops."""
    title = f"Early stopping on {results.config['n_train']:,} images"
    figure, axes = figures.panels(results.titled(title), 1, 2)
    for panel, series in zip(axes[0], ("test cost", "test accuracy (%)"), strict=True):
        figures.label(panel, "", "epoch", series)
        curve = results.curves(series, "no stop")
        figures.curve(panel, curve, "no stop: mean ± standard deviation", figures.GRAY)
        for color, arm in zip(figures.COLORS, (COST, ACCURACY), strict=False):
            x, y = results.metric("best epoch", arm), results.metric(series, arm)
            figures.points(panel, x, y, f"kept by {arm}, each seed", color)
            last = results.metric("epochs trained", arm).mean()
            panel.axvline(last, color=color, linestyle=":", label=f"{arm} stops here (mean)")
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter("{x:g}")
        figures.legend(panel)
    axes[0, 1].set_ylim(bottom=results.metric("peak test accuracy (%)", "no stop").max() - 15)
    return figure


SMOKE = {"epochs": 2, "n_train": 200, "n_validation": 50}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, seeds=12)

if __name__ == "__main__":
    main(RECIPE)
