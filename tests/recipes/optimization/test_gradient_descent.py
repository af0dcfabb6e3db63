"""What is counted until a cost is reached, and what a net that never reaches it leaves."""

import numpy as np
import pytest

from recipes.optimization import gradient_descent
from recipes.optimization.gradient_descent import (
    ARMS,
    BEST,
    IMAGES,
    LARGEST,
    LEAST,
    NOISE,
    RATES,
    RISES,
    STEPS,
    VARIANCES,
    Config,
)

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 10, 600)
X = np.zeros((600, 28, 28), np.uint8)
X[np.arange(600), 2 * Y + 4] = 255  # a line whose height tells the class
DATA = (X, Y), (X, Y)
SMALL = Config(n_train=512, width=8, steps=64, passes=1, draws=50)


@pytest.mark.parametrize(("arm", "batch", "epochs", "every"), [("B = 1", 1, 32, 16)])
def test_mini_batches_are_as_large_as_the_arm_says(arm, batch, epochs, every, handed_to_fit):
    model, how = handed_to_fit(gradient_descent, SMALL, ARMS[arm], DATA)
    assert (how["batch_size"], how["epochs"], how["steps_per_epoch"]) == (batch, epochs, every)
    assert len(how["x"]) == len(how["y"]) == 512
    np.testing.assert_allclose(np.ravel(model.optimizer.learning_rate), RATES)


def test_the_full_batch_sees_all_images_at_each_step():
    found = gradient_descent.train(SMALL, ARMS["full batch"], 0, DATA)
    metrics, cost = found.metrics, found.curves["J"]
    steps = int(metrics[STEPS])
    assert metrics[IMAGES] == 512 * steps
    assert cost[steps] <= SMALL.target < min(cost[:steps])
    assert metrics[LEAST] == pytest.approx(steps / (1 + metrics[NOISE] / 512))
    assert metrics[RISES] == 0
    assert metrics[BEST] <= metrics[LARGEST] <= RATES[-1]
    assert not set(VARIANCES) & set(metrics)  # a full batch does not vary
    assert len(cost) == 1 + 64


def test_a_cost_that_is_not_reached_takes_infinitely_many_steps():
    config = Config(n_train=512, width=8, target=1e-9, steps=64, passes=1, draws=50)
    metrics = gradient_descent.train(config, ARMS["B = 64"], 0, DATA).metrics
    assert metrics[STEPS] == metrics[IMAGES] == np.inf
    assert metrics[LARGEST] == 0
    assert np.isfinite(metrics[NOISE])
