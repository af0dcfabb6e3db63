"""The measure of co-adaptation on units of known correlation, and what the autoencoder learns."""

import keras
import numpy as np
import pytest
from scipy import stats

from common import data
from recipes.regularization import dropout_features
from recipes.regularization.dropout_features import (
    ARMS,
    Config,
    build_model,
    kurtosis,
    mean_correlation,
)

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, 28, 28)).astype(np.uint8)


def test_copies_are_fully_correlated_and_noise_is_not():
    one = RNG.normal(size=(2000, 1))
    assert mean_correlation(np.hstack([one, 2 * one, -one])) == pytest.approx(1)
    assert mean_correlation(RNG.normal(size=(20_000, 5))) < 0.02


def test_known_correlation():
    a, b = RNG.normal(size=(2, 200_000))
    units = np.stack([a, 0.6 * a + 0.8 * b], axis=1)
    assert mean_correlation(units) == pytest.approx(0.6, abs=0.01)


def test_dead_units_are_left_out():
    a = RNG.normal(size=(100, 1))
    assert mean_correlation(np.hstack([a, a, np.zeros((100, 1))])) == pytest.approx(1)


def test_kurtosis_is_that_of_scipy():
    kernel = RNG.standard_t(5, size=(784, 9))
    expected = np.median(stats.kurtosis(kernel, axis=0, fisher=False))
    assert kurtosis(kernel) == pytest.approx(expected, rel=1e-12)


def test_a_stroke_has_a_higher_kurtosis_than_noise():
    noise = RNG.normal(size=(784, 5))
    strokes = np.where(np.arange(784)[:, None] < 15, 10.0, noise)
    assert kurtosis(noise) == pytest.approx(3, abs=0.5)
    assert kurtosis(strokes) > 20


def test_arms_share_their_start_and_predict_without_dropout():
    plain, dropout = (build_model(Config(), arm, seed=2) for arm in ARMS.values())
    for a, b in zip(plain.get_weights(), dropout.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(plain(IMAGES, training=False), dropout(IMAGES, training=False))


def test_dropout_drops_hidden_units():
    """In training half of the hidden units are zero; the others are doubled."""
    model = build_model(Config(drop=0.5), ARMS["dropout"], seed=0)
    hidden, dropped = (
        keras.Model(model.inputs[0], model.layers[i].output)(IMAGES, training=True) for i in (3, 4)
    )
    hidden, dropped = np.array(hidden), np.array(dropped)
    active = hidden > 0
    kept = dropped[active] > 0
    assert 0.4 < kept.mean() < 0.6
    np.testing.assert_allclose(dropped[active][kept], 2 * hidden[active][kept], rtol=1e-6)


def test_the_net_rebuilds_its_input(handed_to_fit):
    arrays = data.load("mnist5k").arrays
    config = Config(n_train=50)
    _, given = handed_to_fit(dropout_features, config, ARMS["plain"], arrays)
    x, (x_test, y_test) = arrays[0][0][:50], given["validation_data"]
    np.testing.assert_array_equal(given["x"], x)
    np.testing.assert_allclose(given["y"], x.reshape(50, 784) / 255, rtol=1e-6)
    np.testing.assert_array_equal(x_test, arrays[1][0])
    np.testing.assert_allclose(y_test, arrays[1][0].reshape(-1, 784) / 255, rtol=1e-6)


def test_measured_are_the_hidden_responses_to_the_test_images():
    (train, (x_test, y_test)) = data.load("mnist5k").arrays
    test = x_test[:200], y_test[:200]
    config = Config(n_train=100, hidden=20, epochs=1, learning_rate=1e-12)
    outcome = dropout_features.train(config, ARMS["dropout"], 0, (train, test))
    kernel, bias = build_model(config, ARMS["dropout"], 0).get_weights()[:2]
    hidden = np.maximum(test[0].reshape(200, 784) / 255 @ kernel + bias, 0)
    assert outcome.metrics["mean activation"] == pytest.approx(hidden.mean(), rel=1e-4)
    assert outcome.metrics["active units (%)"] == pytest.approx(100 * (hidden > 0).mean(), abs=0.1)
    found = outcome.metrics["mean |correlation| of two units' responses"]
    assert found == pytest.approx(mean_correlation(hidden), rel=1e-4)
    shown_kurtosis = outcome.metrics["kurtosis of a unit's weights"]
    assert shown_kurtosis == outcome.curves["kurtosis of a unit's weights"][-1]
    assert shown_kurtosis == pytest.approx(kurtosis(kernel), rel=1e-4)
    shown = outcome.pictures["features"]
    assert shown.shape == (20, 28, 28)
    np.testing.assert_allclose(
        shown[4], kernel[:, 4].reshape(28, 28) / np.abs(kernel[:, 4]).max(), atol=1e-4
    )
