"""The net, its cost and what is measured of its curves, against plain NumPy."""

import keras
import numpy as np
import pytest

from common.ingredients.losses import sigmoid_cross_entropy
from common.training import context, fit
from common.training.loop import order
from recipes.regularization.overfitting import Config, build_model, measure


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_start_is_standard_normal_and_of_the_seed():
    one, same, other = (build_model(Config(width=300), {}, seed) for seed in (0, 0, 1))
    for a, b, c in zip(one.get_weights(), same.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    kernel, bias = one.get_weights()[:2]
    assert kernel.std() == pytest.approx(1, abs=0.01)
    assert kernel.mean() == pytest.approx(0, abs=0.01)
    assert bias.std() == pytest.approx(1, abs=0.15)
    assert not np.array_equal(kernel[0, :10], bias[:10])


def test_an_epoch_equals_nielsens_loop_in_numpy():
    """His update, w -= rate / m * sum of gradients, in float64."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (40, 28, 28), dtype=np.uint8)
    y = np.eye(10, dtype=np.float32)[rng.integers(0, 10, 40)]
    model = build_model(Config(), {}, seed=3)
    w1, b1, w2, b2 = (weight.astype(np.float64) for weight in model.get_weights())
    model.compile(keras.optimizers.SGD(0.5), sigmoid_cross_entropy)
    with context.running(context.Context(7)):
        fit(model, x, y, batch_size=10, epochs=1)
    flat = x.reshape(40, 784).astype(np.float64) / 255
    for rows in order(7, 0, 40).reshape(4, 10):
        h = sigmoid(flat[rows] @ w1 + b1)
        delta = sigmoid(h @ w2 + b2) - y[rows]
        hidden_delta = (delta @ w2.T) * h * (1 - h)
        w2 -= 0.5 / 10 * h.T @ delta
        b2 -= 0.5 / 10 * delta.sum(0)
        w1 -= 0.5 / 10 * flat[rows].T @ hidden_delta
        b1 -= 0.5 / 10 * hidden_delta.sum(0)
    for found, expected in zip(model.get_weights(), (w1, b1, w2, b2), strict=True):
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_measures_of_known_curves():
    curves = {
        "test accuracy (%)": np.array([50.0, 80.0, 81.5, 82.0, 81.0]),
        "test cost": np.array([3.0, 1.0, 1.5, 2.0, 2.5]),
        "training accuracy (%)": np.array([60.0, 99.0, 100.0, 100.0, 100.0]),
    }
    assert measure(curves) == {
        "peak test accuracy (%)": 82.0,
        "final test accuracy (%)": 81.0,
        "final training accuracy (%)": 100.0,
        "gap between training and test accuracy (points)": 19.0,
        "training accuracy after 100 epochs (%)": 100.0,
        "epoch within one point of the peak": 3,
        "epoch of the lowest test cost": 2,
        "lowest test cost": 1.0,
        "final test cost": 2.5,
    }
