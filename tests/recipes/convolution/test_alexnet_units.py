"""What excites a unit, what hiding a part does, and purity, against closed forms."""

import keras
import numpy as np
import pytest

from common.ingredients.alexnet import alexnet
from recipes.convolution.alexnet_units import SIDE, exciting, probabilities, purity

RNG = np.random.default_rng(0)
MEAN = np.full((32, 32, 3), 120, np.float32)


def strongest(net: keras.Model, unit: int):
    """The strongest response of a unit of the first layer to an image."""
    layer = keras.Model(net.inputs[0], net.get_layer("conv1").output)
    return lambda x: keras.ops.max(layer(x)[..., unit])


def test_purity_counts_the_commonest_class_among_the_strongest():
    labels = np.array([0] * 9 + [1] * 9 + [2] * 9)
    pure = np.where(labels == 1, 5.0, 0.0)
    mixed = np.zeros(27)
    mixed[[0, 1, 2, 3, 4, 9, 10, 11, 18]] = 1.0  # 5 of 0, 3 of 1, 1 of 2
    dead = np.zeros(27)
    assert purity(np.stack([pure, dead], axis=1), labels) == pytest.approx(100)
    assert purity(np.stack([pure, mixed], axis=1), labels) == pytest.approx((100 + 500 / 9) / 2)


def test_the_exciting_patch_is_where_its_pattern_is():
    """A unit of the first layer with one bright weight answers most at the brightest pixel."""
    net = alexnet(10, seed=0)
    kernel = np.zeros((5, 5, 3, 32), np.float32)
    kernel[2, 2, :, 4] = [1, 0, 0]
    net.get_layer("conv1").set_weights([kernel, np.zeros(32, np.float32)])
    image = RNG.uniform(-50, 50, (32, 32, 3)).astype(np.float32)
    image[10, 20] = [100, 7, 8]
    patch, gradient = exciting(image, MEAN, strongest(net, 4))
    assert patch.shape == gradient.shape == (SIDE, SIDE, 3)
    # One pixel is seen, enlarged; the gradient there is 1 in red, 0 in green and blue.
    np.testing.assert_allclose(patch, np.broadcast_to((image[10, 20] + 120) / 255, patch.shape))
    np.testing.assert_allclose(gradient, np.broadcast_to([1, 0.5, 0.5], gradient.shape))
    dead, _ = exciting(image, MEAN, strongest(net, 5))
    np.testing.assert_array_equal(dead, 1)


def test_a_patch_is_enlarged_on_white():
    """What a unit at the border sees is not square."""
    image = np.zeros((32, 32, 3), np.float32)
    image[0, 16] = 1
    kernel = np.ones((5, 5, 3, 32), np.float32)
    kernel[:2] = 0.5
    net = alexnet(10, seed=0)
    net.get_layer("conv1").set_weights([kernel, np.zeros(32, np.float32)])
    patch, _ = exciting(image, 0 * MEAN, lambda x: net.get_layer("conv1")(x)[0, 0, 16, 0])
    black = (patch < 0.5).all(axis=2)
    rows, columns = black.any(axis=1).sum(), black.any(axis=0).sum()
    assert columns == SIDE
    assert rows == pytest.approx(SIDE * 3 / 5, abs=1)
    np.testing.assert_array_equal(patch[0], 1)


def test_the_first_layers_gradient_is_its_kernel():
    """Without anything before it a unit sees through its own weights."""
    net = alexnet(10, seed=0)
    image = RNG.normal(size=(32, 32, 3), scale=60).astype(np.float32)
    image[:3], image[-3:], image[:, :3], image[:, -3:] = 0, 0, 0, 0  # the strongest is not cut off
    kernel = net.get_layer("conv1").get_weights()[0][..., 0]
    _, gradient = exciting(image, MEAN, strongest(net, 0))
    middles = (SIDE * (np.arange(5) + 0.5) / 5).astype(int)
    expected = 0.5 + kernel / np.abs(kernel).max() / 2
    np.testing.assert_allclose(gradient[np.ix_(middles, middles)], expected, rtol=1e-4)


def test_hiding_matters_where_the_class_is():
    """A net that adds up the red of the upper left corner."""
    inputs = keras.Input((32, 32, 3))
    total = keras.ops.sum(inputs[:, :8, :8, 0], axis=(1, 2))[:, None]
    logits = keras.ops.concatenate([total, keras.ops.zeros_like(total)], axis=1)
    net = keras.Model(inputs, [total, logits])
    image = np.ones((32, 32, 3), np.float32) / 32
    places = probabilities(net, image, side=8)[..., 0]
    assert places.shape == (13, 13)
    assert places[0, 0] == pytest.approx(0.5)
    assert places[0, 1] == pytest.approx(1 / (1 + np.exp(-0.5)))  # two of eight columns are left
    np.testing.assert_allclose(places[4:], 1 / (1 + np.exp(-2)), rtol=1e-5)
    np.testing.assert_array_equal(image, np.float32(1 / 32))
