"""Each brick against central differences and autodiff in double precision, and at its kinks."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from common.ingredients.bricks import (
    LOSSES,
    Convolution,
    Flatten,
    Linear,
    Sequential,
    activation,
)
from recipes.cost.bricks import PAIRS, InKeras

RNG = np.random.default_rng(0)
ACTIVATIONS = tuple(PAIRS.values())
HOT = np.eye(4)[RNG.integers(0, 4, 6)]


def differences(f, x, h=1e-6):
    """df/dx of a number f at x, by central differences."""
    slope = np.empty_like(x)
    for place in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[place] = h
        slope[place] = (f(x + moved) - f(x - moved)) / (2 * h)
    return slope


def backward_of(brick, x):
    """dE/dx, E being the sum of y times random numbers, and the same by differences."""
    toward = RNG.normal(size=brick.forward(x).shape)
    by_differences = differences(lambda x: np.sum(toward * brick.forward(x)), x)
    brick.forward(x)
    return brick.backward(toward), by_differences, toward


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_the_lectures(name):
    x = np.array([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
    expected = {
        "sigmoid": [1 / (1 + np.exp(-one)) for one in x],
        "tanh": [(np.exp(one) - np.exp(-one)) / (np.exp(one) + np.exp(-one)) for one in x],
        "relu": [0, 0, 0, 0, 0.5, 1, 2],
        "ramp": [-1, -1, -0.5, 0, 0.5, 1, 1],
        "leaky_relu": [-0.02, -0.01, -0.005, 0, 0.5, 1, 2],
    }[name]
    np.testing.assert_allclose(activation(name).forward(x), expected, rtol=1e-14)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_backward(name):
    found, expected, _ = backward_of(activation(name), RNG.normal(size=(3, 7)))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize(
    ("name", "kink", "slope"),
    [("relu", 0, 0), ("ramp", 1, 0), ("ramp", -1, 0), ("leaky_relu", 0, 0.01)],
)
def test_at_a_kink_the_slope_is_the_one_stated(name, kink, slope):
    brick = activation(name)
    brick.forward(np.array([float(kink)]))
    assert brick.backward(np.array([3.0])) == pytest.approx(3 * slope)


@given(st.floats(-300, 300))
def test_the_lectures_ramp_as_printed_is_a_constant(x):
    assert min(-1, max(1, x)) == -1
    assert activation("ramp").forward(x) == min(1, max(-1, x))


BRICKS = {
    "linear": (Linear(RNG.normal(size=(5, 4)), RNG.normal(size=4)), (6, 5)),
    "convolution": (Convolution(RNG.normal(size=(3, 3, 2, 4)), RNG.normal(size=4)), (2, 6, 5, 2)),
}


@pytest.mark.parametrize("name", BRICKS)
def test_scalar_products_are_kerass(name):
    brick, shape = BRICKS[name]
    x = RNG.normal(size=shape)
    layer = keras.layers.Dense if name == "linear" else keras.layers.Conv2D
    layer = layer(4, **({} if name == "linear" else {"kernel_size": 3}), dtype="float64")
    layer.build(shape)
    layer.set_weights(brick.weights)
    np.testing.assert_allclose(brick.forward(x), layer(x), rtol=1e-12)


@pytest.mark.parametrize("name", BRICKS)
def test_scalar_products_backward(name):
    brick, shape = BRICKS[name]
    x = RNG.normal(size=shape)
    found, expected, toward = backward_of(brick, x)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-8)
    kept = list(brick.weights)
    for i, gradient in enumerate(brick.gradients):

        def energy(weight, i=i):
            brick.weights = [*kept[:i], weight, *kept[i + 1 :]]
            return np.sum(toward * brick.forward(x))

        np.testing.assert_allclose(gradient, differences(energy, kept[i]), rtol=1e-6, atol=1e-8)
        brick.weights = kept


def written_out(name, x, hot):
    """E of one example as the lecture's table has it."""
    c = int(hot.argmax())
    signs = [1 if k == c else -1 for k in range(len(x))]
    pairs = list(zip(signs, x, strict=True))
    return {
        "square": sum((one - d) ** 2 / 2 for d, one in pairs),
        "log": sum(np.log(1 + np.exp(-d * one)) for d, one in pairs),
        "hinge": sum(max(0, 1 - d * one) for d, one in pairs),
        "log_softmax": np.log(sum(np.exp(one) for one in x)) - x[c],
        "max_margin": max(0, max(x[k] + 1 for k in range(len(x)) if k != c) - x[c]),
    }[name]


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_the_lectures(name):
    x = RNG.normal(0, 2, size=(6, 4))
    expected = [written_out(name, *pair) for pair in zip(x, HOT, strict=True)]
    np.testing.assert_allclose(LOSSES[name](x, HOT)[0], expected, rtol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_backward(name):
    x = RNG.normal(0, 2, size=(6, 4))
    expected = differences(lambda x: LOSSES[name](x, HOT)[0].sum(), x)
    np.testing.assert_allclose(LOSSES[name](x, HOT)[1], expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", LOSSES)
def test_kerass_losses_and_their_derivatives_are_the_same(name):
    x = tf.Variable(RNG.normal(0, 2, size=(6, 4)))
    with tf.GradientTape() as tape:
        cost = InKeras(name)(HOT, x)
    found, slope = LOSSES[name](x.numpy(), HOT)
    assert float(cost) == pytest.approx(found.mean(), rel=1e-12)
    np.testing.assert_allclose(tape.gradient(cost, x), slope / 6, rtol=1e-9, atol=1e-15)


def test_losses_at_their_kinks():
    one = np.eye(3)[[0]]
    assert not LOSSES["hinge"](np.array([[1.0, -1.0, -1.0]]), one)[1].any()
    assert not LOSSES["max_margin"](np.array([[1.0, 0.0, -5.0]]), one)[1].any()
    tied = LOSSES["max_margin"](np.array([[0.0, 2.0, 2.0]]), one)
    assert tied[0] == 3
    assert tied[1].tolist() == [[-1, 1, 0]]


@pytest.mark.parametrize("name", ["log", "log_softmax"])
def test_large_outputs_do_not_overflow(name):
    cost, slope = LOSSES[name](np.array([[-1e4, 1e4]]), np.eye(2)[[0]])
    assert cost == pytest.approx(2e4, rel=1e-12)
    np.testing.assert_allclose(slope, [[-1, 1]])


def test_a_net_hands_on_forward_and_back():
    """A chain of all kinds of bricks: its gradients are those of the whole."""
    kernel, bias = RNG.normal(size=(2, 2, 1, 2)), RNG.normal(size=2)
    last = Linear(RNG.normal(size=(18, 3)), np.zeros(3))
    net = Sequential([Convolution(kernel, bias), activation("tanh"), Flatten(), last])
    x, hot = RNG.normal(size=(5, 4, 4, 1)), np.eye(3)[RNG.integers(0, 3, 5)]
    _, slope = LOSSES["log_softmax"](net.forward(x), hot)
    dx = net.backward(slope)

    def energy(kernel):
        first = Convolution(kernel, bias)
        chain = Sequential([first, activation("tanh"), Flatten(), last])
        return LOSSES["log_softmax"](chain.forward(x), hot)[0].sum()

    np.testing.assert_allclose(net.bricks[0].gradients[0], differences(energy, kernel), rtol=1e-6)
    expected = differences(lambda x: LOSSES["log_softmax"](net.forward(x), hot)[0].sum(), x)
    np.testing.assert_allclose(dx, expected, rtol=1e-5, atol=1e-8)
    before, gradient = kernel.copy(), net.bricks[0].gradients[0]
    net.step(0.5)
    np.testing.assert_allclose(net.bricks[0].weights[0], before - 0.5 * gradient, rtol=1e-12)
    np.testing.assert_array_equal(kernel, before)  # what was handed over is not changed
