"""Distortions against SciPy."""

import keras
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from common.ingredients.distortions import GRID, Distort, warp

RNG = np.random.default_rng(0)
IMAGES = RNG.random((6, 28, 28)).astype(np.float32)
KINDS = ("shifts", "affine", "elastic")


STRENGTHS = {"rotation": 10.0, "scale": 0.1, "shift": 1.0, "sigma": 4.0, "alpha": 34.0, "seed": 0}


def layer(kind: str, **arguments) -> Distort:
    return Distort(kind, **STRENGTHS | arguments)


def field(kind: str, n: int = 6, **arguments) -> np.ndarray:
    """Displacements (n, 2, 28, 28)."""
    return np.array(getattr(layer(kind, **arguments), kind)(n))


@pytest.mark.parametrize("kind", KINDS)
def test_sampling_equals_scipy(kind):
    moved = field(kind)
    for image, move, result in zip(IMAGES, moved, np.array(warp(IMAGES, moved)), strict=True):
        expected = scipy.ndimage.map_coordinates(image, GRID + move, order=1, mode="grid-constant")
        np.testing.assert_allclose(result, expected, atol=1e-5)


def test_no_displacement_changes_no_bit():
    np.testing.assert_array_equal(warp(IMAGES, np.zeros((6, 2, 28, 28), np.float32)), IMAGES)


def test_far_outside_is_black():
    far = np.full((6, 2, 28, 28), 1000.0, np.float32)
    np.testing.assert_array_equal(warp(IMAGES, far), np.zeros_like(IMAGES))


def test_elastic_is_simards_recipe():
    """The same noise, smoothed by SciPy and scaled."""
    noise = np.array(
        keras.random.uniform((3, 2, 28, 28), -1, 1, seed=keras.random.SeedGenerator(5))
    )
    expected = 34 * scipy.ndimage.gaussian_filter(noise, (0, 0, 4, 4), mode="constant")
    np.testing.assert_allclose(field("elastic", n=3, seed=5), expected, atol=1e-4)


def test_shifts_are_the_image_and_its_four_neighbors():
    moves = field("shifts", n=500)
    assert np.ptp(moves, axis=(2, 3)).max() == 0  # one move for a whole image
    found, counts = np.unique(moves[:, :, 0, 0], axis=0, return_counts=True)
    assert found.tolist() == [[-1, 0], [0, -1], [0, 0], [0, 1], [1, 0]]
    assert counts.min() > 60
    one_down = np.broadcast_to(np.float32([1, 0])[:, None, None], (6, 2, 28, 28))
    down = np.array(warp(IMAGES, one_down))
    np.testing.assert_array_equal(down[:, :-1], IMAGES[:, 1:])


def test_affine_turns_about_the_middle_within_its_limits():
    nothing = {"rotation": 0.0, "scale": 0.0, "shift": 0.0}
    np.testing.assert_allclose(field("affine", **nothing), 0, atol=1e-5)
    turned = field("affine", n=200, **nothing | {"rotation": 30.0})
    np.testing.assert_allclose(turned[..., 13:15, 13:15].mean(axis=(2, 3)), 0, atol=1e-5)
    bigger = field("affine", n=200, **nothing | {"scale": 0.2})
    assert 0.9 * 0.2 * 13.5 < np.abs(bigger[:, 0, 0, 0]).max() <= 0.2 * 13.5 + 1e-5
    shifted = field("affine", n=200, **nothing | {"shift": 2.0})
    assert 1.8 < np.abs(shifted).max() <= 2


def test_affine_is_a_rotation_and_a_shear():
    """The field is linear about the middle; its columns have the drawn angles."""
    moved = field("affine", n=50, rotation=25.0, scale=0.0, shift=0.0, seed=3)
    angles = np.array(
        keras.random.uniform((2, 50), -1, 1, seed=keras.random.SeedGenerator(3))
    ) * np.deg2rad(25)
    for move, turn, shear in zip(moved, *angles, strict=True):
        matrix = [[np.cos(turn), -np.sin(turn + shear)], [np.sin(turn), np.cos(turn + shear)]]
        expected = np.einsum("ij,jhw->ihw", matrix, GRID - 13.5) - (GRID - 13.5)
        np.testing.assert_allclose(move, expected, atol=1e-4)


def test_every_image_and_every_step_has_its_own_distortion():
    elastic = layer("elastic")
    same = np.repeat(IMAGES[:1], 3, axis=0)
    first, second = np.array(elastic(same, training=True)), np.array(elastic(same, training=True))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, second)
    again = np.array(layer("elastic")(same, training=True))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("kind", ["none", *KINDS])
def test_only_in_training(kind):
    distort = layer(kind)
    np.testing.assert_array_equal(distort(IMAGES, training=False), IMAGES)
    assert np.array_equal(distort(IMAGES, training=True), IMAGES) is (kind == "none")


def test_a_saved_layer_distorts_alike():
    first = layer("affine", rotation=3.0, seed=4)
    again = Distort.from_config(first.get_config())
    np.testing.assert_array_equal(first(IMAGES, training=True), again(IMAGES, training=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_compiled_layer_distorts_alike(kind):
    eager, distort = layer(kind), layer(kind)
    compiled = tf.function(lambda images: distort(images, training=True))
    np.testing.assert_allclose(compiled(IMAGES), eager(IMAGES, training=True), atol=1e-5)
