"""Gradients of mini-batches against autodiff, and against all mini-batches that there are."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.ingredients.digit_nets import nets_alike
from common.ingredients.noise import backpropagated, batch_variance, noise_scale

RNG = np.random.default_rng(0)
N, R = 7, 3
X = RNG.integers(0, 256, (N, 28, 28)).astype(np.float32)
Y = RNG.integers(0, 10, N)


@pytest.fixture(scope="module")
def nets():
    """Three different nets, and what there is to see inside."""
    model = nets_alike(R, hidden=4, seed=0)
    for weight in model.weights:
        weight.assign(RNG.normal(0, 0.3, weight.shape))
    names = "inputs", "hidden", "logits"
    return model, keras.Model(model.input, [model.get_layer(name).output for name in names])


def one_by_one(model, net):
    """The gradient of one net's cross-entropy for each example, (n, P), and the mean cost."""
    gradients, costs = [], []
    for x, y in zip(X, Y, strict=True):
        with tf.GradientTape() as tape:
            logits = model(x[None])[:, net]
            cost = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(y[None], logits)
        found = tape.gradient(cost, [weight.value for weight in model.trainable_weights])
        gradients.append(np.concatenate([np.ravel(part) for part in found]).astype(float))
        costs.append(float(cost))
    return np.array(gradients), np.mean(costs)


@pytest.mark.parametrize("net", range(R))
def test_costs_and_noise_scales_are_those_of_autodiff(nets, net):
    model, inside = nets
    gradients, cost = one_by_one(model, net)
    costs, pairs = backpropagated(inside, X, Y)
    full = gradients.mean(axis=0)
    trace = np.sum((gradients - full) ** 2) / N
    assert costs[net] == pytest.approx(cost, rel=1e-5)
    assert noise_scale(pairs)[net] == pytest.approx(trace / np.sum(full**2), rel=1e-4)
    _, predicted = batch_variance(pairs, net, 1, draws=2, seed=0)
    assert predicted == pytest.approx(trace, rel=1e-4)


def layers_of(n, generator):
    """Two layers of two nets in float64."""
    inputs, hidden = generator.normal(size=(n, 1, 3)), generator.normal(size=(n, 2, 4))
    return (inputs, generator.normal(size=(n, 2, 4))), (hidden, generator.normal(size=(n, 2, 2)))


def each_gradient(pairs, net):
    """(n, P), as outer products."""
    parts = []
    for a, d in pairs:
        a = np.concatenate([a[:, net % a.shape[1]], np.ones((len(a), 1))], axis=1)
        parts.append(np.einsum("ni,no->nio", a, d[:, net]).reshape(len(a), -1))
    return np.concatenate(parts, axis=1)


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


def test_a_net_that_diverged_is_told_by_nan_and_leaves_the_others_alone(nets):
    model, inside = nets
    before = backpropagated(inside, X, Y)
    kernel = model.get_layer("logits").kernel
    kept = kernel.numpy()
    kernel.assign(np.where(np.arange(R)[:, None, None] == 1, np.inf, kept))
    costs, pairs = backpropagated(inside, X, Y)
    kernel.assign(kept)
    assert np.isnan(costs[1])
    np.testing.assert_array_equal(np.delete(costs, 1), np.delete(before[0], 1))
    scales = noise_scale(pairs), noise_scale(before[1])
    np.testing.assert_allclose(*(np.delete(scale, 1) for scale in scales), rtol=1e-5)
