"""One neuron, and the three costs, against closed forms in float64."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.cost import slowdown, slowdown_net


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def slope(cost, y, z):
    """dC/dz of one example by autodiff."""
    z = tf.constant([z], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = cost(tf.constant([y], tf.float64), z)
    return tape.gradient(value, z).numpy()[0]


@settings(max_examples=30)
@given(st.floats(-8, 8), st.floats(0, 1))
def test_slopes_are_what_the_book_derives(z, y):
    a = sigmoid(z)
    quadratic = slope(slowdown.COSTS["quadratic"], [y], [z])
    assert quadratic[0] == pytest.approx((a - y) * a * (1 - a), abs=1e-6)
    entropy = slope(slowdown.COSTS["cross-entropy"], [y], [z])
    assert entropy[0] == pytest.approx(a - y, abs=1e-6)


def test_softmax_with_log_likelihood_has_the_same_slope():
    z = np.random.default_rng(0).normal(size=10)
    y = np.eye(10)[3]
    found = slope(slowdown_net.COSTS["log-likelihood"], y, z)
    a = np.exp(z) / np.exp(z).sum()
    np.testing.assert_allclose(found, a - y, atol=1e-6)


@pytest.mark.parametrize(("w", "b"), slowdown.STARTS.values())
@pytest.mark.parametrize("arm", slowdown.ARMS)
def test_published_outputs_follow_from_the_formulas(arm, w, b):
    """The figures of the findings, computed again by hand."""
    rate, outputs = slowdown.ARMS[arm]["learning_rate"], []
    for _ in range(300):
        a = sigmoid(w + b)
        gradient = a * a * (1 - a) if slowdown.ARMS[arm]["cost"] == "quadratic" else a
        w, b = w - rate * gradient, b - rate * gradient
        outputs.append(sigmoid(w + b))
    start = 0 if (outputs[0] < 0.9) else 1
    assert outputs[-1] == pytest.approx(slowdown.AFTER_300_STEPS[arm][start], abs=5e-4)
    if (arm, start) == ("quadratic", 1):
        assert outputs[149] == pytest.approx(0.933, abs=0.001)


def test_an_arm_steps_as_the_formulas_do():
    """Trained by Keras, against the same steps in float64."""
    arm = slowdown.ARMS["cross-entropy"]
    outcome = slowdown.train(slowdown.Config(steps=20), arm, 0, None)
    w, b = 2.0, 2.0
    for step in range(20):
        a = sigmoid(w + b)
        assert outcome.curves["output from (2, 2)"][step] == pytest.approx(a, abs=1e-6)
        assert outcome.curves["cost from (2, 2)"][step] == pytest.approx(-np.log(1 - a), rel=1e-5)
        w, b = w - 0.15 * a, b - 0.15 * a


@pytest.mark.parametrize("arm", list(slowdown_net.ARMS)[1:])
def test_net_starts_alike_in_all_arms(arm, handed_to_fit):
    """From the same weights, on the same images."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (100, 28, 28), dtype=np.uint8), rng.integers(0, 10, 100)
    first, *_ = slowdown_net.ARMS
    (one, how), (other, its) = (
        handed_to_fit(
            slowdown_net, slowdown_net.Config(n_train=90), slowdown_net.ARMS[name], (images,) * 2, 5
        )
        for name in (first, arm)
    )
    for mine, others in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, others)
    for name in ("x", "y", "batch_size"):
        np.testing.assert_array_equal(how[name], its[name])
    assert len(how["x"]) == 90
