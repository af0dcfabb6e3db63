"""Crops against plain NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from common.ingredients.layers import Crop, pca_colors, predict_crops

RNG = np.random.default_rng(0)


def numbered(height: int, width: int) -> np.ndarray:
    """A uint8 image (1, height, width, 3), no pixel like another."""
    pixels = np.arange(height * width, dtype=np.uint8).reshape(1, height, width, 1)
    return np.concatenate([pixels, pixels, pixels], axis=-1)


def windows(image: np.ndarray, size: int) -> list[bytes]:
    """Every crop of an image (H, W, 3), then every mirrored one."""
    height, width = (side - size + 1 for side in image.shape[:2])
    crops = [image[i : i + size, j : j + size] for i in range(height) for j in range(width)]
    return [one.tobytes() for one in [*crops, *(one[:, ::-1] for one in crops)]]


def test_every_crop_is_drawn_mirrored_or_not_and_nothing_else():
    image = numbered(5, 6)
    crop = Crop(4, np.zeros((5, 6, 3)), seed=1)
    drawn = np.array(crop(np.repeat(image, 2_000, axis=0), training=True))
    there = windows(image[0].astype(np.float32), 4)
    assert len(set(there)) == len(there) == 2 * 2 * 3
    counts = np.array([sum(one.tobytes() == window for one in drawn) for window in there])
    assert counts.sum() == 2_000
    assert counts.min() > 100  # 167 expected, standard deviation 12


def test_mini_batches_differ_and_seeds_repeat():
    images = np.repeat(numbered(6, 6), 8, axis=0)
    one, same, other = (Crop(4, np.zeros((6, 6, 3)), seed=seed) for seed in (1, 1, 2))
    first = np.array(one(images, training=True))
    np.testing.assert_array_equal(first, same(images, training=True))
    assert not np.array_equal(first, one(images, training=True))
    assert not np.array_equal(first, other(images, training=True))


def test_the_crops_of_a_seed_are_fixed():
    """Numbers in the records depend on the order of these random draws."""
    seeds = keras.random.SeedGenerator(7)
    down, right = (keras.random.randint((9, 1), 0, 3, seed=seeds) for _ in range(2))
    mirrored = keras.random.randint((9, 1), 0, 2, seed=seeds)
    amounts = 0.1 * np.array(keras.random.normal((9, 3), seed=seeds))
    image, colors = numbered(6, 6), RNG.normal(size=(3, 3)).astype(np.float32)
    crop = Crop(4, np.zeros((6, 6, 3)), colors=colors, seed=7)
    drawn = np.array(crop(np.repeat(image, 9, axis=0), training=True))
    for i, (i0, j0, flip) in enumerate(np.array(ops.concatenate([down, right, mirrored], 1))):
        expected = image[0, i0 : i0 + 4, j0 : j0 + 4][:, :: -1 if flip else 1] + amounts[i] @ colors
        np.testing.assert_allclose(drawn[i], expected, rtol=1e-5)


def test_the_middle_is_cropped_outside_training():
    image, mean = numbered(6, 7), RNG.uniform(0, 255, (6, 7, 3)).astype(np.float32)
    expected = (image - mean)[:, 1:5, 1:5]
    np.testing.assert_array_equal(Crop(4, mean, colors=np.eye(3))(image), expected)


def test_the_margin_is_zero_after_the_mean_is_subtracted():
    """So it has the color of the mean image."""
    mean = RNG.uniform(0, 255, (4, 4, 3)).astype(np.float32)
    padded = np.pad(numbered(4, 4) - mean, ((0, 0), (1, 1), (1, 1), (0, 0)))
    np.testing.assert_array_equal(Crop(6, mean, margin=1)(numbered(4, 4)), padded)
    np.testing.assert_array_equal(Crop(4, mean, margin=1)(numbered(4, 4)), padded[:, 1:5, 1:5])


@pytest.mark.parametrize(("size", "margin"), [(5, 0), (7, 1)])
def test_an_image_too_small_for_its_crop_is_refused(size, margin):
    with pytest.raises(
        ValueError, match=rf"expected images of at least {size} x {size}.*, received"
    ):
        Crop(size, np.zeros((4, 9, 3)), margin=margin)


@pytest.mark.parametrize("n", [3, 2_300, 400_000])
def test_colors_are_the_principal_axes_of_the_pixels(n):
    """The last are too many to be converted to float64 at once."""
    shape = (n, 4, 4, 3) if n < 10_000 else (n, 2, 2, 3)
    images = RNG.integers(0, 200, shape, dtype=np.uint8)
    images[..., 1] = images[..., 0] // 2 + 3
    axes = pca_colors(images)
    covariance = np.cov(images.reshape(-1, 3).T, bias=True)
    np.testing.assert_allclose(axes.T @ axes, covariance, rtol=1e-9, atol=1e-6)
    across = axes @ axes.T
    np.testing.assert_allclose(across, np.diag(np.diag(across)), atol=1e-6 * across.max())


def test_a_whole_image_moves_along_the_color_axes_by_normal_amounts():
    axes = pca_colors(RNG.integers(0, 256, (50, 4, 4, 3), dtype=np.uint8)) + np.arange(3)[:, None]
    crop = Crop(2, np.zeros((2, 2, 3)), colors=axes)
    n = 20_000
    moved = np.array(crop(np.zeros((n, 2, 2, 3), np.float32), training=True))
    np.testing.assert_allclose(np.ptp(moved, axis=(1, 2)), 0, atol=1e-4)
    shifts = moved[:, 0, 0]
    expected = 0.01 * axes.T @ axes
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(np.cov(shifts.T) / scale, expected / scale, atol=0.05)
    assert np.all(np.abs(shifts.mean(axis=0)) < 4 * np.sqrt(np.diag(expected) / n))
    along = shifts @ np.linalg.inv(axes) / 0.1  # standard normal, each by itself
    assert np.mean(np.abs(along) < 1.96) == pytest.approx(0.95, abs=0.01)


def test_crops_are_drawn_within_the_compiled_step():
    model = keras.Sequential([keras.Input((5, 5, 3)), Crop(4, np.zeros((5, 5, 3)))])
    program = tf.function(lambda x: model(x, training=True))
    x = ops.convert_to_tensor(np.repeat(numbered(5, 5), 8, axis=0))
    assert not np.array_equal(program(x), program(x))


def test_half_precision_does_not_round_pixels():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        crop = Crop(4, np.full((4, 4, 3), 0.25))
    finally:
        keras.config.set_dtype_policy("float32")
    images = RNG.uniform(0, 255, (2, 4, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(crop(images), images - np.float32(0.25))


@pytest.mark.parametrize(("n", "margin"), [(3, 0), (50, 0), (3, 2)])
def test_predictions_are_those_of_the_middle_and_the_mean_over_ten_crops(n, margin):
    initial = keras.initializers.RandomNormal(0, 3e-4, seed=0)
    net = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5, seed=0),
            keras.layers.Dense(7, kernel_initializer=initial),
        ]
    )
    images = RNG.integers(0, 256, (n, 40 - 2 * margin, 41 - 2 * margin, 3), dtype=np.uint8)
    mean = images.mean(axis=0)
    middle, ten = predict_crops(Crop(32, mean, margin), net, images)
    plain = np.pad(images - mean, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
    kernel = net.get_weights()[0].astype(np.float64)

    def probabilities(crops: np.ndarray) -> np.ndarray:
        odds = np.exp(crops.reshape(n, -1) @ kernel)
        return odds / odds.sum(axis=1, keepdims=True)

    places = [(0, 0), (0, 9), (8, 0), (8, 9), (4, 4)]
    crops = [plain[:, i : i + 32, j : j + 32] for i, j in places]
    expected = np.mean([probabilities(one[:, :, ::s]) for one in crops for s in (1, -1)], axis=0)
    np.testing.assert_allclose(ten, expected, atol=1e-5)
    np.testing.assert_allclose(middle, probabilities(crops[4]), atol=1e-5)
    assert np.ptp(middle) > 0.1
    assert not np.allclose(middle, ten, atol=0.01)
