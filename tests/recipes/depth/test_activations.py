"""What `examine` measures, against NumPy and on nets whose answers are known."""

import keras
import numpy as np
import pytest

from recipes.depth.activations import ARMS, Config, build_model, examine

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 28, 28)).astype(np.uint8)
LABELS = RNG.integers(0, 10, 40)
CONFIG = Config(width=12)


def compiled(arm, seed=0, config=CONFIG):
    """An arm's net with the loss by which it is examined."""
    model = build_model(config, ARMS[arm], seed)
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def dense(model):
    return [layer for layer in model.layers if layer.weights]


def test_shapes_are_the_lectures():
    shapes = [layer.kernel.shape for layer in dense(build_model(Config(), ARMS["tanh"], 0))]
    assert shapes == [(841, 100), *[(100, 100)] * 4, (100, 26)]


@pytest.mark.parametrize(
    ("arm", "stddev"),
    [("sigmoid, small", 0.01), ("sigmoid, lecture", 0.1 / 3**0.5), ("sigmoid", None)],
)
def test_initial_weights(arm, stddev):
    for layer in dense(build_model(Config(), ARMS[arm], 0)):
        expected = stddev or layer.kernel.shape[0] ** -0.5
        assert np.std(layer.get_weights()[0]) == pytest.approx(expected, rel=0.05)


SLOPES = {
    "sigmoid": lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2,
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "ReLU": lambda z: (z > 0).astype(float),
    "leaky ReLU": lambda z: np.where(z > 0, 1, 0.01),
}
VALUES = {
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "ReLU": lambda z: np.maximum(z, 0),
    "leaky ReLU": lambda z: np.where(z > 0, z, 0.01 * z),
}


@pytest.mark.parametrize("arm", SLOPES)
def test_against_backpropagation_written_out(arm):
    model = compiled(arm, seed=1)
    kernels = [layer.kernel.numpy().astype(np.float64) for layer in dense(model)]
    kernels[2] *= 9  # so that some units saturate
    dense(model)[2].kernel.assign(kernels[2])
    padded = np.pad(IMAGES / 255, ((0, 0), (0, 1), (0, 1)))
    inputs, slopes = [padded.reshape(40, 841)], []
    saturated, dead = [], []
    for kernel in kernels[:-1]:
        z = inputs[-1] @ kernel
        slope = SLOPES[arm](z)
        slopes.append(slope)
        inputs.append(VALUES[arm](z))
        saturated.append((slope[z > 0] < slope.max() / 10).mean())
        dead.append((slope.max(axis=0) < 1e-3).mean())
    logits = inputs[-1] @ kernels[-1]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    delta = (p - np.eye(26)[LABELS]) / 40
    gradients = []
    for k in range(5, -1, -1):
        gradients.append(np.abs(inputs[k].T @ delta).mean())
        if k:
            delta = delta @ kernels[k].T * slopes[k - 1]
    found = examine(model, IMAGES, LABELS)
    np.testing.assert_allclose(found[0], gradients[::-1], rtol=1e-3)
    np.testing.assert_allclose(found[1], saturated, atol=1e-6)
    np.testing.assert_allclose(found[2], dead, atol=1e-6)
    if arm in ("sigmoid", "tanh"):
        assert max(found[1]) > 0.05  # or the test would compare zeros
    if arm in ("ReLU", "leaky ReLU"):
        assert max(found[1]) == 0  # by definition: their slope is 1 wherever z > 0


def test_a_unit_that_is_never_on_is_dead_under_relu_alone():
    for arm, share in (("ReLU", 3 / 12), ("leaky ReLU", 0)):
        model = compiled(arm)
        first = dense(model)[0]
        kernel = np.abs(first.kernel.numpy())
        kernel[:, :3] *= -1
        first.kernel.assign(kernel)
        assert examine(model, IMAGES, LABELS)[2][0] == pytest.approx(share)


def test_relu_and_leaky_relu_start_from_the_same_weights():
    one, other = (build_model(CONFIG, ARMS[arm], 5).get_weights() for arm in ("ReLU", "leaky ReLU"))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_leak_is_the_slope_below_zero():
    model = compiled("leaky ReLU", config=Config(width=12, leak=0.3))
    layer = next(one for one in model.layers if "leaky" in one.name)
    np.testing.assert_allclose(layer(np.float32([-2, 0, 3])), [-0.6, 0, 3], rtol=1e-6)
