"""The published net to the unit, its layers against plain NumPy and TensorFlow."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from common.ingredients.alexnet import PUBLISHED, LocalResponseNormalization, alexnet

RNG = np.random.default_rng(0)
NAMES = [*(f"conv{i}" for i in range(1, 6)), "dense6", "dense7", "logits"]
NARROW = {"maps": (4, 8, 12, 12, 8), "units": 16}


@pytest.mark.parametrize(("groups", "parameters"), [(2, 60_965_224), (1, 62_378_344)])
def test_the_published_nets_have_their_parameters_which_begin_as_published(groups, parameters):
    net = alexnet(1000, 0, **PUBLISHED, groups=groups)
    assert net.count_params() == parameters
    pools = [one.output.shape[1:] for one in net.layers if "pooling" in one.name]
    assert pools == [(27, 27, 96), (13, 13, 256), (6, 6, 256)]
    weighted = [layer for layer in net.layers if layer.weights]
    for layer in weighted:
        kernel = layer.kernel.numpy()
        assert kernel.std() == pytest.approx(0.01, rel=0.02)
        assert abs(kernel.mean()) < 4 * 0.01 / np.sqrt(kernel.size)
    biases = [float(layer.bias[0]) for layer in weighted]
    # In two groups, convolutions 2, 4 and 5 are two layers each, of half the maps.
    one = [0, 1, 0, 1, 1, 1, 1, 0]
    assert biases == (one if groups == 1 else [0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0])


@pytest.mark.parametrize("stack", [{}, {"maps": (16, 32, 48, 48, 32), "units": 256}])
def test_a_scaled_stack_keeps_the_gain_of_every_layer(stack):
    """Standard deviation times the root of the inputs decides how the signal grows or fades."""
    nets = [alexnet(10, 0, **PUBLISHED), alexnet(10, 0, **stack)]
    gains = [
        [
            layer.kernel.numpy().std() * np.sqrt(np.prod(layer.kernel.shape[:-1]))
            for layer in net.layers
            if layer.weights
        ]
        for net in nets
    ]
    np.testing.assert_allclose(gains[1], gains[0], rtol=0.1)


def by_hand(net: keras.Model, x: np.ndarray, groups: int) -> dict[str, tf.Tensor]:
    """Responses of the CIFAR stack by TensorFlow's own operations, from the net's weights."""
    weights, found = iter(net.get_weights()), {}

    def conv(x: tf.Tensor, name: str, groups: int) -> tf.Tensor:
        maps = [
            tf.nn.relu(tf.nn.conv2d(one, next(weights), 1, "SAME") + next(weights))
            for one in tf.split(x, groups, axis=-1)
        ]
        found[name] = tf.concat(maps, axis=-1)
        return found[name]

    def pooled(x: tf.Tensor, normalize: bool) -> tf.Tensor:
        x = tf.nn.local_response_normalization(x, 2, 2.0, 1e-4, 0.75) if normalize else x
        return tf.nn.max_pool2d(x, 3, 2, "VALID")

    x = pooled(conv(x, "conv1", 1), True)
    x = pooled(conv(x, "conv2", groups), True)
    x = conv(conv(conv(x, "conv3", 1), "conv4", groups), "conv5", groups)
    x = tf.reshape(pooled(x, False), (len(x), -1))
    for name in ("dense6", "dense7"):
        x = found[name] = tf.nn.relu(x @ next(weights) + next(weights))
    found["logits"] = x @ next(weights) + next(weights)
    return found


@pytest.mark.parametrize("groups", [1, 2])
def test_every_named_layer_gives_what_the_stack_gives_by_hand(groups):
    net = alexnet(10, 3, groups=groups, **NARROW)
    x = RNG.normal(size=(5, 32, 32, 3), scale=60).astype(np.float32)
    probe = keras.Model(net.inputs[0], [net.get_layer(name).output for name in NAMES])
    for (name, expected), received in zip(by_hand(net, x, groups).items(), probe(x), strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-3, atol=1e-4, err_msg=name)
    assert net.get_layer("conv1").kernel.shape == (5, 5, 3, 4)


@pytest.mark.parametrize("changed", [{"normalize": False}, {"pool": 2}, {"dropout": 0.0}])
def test_variants_begin_like_the_whole(changed):
    """As far as shapes allow: smaller pools leave more inputs to the first dense layer."""
    whole, other = alexnet(10, 3, **NARROW), alexnet(10, 3, **NARROW, **changed)
    pairs = list(zip(whole.trainable_weights, other.trainable_weights, strict=True))
    assert len(pairs) == 22
    different = [i for i, (one, its) in enumerate(pairs) if one.shape != its.shape]
    assert different == ([16] if "pool" in changed else [])
    for i, (one, its) in enumerate(pairs):
        if i not in different:
            np.testing.assert_array_equal(one, its)
    normalizations = [one for one in other.layers if isinstance(one, LocalResponseNormalization)]
    assert len(normalizations) == (0 if "normalize" in changed else 2)
    x = 60 * RNG.normal(size=(2, 32, 32, 3))
    drops = not np.array_equal(other(x, training=True), other(x, training=False))
    assert drops == ("dropout" not in changed)


def test_seeds_differ_and_repeat():
    one, same, other = (alexnet(10, seed, **NARROW).get_weights() for seed in (1, 1, 2))
    for mine, its in zip(one, same, strict=True):
        np.testing.assert_array_equal(mine, its)
    assert not np.array_equal(one[0], other[0])


def test_weight_decay_is_the_papers():
    """v <- .9 v - .0005 rate w - rate gradient; w <- w + v, in float64 by hand."""
    rate, momentum, decay = 0.01, 0.9, 5e-4
    net = alexnet(10, 0, weight_decay=decay, **NARROW)
    penalties = [layer.kernel_regularizer for layer in net.layers if layer.weights]
    assert len(penalties) == 11  # as many as there are biases above
    assert all(one.get_config() == penalties[0].get_config() for one in penalties)
    x, y = RNG.normal(size=(8, 4)).astype(np.float32), RNG.normal(size=(8, 1)).astype(np.float32)
    how = {"kernel_initializer": "ones", "kernel_regularizer": penalties[0]}
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False, **how)])
    model.compile(keras.optimizers.SGD(rate, momentum), "mse")
    w, v = model.get_weights()[0].astype(np.float64), 0
    for _ in range(5):
        model.fit(x, y, batch_size=8, verbose=0)
        v = momentum * v - decay * rate * w - rate * 2 * x.T @ (x @ w - y) / 8
        w = w + v
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-5)


def normalized(a: np.ndarray) -> np.ndarray:
    """Section 3.3, written as its formula, with the paper's k, n, alpha and beta."""
    b = np.empty_like(a)
    maps = a.shape[-1]
    for i in range(maps):
        near = range(max(0, i - 2), min(maps - 1, i + 2) + 1)
        b[..., i] = a[..., i] / (2 + 1e-4 * sum(a[..., j] ** 2 for j in near)) ** 0.75
    return b


