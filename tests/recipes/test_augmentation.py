"""Distortions against SciPy; labels and test images stay what they are."""

import keras
import numpy as np
import pytest
import scipy.ndimage

from recipes.augmentation import (
    GRID,
    KINDS,
    Config,
    Distort,
    build_model,
    displacements,
    warp,
)

RNG = np.random.default_rng(0)
IMAGES = RNG.random((6, 28, 28, 1)).astype(np.float32)
CONFIG = Config()


def field(kind, n=6, seed=0, config=CONFIG):
    return np.array(displacements(kind, config, n, keras.random.SeedGenerator(seed)))


@pytest.mark.parametrize("kind", KINDS[1:])
def test_sampling_equals_scipy(kind):
    moved = field(kind)
    found = np.array(warp(IMAGES, moved))[..., 0]
    for image, move, result in zip(IMAGES[..., 0], moved, found, strict=True):
        at = np.moveaxis(GRID + move, -1, 0)
        expected = scipy.ndimage.map_coordinates(image, at, order=1, mode="grid-constant")
        np.testing.assert_allclose(result, expected, atol=1e-5)


def test_no_displacement_changes_no_bit():
    np.testing.assert_array_equal(warp(IMAGES, np.zeros((6, 28, 28, 2), np.float32)), IMAGES)


def test_far_outside_is_black():
    far = np.full((6, 28, 28, 2), 1000.0, np.float32)
    np.testing.assert_array_equal(warp(IMAGES, far), np.zeros_like(IMAGES))


def test_elastic_is_simards_recipe():
    """The same noise, smoothed by SciPy and scaled."""
    noise = np.array(
        keras.random.uniform((3, 28, 28, 2), -1, 1, seed=keras.random.SeedGenerator(5))
    )
    expected = 34 * scipy.ndimage.gaussian_filter(noise, (0, 4, 4, 0), mode="constant")
    np.testing.assert_allclose(field("elastic", n=3, seed=5), expected, atol=1e-4)


def test_shifts_are_the_image_and_its_four_neighbours():
    moves = field("shifts", n=500)
    assert np.ptp(moves, axis=(1, 2)).max() == 0  # one move for a whole image
    found, counts = np.unique(moves[:, 0, 0], axis=0, return_counts=True)
    assert found.tolist() == [[-1, 0], [0, -1], [0, 0], [0, 1], [1, 0]]
    assert counts.min() > 60
    down = np.array(warp(IMAGES, np.tile(np.float32([1, 0]), (6, 28, 28, 1))))
    np.testing.assert_array_equal(down[:, :-1], IMAGES[:, 1:])


def test_affine_turns_about_the_middle_within_its_bounds():
    only_turn = Config(turn=30.0, scale=0.0, shift=0.0)
    moves = field("affine", n=200, config=only_turn)
    middle = moves[:, 13:15, 13:15].mean(axis=(1, 2))
    np.testing.assert_allclose(middle, 0, atol=1e-5)
    nothing = field("affine", config=Config(turn=0.0, scale=0.0, shift=0.0))
    np.testing.assert_allclose(nothing, 0, atol=1e-5)
    bigger = field("affine", n=200, config=Config(turn=0.0, scale=0.2, shift=0.0))
    assert 0.9 * 0.2 * 13.5 < np.abs(bigger[:, 0, 0, 0]).max() <= 0.2 * 13.5 + 1e-5
    shifted = field("affine", n=200, config=Config(turn=0.0, scale=0.0, shift=2.0))
    assert 1.8 < np.abs(shifted).max() <= 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("net", ["dense", "conv"])
def test_images_that_are_only_predicted_are_never_distorted(net, kind):
    model = build_model(net, kind, CONFIG, seed=0)
    plain = build_model(net, "none", CONFIG, seed=0)
    np.testing.assert_array_equal(
        model(IMAGES, training=False).numpy(), plain(IMAGES, training=False).numpy()
    )
    trained = model(IMAGES, training=True).numpy()
    assert np.array_equal(trained, plain(IMAGES, training=True).numpy()) is (kind == "none")


def test_every_image_and_every_step_has_its_own_draw():
    layer = Distort("elastic", CONFIG, seed=0)
    same = np.repeat(IMAGES[:1], 3, axis=0)
    first, second = np.array(layer(same, training=True)), np.array(layer(same, training=True))
    assert not np.array_equal(first[0], first[1])
    assert not np.array_equal(first, second)
    again = np.array(Distort("elastic", CONFIG, seed=0)(same, training=True))
    np.testing.assert_array_equal(first, again)


def test_labels_and_test_images_reach_the_training_untouched(monkeypatch):
    from common import data, training
    from common.experiment import Run
    from recipes import augmentation

    digits, seen = data.load("digits"), {}

    def spy(model, x, y, **settings):
        seen.update(x=x, y=y, test=settings["validation_data"]["test"])
        return training.fit(model, x, y, **settings)

    monkeypatch.setattr(augmentation, "fit", spy)
    arm = augmentation.ARMS["dense 1000 elastic"]
    outcome = augmentation.train(Run(Config(images_seen=1_000), 0, digits), arm)
    np.testing.assert_array_equal(seen["x"], digits.train.images[:1_000])
    np.testing.assert_array_equal(seen["y"], digits.train.labels[:1_000])
    np.testing.assert_array_equal(seen["test"][0], digits.test.images)
    np.testing.assert_array_equal(seen["test"][1], digits.test.labels)
    assert len(outcome.history["pictures"]) == 5 * 28 * 28
