"""The gradient norms of the layers against backpropagation written out."""

import keras
import numpy as np
import pytest

from common import data
from recipes.depth import vanishing_gradient
from recipes.depth.vanishing_gradient import ARMS, Config, build_model, gradient_norms

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (50, 28, 28)).astype(np.uint8)
TARGETS = np.eye(10)[RNG.integers(0, 10, 50)]


def dense(model):
    return [layer for layer in model.layers if layer.weights]


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.parametrize("hidden", [1, 2, 4])
def test_the_norm_is_that_of_the_average_bias_gradient(hidden):
    model = build_model(Config(), {"hidden": hidden}, seed=1)
    parameters = [layer.get_weights() for layer in dense(model)]
    activations = [IMAGES.reshape(50, 784) / 255]
    for kernel, bias in parameters:
        activations.append(sigmoid(activations[-1] @ kernel + bias))
    delta = activations[-1] - TARGETS
    expected = []
    for (kernel, _), a in zip(parameters[:0:-1], activations[-2:0:-1], strict=True):
        delta = delta @ kernel.T * a * (1 - a)
        expected.append(np.linalg.norm(delta.mean(axis=0)))
    found = gradient_norms(model, IMAGES, TARGETS)()
    np.testing.assert_allclose(found, expected[::-1], rtol=1e-4)


def test_the_net_is_the_books():
    model = build_model(Config(n_train=1_000, l2=5.0), ARMS["3 layers"], seed=0)
    kernels = [layer.kernel.numpy() for layer in dense(model)]
    assert [kernel.shape for kernel in kernels] == [(784, 30), (30, 30), (30, 30), (30, 10)]
    assert kernels[0].std() * 28 == pytest.approx(1, abs=0.02)
    squares = sum((kernel.astype(np.float64) ** 2).sum() for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(5 / 2_000 * squares, rel=1e-5)
    models = (build_model(Config(), ARMS["2 layers"], seed) for seed in range(50))
    assert np.std([dense(model)[0].bias.numpy() for model in models]) == pytest.approx(1, abs=0.1)


def test_norms_follow_the_weights():
    model = build_model(Config(), ARMS["2 layers"], seed=1)
    norms = gradient_norms(model, IMAGES, TARGETS)
    before = norms()
    for layer in dense(model):
        layer.kernel.assign(keras.ops.zeros_like(layer.kernel))
    assert not np.allclose(before, norms())
    np.testing.assert_array_equal(norms()[0], 0)  # nothing comes back through zero weights


def test_an_epoch_is_one_step_on_all_images(handed_to_fit):
    (x, y), _ = arrays = data.load("mnist5k").arrays
    model, given = handed_to_fit(vanishing_gradient, Config(n_train=60), ARMS["2 layers"], arrays)
    np.testing.assert_array_equal(given["x"], x[:60])
    np.testing.assert_array_equal(given["y"].argmax(axis=1), y[:60])
    assert (given["batch_size"], given["epochs"]) == (60, 200)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.1)


def test_what_is_measured_before_and_after_training():
    arrays, config = data.load("mnist5k").arrays, Config(n_train=40, epochs=3)
    outcome = vanishing_gradient.train(config, ARMS["3 layers"], 5, arrays)
    x, targets = arrays[0][0][:40], np.eye(10)[arrays[0][1][:40]]
    start = gradient_norms(build_model(config, ARMS["3 layers"], 5), x, targets)()
    metrics, curves = outcome.metrics, outcome.curves
    np.testing.assert_allclose(curves["gradient norm before training"], start, rtol=1e-5)
    layers = np.array([curves[f"gradient norm of layer {k}"] for k in (1, 2, 3)])
    assert layers.shape == (3, 4)  # before training, and after each of three steps
    np.testing.assert_allclose(layers[:, 0], start, rtol=1e-5)
    first, last = (f"gradient norm of the {which} hidden layer" for which in ("first", "last"))
    expected = {first: layers[0, 0], last: layers[2, 0]}
    expected |= {f"{first} after training": layers[0, 3], f"{last} after training": layers[2, 3]}
    expected |= {"hidden layer 2 over layer 1": start[1] / start[0]}
    expected |= {"hidden layer 3 over layer 2": start[2] / start[1]}
    assert metrics == pytest.approx(expected, rel=1e-5)
