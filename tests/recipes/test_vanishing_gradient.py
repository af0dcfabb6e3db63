"""The speed of layers against backpropagation written out, and the chain against differences."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.vanishing_chain import ARMS as CHAINS
from recipes.vanishing_chain import Config as ChainConfig
from recipes.vanishing_chain import build_model as draw_chains
from recipes.vanishing_chain import by_autodiff, by_formula
from recipes.vanishing_gradient import Config, build_model, speedometer

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(50, 28, 28, 1)).astype(np.float32)
TARGETS = np.eye(10)[RNG.integers(0, 10, 50)]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("hidden", [1, 2, 4])
def test_the_speed_is_the_norm_of_the_average_bias_gradient(hidden):
    model = build_model(Config(), hidden, seed=1)
    parameters = [layer.get_weights() for layer in model.layers[1:]]
    activations = [IMAGES.reshape(50, 784).astype(np.float64)]
    for kernel, bias in parameters:
        activations.append(sigmoid(activations[-1] @ kernel + bias))
    delta = activations[-1] - TARGETS
    expected = []
    for (kernel, _), a in zip(parameters[:0:-1], activations[-2:0:-1], strict=True):
        delta = delta @ kernel.T * a * (1 - a)
        expected.append(np.linalg.norm(delta.mean(axis=0)))
    found = speedometer(model, IMAGES, TARGETS)()
    np.testing.assert_allclose(found, expected[::-1], rtol=1e-4)


def test_the_net_is_the_books():
    model = build_model(Config(n_train=1_000, l2=5.0), 3, seed=0)
    kernels = [layer.kernel.numpy() for layer in model.layers[1:]]
    assert [kernel.shape for kernel in kernels] == [(784, 30), (30, 30), (30, 30), (30, 10)]
    assert kernels[0].std() * 28 == pytest.approx(1, abs=0.02)
    squares = sum((kernel.astype(np.float64) ** 2).sum() for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(5 / 2_000 * squares, rel=1e-5)
    many = [build_model(Config(), 3, seed).layers[1].bias.numpy() for seed in range(50)]
    assert np.std(many) == pytest.approx(1, abs=0.1)


def test_speeds_follow_the_weights():
    model = build_model(Config(), 2, seed=1)
    speeds = speedometer(model, IMAGES, TARGETS)
    before = speeds()
    for layer in model.layers[1:]:
        layer.kernel.assign(keras.ops.zeros_like(layer.kernel))
    assert not np.allclose(before, speeds())
    np.testing.assert_array_equal(speeds()[0], 0)  # nothing comes back through zero weights


@pytest.mark.parametrize("arm", CHAINS)
@settings(deadline=None, max_examples=20)
@given(depth=st.integers(1, 12), seed=st.integers(0, 2**31))
def test_the_formula_is_the_gradient_and_under_its_bound(arm, depth, seed):
    chains = draw_chains(ChainConfig(depth=depth, chains=20, big=30.0), CHAINS[arm], seed)
    formula, bound = by_formula(**chains)
    np.testing.assert_allclose(by_autodiff(**chains), formula, rtol=1e-7)
    assert np.all(np.abs(formula) <= bound * (1 + 1e-9))


def test_the_formula_against_finite_differences():
    chains = draw_chains(ChainConfig(depth=3, chains=10), CHAINS["N(0, 1)"], seed=0)

    def error(shift: float):
        a = chains["x"]
        for k, (w, b) in enumerate(zip(chains["w"], chains["b"], strict=True)):
            a = sigmoid(w * a + b + (shift if k == 0 else 0))
        return (a - chains["y"]) ** 2 / 2

    slope = (error(1e-5) - error(-1e-5)) / 2e-5
    np.testing.assert_allclose(by_formula(**chains)[0], slope, rtol=1e-4, atol=1e-10)


def test_big_weights_let_the_gradient_grow_by_a_quarter_of_their_size():
    arm = CHAINS["big weights"]
    chains = draw_chains(ChainConfig(depth=5, chains=7, big=100.0), arm, seed=0)
    whole = by_formula(**chains)[0]
    single = by_formula(**chains | {"w": chains["w"][:1], "b": chains["b"][:1]})[0]
    np.testing.assert_allclose(whole / single, 25.0**4, rtol=1e-9)
