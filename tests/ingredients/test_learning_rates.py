"""Nets trained together at several learning rates against nets trained alone."""

import keras
import numpy as np
import pytest

from common.ingredients.learning_rates import (
    LearningRates,
    alike,
    evaluate_each,
    nets_alike,
    total_cost,
)

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 6)).astype(np.float32), RNG.integers(0, 3, 24)
RATES = (0.003, 0.01, 0.03)
OPTIMIZERS = {
    "plain": lambda rate: keras.optimizers.SGD(rate),
    "momentum": lambda rate: keras.optimizers.SGD(rate, 0.9),
    "Nesterov": lambda rate: keras.optimizers.SGD(rate, 0.9, nesterov=True),
    "AdaGrad": lambda rate: keras.optimizers.Adagrad(rate),
    "RMSProp": lambda rate: keras.optimizers.RMSprop(rate),
    "Adam": lambda rate: keras.optimizers.Adam(rate),
}


def nets(copies):
    """Nets with one hidden layer of four tanh units, and their outputs."""
    glorot = keras.initializers.GlorotUniform(keras.random.SeedGenerator(1))
    x = inputs = keras.Input((6,))
    x = keras.ops.repeat(x[:, None], copies, axis=1)
    for units, activation in ((4, "tanh"), (3, None)):
        x = keras.ops.pad(x, ((0, 0), (0, 0), (0, 1)), constant_values=1.0)
        how = {"activation": activation, "kernel_initializer": alike(glorot)}
        x = keras.layers.EinsumDense("bri,rio->bro", (copies, units), **how)(x)
    return keras.Model(inputs, x)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_net_moves_as_if_it_were_trained_alone(name):
    how = {"batch_size": 8, "epochs": 4, "shuffle": False, "verbose": 0}
    together = nets(3)
    together.compile(OPTIMIZERS[name](LearningRates(RATES)), total_cost)
    together.fit(X, Y, **how)
    for i, rate in enumerate(RATES):
        alone = nets(1)
        alone.compile(OPTIMIZERS[name](rate), total_cost)
        alone.fit(X, Y, **how)
        for a, b in zip(together.get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_allclose(a[i], b[0], atol=2e-6)


def test_kernels_are_copies_of_one_and_biases_start_at_zero():
    kernel, last = nets(3).get_weights()
    for weight in (kernel, last):
        np.testing.assert_array_equal(weight, weight[:1].repeat(3, axis=0))
        np.testing.assert_array_equal(weight[:, -1], 0)
    limit = np.sqrt(6 / (6 + 4))  # Glorot's, of one net without its bias
    assert 0.8 * limit < np.abs(kernel).max() <= limit


def test_evaluate_each_are_those_of_each_net():
    model = nets(3)
    model.set_weights([RNG.normal(size=w.shape) for w in model.get_weights()])
    costs, errors = evaluate_each(model, X, Y)
    z = model.predict(X, verbose=0).astype(float)
    for i in range(3):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        assert costs[i] == pytest.approx(float(loss(Y, z[:, i])), rel=1e-5)
        assert errors[i] == pytest.approx(100 * np.mean(z[:, i].argmax(axis=1) != Y))
    assert np.mean(total_cost(Y, z.astype("float32"))) == pytest.approx(costs.sum(), rel=1e-5)


def test_a_net_that_diverged_is_told_by_its_cost_alone():
    model = nets(3)
    before = evaluate_each(model, X, Y)
    kernel, last = model.get_weights()
    last[1] = np.inf
    model.set_weights([kernel, last])
    costs, errors = evaluate_each(model, X, Y)
    assert np.isnan(costs[1])
    np.testing.assert_array_equal(np.delete(costs, 1), np.delete(before[0], 1))
    assert errors[0] == before[1][0]


def test_the_schedule_is_rebuilt_from_its_config():
    schedule = LearningRates(RATES)
    again = LearningRates.from_config(schedule.get_config())
    np.testing.assert_array_equal(again(5), schedule(0))
    assert again(0).shape == (3, 1, 1)


@pytest.mark.parametrize(("hidden", "pool"), [((), 1), ((6,), 2), ((5, 4), 1)])
def test_nets_alike_are_copies_of_one_dense_net(hidden, pool):
    glorot = keras.initializers.GlorotUniform(keras.random.SeedGenerator(0))
    model = nets_alike(4, hidden, "tanh", glorot, pool)
    images = RNG.uniform(0, 255, (3, 28, 28)).astype(np.float32)
    side = 28 // pool
    x = images.reshape(3, side, pool, side, pool).mean(axis=(2, 4)).reshape(3, -1) / 255.0
    weights = [np.float64(weight[0]) for weight in model.get_weights()]
    for i, weight in enumerate(weights):
        x = np.hstack([x, np.ones((3, 1))]) @ weight
        x = np.tanh(x) if i < len(hidden) else x
    found = model.predict(images, verbose=0)
    np.testing.assert_allclose(found, np.repeat(x[:, None], 4, axis=1), atol=1e-5)
