"""Layers against plain NumPy and Keras's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from common.layers import Crop, LocalResponseNormalization, grouped, pca_colours

RNG = np.random.default_rng(0)


def normalised(a: np.ndarray, k: float, n: int, alpha: float, beta: float) -> np.ndarray:
    """Section 3.3, written as its formula."""
    b = np.empty_like(a)
    maps = a.shape[-1]
    for i in range(maps):
        near = range(max(0, i - n // 2), min(maps - 1, i + n // 2) + 1)
        b[..., i] = a[..., i] / (k + alpha * sum(a[..., j] ** 2 for j in near)) ** beta
    return b


@settings(deadline=None, max_examples=25)
@given(
    maps=st.integers(1, 9),
    n=st.sampled_from([1, 3, 5, 7]),
    alpha=st.floats(1e-5, 2),
    beta=st.sampled_from([0.5, 0.75, 1.0]),
    scale=st.floats(0.1, 50),
)
def test_response_normalisation_is_the_formula(maps, n, alpha, beta, scale):
    a = scale * np.random.default_rng(maps).normal(size=(2, 3, 4, maps))
    layer = LocalResponseNormalization(2.0, n, alpha, beta, dtype="float64")
    # The band matrix is held in float32.
    np.testing.assert_allclose(layer(a), normalised(a, 2.0, n, alpha, beta), rtol=1e-6)


@pytest.mark.parametrize("beta", [0.75, 0.6])
def test_gradient_of_response_normalisation_is_that_of_tensorflow(beta):
    a = tf.constant(RNG.normal(size=(2, 3, 3, 7), scale=3), tf.float32)
    upstream = tf.constant(RNG.normal(size=a.shape), tf.float32)
    layer = LocalResponseNormalization(alpha=0.3, beta=beta)

    def gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(a)
            b = function(a)
        return tape.gradient(b, a, upstream)

    expected = gradient(lambda a: tf.nn.local_response_normalization(a, 2, 2.0, 0.3, beta))
    np.testing.assert_allclose(gradient(layer), expected, rtol=2e-5, atol=1e-6)


def test_response_normalisation_in_half_precision_and_after_saving():
    a = RNG.normal(size=(2, 3, 3, 7), scale=30).astype(np.float32)
    exact = LocalResponseNormalization()(a)
    half = LocalResponseNormalization(dtype="mixed_bfloat16")(a)
    assert half.dtype == tf.bfloat16
    np.testing.assert_allclose(tf.cast(half, tf.float32), exact, rtol=0.03)
    config = LocalResponseNormalization(1.0, 3, 5e-5, 0.5).get_config()
    again = LocalResponseNormalization.from_config(config)
    assert (again.k, again.n, again.alpha, again.beta) == (1.0, 3, 5e-5, 0.5)


@pytest.mark.parametrize("n", [0, 4, -1])
def test_neighbours_are_odd_in_number(n):
    with pytest.raises(ValueError, match="expected an odd n of at least 1, received"):
        LocalResponseNormalization(n=n)


def numbered(height: int, width: int) -> np.ndarray:
    """An image (1, height, width, 3) in [0, 1], no pixel like another."""
    pixels = np.arange(height * width, dtype=np.float32).reshape(1, height, width, 1)
    return np.concatenate([pixels, pixels, pixels], axis=-1) / 255


def windows(image: np.ndarray, size: int) -> list[bytes]:
    """Every part of an image (H, W, 3), then every mirrored one."""
    height, width = (side - size + 1 for side in image.shape[:2])
    parts = [
        image[i : i + size, j : j + size].round().astype(np.int32)
        for i in range(height)
        for j in range(width)
    ]
    return [part.tobytes() for part in [*parts, *(part[:, ::-1] for part in parts)]]


def test_every_part_mirrored_or_not_is_drawn_and_nothing_else():
    image = numbered(5, 6)
    crop = Crop(4, np.zeros((5, 6, 3)), seed=1)
    drawn = np.array(crop(np.repeat(image, 2_000, axis=0), training=True)).round().astype(np.int32)
    there = windows(255 * image[0], 4)
    assert len(set(there)) == len(there) == 2 * 2 * 3
    counts = np.array([sum(part.tobytes() == one for part in drawn) for one in there])
    assert counts.sum() == 2_000
    assert counts.min() > 100  # 167 expected, deviation 12


def test_two_batches_draw_differently_and_seeds_repeat():
    images = np.repeat(numbered(6, 6), 8, axis=0)
    one, same, other = (Crop(4, np.zeros((6, 6, 3)), seed=seed) for seed in (1, 1, 2))
    first = np.array(one(images, training=True))
    np.testing.assert_array_equal(first, same(images, training=True))
    assert not np.array_equal(first, one(images, training=True))
    assert not np.array_equal(first, other(images, training=True))


def test_the_middle_is_shown_outside_training_and_where_nothing_is_random():
    image, mean = numbered(6, 6), RNG.uniform(0, 255, (6, 6, 3)).astype(np.float32)
    expected = (255 * image - mean)[:, 1:5, 1:5]
    np.testing.assert_allclose(Crop(4, mean)(image), expected, atol=1e-4)
    still = Crop(4, mean, random=False, colour=np.eye(3))
    np.testing.assert_allclose(still(image, training=True), expected, atol=1e-4)


def test_a_margin_is_of_the_mean_colour_and_the_ten_parts_are_corners_middle_and_mirrors():
    mean = RNG.uniform(0, 255, (4, 4, 3)).astype(np.float32)
    image = numbered(4, 4)
    crop = Crop(4, mean, margin=1)
    padded = np.pad((255 * image - mean), ((0, 0), (1, 1), (1, 1), (0, 0)))
    places = [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)]
    parts = [padded[:, i : i + 4, j : j + 4] for i, j in places]
    expected = np.stack([*parts, *(part[:, :, ::-1] for part in parts)])
    received = crop.ten(image)
    assert received.shape == (10, 1, 4, 4, 3)
    np.testing.assert_allclose(received, expected, atol=1e-4)


@pytest.mark.parametrize(("size", "margin"), [(5, 0), (7, 1)])
def test_an_image_too_small_for_its_part_is_refused(size, margin):
    with pytest.raises(ValueError, match=rf"expected images of at least {size} x {size}"):
        Crop(size, np.zeros((4, 9, 3)), margin=margin)


def test_colours_are_the_main_axes_of_the_pixels():
    spread = RNG.normal(size=(3, 3))
    images = np.clip(128 + 20 * RNG.normal(size=(2_300, 4, 4, 3)) @ spread, 0, 255).astype(np.uint8)
    axes = pca_colours(images)
    covariance = np.cov(images.reshape(-1, 3).T, bias=True)
    np.testing.assert_allclose(axes.T @ axes, covariance, rtol=1e-9, atol=1e-6)
    across = axes @ axes.T
    np.testing.assert_allclose(across, np.diag(np.diag(across)), atol=1e-6 * across.max())


def test_colour_moves_a_whole_image_along_the_axes_by_normal_draws():
    axes = pca_colours(RNG.integers(0, 256, (50, 4, 4, 3), dtype=np.uint8)) + np.arange(3)[:, None]
    crop = Crop(2, np.zeros((2, 2, 3)), colour=axes, strength=0.1)
    n = 20_000
    moved = np.array(crop(np.zeros((n, 2, 2, 3), np.float32), training=True))
    np.testing.assert_allclose(np.ptp(moved, axis=(1, 2)), 0, atol=1e-4)
    shifts = moved[:, 0, 0]
    expected = 0.01 * axes.T @ axes
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(np.cov(shifts.T) / scale, expected / scale, atol=0.05)
    deviations = np.sqrt(np.diag(expected))
    assert np.all(np.abs(shifts.mean(axis=0)) < 4 * deviations / np.sqrt(n))
    along = shifts @ np.linalg.inv(axes) / 0.1  # standard normal, each by itself
    assert np.mean(np.abs(along) < 1.96) == pytest.approx(0.95, abs=0.01)


def test_groups_equal_those_of_keras():
    x = RNG.normal(size=(2, 6, 6, 8)).astype(np.float32)
    inputs = keras.Input((6, 6, 8))
    model = keras.Model(inputs, grouped(inputs, 2, lambda: keras.layers.Conv2D(3, 3)))
    one = keras.layers.Conv2D(6, 3, groups=2)
    one.build((None, 6, 6, 8))
    kernels, biases = model.get_weights()[0::2], model.get_weights()[1::2]
    one.set_weights([np.concatenate(kernels, axis=-1), np.concatenate(biases)])
    np.testing.assert_allclose(model(x), one(x), rtol=1e-5, atol=1e-5)


def test_groups_must_divide_the_maps():
    with pytest.raises(ValueError, match="expected groups that divide 7 maps, received 2"):
        grouped(keras.Input((6, 6, 7)), 2, lambda: keras.layers.Conv2D(3, 3))


def test_augmentation_is_drawn_within_the_compiled_step():
    model = keras.Sequential([keras.Input((5, 5, 3)), Crop(4, np.zeros((5, 5, 3)))])
    program = tf.function(lambda x: model(x, training=True))
    x = ops.convert_to_tensor(np.repeat(numbered(5, 5), 8, axis=0))
    assert not np.array_equal(program(x), program(x))


@pytest.mark.parametrize("colour", [None, np.eye(3)])
def test_a_saved_crop_is_the_same(colour, tmp_path):
    image = np.random.default_rng(0).random((2, 5, 6, 3)).astype(np.float32)
    mean = np.arange(90.0).reshape(5, 6, 3)
    model = keras.Sequential([keras.Input((5, 6, 3)), Crop(4, mean, colour=colour, seed=3)])
    model.save(tmp_path / "crop.keras")
    again = keras.saving.load_model(tmp_path / "crop.keras")
    np.testing.assert_array_equal(model(image), again(image))
    np.testing.assert_array_equal(model(image, training=True), again(image, training=True))
