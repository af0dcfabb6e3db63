"""Stop when the validation cost turns: much less time and cost, for a little accuracy.

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

import keras

from common import figures
from common.claims import Band, Effect
from common.command import main
from common.experiment import Outcome, Recipe, Run
from common.losses import sigmoid_cross_entropy
from common.results import Results
from common.training import evaluate, fit

NIELSEN = "Nielsen 2015, ch. 3"


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    n_train: int = 1_000  # training images, the first ones of the data set
    n_validation: int = 1_000  # validation images, the training images that follow
    patience: int = 30  # epochs without improvement after which training stops
    rate: float = 0.5  # learning rate of plain gradient descent
    batch_size: int = 10  # images in a mini-batch
    epochs: int = 400  # passes over the training images at most


ARMS = {
    "none": {"monitor": None},
    "validation cost": {"monitor": "val_loss"},
    "validation accuracy": {"monitor": "val_accuracy"},
}


def build_model(seed: int) -> keras.Model:
    """(B, 28, 28, 1) in [0, 1] -> (B, 10) logits of sigmoid outputs, parameters from N(0, 1)."""
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
    learned = run.data.train.first(config.n_train + config.n_validation)
    targets = keras.utils.to_categorical(learned.labels, 10)
    test = run.data.test.images, keras.utils.to_categorical(run.data.test.labels, 10)
    callbacks = run.watch()
    if arm["monitor"]:
        stop = keras.callbacks.EarlyStopping(
            arm["monitor"],
            mode="min" if arm["monitor"] == "val_loss" else "max",
            patience=config.patience,
            restore_best_weights=True,
        )
        callbacks.append(stop)
    model, n = build_model(run.seed), config.n_train
    history = fit(
        model,
        learned.images[:n],
        targets[:n],
        optimizer=keras.optimizers.SGD(config.rate),
        loss=sigmoid_cross_entropy,
        metrics=["accuracy"],
        batch_size=config.batch_size,
        epochs=config.epochs,
        seed=run.seed,
        callbacks=callbacks,
        validation_data={"val": (learned.images[n:], targets[n:]), "test": test},
    ).history
    epochs, reached = len(history["loss"]), evaluate(model, *test)
    metrics = {
        "epochs": epochs,
        "best_epoch": 1 + stop.best_epoch if arm["monitor"] else epochs,
        "test_cost": reached["loss"],
        "test_accuracy": 100 * reached["accuracy"],
        "peak_accuracy": 100 * max(history["test_accuracy"]),
    }
    curves = {
        "validation_cost": history["val_loss"],
        "test_cost": history["test_loss"],
        "test_accuracy": [100 * value for value in history["test_accuracy"]],
    }
    return Outcome(metrics, curves)


def effect(name: str, larger: str, smaller: str, more_than, ratio=False, published=None) -> Effect:
    return Effect(name, larger, smaller, NIELSEN, more_than, ratio, published)


COST, ACCURACY = "validation cost", "validation accuracy"
# Thresholds follow 12 seeds, whose means stand before each, on MNIST and digits. Where digits has
# none, it does not hold there: their validation accuracy stops improving before the cost does.
CLAIMS = (
    Band(  # 44.8 +- 2.3, 68.9 +- 12.7; the claim on MNIST is: within the first 60
        "epochs until the validation cost stops the training",
        f"{COST}/epochs",
        {"mnist": (1, 60), "digits": (30, 108)},
        NIELSEN,
    ),
    effect(  # 8.9, 5.9
        "epochs without a stop over epochs until the validation cost stops (ratio)",
        "none/epochs",
        f"{COST}/epochs",
        {"mnist": 5, "digits": 4},
        ratio=True,
    ),
    effect(  # 1.43, 1.26; in the book the cost ends at 1.47 times its lowest
        "test cost without a stop over that with it (ratio)",
        "none/test_cost",
        f"{COST}/test_cost",
        {"mnist": 1.25, "digits": 1.1},
        ratio=True,
        published=1.7731 / 1.2028,
    ),
    effect(  # 36
        "accuracy turns later than cost (epochs)",
        f"{ACCURACY}/best_epoch",
        f"{COST}/best_epoch",
        {"mnist": 0},
    ),
    effect(  # 2.10, 1.28
        "test accuracy that stopping by the cost gives away (points)",
        "none/peak_accuracy",
        f"{COST}/test_accuracy",
        {"mnist": 1, "digits": 0.5},
    ),
    effect(  # -1.00, -1.67
        "test accuracy, stopped by the accuracy over the peak without a stop (points)",
        f"{ACCURACY}/test_accuracy",
        "none/peak_accuracy",
        {"mnist": -1.5, "digits": -3},
    ),
    # 320, 342
    effect("epochs that stopping by the accuracy saves", "none/epochs", f"{ACCURACY}/epochs", 200),
)


def plot(results: Results):
    figure, axes = figures.panels(results.titled("Early stopping on 1,000 images"), 1, 2)
    for panel, series in zip(axes[0], ("test_cost", "test_accuracy"), strict=True):
        unit = "test cost" if series == "test_cost" else "test accuracy (%)"
        figures.label(panel, "", "epoch", unit)
        curve = results.history(f"none/{series}")
        figures.curve(panel, curve, "no stop: mean and deviation over seeds", figures.GREY)
        for color, arm in zip(figures.COLORS, (COST, ACCURACY), strict=False):
            x, y = results.metric(f"{arm}/best_epoch"), results.metric(f"{arm}/{series}")
            figures.points(panel, x, y, f"kept by {arm}, each seed", color)
            last = results.metric(f"{arm}/epochs").mean()
            panel.axvline(last, color=color, linestyle=":", label=f"{arm} stops here (mean)")
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter("{x:g}")
        figures.legend(panel)
    axes[0, 1].set_ylim(bottom=results.metric("none/peak_accuracy").max() - 15)
    return figure


SMOKE = {"epochs": 2, "n_train": 200, "n_validation": 50}
DIGITS = {"digits": {"n_validation": 297}}
RECIPE = Recipe(
    __doc__, Config, ARMS, train, CLAIMS, plot, smoke=SMOKE, paper={}, on=DIGITS, seeds=12
)

if __name__ == "__main__":
    main(RECIPE)
