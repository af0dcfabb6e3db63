"""What `look` counts, against NumPy and on nets whose answers are known."""

import numpy as np
import pytest

from recipes.activations import ARMS, Config, build_model, look

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(40, 28, 28, 1)).astype(np.float32)
LABELS = RNG.integers(0, 10, 40)
CONFIG = Config(width=12)


def dense(model):
    return [layer for layer in model.layers if layer.weights]


def test_shapes_are_the_lectures():
    shapes = [layer.kernel.shape for layer in dense(build_model(Config(), ARMS["tanh"], 0))]
    assert shapes == [(841, 100), *[(100, 100)] * 4, (100, 26)]


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
    model = build_model(CONFIG, ARMS[arm], 1)
    kernels = [layer.kernel.numpy().astype(np.float64) for layer in dense(model)]
    kernels[2] *= 9  # so that some units saturate
    dense(model)[2].kernel.assign(kernels[2])
    padded = np.pad(IMAGES[..., 0], ((0, 0), (0, 1), (0, 1)))
    inputs, slopes = [padded.reshape(40, 841).astype(np.float64)], []
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
    found = look(model, IMAGES, LABELS)
    np.testing.assert_allclose(found["gradient"], gradients[::-1], rtol=1e-3)
    np.testing.assert_allclose(found["saturated"], saturated, atol=1e-6)
    np.testing.assert_allclose(found["dead"], dead, atol=1e-6)
    if arm in ("sigmoid", "tanh"):
        assert found["saturated"].max() > 0.05  # or the test would compare zeros


def test_a_unit_that_is_never_on_is_dead_under_relu_alone():
    for arm, share in (("ReLU", 3 / 12), ("leaky ReLU", 0)):
        model = build_model(CONFIG, ARMS[arm], 0)
        first = dense(model)[0]
        kernel = np.abs(first.kernel.numpy())
        kernel[:, :3] *= -1
        first.kernel.assign(kernel)
        assert look(model, IMAGES, LABELS)["dead"][0] == pytest.approx(share)


def test_relu_and_leaky_relu_start_from_the_same_weights():
    one, other = (build_model(CONFIG, ARMS[arm], 5).get_weights() for arm in ("ReLU", "leaky ReLU"))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)
