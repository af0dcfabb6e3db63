"""Gradient descent diverges beyond a learning rate of 2 / h, where h is the largest curvature.

Source: LeCun, Bottou, Orr & Mueller, Efficient BackProp (1998), 5.1 and 5.2: on a quadratic cost
each step multiplies the distance to the minimum by 1 - eta h along each axis with curvature h. For
a linear unit on 100 points with variances .84 and .036 along their principal axes, figure 11 shows
eta = 1.5 and 2.5, and a limit of 2 / .84 = 2.38. The curvature along the bias is 1: the limit is 2.

Differs from the source: exactly these variances, two more rates, and softmax regression, begun near
its minimum. Far away its curvature is smaller: at 1.05 of 2 / h distances grow at most 280-fold,
not 1.1^100. At .95 they stop, as single precision rounds, at .005 to .008 of the first.

    make recipe-learning-rate-limit          a minute on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge
from keras import layers

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Exact, Higher, Lower, Printed
from common.ingredients.callbacks import Record
from common.ingredients.curvature import sharpness
from common.training import fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 1_000  # digits, the first ones
    penalty: float = 0.01  # of softmax regression: cost + penalty / 2 * sum of w^2 and b^2
    settle: int = 1_000  # steps to the minimum of softmax regression
    steps: Annotated[int, Ge(2)] = 100  # of gradient descent from there
    away: float = 0.001  # distance from the minimum at the start of these


ARMS = {f"linear, {eta}": {"digits": False, "learning_rate": eta} for eta in (1.5, 1.93, 2.2, 2.5)}
ARMS |= {
    f"{name}, {share} of 2 / h": {"digits": True, "centered": "minus" in name, "share": share}
    for name in ("digits", "digits minus their mean")
    for share in (0.95, 1.05)
}
LIMIT, SAME = "2 / h", "theta - closed form, relative"
FACTOR = "distance from the minimum, end over start"


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 784) pixels -> (B, 10) logits, or (B, 2) points -> (B, 1) outputs in double precision."""
    n_in, n_out, start, dtype = 784, 10, "zeros", "float32"
    penalty = keras.regularizers.L2(config.penalty / 2)
    if not arm["digits"]:
        n_in, n_out, penalty, dtype = 2, 1, None, "float64"
        start = keras.initializers.RandomNormal(0, 1, keras.random.SeedGenerator(seed))
    layer = layers.Dense(n_out, None, True, start, start, penalty, penalty, dtype=dtype)  # W, b
    return keras.Sequential([keras.Input((n_in,), dtype=dtype), layer])


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    return (digits if arm["digits"] else linear)(config, arm, seed, data[0])


def linear(config, arm, seed, _):
    """Keras's path from a random start, and that of the closed form."""
    x, targets = two_classes(seed)
    model, eta = build_model(config, arm, seed), float(np.float32(arm["learning_rate"]))  # Keras's
    twice = keras.losses.MeanSquaredError(dtype="float64")  # twice the source's: eta is halved
    path = descend(model, twice, eta / 2, x, targets, config.steps)
    ones = np.hstack([x, np.ones((len(x), 1))])
    h, axes = np.linalg.eigh(ones.T @ ones / len(x))  # of the Hessian
    minimum = np.linalg.lstsq(ones, targets[:, 0])[0]
    factors = (1 - eta * h) ** np.arange(config.steps + 1)[:, None]
    expected = minimum + factors * ((path[0] - minimum) @ axes) @ axes.T
    same = np.abs(path - expected).max() / np.abs(expected).max()
    return outcome(path - minimum, np.abs(factors).max(axis=1), {LIMIT: 2 / h.max(), SAME: same})


