"""Learning rates by epoch against their formulas, and the halving against the rule in words."""

import numpy as np
import pytest

from common import data
from common.training import context
from recipes.optimization import rate_decay
from recipes.optimization.rate_decay import ARMS, COST, FIRST, TEST, Config

ARRAYS = data.load("mnist5k").arrays
CONFIG = Config(n_train=105, n_validation=150, epochs=30, width=10)
T = np.arange(1, 31)  # epochs


@pytest.fixture(scope="module")
def outcomes():
    found = {}
    for name, arm in ARMS.items():
        with context.running(context.Context(0)):
            found[name] = rate_decay.train(CONFIG, arm, 0, ARRAYS)
    return found


def by_the_rule(errors, rate, patience):
    """The learning rate in each epoch: halved after `patience` epochs without a lower error."""
    rates, best, stalled = [], np.inf, 0
    for error in errors:
        rates.append(rate)
        stalled = 0 if error < best else stalled + 1
        best = min(best, error)
        if stalled >= patience:
            rate, stalled = rate / 2, 0
    return rates


@pytest.mark.parametrize(
    ("arm", "start", "patience"),
    [("large, halved", 0.5, 3), ("small, halved", 0.02, 3), ("large, impatient", 0.5, 1)],
)
def test_it_is_halved_when_the_validation_error_stalls(outcomes, arm, start, patience):
    curves = outcomes[arm].curves
    expected = by_the_rule(curves["validation error (%)"], start, patience)
    np.testing.assert_allclose(curves["learning rate"], expected, rtol=1e-6)
    assert expected[-1] < start
    assert outcomes[arm].metrics[FIRST] == sum(np.equal(expected, start))


@pytest.mark.parametrize(
    ("arm", "expected"),
    [
        ("large", np.full(30, 0.5)),
        ("small", np.full(30, 0.02)),
        ("large, cosine", 0.25 * (1 + np.cos(np.pi * T / 30))),
        ("large, 1 / t", 0.5 / (1 + T)),
    ],
)
def test_learning_rates_after_each_epoch(outcomes, arm, expected):
    found = outcomes[arm].curves["learning rate"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


def test_arms_start_alike_and_end_with_their_last_epoch(outcomes):
    for outcome in outcomes.values():
        assert outcome.metrics[COST] == outcome.curves["training cost"][-1]
        assert 0 <= outcome.metrics[TEST] <= 100
    large, halved = outcomes["large"], outcomes["large, halved"]
    same = int(halved.metrics[FIRST])
    for series in ("training cost", "validation error (%)"):
        np.testing.assert_array_equal(large.curves[series][:same], halved.curves[series][:same])


def test_validation_images_are_the_last_training_images(handed_to_fit):
    _, how = handed_to_fit(rate_decay, CONFIG, ARMS["large"], ARRAYS)
    np.testing.assert_array_equal(how["x"], ARRAYS[0][0][:105])
    np.testing.assert_array_equal(how["validation_data"][0], ARRAYS[0][0][-150:])
