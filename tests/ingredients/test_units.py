"""What excites a unit, what hiding a part does, and purity, against closed forms."""

import functools

import keras
import numpy as np
import pytest

from common.ingredients.attacks import probabilities
from common.ingredients.units import GRAY, covered, exciting, guided_relu, hiding, occlusion, purity

RNG = np.random.default_rng(0)
SIDE = 24


def conv_net(*kernels: np.ndarray) -> keras.Model:
    """Convolutions without padding and biases, with ReLUs: conv0, conv1, ..."""
    x = inputs = keras.Input((SIDE, SIDE, 3))
    for i, kernel in enumerate(kernels):
        how = {"activation": "relu", "use_bias": False, "name": f"conv{i}"}
        x = keras.layers.Conv2D(kernel.shape[-1], kernel.shape[:2], **how)(x)
    net = keras.Model(inputs, x)
    net.set_weights(kernels)
    return net


def predictions(inputs, logits):
    return functools.partial(probabilities, keras.Model(inputs, logits))


def test_purity_counts_the_commonest_class_among_the_strongest():
    labels = np.array([0] * 9 + [1] * 9 + [2] * 9)
    pure = np.where(labels == 1, 5.0, 0.0)
    mixed = np.zeros(27)
    mixed[[0, 1, 2, 3, 4, 9, 10, 11, 18]] = 1.0  # 5 of 0, 3 of 1, 1 of 2
    dead = np.zeros(27)
    found = purity(np.stack([pure, dead, mixed], axis=1), labels)
    np.testing.assert_allclose(found, [100, np.nan, 500 / 9])
    np.testing.assert_allclose(purity(mixed[:, None], labels, most=5)[0], 100)


