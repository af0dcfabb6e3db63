"""The measure of co-adaptation, on units whose correlation is known."""

import numpy as np
import pytest

from recipes.dropout_features import ARMS, Config, build_model, mean_correlation

RNG = np.random.default_rng(0)


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


def test_arms_share_their_start_and_predict_without_dropout():
    plain, dropout = (build_model(Config(), arm, seed=2) for arm in ARMS.values())
    for a, b in zip(plain.get_weights(), dropout.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    x = RNG.random((3, 784)).astype(np.float32)
    np.testing.assert_array_equal(plain(x, training=False), dropout(x, training=False))
