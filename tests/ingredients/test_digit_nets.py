"""The nets for digits: their layers, and what is the same on the same seed."""

import numpy as np
import pytest

from common.ingredients.digit_nets import digit_net, nielsen_net

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 255, (3, 28, 28)).astype(np.float32)


def dense(x, kernel, bias):
    return x @ np.float64(kernel) + bias


@pytest.mark.parametrize("kind", ["softmax", "ReLU", "maxout"])
def test_dense_nets_are_what_they_say(kind):
    net = digit_net(kind, seed=0)
    weights = net.get_weights()
    x = X.reshape(3, -1) / 255.0
    while len(weights) > 2:
        kernel, bias, *weights = weights
        x = dense(x, kernel, bias)
        x = np.maximum(x, 0) if kind == "ReLU" else x.reshape(3, 240, 5).max(axis=2)
    np.testing.assert_allclose(net(X, training=False), dense(x, *weights), atol=1e-4)


def test_the_conv_net_is_two_convolutions_with_pools():
    net = digit_net("conv", seed=0)
    kernel, bias, kernel2, bias2, last, last_bias = net.get_weights()
    maps = X[..., None] / 255.0
    for k, b in ((kernel, bias), (kernel2, bias2)):
        windows = np.lib.stride_tricks.sliding_window_view(maps, (3, 3), axis=(1, 2))
        maps = np.maximum(np.einsum("bhwcij,ijco->bhwo", windows, np.float64(k)) + b, 0)
        side = maps.shape[1] // 2
        maps = maps[:, : 2 * side, : 2 * side].reshape(3, side, 2, side, 2, -1).max(axis=(2, 4))
    expected = dense(maps.reshape(3, -1), last, last_bias)
    np.testing.assert_allclose(net(X, training=False), expected, atol=1e-4)


@pytest.mark.parametrize("kind", ["softmax", "ReLU", "maxout", "conv"])
def test_weights_repeat_by_seed(kind):
    one, again, other = (digit_net(kind, seed).get_weights() for seed in (0, 0, 1))
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(one[0], other[0])


def test_only_the_maxout_net_drops_units():
    for kind in ("softmax", "ReLU", "maxout", "conv"):
        net = digit_net(kind, seed=0)
        same = np.array_equal(net(X, training=True), net(X, training=False))
        assert same == (kind != "maxout")


def test_nielsens_net_has_sigmoid_units_and_standard_normal_parameters():
    net = nielsen_net(300, seed=0, kernel_regularizer="l2")
    kernel, bias, kernel2, bias2 = net.get_weights()
    hidden = 1 / (1 + np.exp(-dense(X.reshape(3, -1) / 255.0, kernel, bias)))
    np.testing.assert_allclose(net(X), dense(hidden, kernel2, bias2), atol=1e-3)
    assert kernel.std() == pytest.approx(1, abs=0.01)
    assert np.concatenate([bias, bias2]).std() == pytest.approx(1, abs=0.15)
    assert len(net.losses) == 2  # of the kernels alone


def test_an_unknown_net_is_refused():
    with pytest.raises(ValueError, match=r"expected softmax, .* received relu"):
        digit_net("relu", 0)
