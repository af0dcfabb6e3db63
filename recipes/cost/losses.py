"""At their best learning rates six losses err about equally; how sure the net looks differs.

Source: lecture of TU Darmstadt, "Loss bricks": square, log, hinge, log-softmax and max-margin, no
results. Guo, Pleiss, Sun & Weinberger (ICML 2017): the expected calibration error is the mean
distance of confidence from accuracy in 15 bins of confidence; a net that overfits is too sure.

Differs from the source: the squared error of softmax outputs is added. Each loss has the best of
nine learning rates, by the error on validation images. The outputs of each are read as logits of a
softmax: with hinge the confidence fits at a learning rate of .1 (off by .6 %), not at .03 (5.6 %),
which validation can hardly tell apart; with square it is too low. With the 1,000 validation images
of mnist5k three losses' learning rates and margins vary by seed.

    make recipe-losses          two to three minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge
from keras import ops

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Alike, Higher, Lower
from common.ingredients.learning_rates import LearningRates, nets_alike
from common.ingredients.losses import loss_of_outputs
from common.training import fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 5_000  # training images, the first ones
    n_validation: Annotated[int, Examples("validation")] = 5_000  # the last training images
    width: int = 100  # hidden ReLU units
    batch_size: int = 20  # images in a mini-batch
    epochs: Annotated[int, Ge(1)] = 20  # passes over the training images
    bins: Annotated[int, Ge(1)] = 15  # of confidence


NAMES = ("log_softmax", "log", "square", "hinge", "max_margin", "square of softmax")
ARMS = {name: {"loss": name} for name in NAMES}
RATES = 10.0 ** np.arange(-3.5, 1, 0.5)  # learning rates; each trains its own copy of the net
TEST, MARGIN = "test error (%)", "median margin, training images"
CALIBRATION, BEST = "expected calibration error (%)", "best learning rate"


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, R, 10) outputs of R nets that start alike."""
    he = keras.initializers.HeNormal(keras.random.SeedGenerator(seed))
    return nets_alike(len(RATES), [config.width], "relu", he)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x, y), (x_test, y_test) = data
    x_held, y_held = x[-config.n_validation :], y[-config.n_validation :]
    x, y = x[: config.n_train], y[: config.n_train]
    model = build_model(config, arm, seed)

    def loss(classes, outputs):
        hot = ops.one_hot(ops.cast(ops.reshape(classes, (-1, 1)), "int32"), 10)
        return ops.sum(loss_of_outputs(arm["loss"], outputs, hot), axis=1)

    model.compile(keras.optimizers.SGD(LearningRates(RATES)), loss)
    fit(model, x, y, batch_size=config.batch_size, epochs=config.epochs)
    seen, held, test = (outputs_of(model, images) for images in (x, x_held, x_test))
    errors = [
        100 * np.mean(o.argmax(axis=2) != c[:, None], axis=0)
        for o, c in ((held, y_held), (test, y_test))
    ]
    best = np.argmin(errors[0])
    right = np.take_along_axis(seen[:, best], y[:, None], axis=1)[:, 0]
    rival = np.where(np.eye(10)[y], -np.inf, seen[:, best]).max(axis=1)
    confidence, accuracy, share = reliability(test[:, best], y_test, config.bins)
    metrics = {TEST: errors[1][best], BEST: RATES[best], MARGIN: np.median(right - rival)}
    metrics[CALIBRATION] = 100 * np.sum(share * np.abs(confidence - accuracy))
    pictures = {"reliability": np.stack([confidence, accuracy, share])}
    return Outcome(metrics, {"test error (%) by learning rate": errors[1]}, pictures)


def outputs_of(model, images):
    """(n, R, 10); those of a net that has diverged are 0."""
    parts = [model.predict_on_batch(part)[: len(part)] for part in np.array_split(images, 10)]
    return np.nan_to_num(np.concatenate(parts), posinf=0, neginf=0)


def reliability(outputs, classes, bins):
    """Mean confidence, accuracy and share of the images in each bin of confidence, (bins,) each.

    The confidence, 0 to 1, is the largest softmax output. Both are 0 where a bin is empty.
    """
    e = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    confidence, hit = 1 / e.sum(axis=1), outputs.argmax(axis=1) == classes
    place = np.minimum((bins * confidence).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    sums = [np.bincount(place, value, minlength=bins) for value in (confidence, hit)]
    return *(one / np.maximum(count, 1) for one in sums), count / len(classes)


# ---- findings
LOG_SOFTMAX, LOG, SQUARE, _, MAX_MARGIN, OF_SOFTMAX = ARMS
RATIO, MNIST = {"than": LOG_SOFTMAX, "ratio": True}, {"dataset": "mnist"}
FINDINGS = (
    *(Alike(TEST, name, to=LOG_SOFTMAX, within=1.5, **MNIST) for name in NAMES[1:]),
    Lower(MARGIN, SQUARE, by=2, **RATIO),
    Lower(MARGIN, MAX_MARGIN, by=2, **RATIO, **MNIST),
    *(Higher(CALIBRATION, name, **RATIO) for name in (LOG, SQUARE)),
    Higher(CALIBRATION, MAX_MARGIN, **RATIO, **MNIST),
)


def plot(results: Results):
    """Reliability, and test error by learning rate."""
    figure, [[left, right]] = figures.panels(results.titled("Six losses"), 1, 2)
    left.plot([0, 1], [0, 1], color=figures.GRAY, linestyle="--")
    for name, color in zip(results.arms, figures.COLORS, strict=False):
        confidence, accuracy, share = results.picture("reliability", name)
        seen = share > 0.002
        left.plot(confidence[seen], accuracy[seen], "o-", color=color, label=name)
    figures.label(left, "reliability, test images", "confidence", "accuracy")
    series = "test error (%) by learning rate"
    figures.curves(right, results, series, x=RATES, xlabel="learning rate")
    right.set(xscale="log", ylim=(0, 30))
    figures.legend(left)
    return figure


SMOKE = {"n_train": 100, "n_validation": 50, "epochs": 1}
ON = {"mnist5k": {"n_train": 2_500, "n_validation": 1_000}}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, on=ON, seeds=3)

if __name__ == "__main__":
    main(RECIPE)
