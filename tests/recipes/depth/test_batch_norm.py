"""Normalization, its gradient and its folding, against NumPy in float64; the number for drift."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from recipes.depth import batch_norm, batch_norm_folding
from recipes.depth.batch_norm_folding import fold, folded

RNG = np.random.default_rng(0)


def test_what_is_normalized_has_no_bias():
    config = batch_norm.Config()
    for arm in batch_norm.ARMS.values():
        layers = batch_norm.build_model(config, arm, 0).layers
        dense = [layer for layer in layers if isinstance(layer, keras.layers.Dense)]
        assert [layer.use_bias for layer in dense] == [not arm["normalize"]] * 3 + [True]
        assert [layer.units for layer in dense] == [100, 100, 100, 10]
        norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
        assert len(norms) == 3 * arm["normalize"]
        assert all(norm.scale and norm.center for norm in norms)


def test_arms_share_their_weights():
    config = batch_norm.Config()
    plain, bn = (batch_norm.build_model(config, {"normalize": on}, 3) for on in (False, True))
    for layer in range(4):
        kernels = [
            [layer.kernel for layer in net.layers if isinstance(layer, keras.layers.Dense)][layer]
            for net in (plain, bn)
        ]
        np.testing.assert_array_equal(*kernels)


def test_pixels_become_binary_and_the_net_is_the_formulas():
    config = batch_norm.Config(width=5)
    model = batch_norm.build_model(config, {"normalize": True}, 0)
    images = RNG.integers(0, 256, (30, 28, 28), dtype=np.uint8)
    model(images, training=True)  # moves the moving statistics
    layers = [layer for layer in model.layers if layer.weights]
    x = (images.reshape(30, 784) > 127).astype(np.float64)
    for dense, norm in zip(layers[0:6:2], layers[1:6:2], strict=True):
        z = x @ dense.kernel.numpy()
        mean, variance = (value.numpy() for value in norm.non_trainable_variables)
        z = (z - mean) / np.sqrt(variance + 1e-3)
        x = 1 / (1 + np.exp(-z))
    probe = keras.Model(model.inputs[0], model.layers[-2].input)  # what `train` watches
    np.testing.assert_allclose(probe(images, training=False), z, atol=1e-4)


def test_drift_has_a_closed_form():
    """A unit that stays has none; one shifted by 3 for half of the time, with a spread of 2, .75"""
    still = np.tile([[-1.0], [0.0], [1.0]], (4, 1, 1))
    moved = still + np.array([3.0, 3.0, 0.0, 0.0])[:, None, None]
    both = np.concatenate([still, moved], axis=2)
    np.testing.assert_allclose(batch_norm.drift(both), [0, 0.75])


def test_steps_are_counted_to_the_first_evaluation_that_is_good_enough(monkeypatch):
    """A net that never gets there counts as needing one evaluation more than it was given."""
    fitted = {"val_accuracy": [0.5, 0.91, 0.89, 0.93]}

    def fit(model, *arguments, callbacks, **settings):
        for _ in fitted["val_accuracy"]:
            callbacks[0].on_epoch_end(0)
        return SimpleNamespace(history=fitted)

    monkeypatch.setattr(batch_norm, "fit", fit)
    split = RNG.integers(0, 256, (20, 28, 28), dtype=np.uint8), np.arange(20, dtype=np.int32) % 10
    config = batch_norm.Config(width=5, steps=40, every=10, learned=90.0, good=94.0)
    metrics = batch_norm.train(config, batch_norm.ARMS["BN, rate 1"], 0, (split, split)).metrics
    assert metrics["steps to learn"] == 20
    assert metrics["steps to the plain net's final accuracy"] == 50
    assert metrics["final test accuracy (%)"] == pytest.approx(80.75)


def normalize(x, gamma, beta, epsilon):
    """Algorithm 1: x (n, channels) -> y (n, channels), over the mini-batch of n."""
    return gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + epsilon) + beta


def backward(x, gamma, dy, epsilon):
    """Section 3: x, dE/dy (n, channels) -> dE/dx (n, channels), dE/dgamma, dE/dbeta (channels,)."""
    n, centered, variance = len(x), x - x.mean(axis=0), x.var(axis=0) + epsilon
    dnormal = dy * gamma
    dvariance = np.sum(dnormal * centered, axis=0) * -0.5 * variance**-1.5
    dmean = -np.sum(dnormal, axis=0) / np.sqrt(variance) - 2 * dvariance * centered.mean(axis=0)
    dx = dnormal / np.sqrt(variance) + dvariance * 2 * centered / n + dmean / n
    return dx, np.sum(dy * centered / np.sqrt(variance), axis=0), dy.sum(axis=0)


shapes = st.tuples(st.integers(2, 12), st.integers(1, 5))


@settings(max_examples=30)
@given(shape=shapes, seed=st.integers(0, 2**31))
def test_the_written_gradient_against_finite_differences(shape, seed):
    rng = np.random.default_rng(seed)
    x, dy = rng.normal(size=(2, *shape))
    gamma, beta = rng.normal(size=(2, shape[1]))
    dx, dgamma, dbeta = backward(x, gamma, dy, 1e-3)

    def error(x=x, gamma=gamma, beta=beta):
        return np.sum(normalize(x, gamma, beta, 1e-3) * dy)

    step = 1e-6
    for index in np.ndindex(shape):
        shift = np.zeros(shape)
        shift[index] = step
        slope = (error(x=x + shift) - error(x=x - shift)) / (2 * step)
        assert dx[index] == pytest.approx(slope, rel=1e-3, abs=1e-4)
    for j in range(shape[1]):
        shift = step * (np.arange(shape[1]) == j)
        slopes = [
            (error(**{name: value + shift}) - error(**{name: value - shift})) / (2 * step)
            for name, value in (("gamma", gamma), ("beta", beta))
        ]
        assert dgamma[j] == pytest.approx(slopes[0], rel=1e-4, abs=1e-6)
        assert dbeta[j] == pytest.approx(slopes[1], rel=1e-4, abs=1e-6)


def trained_norm(shape: tuple[int, ...], **settings) -> keras.layers.BatchNormalization:
    norm = keras.layers.BatchNormalization(**settings)
    norm.build(shape)
    for weight in norm.weights:  # variances must be positive
        weight.assign(RNG.uniform(0.2, 2, shape[-1]))
    return norm


@pytest.mark.parametrize("shape", [(60, 7), (20, 5, 4, 7)])
def test_keras_computes_what_is_written(shape):
    """Output of algorithm 1 and gradients of section 3, over all axes but the channels."""
    norm = trained_norm(shape)
    x = RNG.normal(2, 3, shape).astype(np.float32)
    dy = RNG.normal(size=shape).astype(np.float32)
    with tf.GradientTape() as tape:
        tape.watch(entering := tf.constant(x))
        y = norm(entering, training=True)
        error = tf.reduce_sum(y * dy)
    found = tape.gradient(error, [entering, norm.gamma, norm.beta])
    rows, dys = (np.float64(a).reshape(-1, 7) for a in (x, dy))
    gamma, beta = (np.float64(variable.numpy()) for variable in (norm.gamma, norm.beta))
    expected = normalize(rows, gamma, beta, norm.epsilon), *backward(rows, gamma, dys, norm.epsilon)
    for one, other in zip([y, *found], expected, strict=True):
        difference = np.abs(np.reshape(one, other.shape) - other).max()
        assert difference < 1e-4 * np.abs(other).max()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["dense", "conv", "dilated", "grouped"])
def test_folding_changes_no_prediction(kind, bias):
    settings = {"use_bias": bias, "bias_initializer": "normal", "dtype": "float64"}
    layer, shape = {
        "dense": (keras.layers.Dense(6, **settings), (8,)),
        "conv": (keras.layers.Conv2D(6, 3, strides=2, **settings), (8, 8, 2)),
        "dilated": (keras.layers.Conv2D(6, 3, dilation_rate=2, **settings), (8, 8, 2)),
        "grouped": (keras.layers.Conv2D(6, 3, groups=2, **settings), (8, 8, 2)),
    }[kind]
    norm = trained_norm(layer.compute_output_shape((None, *shape)), dtype="float64")
    model = keras.Sequential([keras.Input(shape), layer, norm])
    x = RNG.normal(size=(5, *shape))
    small = folded(model)
    assert len(small.layers) == 1
    np.testing.assert_allclose(small(x), model(x, training=False), atol=1e-12)


def test_folding_needs_a_linear_layer_before():
    norm = trained_norm((None, 4))
    for layer in (keras.layers.Dense(4, "relu"), keras.layers.DepthwiseConv2D(3), None):
        with pytest.raises(ValueError, match="expected a linear Dense or convolution"):
            fold(layer, norm)


def test_folding_leaves_the_net_alone():
    arm = batch_norm_folding.ARMS["conv"]
    model = batch_norm_folding.build_model(batch_norm_folding.Config(), arm, 0)
    before = model.get_weights()
    folded(model)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
