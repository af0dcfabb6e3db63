"""Roughness against closed forms; each arm learns as it says, and dead units are counted."""

import numpy as np
import pytest

from recipes.convolution import alexnet_features
from recipes.convolution.alexnet_features import ARMS, DEAD, Config, roughness, train

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
DATA = 2 * ((IMAGES, np.arange(20, dtype=np.int32) % 10),)


def test_roughness_of_closed_forms():
    noise = RNG.normal(size=(200, 200, 3, 4))
    assert roughness(noise) == pytest.approx(1, abs=0.02)
    slope = np.broadcast_to(np.arange(5.0)[:, None, None, None], (5, 5, 1, 1))
    # Steps of 1 along one axis, none along the other; the variance of 0..4 is 2.
    assert roughness(slope) == pytest.approx((1 + 0) / 2 / (2 * 2))
    board = np.indices((6, 6)).sum(axis=0)[..., None, None] % 2 * 2.0 - 1
    assert roughness(board) == pytest.approx(4 / 2)
    assert roughness(7 * noise[:5, :5] + 3) == pytest.approx(roughness(noise[:5, :5]))


@pytest.mark.parametrize("arm", list(ARMS))
def test_an_arm_learns_as_it_says(arm, handed_to_fit):
    model, how = handed_to_fit(alexnet_features, Config(n_train=20), ARMS[arm], DATA)
    assert float(model.optimizer.learning_rate) == pytest.approx(ARMS[arm]["learning_rate"])
    crop, _ = model.layers
    mean = IMAGES.mean(axis=0) if ARMS[arm]["centered"] else 0 * crop.mean
    np.testing.assert_allclose(crop.mean, mean, rtol=1e-5)
    assert how["epochs"] == how["validation_freq"]


def test_a_unit_is_dead_that_answers_to_no_image(monkeypatch):
    """Half the units of the last hidden layer get a bias below what their inputs can add."""
    build = alexnet_features.build_model

    def half_dead(*arguments):
        net = build(*arguments)
        kernel, bias = net.get_layer("dense7").get_weights()
        bias[::2], bias[1::2] = -1e6, 50
        net.get_layer("dense7").set_weights([kernel, bias])
        return net

    monkeypatch.setattr(alexnet_features, "build_model", half_dead)
    config = Config(n_train=20, epochs=1, queries=20)
    outcome = train(config, ARMS[".001, too small"], 0, DATA)
    assert outcome.curves[DEAD] == pytest.approx([50, 50])
    assert outcome.metrics[DEAD] == pytest.approx(50)
    assert outcome.pictures["features"].shape == outcome.pictures["pixels"].shape == (42, 32, 32, 3)
