"""The net, its cost and what is measured of its curves, against plain NumPy."""

import keras
import numpy as np
import pytest

from common.losses import sigmoid_cross_entropy
from common.training import order
from recipes.overfitting import build_model, measure


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def test_start_is_standard_normal_and_of_the_seed():
    one, same, other = build_model(300, 0), build_model(300, 0), build_model(300, 1)
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
    from common.training import fit

    rng = np.random.default_rng(0)
    x = rng.random((40, 28, 28, 1)).astype(np.float32)
    y = np.eye(10, dtype=np.float32)[rng.integers(0, 10, 40)]
    model = build_model(30, seed=3)
    w1, b1, w2, b2 = (weight.astype(np.float64) for weight in model.get_weights())
    optimizer = keras.optimizers.SGD(0.5)
    fit(
        model,
        x,
        y,
        optimizer=optimizer,
        loss=sigmoid_cross_entropy,
        batch_size=10,
        epochs=1,
        seed=7,
    )
    flat = x.reshape(40, 784).astype(np.float64)
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
        "test_accuracy": [50.0, 80.0, 81.5, 82.0, 81.0],
        "test_cost": [3.0, 1.0, 1.5, 2.0, 2.5],
        "train_accuracy": [60.0, 99.0, 100.0, 100.0, 100.0],
        "train_cost": [1.0] * 5,
    }
    assert measure(curves) == {
        "peak_accuracy": 82.0,
        "final_accuracy": 81.0,
        "gap": 19.0,
        "fitted_epoch_100": 100.0,
        "epoch_all_fitted": 3,
        "epoch_within_1_of_peak": 3,
        "epoch_lowest_cost": 2,
        "lowest_cost": 1.0,
        "final_cost": 2.5,
        "epochs": 5,
    }


def test_a_net_that_never_fits_everything_counts_as_later_than_its_last_epoch():
    curves = {key: [50.0, 60.0] for key in ("test_accuracy", "test_cost", "train_accuracy")}
    assert measure(curves)["epoch_all_fitted"] == 3
