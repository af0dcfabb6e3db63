"""Dropout, the weight scaling rule, and max-norm, against NumPy."""

import keras
import numpy as np
import pytest

from common import data
from common.experiment import Run
from recipes import dropout
from recipes.dropout import ARMS, Config, build_model, compare_with_ensemble

RNG = np.random.default_rng(0)
CONFIG = Config(width=40)
IMAGES = RNG.random((50, 28, 28, 1)).astype(np.float32)
LABELS = RNG.integers(0, 10, 50).astype(np.int32)


def test_prediction_is_the_net_without_any_dropout():
    dropped = build_model(CONFIG, ARMS["dropout"], seed=0)
    plain = build_model(CONFIG, ARMS["plain"], seed=0)
    np.testing.assert_array_equal(
        dropped(IMAGES, training=False).numpy(), plain(IMAGES, training=False).numpy()
    )


def test_inverted_dropout_is_the_papers_rule_with_other_units():
    """Paper: train with h * mask, predict with p * W. Keras: h * mask / p, and W as it is."""
    retained = 0.75
    config = Config(width=40, drop_hidden=1 - retained)
    *_, drop, last = build_model(config, ARMS["dropout"], seed=0).layers
    h = RNG.uniform(1, 2, (50, 40)).astype(np.float32)
    papers_w = last.kernel.numpy() / retained
    dropped = drop(h, training=True)
    mask = np.array(dropped) != 0
    assert 0.6 < mask.mean() < 0.9
    np.testing.assert_allclose(last(dropped), (h * mask) @ papers_w, rtol=1e-4, atol=1e-4)
    predicted = last(drop(h, training=False))
    np.testing.assert_allclose(predicted, h @ (retained * papers_w), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(share):
    config = Config(width=40, drop_input=share)
    layer = build_model(config, ARMS["dropout"], seed=0).layers[1]
    dropped = np.array(layer(np.ones((200, 784), np.float32), training=True))
    assert np.mean(dropped == 0) == pytest.approx(share, abs=0.01)
    assert set(np.unique(dropped).round(5)) == {0.0, round(1 / (1 - share), 5)}
    assert dropped.mean() == pytest.approx(1, abs=0.01)


def test_layers_have_their_own_masks_and_seeds_theirs():
    def masks(seed):
        model = build_model(Config(width=784), ARMS["dropout"], seed)
        ones = np.ones((1, 784), np.float32)
        drops = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
        return [np.array(layer(ones, training=True) == 0) for layer in drops[1:]]

    first, second = masks(0)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, masks(0)[0])
    assert not np.array_equal(first, masks(1)[0])


def test_the_whole_net_agrees_with_the_mean_of_thinned_ones():
    model = build_model(CONFIG, ARMS["dropout"], seed=0)
    measured = compare_with_ensemble(model, (IMAGES * 255).astype(np.uint8), LABELS)
    assert 0.8 < measured["standard_errors"] < 1.2
    assert measured["agreement"] > 40  # untrained: many near ties, but chance is 10


def test_a_dropout_that_does_not_scale_would_be_seen(monkeypatch):
    model = build_model(CONFIG, ARMS["dropout"], seed=0)
    layer, call = model.layers[1], type(model.layers[1]).call
    monkeypatch.setattr(
        type(layer), "call", lambda self, x, training=False: call(self, x, training) * 0.9
    )
    measured = compare_with_ensemble(model, (IMAGES * 255).astype(np.uint8), LABELS)
    assert measured["standard_errors"] > 1.5


def test_the_optimizer_is_the_papers(handed_to_fit):
    _, settings = handed_to_fit(dropout, Run(CONFIG, 0, data.load("digits")), ARMS["plain"])
    assert settings["optimizer"].get_config()["momentum"] == 0.95
    assert float(settings["optimizer"].learning_rate) == pytest.approx(CONFIG.rate)


def test_max_norm_bounds_every_layer():
    model = build_model(CONFIG, ARMS["dropout + max-norm"], seed=0)
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert len(dense) == CONFIG.layers + 1
    assert all(layer.kernel_constraint.max_value == 2 for layer in dense)
    plain = build_model(CONFIG, ARMS["dropout"], seed=0)
    for a, b in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
