"""The ravine against theory, and what is counted over the learning rates."""

import numpy as np
import pytest

from common.ingredients.optimizers import ravine, sgd
from recipes.optimization import optimizers
from recipes.optimization.optimizers import (
    ARMS,
    BEST,
    CONTRACTION,
    COST,
    OPTIMIZERS,
    RANGE,
    RATES,
    RAVINE,
    Config,
)

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 10, 300)
X = np.zeros((300, 28, 28), np.uint8)
X[np.arange(300), 2 * Y + 4] = 255  # a line whose height tells the class
DATA = (X[:200], Y[:200]), (X[200:], Y[200:])
SMALL = Config(n_train=150, width=8, batch_size=30, epochs=3)


def test_the_ravines_curvatures_are_1_and_a_hundredth():
    """A step of length eta takes a share 1 - eta h of each coordinate along the axes."""
    path = ravine(sgd(0.5))
    axes = np.array(
        [[np.cos(np.pi / 6), np.sin(np.pi / 6)], [-np.sin(np.pi / 6), np.cos(np.pi / 6)]]
    )
    along, across = axes @ path.T
    np.testing.assert_allclose(along[1:5] / along[:4], 1 - 0.5 / 100, rtol=1e-9)
    np.testing.assert_allclose(across[1:5] / across[:4], 1 - 0.5, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "contraction"), [("plain", 99 / 101), ("momentum", 9 / 11), ("Nesterov", 0.9)]
)
def test_on_the_ravine_each_is_as_fast_as_theory_says(name, contraction):
    """The spectral radius of the step's matrix, at the learning rate and momentum of the recipe."""
    _, _, by_hand, [how] = OPTIMIZERS[name]
    rate, mu, nesterov = (*how, 0.0, False)[:3] if len(how) < 3 else how
    radii = []
    for h in (1.0, 0.01):
        shrunk = 1 - rate * h
        first = (1 + mu) * shrunk if nesterov else shrunk + mu
        second = mu * shrunk if nesterov else mu
        radii.append(np.abs(np.linalg.eigvals([[first, -second], [1, 0]])).max())
    assert max(radii) == pytest.approx(contraction, abs=1e-6)
    away = np.linalg.norm(ravine(by_hand(*how)), axis=1)
    assert (away[1000] / away[500]) ** (1 / 500) == pytest.approx(contraction, abs=0.002)


def test_metrics_are_those_of_the_best_learning_rate():
    found = optimizers.train(SMALL, ARMS["Adam, ReLU"], 0, DATA)
    metrics, errors = found.metrics, np.array(found.curves["test error (%)"])
    assert len(errors) == len(RATES)
    assert metrics[BEST] in RATES
    cost = found.curves["cost"]
    assert np.prod(cost) ** (1 / len(cost)) == pytest.approx(metrics[COST], rel=1e-5)
    assert errors[list(RATES).index(metrics[BEST])] == metrics["test error (%)"]
    assert metrics[RANGE] == np.sum(errors <= errors.min() + 1) / 2
    assert CONTRACTION not in metrics
    assert metrics[RAVINE] > 0


def test_adagrad_leaves_pixels_that_are_never_lit_their_first_learning_rate():
    steps = optimizers.train(SMALL, ARMS["AdaGrad, softmax"], 0, DATA).pictures["steps"]
    assert steps.shape == (28, 28)
    np.testing.assert_allclose(steps[0], 1 / np.sqrt(0.1), rtol=1e-5)
    assert steps[4:24:2].max() < steps[0, 0]  # the rows that are lit
