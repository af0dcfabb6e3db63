"""Losses against plain NumPy."""

import keras
import numpy as np
import pytest

from common.ingredients.digit_nets import nets_alike
from common.ingredients.losses import at_learning_rates, sigmoid_cross_entropy


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


def test_each_net_moves_as_if_it_were_trained_alone_at_its_learning_rate():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (12, 28, 28)).astype(np.float32), rng.integers(0, 10, 12)
    rates = np.array([0.03, 0.3, 1.0], np.float32)
    together = nets_alike(3, hidden=5, seed=0)
    together.compile(keras.optimizers.SGD(1.0), at_learning_rates(rates))
    together.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
    for net, rate in enumerate(rates):
        alone = nets_alike(1, hidden=5, seed=0)
        outputs = keras.layers.Reshape((10,))(alone.output)
        alone = keras.Model(alone.input, outputs)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        alone.compile(keras.optimizers.SGD(float(rate)), loss)
        alone.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
        np.testing.assert_allclose(np.array(together(x))[:, net], np.array(alone(x)), atol=1e-5)
