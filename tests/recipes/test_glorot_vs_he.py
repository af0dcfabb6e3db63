"""Initial weights and what they do to a signal, against NumPy and theory."""

import keras
import numpy as np
import pytest

from recipes import glorot_vs_he, glorot_vs_he_limits, signal_propagation
from recipes.glorot_vs_he import ARMS, Config, build_model

RNG = np.random.default_rng(0)


def weighted(model):
    return [layer for layer in model.layers if layer.weights]


@pytest.mark.parametrize("arm", ARMS)
def test_depth_counts_layers_with_weights(arm):
    layers = weighted(build_model(Config(), ARMS[arm], (28, 28, 1), 0))
    assert len(layers) == ARMS[arm]["depth"]
    assert [layer.kernel.shape for layer in layers[1:-1]] == [(96, 96)] * (len(layers) - 2)
    assert all(np.all(layer.bias.numpy() == 0) for layer in layers)


@pytest.mark.parametrize("arch", ["dense", "conv"])
@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("Xavier", lambda n_in, n_out: 1 / n_in),
        ("He", lambda n_in, n_out: 2 / n_in),
        ("Glorot", lambda n_in, n_out: 2 / (n_in + n_out)),
        ("large", lambda n_in, n_out: 1),
    ],
)
def test_variances_are_the_papers(name, variance, arch):
    arm = {"initialiser": name, "depth": 22}
    for layer in weighted(build_model(Config(arch=arch), arm, (28, 28, 1), 0))[1:-1]:
        kernel = layer.kernel.numpy()
        n_in = np.prod(kernel.shape[:-1])
        n_out = n_in if arch == "conv" else kernel.shape[-1]
        assert kernel.var() == pytest.approx(variance(n_in, n_out), rel=0.1)


def test_arms_of_one_seed_share_their_draws():
    xavier, he = (
        weighted(build_model(Config(), ARMS[f"{name} 22"], (28, 28, 1), 7))
        for name in ("Xavier", "He")
    )
    for one, other in zip(xavier, he, strict=True):
        np.testing.assert_allclose(one.kernel.numpy() * 2**0.5, other.kernel, rtol=1e-5)


def test_mirrored_borders_keep_the_signal_of_a_conv_net():
    """8 x 8 maps with zeros around them lose 16 % of their second moment a layer more than these.

    The geometric mean of so few channels lies under 1.
    """
    images = RNG.normal(size=(20, 32, 32, 3)).astype(np.float32)
    ends = []
    for seed in range(8):
        model = build_model(Config(arch="conv", width=32), ARMS["He 22"], (32, 32, 3), seed)
        maps = [layer.output for layer in weighted(model)[2:-1]]
        first, *_, last = (
            np.mean(np.square(one)) for one in keras.Model(model.inputs[0], maps)(images)
        )
        ends.append((last / first) ** (1 / (len(maps) - 1)))
    assert np.mean(ends) == pytest.approx(1, abs=0.1)


def test_the_penalty_is_half_the_decay():
    model = build_model(Config(decay=5e-4), ARMS["He 22"], (28, 28, 1), 0)
    squares = sum((layer.kernel.numpy().astype(np.float64) ** 2).sum() for layer in weighted(model))
    assert float(sum(model.losses)) == pytest.approx(2.5e-4 * squares, rel=1e-5)


def test_the_limits_start_from_the_same_nets():
    config, arm = glorot_vs_he_limits.Config(), {"scale": 2.0, "decay": 5e-4}
    ours = weighted(glorot_vs_he_limits.build_model(config, arm, 3))
    theirs = weighted(build_model(Config(), ARMS["He 30"], (28, 28, 1), 3))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.kernel, other.kernel)


def test_normalised_layers_have_no_bias():
    arm = glorot_vs_he_limits.ARMS["He, BN"]
    model = glorot_vs_he_limits.build_model(glorot_vs_he_limits.Config(depth=4), arm, 0)
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.use_bias for layer in dense] == [False] * 3 + [True]


def test_moments_are_those_of_the_layers():
    config = signal_propagation.Config(depth=3)
    arm = {"activation": "relu", "scale": 2.0, "width": 40}
    model = signal_propagation.build_model(config, arm, 0)
    x = RNG.normal(size=(10, 784)).astype(np.float32)
    back = RNG.normal(size=(10, 40)).astype(np.float32)
    forward, backward = signal_propagation.moments(model, x, back)
    a, slopes, expected = x.astype(np.float64), [], []
    for layer in model.layers:
        z = a @ layer.kernel.numpy()
        slopes.append(z > 0)
        a = np.maximum(z, 0)
        expected.append(np.mean(a**2))
    np.testing.assert_allclose(forward, expected, rtol=1e-4)
    gradient, expected = back.astype(np.float64), [np.mean(back.astype(np.float64) ** 2)]
    for layer, slope in zip(model.layers[:0:-1], slopes[:0:-1], strict=True):
        gradient = (gradient * slope) @ layer.kernel.numpy().T
        expected.append(np.mean(gradient**2))
    np.testing.assert_allclose(backward, expected[::-1], rtol=1e-4)


def test_singular_values_of_a_linear_regime():
    """tanh of almost nothing is linear: the Jacobian is the kernel; the first layer is left out."""
    config = signal_propagation.Config(tanh_depth=3, tanh_width=30)
    arm = {"activation": "tanh", "scale": 1.0, "width": None}
    model = signal_propagation.build_model(config, arm, 0)
    kernels = [layer.kernel.numpy() for layer in model.layers[1:]]
    expected = np.mean([np.linalg.svd(kernel, compute_uv=False).mean() for kernel in kernels])
    found = signal_propagation.singular_value(model, np.full(784, 1e-6, np.float32))
    assert found == pytest.approx(expected, rel=1e-5)


def test_conv_runs_on_cifar10_unless_another_is_named():
    recipe = glorot_vs_he.RECIPE
    assert recipe.usual_dataset(Config()) == "mnist"
    assert recipe.usual_dataset(Config(arch="conv")) == "cifar10"
    assert recipe.knobs("default", "cifar10").arch == "conv"
    assert recipe.arms_for("default", "cifar10") == ["Xavier 22", "He 22"]
    assert recipe.arms_for("paper", "cifar10") == ["Xavier 22", "He 22", "Xavier 30", "He 30"]
    assert recipe.arms_for("default", "mnist") == list(ARMS)
