"""Gradients of mini-batches against autodiff, and against all mini-batches that there are."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.ingredients.learning_rates import nets_alike
from common.ingredients.noise import backpropagated, batch_variance, noise_scale

RNG = np.random.default_rng(0)
N, R = 7, 3
X = RNG.integers(0, 256, (N, 28, 28)).astype(np.float32)
Y = RNG.integers(0, 10, N)


@pytest.fixture(scope="module")
def model():
    """Three different nets."""
    nets = nets_alike(R, [4], "tanh", keras.initializers.GlorotUniform(seed=0))
    for weight in nets.weights:
        weight.assign(RNG.normal(0, 0.3, weight.shape))
    return nets


def one_by_one(model, net):
    """The gradient of one net's cross-entropy for each example, (n, P)."""
    gradients = []
    for x, y in zip(X, Y, strict=True):
        with tf.GradientTape() as tape:
            logits = model(x[None])[:, net]
            cost = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(y[None], logits)
        found = tape.gradient(cost, [weight.value for weight in model.trainable_weights])
        gradients.append(np.concatenate([np.ravel(part) for part in found]).astype(float))
    return np.array(gradients)


@pytest.mark.parametrize("net", range(R))
def test_noise_scales_are_those_of_autodiff(model, net):
    gradients, layers = one_by_one(model, net), backpropagated(model, X, Y)
    full = gradients.mean(axis=0)
    trace = np.sum((gradients - full) ** 2) / N
    assert noise_scale(layers)[net] == pytest.approx(trace / np.sum(full**2), rel=1e-4)
    _, predicted = batch_variance(layers, net, 1, draws=2, seed=0)
    assert predicted == pytest.approx(trace, rel=1e-4)


def layers_of(n, generator):
    """Two layers of two nets in float64."""
    sizes = ((4, 4), (5, 2))
    return [tuple(generator.normal(size=(n, 2, size)) for size in pair) for pair in sizes]


def each_gradient(layers, net):
    """(n, P), as outer products."""
    parts = [np.einsum("ni,no->nio", a[:, net], d[:, net]) for a, d in layers]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


@pytest.mark.parametrize("batch", range(1, 7))
@pytest.mark.parametrize("net", range(2))
def test_the_formula_is_the_variance_over_all_mini_batches(batch, net):
    pairs = layers_of(6, np.random.default_rng(batch))
    gradients = each_gradient(pairs, net)
    means = [gradients[list(rows)].mean(0) for rows in itertools.combinations(range(6), batch)]
    expected = np.mean([np.sum((mean - gradients.mean(0)) ** 2) for mean in means])
    measured, predicted = batch_variance(pairs, net, batch, draws=20_000, seed=0)
    assert predicted == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert measured == pytest.approx(expected, rel=0.05, abs=1e-12)  # all 6: nothing varies


def test_the_noise_scale_is_the_size_of_a_mini_batch_whose_variance_is_the_squared_gradient():
    pairs = layers_of(50, np.random.default_rng(0))
    full = np.sum(each_gradient(pairs, 1).mean(axis=0) ** 2)
    size = noise_scale(pairs)[1]
    _, single = batch_variance(pairs, 1, 1, draws=2, seed=0)
    assert single / size == pytest.approx(full, rel=1e-12)


def test_a_net_that_diverged_leaves_the_others_alone(model):
    before = noise_scale(backpropagated(model, X, Y))
    kernel = model.weights[-1]
    kept = kernel.numpy()
    kernel.assign(np.where(np.arange(R)[:, None, None] == 1, np.inf, kept))
    after = noise_scale(backpropagated(model, X, Y))
    kernel.assign(kept)
    assert np.isnan(after[1])
    np.testing.assert_allclose(np.delete(after, 1), np.delete(before, 1), rtol=1e-5)