@settings(max_examples=25)
@given(maps=st.integers(1, 9), scale=st.floats(0.1, 5_000))
def test_response_normalization_is_the_formula(maps, scale):
    a = scale * np.random.default_rng(maps).normal(size=(2, 3, 4, maps))
    layer = LocalResponseNormalization(dtype="float64")
    np.testing.assert_allclose(layer(a), normalized(a), rtol=1e-12)


def test_gradient_of_response_normalization_is_that_of_tensorflow():
    a = tf.constant(RNG.normal(size=(2, 3, 3, 7), scale=150), tf.float32)
    upstream = tf.constant(RNG.normal(size=a.shape), tf.float32)

    def gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(a)
            b = function(a)
        return tape.gradient(b, a, upstream)

    expected = gradient(lambda a: tf.nn.local_response_normalization(a, 2, 2.0, 1e-4, 0.75))
    np.testing.assert_allclose(
        gradient(LocalResponseNormalization()), expected, rtol=2e-5, atol=1e-6
    )


def test_gradient_of_response_normalization_is_the_difference_quotient():
    """In float64, so that the formula is held to eight digits."""
    a, direction = RNG.normal(size=(2, 2, 3, 3, 7), scale=150)
    layer = LocalResponseNormalization(dtype="float64")
    upstream = RNG.normal(size=a.shape)
    with tf.GradientTape() as tape:
        tape.watch(x := tf.constant(a))
        total = tf.reduce_sum(upstream * layer(x))
    slope = np.sum(direction * tape.gradient(total, x))
    step = 1e-5
    high, low = (normalized(a + s * direction) for s in (step, -step))
    assert slope == pytest.approx(np.sum(upstream * (high - low)) / (2 * step), rel=1e-8)


def test_response_normalization_in_half_precision():
    a = RNG.normal(size=(2, 3, 3, 7), scale=30).astype(np.float32)
    half = LocalResponseNormalization(dtype="mixed_bfloat16")(a)
    assert half.dtype == tf.bfloat16
    exact = LocalResponseNormalization()(a)
    np.testing.assert_allclose(tf.cast(half, tf.float32), exact, rtol=0.03)
