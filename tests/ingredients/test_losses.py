"""Losses against plain NumPy."""

import keras
import numpy as np
import pytest

from common.ingredients.losses import sigmoid_cross_entropy


def test_cost_is_the_sum_over_outputs():
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, (5, 10)).astype(np.float64)
    logits = rng.normal(scale=3, size=(5, 10))
    a = 1 / (1 + np.exp(-logits))
    expected = -np.sum(targets * np.log(a) + (1 - targets) * np.log(1 - a), axis=1)
    found = sigmoid_cross_entropy(targets.astype(np.float32), logits.astype(np.float32))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), expected, rtol=1e-5)


def test_cost_of_a_saturated_output_is_finite():
    found = sigmoid_cross_entropy(
        np.ones((1, 10), np.float32), np.full((1, 10), -1000.0, np.float32)
    )
    assert float(found[0]) == pytest.approx(10_000)
