"""The book's net, cost and learning rates."""

import itertools

import keras
import numpy as np
import pytest

from recipes.optimization import learning_rate
from recipes.optimization.learning_rate import ARMS, FIRST, LAST, LEAST, MOST, RISES, Config

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 28, 28), dtype=np.uint8)
DATA = 2 * ((IMAGES, RNG.integers(0, 10, 40)),)
SMALL = Config(n_train=30, l2=5.0, epochs=3)


def test_kernels_have_variance_one_over_n_in_and_biases_one():
    kernel, bias, last, last_bias = learning_rate.build_model(Config(), {}, 0).get_weights()
    assert kernel.std() * np.sqrt(784) == pytest.approx(1, abs=0.02)
    assert last.std() * np.sqrt(30) == pytest.approx(1, abs=0.1)
    assert np.concatenate([bias, last_bias]).std() == pytest.approx(1, abs=0.3)


@pytest.mark.parametrize("arm", list(ARMS))
def test_the_learning_rate_is_the_arms(arm, handed_to_fit):
    model, how = handed_to_fit(learning_rate, SMALL, ARMS[arm], DATA)
    assert float(model.optimizer.learning_rate) == pytest.approx(float(arm.split()[-1]))
    assert how["batch_size"] == 10
    assert len(how["x"]) == 30


def test_the_cost_is_that_of_the_training_images_with_the_penalty(monkeypatch):
    kept = []
    original = learning_rate.build_model
    monkeypatch.setattr(
        learning_rate, "build_model", lambda *how: kept.append(original(*how)) or kept[-1]
    )
    found = learning_rate.train(SMALL, ARMS["good, 0.25"], 0, DATA)
    (model,) = kept
    z = model.predict(IMAGES[:30], verbose=0).astype(float)
    y = keras.utils.to_categorical(DATA[0][1][:30], 10)
    cross_entropy = (np.logaddexp(0, z) - y * z).sum(axis=1).mean()
    kernels = [np.float64(layer.kernel) for layer in model.layers if layer.weights]
    penalty = 5.0 / (2 * 30) * sum(np.sum(kernel**2) for kernel in kernels)
    assert found.metrics[LAST] == pytest.approx(cross_entropy + penalty, rel=1e-5)
    cost = found.curves["cost"]
    assert (found.metrics[FIRST], found.metrics[LAST]) == (cost[0], cost[-1])
    assert (found.metrics[LEAST], found.metrics[MOST]) == (min(cost), max(cost))
    assert found.metrics[RISES] == sum(b > a for a, b in itertools.pairwise(cost))
