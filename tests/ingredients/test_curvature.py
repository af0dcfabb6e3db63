"""The sharpness against eigenvalues of the whole Hessian."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.ingredients.curvature import extreme_eigenvalues, least_squares, sharpness

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 5)).astype(np.float32)
Y = np.eye(3, dtype=np.float32)[RNG.integers(0, 3, 12)]


def squared(targets, outputs):
    return keras.ops.sum(keras.ops.square(targets - outputs), axis=-1) / 2


def small_net():
    normal = keras.initializers.RandomNormal(0, 1, seed=1)
    how = {"kernel_initializer": normal, "bias_initializer": normal}
    stack = [keras.layers.Dense(4, "tanh", **how), keras.layers.Dense(3, **how)]
    return keras.Sequential([keras.Input((5,)), *stack])


def test_the_sharpness_of_a_linear_model_is_its_covariances_largest_eigenvalue():
    """Cost (Wx + b - y)^2 / 2: the Hessian is the mean of (x, 1)(x, 1)^T, once per output."""
    x, y = RNG.normal(size=(50, 4)).astype(np.float32), RNG.normal(size=(50, 3)).astype(np.float32)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    inputs = np.hstack([x, np.ones((50, 1))]).astype(float)
    expected = np.linalg.eigvalsh(inputs.T @ inputs / 50)[-1]
    assert sharpness(model, squared, x, y, 200, seed=0)()[0] == pytest.approx(expected, rel=1e-5)


def whole_hessian(model):
    weights = [one.value for one in model.trainable_weights]
    with tf.GradientTape(persistent=True) as outer:
        with tf.GradientTape() as tape:
            cost = tf.reduce_mean(squared(tf.constant(Y), model(tf.constant(X))))
        gradient = tape.gradient(cost, weights)
    sizes = [one.shape.num_elements() for one in weights]
    rows = [
        [tf.reshape(outer.jacobian(g, w), (m, n)) for w, n in zip(weights, sizes, strict=True)]
        for g, m in zip(gradient, sizes, strict=True)
    ]
    hessian = np.block([[block.numpy() for block in row] for row in rows])
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-6)
    return hessian


def test_the_sharpness_of_a_net_is_the_eigenvalue_of_largest_magnitude_of_its_hessian():
    model = small_net()
    hessian = whole_hessian(model)
    values = np.linalg.eigvalsh(hessian)
    largest = values[np.abs(values).argmax()]
    found, vector = sharpness(model, squared, X, Y, 300, seed=0)()
    assert found == pytest.approx(largest, rel=1e-3)
    vector = np.concatenate([part.ravel() for part in vector])
    assert np.linalg.norm(vector) == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(hessian @ vector, largest * vector, atol=1e-3 * abs(largest))


@pytest.mark.parametrize("seed", [0, 1])
def test_both_ends_of_the_hessians_eigenvalues(seed):
    model = small_net()
    values = np.linalg.eigvalsh(whole_hessian(model))
    assert values[0] < 0 < values[-1]
    found = extreme_eigenvalues(model, squared, X, Y, 1e-4, seed)
    np.testing.assert_allclose(found, values[[0, -1]], rtol=1e-3)


def test_a_measurement_goes_on_where_the_last_one_ended():
    x, y = RNG.normal(size=(50, 4)).astype(np.float32), RNG.normal(size=(50, 3)).astype(np.float32)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    once, often = (sharpness(model, squared, x, y, n, seed=0) for n in (20, 1))
    assert [often()[0] for _ in range(20)][-1] == pytest.approx(once()[0], rel=1e-5)


@pytest.mark.parametrize("n", [6, 40])  # fewer examples than inputs and bias, and more
def test_least_squares_is_gradient_descent_step_by_step(n):
    rng = np.random.default_rng(n)
    x, targets = rng.normal(size=(n, 8)) + 1, rng.normal(size=(n, 3))
    h, least, above = least_squares(x, targets, 30)
    a, w, costs = np.hstack([x, np.ones((n, 1))]), np.zeros((9, 3)), []
    for _ in range(30):
        costs.append(np.sum((a @ w - targets) ** 2) / (2 * n))
        w -= a.T @ (a @ w - targets) / n / h[0]
    np.testing.assert_allclose(least + above, costs, rtol=1e-9)
    np.testing.assert_allclose(h, np.linalg.eigvalsh(a.T @ a / n)[::-1], atol=1e-12)
    best = a @ np.linalg.lstsq(a, targets, rcond=None)[0]
    assert least == pytest.approx(np.sum((best - targets) ** 2) / (2 * n), abs=1e-9)
