"""Full-batch steps on centered images, and what the sharpness and the cost do."""

import numpy as np
import pytest

from recipes.optimization import edge_of_stability
from recipes.optimization.edge_of_stability import (
    ARMS,
    END,
    RATIO,
    RISING,
    START,
    Config,
    half_squared_error,
)

RNG = np.random.default_rng(0)
Y = np.eye(10, dtype=np.float32)[RNG.integers(0, 10, 12)]


def test_the_cost_is_half_the_summed_square():
    outputs = RNG.normal(size=(12, 10))
    expected = np.sum((Y - outputs) ** 2, axis=1) / 2
    np.testing.assert_allclose(half_squared_error(Y.astype(float), outputs), expected, rtol=1e-12)


@pytest.mark.parametrize("arm", list(ARMS))
def test_each_step_is_on_all_training_images_minus_their_mean(arm, handed_to_fit):
    images = RNG.integers(0, 256, (30, 28, 28), dtype=np.uint8)
    data = ((images, RNG.integers(0, 10, 30)), (images, RNG.integers(0, 10, 30)))
    config = Config(n_train=20, width=2, steps=40)
    model, how = handed_to_fit(edge_of_stability, config, ARMS[arm], data)
    assert how["batch_size"] == len(how["x"]) == 20
    assert how["epochs"] == 40
    np.testing.assert_allclose(how["x"].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.ptp(how["x"], axis=0), np.ptp(images[:20] / 255, axis=0), 1e-5)
    np.testing.assert_array_equal(how["y"].argmax(axis=1), data[0][1][:20])
    assert float(model.optimizer.learning_rate) == pytest.approx(ARMS[arm]["learning_rate"])


def test_a_learning_rate_that_is_too_large_diverges_and_says_so(monkeypatch):
    """Its metrics are not finite, which the runner reports; a small one falls at every step."""
    images = RNG.integers(0, 256, (30, 28, 28), dtype=np.uint8)
    data = 2 * ((images, RNG.integers(0, 10, 30)),)
    config = Config(n_train=30, width=10, steps=80, every=10)
    small = edge_of_stability.train(config, {"learning_rate": 0.001}, 0, data)
    assert small.metrics[RISING] == 0
    assert small.metrics[END] == pytest.approx(small.metrics[RATIO] * 2 / 0.001)
    assert len(small.curves["sharpness"]) == 1 + 80 // 10
    assert small.curves["sharpness"][0] == small.metrics[START]
    large = edge_of_stability.train(config, {"learning_rate": 50.0}, 0, data)
    assert not np.isfinite(large.metrics[END])
