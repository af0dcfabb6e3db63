"""What is measured against NumPy; weights of the arms; pictures of the first seed alone."""

import keras
import numpy as np
import pytest

from common.ingredients.squeezenet import squeezenet
from recipes.convolution import imagenet_features
from recipes.convolution.imagenet_features import (
    ANSWER,
    ARMS,
    LAYERS,
    QUERIES,
    SAME,
    SERIES,
    SHARE,
    Config,
    build_model,
    train,
)

RNG = np.random.default_rng(0)
SMALL = Config(n_train=40, n_test=30, n_hidden=5, side=35, step=85)
IMAGES = RNG.integers(0, 256, (80, 32, 32, 3), dtype=np.uint8)
DATA = (IMAGES[:50], np.arange(50) % 10), (IMAGES[50:], np.arange(30) % 7)


def test_an_untrained_net_has_weights_of_hes_size_and_no_bias():
    trained, untrained, other = (
        build_model(SMALL, ARMS[arm], seed).get_weights()
        for arm, seed in (("trained", 1), ("untrained", 1), ("untrained", 2))
    )
    published = squeezenet(35).get_weights()
    assert all(np.array_equal(*both) for both in zip(trained, published, strict=True))
    for weight, another in zip(untrained, other, strict=True):
        if weight.ndim == 1:
            assert not weight.any()
        else:
            expected = np.sqrt(2 / np.prod(weight.shape[:-1]))
            assert weight.std() == pytest.approx(expected, rel=0.1)
            assert not np.array_equal(weight, another)


@pytest.mark.parametrize("arm", list(ARMS))
def test_what_is_measured_is_what_numpy_measures(arm):
    """Of images drawn by the seed, among the first training images."""
    outcome = train(SMALL, ARMS[arm], 3, DATA)
    assert not outcome.pictures
    order = np.random.default_rng(3).permutation(30)
    labels = DATA[1][1][order]
    net = build_model(SMALL, ARMS[arm], 3)

    def of(name, images):
        layer = keras.Model(net.inputs[0], net.get_layer(name).output)
        return layer.predict(imagenet_features.squares(map(picture, images), 35), verbose=0)

    for i, name in enumerate(LAYERS):
        strongest = of(name, IMAGES[50:][order]).max(axis=(1, 2)).T
        shares = [
            max(np.bincount(labels[np.argsort(-unit)[:9]])) / 9 for unit in strongest if unit.any()
        ]
        assert outcome.metrics[SHARE % name] == pytest.approx(100 * np.mean(shares))
        assert outcome.curves[SERIES][i] == outcome.metrics[SHARE % name]
    fires = [of("fire9", some).mean(axis=(1, 2)) for some in (IMAGES[50:][order], IMAGES[:40])]
    flat = [some.reshape(-1, 3072).astype(float) for some in (IMAGES[50:][order], IMAGES[:40])]
    for name, (queries, among) in (("features", fires), ("pixels", flat)):
        distances = np.linalg.norm(queries[:, None] - among[None], axis=2)
        near = np.argsort(distances, axis=1)[:, :6]
        expected = 100 * np.mean(DATA[0][1][near] == labels[:, None])
        assert outcome.metrics[SAME % name] == pytest.approx(expected)


def picture(pixels: np.ndarray):
    return imagenet_features.Image.fromarray(pixels)


def test_chance_is_that_of_images_drawn_at_random():
    """Nine of ten classes: the expected largest of the counts, by its distribution."""
    draws = RNG.multinomial(9, [0.1] * 10, 100_000).max(axis=1)
    labels = np.arange(5_000) % 10
    random = RNG.random((5_000, 3_000))
    received = imagenet_features.purity(random, labels).mean()
    assert received == pytest.approx(100 * draws.mean() / 9, abs=0.5)
    assert received == pytest.approx(28.6, abs=0.5)


def test_a_square_hides_a_quarter_of_the_side(monkeypatch):
    seen = []

    def hiding(predict, images, size):
        seen.append((images, size))
        return {"corner": 0.5}

    monkeypatch.setattr(imagenet_features, "hiding", hiding)
    outcome = train(SMALL, ARMS["trained"], 1, DATA)
    [(images, size)] = seen
    assert images.shape == (5, 35, 35, 3)
    assert size == 9
    assert outcome.metrics[ANSWER % "corner"] == 50


def test_the_first_seed_draws_the_figure():
    """Of the unit of fewest classes in every second layer; the net's answers are as expected."""
    outcome = train(SMALL, ARMS["trained"], 0, DATA)
    pictures = {name: np.array(picture) for name, picture in outcome.pictures.items()}
    assert pictures["exciting"].shape == (5, 2, 9, 35, 35, 3)
    assert pictures["near"].shape == (2 * QUERIES, 7, 32, 32, 3)
    first = IMAGES[50:][np.random.default_rng(0).permutation(30)]
    for i in range(QUERIES):
        np.testing.assert_array_equal(pictures["near"][2 * i : 2 * i + 2, 0], [first[i]] * 2)
    shown = pictures["near"][:, 1:].reshape(-1, 1, 3072) == IMAGES[:40].reshape(1, 40, 3072)
    found = shown.all(axis=2).argmax(axis=1).reshape(2 * QUERIES, 6)
    labels = DATA[1][1][np.random.default_rng(0).permutation(30)][np.arange(2 * QUERIES) // 2]
    np.testing.assert_array_equal(pictures["same"][:, 1:], DATA[0][1][found] == labels[:, None])
    names = (imagenet_features.BESIDE / "classes.txt").read_text().splitlines()
    assert [names[answer] for answer in pictures["answers"]] == ["Egyptian cat", "espresso"]
    assert pictures["maps"].shape == (2, 3, 3)  # of a square of 57 pixels, 85 apart
    assert 0 <= pictures["maps"].min() < pictures["maps"].max() <= 1
