"""The net, and what is measured of its training."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from recipes.convolution import relu_vs_tanh
from recipes.convolution.relu_vs_tanh import ARMS, LAST, Config, build_model, epochs_to


def convolved(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """3 x 3, stride 2: the border of an even side is padded with a zero after its end alone."""
    x = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    half = (x.shape[1] - 1) // 2
    taken = [[x[:, i : i + 2 * half : 2, j : j + 2 * half : 2] for j in range(3)] for i in range(3)]
    return np.einsum("ijbhwc,ijcd->bhwd", np.array(taken), kernel) + bias


@pytest.mark.parametrize(("arm", "unit"), [("ReLU", lambda x: np.maximum(x, 0)), ("tanh", np.tanh)])
def test_four_convolutions_and_a_dense_layer(arm, unit):
    net = build_model(Config(width=4), ARMS[arm], 0)
    *kernels, dense, bias = net.get_weights()
    assert [len(kernel) for kernel in kernels[::2]] == [3] * 4
    assert [kernel.shape[-1] for kernel in kernels[::2]] == [4, 8, 8, 8]
    rng = np.random.default_rng(0)
    biases = [0.1 * rng.standard_normal(kernel.shape) for kernel in kernels[1::2]]
    net.set_weights(
        [*(one for pair in zip(kernels[::2], biases, strict=True) for one in pair), dense, bias]
    )
    images = rng.normal(0, 64, (2, 32, 32, 3))
    x = images / 64
    for kernel, added in zip(kernels[::2], biases, strict=True):
        x = unit(convolved(x, kernel.astype("float64"), added))
    expected = x.reshape(2, -1) @ dense.astype("float64") + bias
    found = keras.ops.convert_to_numpy(net(images.astype("float32")))
    assert found == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("arm", "variance"),  # of the second layer, 32 maps to 64
    [
        ("ReLU", 2 / (9 * 32)),
        ("tanh", 2 / (9 * (32 + 64))),
        ("ReLU, small weights", 0.01**2),
        ("tanh, small weights", 0.01**2),
    ],
)
def test_weights_have_the_variance_of_their_initialization(arm, variance):
    kernel = build_model(Config(), ARMS[arm], 0).get_weights()[2]
    assert kernel.shape == (3, 3, 32, 64)
    assert np.mean(kernel.astype("float64") ** 2) == pytest.approx(variance, rel=0.05)


def test_the_epochs_are_read_off_a_straight_line_between_two():
    assert epochs_to(25, np.array([60.0, 30.0, 20.0])) == pytest.approx(2.5)
    assert epochs_to(25, np.array([60.0, 25.0])) == pytest.approx(2)
    assert epochs_to(25, np.array([10.0])) == pytest.approx(65 / 80)  # from guessing, 90 %
    assert epochs_to(25, np.array([20.0, 40.0, 10.0])) == pytest.approx(65 / 70)  # the first time


def test_an_error_that_is_never_reached_takes_forever():
    assert epochs_to(25, np.array([60.0, 30.0, 25.1])) == np.inf


@pytest.mark.parametrize(
    ("arm", "n"), [("ReLU", 20), ("tanh, a fifth", 4), ("tanh, small weights", 20)]
)
def test_what_is_measured_is_the_epochs_and_the_errors(arm, n, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
    split = images, np.arange(30, dtype=np.int32) % 10

    def learned(model, x, y, **settings):
        assert np.array_equal(x, images[:n])
        assert np.array_equal(y, split[1][:n])
        centered = keras.ops.convert_to_numpy(model.layers[0](x))
        assert np.mean(centered, axis=0) == pytest.approx(np.zeros((32, 32, 3)), abs=1e-3)
        return SimpleNamespace(history={"accuracy": [0.25, 0.5, 0.75]})

    monkeypatch.setattr(relu_vs_tanh, "fit", learned)
    config = Config(n_train=20)
    outcome = relu_vs_tanh.train(config, ARMS[arm], 0, (split, split))
    epochs = {"epochs to 50 % training error": 2, "epochs to 25 % training error": 3}
    assert outcome.metrics == pytest.approx({LAST: 25} if "small" in arm else epochs)
    np.testing.assert_allclose(outcome.curves["training error (%)"], [75, 50, 25])
