"""One layer, Y = f(X^T W + B), goes down its error J(theta); Keras's steps equal those by hand.

Source: lecture of Duisburg-Essen: J(theta) is the mean of a loss L; theta, which is W and B, starts
at N(0, sigma^2) and moves by theta <- theta - eta dJ/dtheta, where the chain rule gives dJ/dtheta.
Differs from the source: it has no data. Here the inputs are the ink in three of a digit's four
quadrants, the outputs stand for "six" and "nine", f is the sigmoid, and J averages both. On one
seed of six the squared error ends at .3: a unit that is wrong and saturated barely learns.

    make recipe-perceptron          half a minute on 2 cores
"""

from dataclasses import dataclass

import keras
import numpy as np

from common.experiment import Data, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Exact, Lower
from common.ingredients.callbacks import Record
from common.training import fit


@dataclass(frozen=True)
class Config:
    sigma: float = 1.5  # standard deviation of theta at the start
    learning_rate: float = 2.0  # eta
    steps: int = 300  # of gradient descent, each on all examples


SAME = ("Y, Keras", "dJ/dtheta, differences", "dJ/dtheta, autodiff", "theta after training, Keras")
AXIS = np.linspace(-9, 9, 61)  # a weight on the surface of J
ARMS = {"squared error": {"L": "MeanSquaredError"}, "cross-entropy": {"L": "BinaryCrossentropy"}}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(n, 3) inputs -> (n, 2) outputs."""
    normal = keras.initializers.RandomNormal(0, config.sigma, keras.random.SeedGenerator(seed))
    layer = keras.layers.Dense(2, "sigmoid", True, normal, normal, dtype="float64")  # W, B: normal
    return keras.Sequential([keras.Input((3,), dtype="float64"), layer])


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    images, digits = (part[np.isin(data[0][1], (6, 9))][:1_000] for part in data[0])
    ink = images.reshape(-1, 2, 14, 2, 14).mean(axis=(2, 4)) / 25.5  # of four quarters, 0..10
    x = ink.reshape(-1, 4)[:, :3].astype("float32").astype("float64")  # `fit` takes x in float32
    t = np.stack([digits == 6, digits == 9], axis=1).astype("float64")
    model, eta, task = build_model(config, arm, seed), config.learning_rate, (x, t, arm["L"])
    y, path = model(x), [np.vstack(model.get_weights())]
    for _ in range(config.steps):
        path.append(path[-1] - eta * perceptron(path[-1], *task)[2])
    errors = perceptron(np.array(path), *task)[1]
    record = Record(lambda: np.vstack(model.get_weights()))
    model.compile(keras.optimizers.SGD(eta), getattr(keras.losses, arm["L"])(dtype="float64"))
    fit(model, x, t, batch_size=len(x), epochs=config.steps, callbacks=[record])
    start, end, h = path[0], path[-1], 1e-5 * np.eye(8).reshape(4, 2, 4, 2)  # one parameter each
    y_by_hand, _, gradient = perceptron(start, *task)
    differences = (perceptron(start + h, *task)[1] - perceptron(start - h, *task)[1]) / 2e-5
    first, last = record.values[0], record.values[-1]  # after Keras's first step and its last
    pairs = (y, y_by_hand), (differences, gradient), ((start - first) / eta, gradient), (last, end)
    metrics = {f"{a} - by hand": np.abs(b - c).max() for a, (b, c) in zip(SAME, pairs, strict=True)}
    surface = np.tile(end, (len(AXIS), len(AXIS), 1, 1))  # two weights into "nine" vary
    surface[..., 1, 1], surface[..., 2, 1] = np.meshgrid(AXIS, AXIS)
    drawn = {"J": perceptron(surface, *task)[1], "path": np.array(path)[:, 1:3, 1]}
    return Outcome(metrics | {"J before": errors[0], "J after": errors[-1]}, {"J": errors}, drawn)


def perceptron(theta, x, t, loss):
    """Y, J(theta), dJ/dtheta by the chain rule; theta, one or a stack: (..., 4, 2), W above B."""
    z = x @ theta[..., :3, :] + theta[..., 3:, :]
    y = 1 / (1 + np.exp(-z.clip(-30, 30)))  # clipped since log(1 - y) is taken
    if loss == "MeanSquaredError":
        error, slope = (t - y) ** 2, 2 * (y - t)  # L and dL/dY
    else:
        error, slope = -np.log(np.where(t, y, 1 - y)), (y - t) / (y * (1 - y))
    slope = slope / t.size * y * (1 - y)  # dJ/dZ = dJ/dY dY/dZ
    gradient = np.concatenate([x.T @ slope, slope.sum(axis=-2, keepdims=True)], axis=-2)
    return y, error.mean(axis=(-2, -1)), gradient


# ---- findings
FINDINGS = (
    *(Lower("J after", arm, than_metric="J before", ratio=True) for arm in ARMS),
    *(Exact(f"{one} - by hand", arm, 0, within=1e-9) for arm in ARMS for one in SAME),
)


def plot(results: Results):
    """J over two weights, the others as at the end; the path of these two on it."""
    figure, [panels] = figures.panels(results.titled("Seed 0 goes down J"), 1, 2)
    for panel, arm in zip(panels, results.arms, strict=True):
        surface = panel.contourf(AXIS, AXIS, results.picture("J", arm), 40, cmap="viridis")
        figure.colorbar(surface, ax=panel, location="bottom", label="J, others as at the end")
        panel.plot(*results.picture("path", arm).T, "o-", color="white", ms=5, markevery=5)
        figures.label(panel, arm, "weight: upper right to nine", "weight: lower left to nine")
    return figure


RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, smoke={"steps": 5})

if __name__ == "__main__":
    main(RECIPE)
