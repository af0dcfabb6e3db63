"""Images that are only predicted, and what reaches the training, are never distorted."""

import numpy as np
import pytest

from common import data
from recipes.regularization import augmentation
from recipes.regularization.augmentation import ARMS, KINDS, Config, build_model, epochs_of

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 28, 28)).astype(np.uint8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("net", ["dense 1000", "conv 1000"])
def test_images_that_are_only_predicted_are_never_distorted(net, kind):
    model, plain = (build_model(Config(), ARMS[f"{net} {one}"], 0) for one in (kind, "none"))
    np.testing.assert_array_equal(model(IMAGES, training=False), plain(IMAGES, training=False))
    same = np.array_equal(model(IMAGES, training=True), plain(IMAGES, training=True))
    assert same is (kind == "none")


def test_the_strengths_are_those_of_the_command_line():
    config = Config(rotation=1.0, scale=0.2, shift=3.0, sigma=5.0, alpha=6.0)
    layer = build_model(config, ARMS["dense 1000 affine"], 7).get_layer("distort")
    found = layer.get_config()
    names = ("rotation", "scale", "shift", "sigma", "alpha")
    assert {name: found[name] for name in names} == {name: getattr(config, name) for name in names}
    assert (found["kind"], found["seed"]) == ("affine", 7)


def test_labels_and_test_images_reach_the_training_untouched(handed_to_fit):
    (x, y), (x_test, y_test) = arrays = data.load("mnist5k").arrays
    _, given = handed_to_fit(augmentation, Config(), ARMS["dense 1000 elastic"], arrays)
    np.testing.assert_array_equal(given["x"], x[:1_000])
    np.testing.assert_array_equal(given["y"], y[:1_000])
    np.testing.assert_array_equal(given["validation_data"][0], x_test)
    np.testing.assert_array_equal(given["validation_data"][1], y_test)
    assert (given["epochs"], given["validation_freq"]) == (80, 16)


def test_nets_of_a_kind_see_equally_many_images():
    for net, seen in (("dense", 80_000), ("conv", 20_000)):
        for n in (1_000, 10_000):
            assert n * epochs_of(80_000, ARMS[f"{net} {n} none"]) == seen
    assert epochs_of(1_000, ARMS["dense 10000 none"]) == 1


def test_the_error_is_that_of_the_end(monkeypatch):
    """Also if the evaluations do not divide the epochs; the figure has five distorted images."""
    (train, (x_test, y_test)) = data.load("mnist5k").arrays
    config, nets = Config(images_seen=11_000, batch_size=500), []
    build = augmentation.build_model
    monkeypatch.setattr(
        augmentation, "build_model", lambda *how: nets.append(build(*how)) or nets[-1]
    )
    outcome = augmentation.train(
        config, ARMS["dense 1000 shifts"], 0, (train, (x_test[:100], y_test[:100]))
    )
    assert len(outcome.curves["test error (%)"]) == 5  # after epochs 2, 4, .. 10 of 11
    wrong = nets[0].predict(x_test[:100], verbose=0).argmax(axis=1) != y_test[:100]
    assert outcome.metrics["test error (%)"] == pytest.approx(100 * wrong.mean(), abs=1e-4)
    assert outcome.pictures["distorted"].shape == (5, 28, 28)


def test_arms_are_trained_where_there_are_images_and_time():
    arms_for = augmentation.RECIPE.arms_for
    assert len(arms_for("default", "mnist5k")) == 8
    assert "dense 10000 none" in arms_for("default", "mnist")
    assert "conv 10000 none" not in arms_for("default", "mnist")
    assert "conv 10000 none" in arms_for("paper", "mnist")