def digits(config, arm, seed, images):
    """From near the minimum, along the axis of largest curvature, toward it or away from it."""
    x, y = (some[: config.n_train] for some in images)
    x, y = x.reshape(len(x), -1) / np.float32(255), np.eye(10, dtype="float32")[y]
    x = x - x.mean(axis=0) if arm["centered"] else x
    model = build_model(config, arm, seed)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    minimum = descend(model, loss, 0.2, x, y, config.settle, momentum=0.9)[-1]
    sharpest, axis = sharpness(model, loss.call, x, y, 200, seed)()  # without the penalty
    h, both = sharpest + config.penalty, zip(model.get_weights(), axis, strict=True)
    model.set_weights([weight + config.away * along for weight, along in both])
    path = descend(model, loss, arm["share"] * 2 / h, x, y, config.steps)
    factors = np.abs(1 - 2 * arm["share"]) ** np.arange(config.steps + 1)
    return outcome(path - minimum, factors, {LIMIT: 2 / h})


def outcome(offsets, factors, metrics):
    """Distances from the minimum by step; the largest factor |1 - eta h|^t of the closed form."""
    away = np.linalg.norm(offsets, axis=1) / np.linalg.norm(offsets[0])
    return Outcome(metrics | {FACTOR: away[-1]}, {"distance": away, "closed form": factors})


def descend(model, loss, learning_rate, x, y, steps, momentum=0.0):
    """All parameters before and after each step on all examples, (steps + 1, P)."""
    look = lambda: np.concatenate([w.ravel() for w in model.get_weights()])  # noqa: E731
    start, record = look(), Record(look)
    model.compile(keras.optimizers.SGD(learning_rate, momentum), loss)
    fit(model, x, y, batch_size=len(x), epochs=steps, callbacks=[record])
    return np.array([start, *record.values])


def two_classes(seed):
    """100 points (100, 2) of mean 0 around -(.4, .8) and (.4, .8), and their targets -1 and 1."""
    targets = np.repeat([[-1.0], [1.0]], 50, axis=0)
    x = targets * [0.4, 0.8] + np.random.default_rng(seed).normal(0, 0.2, (100, 2))
    left, _, right = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    return left * np.sqrt([84, 3.6]) @ right, targets


# ---- findings
LINEAR, DIGITS = list(ARMS)[:4], list(ARMS)[4:]
BELOW, ABOVE = (*LINEAR[:2], *DIGITS[::2]), (*LINEAR[2:], *DIGITS[1::2])
SOURCE = "LeCun et al. 1998"
FINDINGS = (
    *(Higher(FACTOR, arm, than=1, ratio=True, source=SOURCE) for arm in ABOVE),
    *(Lower(FACTOR, arm, than=1, ratio=True, source=SOURCE) for arm in BELOW),
    Exact(LIMIT, LINEAR[0], 2, within=1e-9),
    *(Exact(SAME, arm, 0, within=1e-9, source=SOURCE) for arm in LINEAR),
    Higher(LIMIT, DIGITS[2], than=DIGITS[0], ratio=True, by=2, source=SOURCE),
    Printed(LIMIT, LINEAR[0], 2.38, SOURCE, cause="The curvature along the bias, 1, is left out"),
)


def plot(results: Results):
    """Distance from the minimum by step, and the largest factor of the closed form."""
    figure, [[left, right]] = figures.panels(results.titled("Learning rates around 2 / h"), 1, 2)
    x = np.arange(results.config["steps"] + 1)
    titles = "linear unit at four learning rates; 2 / h = 2", "softmax regression near its minimum"
    for panel, arms, title in zip((left, right), (LINEAR, DIGITS), titles, strict=True):
        figures.curves(panel, results, "distance", arms, x=x, xlabel="step", title=title)
        for arm, color in zip(arms, figures.COLORS, strict=False):
            panel.plot(x, results.curves("closed form", arm)[0], "--", color=color)
        panel.plot([], [], "--", color=figures.GRAY, label="theory: largest |1 - eta h|^t")
        panel.set(yscale="log", ylabel="distance from the minimum, 1 at the start")
        figures.legend(panel)
    return figure


SMOKE = {"n_train": 100, "settle": 20, "steps": 5}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, seeds=3)

if __name__ == "__main__":
    main(RECIPE)