def test_the_gradient_passes_where_it_is_positive_and_the_unit_responds():
    import tensorflow as tf

    x = tf.constant([-1.0, 2.0, 3.0, -4.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = guided_relu(x) * [5.0, 6.0, -7.0, -8.0]
    np.testing.assert_array_equal(y, [0, 12, -21, 0])
    np.testing.assert_array_equal(tape.gradient(y, x), [0, 6, 0, 0])


def test_the_first_layers_gradient_is_its_kernel():
    """Without anything before it a unit sees through its own weights, at its strongest place."""
    kernel = RNG.uniform(0.5, 1, (3, 3, 3, 4)).astype(np.float32) * RNG.choice(
        [-1, 1], (3, 3, 3, 4)
    )
    images = RNG.uniform(0, 255, (2, SIDE, SIDE, 3)).astype(np.float32)
    patches, gradients = exciting(conv_net(kernel), "conv0", 1, images)
    assert patches.shape == gradients.shape == (2, SIDE, SIDE, 3)
    windows = np.lib.stride_tricks.sliding_window_view(images, (3, 3), axis=(1, 2))
    responses = np.einsum("nijcuv,uvc->nij", windows, kernel[..., 1])
    weights = kernel[..., 1].astype(float)
    scale = np.quantile(np.abs(weights), 0.995)
    for image, patch, gradient, response in zip(images, patches, gradients, responses, strict=True):
        i, j = np.unravel_index(response.argmax(), response.shape)
        each = np.ones((SIDE // 3, SIDE // 3, 1))  # a pixel, enlarged
        np.testing.assert_allclose(
            patch, np.kron(image[i : i + 3, j : j + 3] / 255, each), rtol=1e-5
        )
        expected = np.clip(0.5 + weights / scale / 2, 0, 1)
        np.testing.assert_allclose(gradient, np.kron(expected, each), rtol=1e-4, atol=1e-6)


def test_the_second_layers_gradient_is_guided():
    """Against NumPy: what reaches a pixel comes through units that respond and excite."""
    first, second = np.zeros((1, 1, 3, 5)), RNG.normal(size=(1, 1, 5, 2))
    first[0, 0] = [[1, -1, 1, 0.5, -0.2], [0.5, 0.2, -1, 0.3, 0.1], [-0.3, 0.4, 0.2, -1, 0.2]]
    second[0, 0, :, 0] = [0.5, 2, -0.3, 0.4, 1]
    net = conv_net(first.astype(np.float32), second.astype(np.float32))
    image = np.zeros((1, SIDE, SIDE, 3), np.float32)
    image[0, 7, 11] = color = np.array([200.0, 100.0, 50.0])
    hidden = color @ first[0, 0]
    back = np.where(hidden > 0, np.maximum(second[0, 0, :, 0], 0), 0)
    expected = first[0, 0] @ back
    assert 0 < np.sum(back > 0) < np.sum(hidden > 0)  # both conditions matter
    patches, gradients = exciting(net, "conv1", 0, image)
    np.testing.assert_allclose(
        patches[0], np.broadcast_to(color / 255, patches[0].shape), rtol=1e-5
    )
    scale = np.quantile(np.abs(expected), 0.995)
    shown = np.clip(0.5 + expected / scale / 2, 0, 1)
    np.testing.assert_allclose(gradients[0], np.broadcast_to(shown, gradients[0].shape), rtol=1e-4)
    after = net(image)  # the net itself is as it was
    np.testing.assert_allclose(after[0, 7, 11, 0], np.maximum(hidden, 0) @ second[0, 0, :, 0], 1e-4)
    assert all(layer.activation is keras.activations.relu for layer in net.layers[1:])


def test_all_patches_have_one_scale_and_lie_within_the_image():
    """At the border a unit with padding sees less."""
    inputs = keras.Input((SIDE, SIDE, 3))
    conv = keras.layers.Conv2D(1, 5, padding="same", activation="relu", name="conv")
    net = keras.Model(inputs, conv(inputs))
    kernel = np.ones((5, 5, 3, 1))
    kernel[2, 2] = 2
    conv.set_weights([kernel, np.zeros(1)])
    images = np.zeros((4, SIDE, SIDE, 3), np.float32)
    images[0, 10:15, 10:15] = images[3] = 255  # in the last, many places respond alike
    images[1, 0, 0] = images[2, SIDE - 1, 5] = 255
    patches, _ = exciting(net, "conv", 0, images)
    np.testing.assert_array_equal(patches[[0, 3]], 1)
    for patch in patches[1:3]:
        assert np.mean(patch == 1) == pytest.approx(1 / 25, abs=0.02)


def test_a_unit_that_never_responds_shows_whole_images_and_no_gradient():
    images = RNG.uniform(0, 255, (2, SIDE, SIDE, 3)).astype(np.float32)
    patches, gradients = exciting(conv_net(-np.ones((3, 3, 3, 1), np.float32)), "conv0", 0, images)
    np.testing.assert_allclose(patches, images / 255, rtol=1e-5)
    np.testing.assert_array_equal(gradients, 0.5)


def test_a_square_covers_its_place_and_no_other():
    images = RNG.uniform(0, 255, (2, 9, 7, 3)).astype(np.float32)
    before = images.copy()
    after = covered(images, 4, 1, 3)
    np.testing.assert_array_equal(after[:, 4:7, 1:4], GRAY)
    after[:, 4:7, 1:4] = images[:, 4:7, 1:4]
    np.testing.assert_array_equal(after, images)
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(covered(images, 4, 1, 3)[0], covered(images[0], 4, 1, 3))


def test_what_hides_more_of_the_sum_lowers_it_more():
    """A net that adds up the red of the image, and names class 1 or 2 of three by its sign."""
    inputs = keras.Input((8, 12, 3))
    total = keras.ops.sum((inputs[..., 0] - GRAY) / 32, axis=(1, 2))[:, None]
    logits = keras.ops.concatenate([0 * total, total, -total], axis=1)
    images = RNG.uniform(GRAY - 9, GRAY + 9, (6, 8, 12, 3)).astype(np.float32)
    images[::2] += 1
    images[1::2] -= 1
    received = hiding(predictions(inputs, logits), images, 4)
    red = (images[..., 0].astype(float) - GRAY) / 32
    signs = np.sign(red.sum(axis=(1, 2)))
    assert -1 in signs
    assert 1 in signs

    def p(*places: tuple[int, int]) -> float:
        """The answers' mean probability, of the mean over the places that are hidden one by one."""
        hidden = [red[:, i : i + 4, j : j + 4].sum(axis=(1, 2)) for i, j in places] or [0]
        sums = [signs * (red.sum(axis=(1, 2)) - one) for one in hidden]
        return np.mean([np.exp(one) / (np.exp(one) + 1 + np.exp(-one)) for one in sums])

    assert received == pytest.approx(
        {
            "nothing": p(),
            "corner": p((0, 0), (0, 8), (4, 0), (4, 8)),
            "middle": p((2, 4)),
        },
        rel=1e-4,
    )


def test_hiding_matters_where_the_class_is():
    """A net that adds up the red of the upper left corner, and names class 1 of three."""
    inputs = keras.Input((32, 40, 3))
    total = keras.ops.sum(inputs[:, :8, :8, 0] - GRAY, axis=(1, 2))[:, None]
    logits = keras.ops.concatenate([0 * total, total, 0 * total], axis=1)
    image = np.full((32, 40, 3), GRAY + 1 / 32, np.float32)
    answer, places = occlusion(predictions(inputs, logits), image, size=8, step=2)
    assert answer == 1
    assert places.shape == (13, 17)
    i, j = np.arange(13), np.arange(17)
    seen = (np.maximum(8 - 2 * side, 0) for side in (i, j))
    covered_pixels = np.multiply.outer(*seen)
    expected = np.exp((64 - covered_pixels) / 32)
    np.testing.assert_allclose(places, expected / (2 + expected), rtol=1e-4)
    unhidden = predictions(inputs, logits)(image[None])[0, 1]
    np.testing.assert_allclose(places[i >= 4], unhidden, rtol=1e-5)
