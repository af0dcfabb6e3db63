"""One layer by hand against sums written out, against differences, and against Keras."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from recipes.cost import perceptron
from recipes.cost.perceptron import ARMS, build_model

RNG = np.random.default_rng(0)
LOSSES = [arm["L"] for arm in ARMS.values()]
X, THETA = RNG.uniform(0, 4, (20, 3)), RNG.normal(size=(4, 2))
T = np.eye(2)[RNG.integers(0, 2, 20)]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def written_out(loss):
    """J of the same inputs, output by output, as the lecture writes it."""
    total = 0
    for x, t in zip(X, T, strict=True):
        for k in range(2):
            y = sigmoid(sum(x[i] * THETA[i, k] for i in range(3)) + THETA[3, k])
            squared = (t[k] - y) ** 2
            entropy = -(t[k] * np.log(y) + (1 - t[k]) * np.log(1 - y))
            total += squared if loss == "MeanSquaredError" else entropy
    return total / (20 * 2)


def digits(n=200):
    """Images of random ink, and as labels sixes, nines, and others."""
    return RNG.integers(0, 80, (n, 28, 28)).astype("uint8"), RNG.choice([3, 6, 9], n)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_error_is_the_lectures(loss):
    y, error, _ = perceptron.perceptron(THETA, X, T, loss)
    np.testing.assert_allclose(y, sigmoid(X @ THETA[:3] + THETA[3]), rtol=1e-14)
    assert error == pytest.approx(written_out(loss), rel=1e-13)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_error_and_the_gradient_are_keras_s(loss):
    theta, x = tf.Variable(THETA), tf.constant(X)
    with tf.GradientTape() as tape:
        y = tf.sigmoid(x @ theta[:3] + theta[3])
        j = getattr(keras.losses, loss)(dtype="float64")(T, y)
    _, error, gradient = perceptron.perceptron(THETA, X, T, loss)
    assert error == pytest.approx(float(j), rel=1e-12)
    np.testing.assert_allclose(gradient, tape.gradient(j, theta), rtol=1e-9)


def test_many_thetas_at_once():
    thetas = RNG.normal(size=(5, 3, 4, 2))
    _, errors, gradients = perceptron.perceptron(thetas, X, T, "BinaryCrossentropy")
    for place in np.ndindex(5, 3):
        _, error, gradient = perceptron.perceptron(thetas[place], X, T, "BinaryCrossentropy")
        assert errors[place] == pytest.approx(error, rel=1e-13)
        np.testing.assert_allclose(gradients[place], gradient, rtol=1e-11)


def test_a_saturated_output_has_a_finite_error():
    _, error, gradient = perceptron.perceptron(1e3 * THETA, X, T, "BinaryCrossentropy")
    assert np.isfinite(error)
    assert np.all(np.isfinite(gradient))


def test_inputs_are_the_ink_of_three_quarters(monkeypatch):
    images = np.zeros((4, 28, 28), "uint8")
    images[1, :14, :14], images[1, :14, 14:], images[1, 14:, :14] = 51, 102, 255
    images[2, 14:, 14:] = 255  # the lower right does not count
    given, by_hand = [], perceptron.perceptron

    def spy(theta, x, t, loss):
        given.append((x, t))
        return by_hand(theta, x, t, loss)

    monkeypatch.setattr(perceptron, "perceptron", spy)
    train = images, np.array([3, 9, 6, 0])
    perceptron.train(perceptron.Config(steps=1), ARMS["squared error"], 0, (train, train))
    for x, t in given:
        np.testing.assert_allclose(x, [[2, 4, 10], [0, 0, 0]], rtol=1e-14)
        np.testing.assert_array_equal(t, [[0, 1], [1, 0]])


def test_the_start_is_normal_of_sigma():
    kernels = [
        build_model(perceptron.Config(sigma=3.0), {}, seed).get_weights() for seed in range(60)
    ]
    drawn = np.array([np.vstack(pair) for pair in kernels])
    assert drawn.mean() == pytest.approx(0, abs=0.5)
    assert drawn.std() == pytest.approx(3, rel=0.15)


@pytest.mark.parametrize("arm", ARMS)
def test_training_by_hand_and_by_keras_are_one(arm):
    config = perceptron.Config(steps=20, learning_rate=0.01)
    outcome = perceptron.train(config, ARMS[arm], 0, (digits(), digits()))
    for name, value in outcome.metrics.items():
        if "by hand" in name:
            assert value < 1e-8, name
    assert np.all(np.diff(outcome.curves["J"]) < 0)
    assert outcome.metrics["J before"] == outcome.curves["J"][0]
    assert outcome.metrics["J after"] == outcome.curves["J"][-1]


@pytest.mark.parametrize("arm", ARMS)
def test_the_path_ends_on_the_surface(arm, monkeypatch):
    config, data = perceptron.Config(steps=5, learning_rate=0.01), (digits(), digits())
    path = perceptron.train(config, ARMS[arm], 0, data).pictures["path"]
    assert path.shape == (6, 2)
    monkeypatch.setattr(perceptron, "AXIS", path[-1])
    outcome = perceptron.train(config, ARMS[arm], 0, data)
    end = np.vstack(trained(config, arm, data))
    _, error, _ = perceptron.perceptron(end, *sixes_and_nines(*data[0]), ARMS[arm]["L"])
    assert outcome.pictures["J"][1, 0] == pytest.approx(error, rel=1e-12)


def sixes_and_nines(images, labels):
    """Ink of three quarters, 0..10 (n, 3), one digit after the other, and targets (n, 2)."""
    kept = [(image, label) for image, label in zip(images, labels, strict=True) if label in (6, 9)]
    halves = slice(0, 14), slice(14, 28)
    quarters = [(halves[0], halves[0]), (halves[0], halves[1]), (halves[1], halves[0])]
    x = [[image[quarter].mean() / 25.5 for quarter in quarters] for image, _ in kept]
    return np.float64(np.float32(x)), np.array(
        [[label == 6, label == 9] for _, label in kept], dtype=float
    )


def trained(config, arm, data):
    """W and B after the same steps in float64, by hand."""
    x, t = sixes_and_nines(*data[0])
    w, b = build_model(config, ARMS[arm], 0).get_weights()
    for _ in range(config.steps):
        y = sigmoid(x @ w + b)
        slope = (y - t) / t.size
        if ARMS[arm]["L"] == "MeanSquaredError":
            slope = 2 * slope * y * (1 - y)
        w, b = w - config.learning_rate * x.T @ slope, b - config.learning_rate * slope.sum(axis=0)
    return w, b
