"""The gradient of a chain against the chain rule written out, and against differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.depth import vanishing_chain
from recipes.depth.vanishing_chain import ARMS, Config, build_model, examples, first_gradient


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def weights(model):
    """Weights and biases of a chain, (depth, chains) each."""
    return np.moveaxis([layer.get_weights() for layer in model.layers[1:]], 1, 0)


def by_formula(x, y, w, b):
    """dE/dz_1 by the chain rule, and its limit (1/4)^depth |w_2 ... w_depth|; both (chains,)."""
    a, product = x, np.ones_like(x)
    for weight, bias in zip(w, b, strict=True):
        a = sigmoid(weight * a + bias)
        product = product * a * (1 - a)
    others = np.prod(w[1:], axis=0)
    return product * others * (a - y), 0.25 ** len(w) * np.abs(others)  # |dE/da| = |a - y| <= 1


@pytest.mark.parametrize("arm", ARMS)
@settings(max_examples=10)
@given(depth=st.integers(2, 12), seed=st.integers(0, 2**31))
def test_the_gradient_is_that_of_the_chain_rule_and_under_its_bound(arm, depth, seed):
    config = Config(depth=depth, chains=20, big=30.0)
    model, (x, y) = build_model(config, ARMS[arm], seed), examples(config, seed)
    formula, limit = by_formula(x[0], y[0], *weights(model))
    found = first_gradient(model, x, y)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, formula, rtol=1e-7)
    assert np.all(np.abs(formula) <= limit * (1 + 1e-9))


def test_the_gradient_against_finite_differences():
    config = Config(depth=3, chains=10)
    model, (x, y) = build_model(config, ARMS["N(0, 1)"], 0), examples(config, 0)
    w, b = weights(model)

    def error(shift):
        a = x[0]
        for k, (weight, bias) in enumerate(zip(w, b, strict=True)):
            a = sigmoid(weight * a + bias + (shift if k == 0 else 0))
        return (a - y[0]) ** 2 / 2

    slope = (error(1e-5) - error(-1e-5)) / 2e-5
    np.testing.assert_allclose(first_gradient(model, x, y), slope, rtol=1e-4, atol=1e-10)


def test_weights_and_biases_are_standard_normal():
    w, b = weights(build_model(Config(), ARMS["N(0, 1)"], 0))
    assert w.shape == b.shape == (10, 1_000)
    for drawn in (w, b):
        assert drawn.mean() == pytest.approx(0, abs=0.03)
        assert drawn.std() == pytest.approx(1, abs=0.03)
    assert abs(np.corrcoef(w.ravel(), b.ravel())[0, 1]) < 0.03


def test_big_weights_keep_every_neuron_at_a_half():
    config = Config(depth=5, chains=7)
    model = build_model(config, ARMS["big weights"], 0)
    assert np.all(weights(model)[0] == 100)
    np.testing.assert_allclose(model(examples(config, 0)[0]), 0.5, atol=1e-6)


def test_what_is_measured_of_each_length():
    config = Config(depth=4, chains=30)
    for arm in ARMS.values():
        (x, y), (w, b) = examples(config, 3), weights(build_model(config, arm, 3))
        pairs = [by_formula(x[0], y[0], w[:depth], b[:depth]) for depth in range(1, 5)]
        sizes = [np.median(np.abs(formula)) for formula, _ in pairs]
        outcome = vanishing_chain.train(config, arm, 3, None)
        np.testing.assert_allclose(outcome.curves["median |dE/dz_1|"], sizes, rtol=1e-7)
        metrics = outcome.metrics
        assert metrics["median |dE/dz_1| of one neuron"] == pytest.approx(sizes[0])
        assert metrics["median |dE/dz_1| of the longest chain"] == pytest.approx(sizes[-1])
        growth = (sizes[-1] / sizes[0]) ** (1 / 3)
        assert metrics["growth of median |dE/dz_1| per neuron"] == pytest.approx(growth)
        share = max(np.max(np.abs(formula) / limit) for formula, limit in pairs)
        assert metrics["largest |dE/dz_1| over its limit"] == pytest.approx(share)
        assert bool(growth > 20) is arm["explodes"]
