"""The measures of preprocessing, and that no test image has a part in it."""

import functools

import numpy as np
import pytest

from common import data
from common.training import context
from recipes.optimization import preprocessing
from recipes.optimization.preprocessing import ARMS, CONDITION, EVERY, NET, SPREAD, TEST, Config

TRAIN, (X_TEST, Y_TEST) = data.load("mnist5k").arrays
CONFIG = Config(n_train=300, n_validation=50, steps=20, full_steps=4, width=5)


def trained(arm, x_test=X_TEST[:60]):
    with context.running(context.Context(0)):
        return preprocessing.train(CONFIG, ARMS[arm], 0, (TRAIN, (x_test, Y_TEST[:60])))


outcome = functools.cache(trained)


@pytest.mark.parametrize(
    ("reached", "expected"), [([0, 0, 1, 0], 3), ([1, 1], 1), ([0, 0], np.inf)]
)
def test_the_first_that_has(reached, expected):
    assert preprocessing.first(np.array(reached, bool)) == expected


def test_test_images_are_only_tested_on():
    ours, others = outcome("whitened"), trained("whitened", 255 - X_TEST[:60])
    for name, curve in ours.curves.items():
        np.testing.assert_array_equal(curve, others.curves[name])
    tested = set(TEST.values())
    for name, value in ours.metrics.items():
        if name not in tested:
            assert others.metrics[name] == value
    assert any(others.metrics[name] != ours.metrics[name] for name in tested)


def test_few_whitened_images_lie_equally_far_apart():
    assert outcome("whitened").metrics[SPREAD] < 1e-4
    assert outcome("raw").metrics[SPREAD] > 5


def test_the_condition_is_that_of_the_second_moments():
    x = TRAIN[0][:300].reshape(300, 784) / 255
    x = np.hstack([x - x.mean(axis=0), np.ones((300, 1))])
    h = np.sort(np.linalg.eigvalsh(x.T @ x / 300))[::-1]
    assert outcome("mean subtracted").metrics[CONDITION] == pytest.approx(h[0] / h[99], rel=1e-4)


def test_steps_are_counted_in_mini_batches(monkeypatch):
    costs = np.array([[3.0, np.nan], [0.15, 0.5], [2.0, 0.05]])  # three measurements of two nets
    monkeypatch.setattr(
        preprocessing, "trained", lambda *_: (preprocessing.build_model(CONFIG, {}, 0), costs)
    )
    metrics = trained("raw").metrics
    every = min(EVERY, 300 // 50)  # a pass is six
    assert metrics[NET] == 3 * every
    assert metrics[preprocessing.SOFTMAX] == 2 * every


def test_decorrelated_images_train_a_linear_layer_as_centered_ones_do():
    curves = [
        outcome(arm).curves[preprocessing.ABOVE] for arm in ("mean subtracted", "decorrelated")
    ]
    np.testing.assert_allclose(*curves, atol=1e-6)
