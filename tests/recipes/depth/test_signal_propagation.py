"""What initial weights do to a signal, against NumPy and theory."""

import numpy as np
import pytest

from common import data
from recipes.depth import signal_propagation
from recipes.depth.signal_propagation import ARMS, Config, build_model, moments, singular_value

RNG = np.random.default_rng(0)


def dense(model):
    return [layer for layer in model.layers if layer.weights]


def test_moments_are_those_of_the_layers():
    model = build_model(Config(depth=3), {"activation": "relu", "scale": 2.0, "width": 40}, 0)
    x = 255 * RNG.normal(size=(10, 28, 28)).astype(np.float32)
    back = RNG.normal(size=(10, 40)).astype(np.float32)
    forward, backward = moments(model, x, back)
    a, slopes, expected = x.reshape(10, 784).astype(np.float64) / 255, [], []
    for layer in dense(model):
        z = a @ layer.kernel.numpy()
        slopes.append(z > 0)
        a = np.maximum(z, 0)
        expected.append(np.mean(a**2))
    np.testing.assert_allclose(forward, expected, rtol=1e-4)
    gradient, expected = back.astype(np.float64), [np.mean(back.astype(np.float64) ** 2)]
    for layer, slope in zip(dense(model)[:0:-1], slopes[:0:-1], strict=True):
        gradient = (gradient * slope) @ layer.kernel.numpy().T
        expected.append(np.mean(gradient**2))
    np.testing.assert_allclose(backward, expected[::-1], rtol=1e-4)


def test_singular_values_of_a_linear_regime():
    """tanh of almost nothing is linear: the Jacobian is the kernel; the first layer is left out."""
    model = build_model(Config(tanh_depth=3, tanh_width=30), ARMS["normalized, tanh"], 0)
    kernels = [layer.kernel.numpy() for layer in dense(model)[1:]]
    expected = np.mean([np.linalg.svd(kernel, compute_uv=False).mean() for kernel in kernels])
    found = singular_value(model, np.full((1, 28, 28), 255e-6, np.float32))
    assert found == pytest.approx(expected, rel=1e-5)


def test_singular_values_with_saturated_units():
    """The Jacobian by differences, where the slopes of tanh are not 1."""
    model = build_model(Config(tanh_depth=2, tanh_width=20), ARMS["normalized, tanh"], 1)
    x = 255 * RNG.normal(size=(1, 28, 28)).astype(np.float32)
    first, second = (layer.kernel.numpy().astype(np.float64) for layer in dense(model))
    a = np.tanh(x.reshape(1, 784) / 255 @ first)
    steps = 1e-6 * np.eye(20)
    jacobian = (np.tanh((a + steps) @ second) - np.tanh((a - steps) @ second)) / 2e-6
    expected = np.linalg.svd(jacobian, compute_uv=False).mean()
    assert singular_value(model, x) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("Xavier, width 400", lambda n: 1 / n),
        ("He, width 400", lambda n: 2 / n),
        ("standard, tanh", lambda n: 1 / (3 * n)),
        ("normalized, tanh", lambda n: 1 / n),
    ],
)
def test_variances_are_the_papers(name, variance):
    for layer in dense(build_model(Config(depth=3, tanh_depth=3), ARMS[name], 0)):
        kernel, n = layer.get_weights()[0], layer.kernel.shape[0]
        assert kernel.var() == pytest.approx(variance(n), rel=0.03)
        if "tanh" in name:  # uniform: the limit is the root of three standard deviations
            assert np.abs(kernel).max() == pytest.approx((3 * variance(n)) ** 0.5, rel=1e-3)


def test_he_is_xavier_times_the_root_of_two():
    xavier, he = (
        build_model(Config(depth=3), ARMS[f"{one}, width 100"], 4) for one in ("Xavier", "He")
    )
    for a, b in zip(xavier.get_weights(), he.get_weights(), strict=True):
        np.testing.assert_allclose(b, 2**0.5 * a, rtol=1e-5)


@pytest.mark.parametrize("arm", ["He, width 100", "standard, tanh"])
def test_what_is_measured(arm):
    arrays, config = data.load("mnist5k").arrays, Config(n_train=20, depth=4, tanh_width=30)
    outcome = signal_propagation.train(config, ARMS[arm], 2, arrays)
    forward = np.array(outcome.curves["log2 of the second moment of activations"])
    backward = np.array(outcome.curves["log2 of the second moment of gradients"])
    assert len(forward) == len(backward) == (5 if "tanh" in arm else 4)
    assert forward[0] == backward[-1] == 0
    gaps, metrics = len(forward) - 1, outcome.metrics
    found = metrics["second moment over that of the layer before"]
    assert found == pytest.approx(2 ** (forward[-1] / gaps), rel=1e-5)
    found = metrics["gradient's second moment over that of the layer after"]
    assert found == pytest.approx(2 ** (backward[0] / gaps), rel=1e-5)
    spread = np.std(forward[1:] - forward[:-1])
    assert metrics["spread of the layers' ratios (log2)"] == pytest.approx(spread, abs=1e-5)
    assert ("mean singular value of the Jacobian" in metrics) is ("tanh" in arm)
