"""The sharpness against eigenvalues of the whole Hessian."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from common.ingredients.curvature import sharpness, softmax_curvature

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
    assert sharpness(model, squared, x, y, 200, seed=0)() == pytest.approx(expected, rel=1e-5)


def test_the_sharpness_of_a_net_is_the_eigenvalue_of_largest_magnitude_of_its_hessian():
    model = small_net()
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
    values = np.linalg.eigvalsh(hessian)
    largest = values[np.abs(values).argmax()]
    assert sharpness(model, squared, X, Y, 300, seed=0)() == pytest.approx(largest, rel=1e-3)


def test_a_measurement_goes_on_where_the_last_one_ended():
    x, y = RNG.normal(size=(50, 4)).astype(np.float32), RNG.normal(size=(50, 3)).astype(np.float32)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    once, often = (sharpness(model, squared, x, y, n, seed=0) for n in (20, 1))
    assert [often() for _ in range(20)][-1] == pytest.approx(once(), rel=1e-5)


def test_the_curvature_of_softmax_regression_is_that_of_its_whole_hessian():
    x, logits = RNG.normal(size=(30, 4)), RNG.normal(size=(30, 3))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    ones = np.hstack([x, np.ones((30, 1))])
    outputs = np.einsum("nk,kl->nkl", p, np.eye(3)) - np.einsum("nk,nl->nkl", p, p)
    hessian = np.einsum("ni,nj,nkl->ikjl", ones, ones, outputs).reshape(15, 15) / 30
    values, vectors = np.linalg.eigh(hessian + 0.1 * np.eye(15))
    h, (kernel, bias) = softmax_curvature(x, logits, 0.1, seed=0)
    assert h == pytest.approx(values[-1], rel=1e-10)
    found = np.vstack([kernel, bias]).ravel()
    assert abs(found @ vectors[:, -1]) == pytest.approx(1, rel=1e-10)
