"""Dropout, the weight scaling rule, and max-norm, against NumPy."""

import keras
import numpy as np
import pytest

from common import data
from recipes.regularization import dropout
from recipes.regularization.dropout import ARMS, Config, build_model, compare_with_ensemble

RNG = np.random.default_rng(0)
CONFIG = Config(width=40)
IMAGES = RNG.integers(0, 256, (50, 28, 28), dtype=np.uint8)
LABELS = RNG.integers(0, 10, 50).astype(np.int32)


def drops(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]


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
    layer = drops(build_model(config, ARMS["dropout"], seed=0))[0]
    dropped = np.array(layer(np.ones((200, 784), np.float32), training=True))
    assert np.mean(dropped == 0) == pytest.approx(share, abs=0.01)
    assert set(np.unique(dropped).round(5)) == {0.0, round(1 / (1 - share), 5)}
    assert dropped.mean() == pytest.approx(1, abs=0.01)


def test_layers_have_their_own_masks_and_seeds_theirs():
    def masks(seed):
        model = build_model(Config(width=784), ARMS["dropout"], seed)
        ones = np.ones((1, 784), np.float32)
        return [np.array(layer(ones, training=True) == 0) for layer in drops(model)[1:]]

    first, second = masks(0)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, masks(0)[0])
    assert not np.array_equal(first, masks(1)[0])


def test_the_mean_pre_activation_over_masks_is_that_of_the_full_net():
    """Inverted dropout promises it; in units of the standard error the difference is about 1."""
    model = build_model(CONFIG, ARMS["dropout"], seed=0)
    first = next(layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    x = IMAGES.reshape(50, 784) / np.float32(255)
    z = [np.array(drops(model)[0](x, training=True)) @ first.kernel.numpy() for _ in range(100)]
    errors = (np.mean(z, axis=0) - x @ first.kernel.numpy()) / (np.std(z, axis=0, ddof=1) / 10)
    assert 0.8 < np.sqrt(np.mean(errors**2)) < 1.2


def test_the_full_net_is_compared_with_the_mean_of_thinned_ones():
    model = build_model(CONFIG, ARMS["dropout"], seed=0)
    measured = compare_with_ensemble(model, IMAGES, LABELS)
    assert measured["same answer as 100 thinned nets (%)"] > 40  # untrained; chance is 10
    full = np.argmax(model(IMAGES, training=False), axis=1)
    expected = 100 * np.mean(full != LABELS)
    assert measured["error of the full net (%)"] == pytest.approx(expected)


def test_the_optimizer_is_the_papers(handed_to_fit):
    arrays = data.load("mnist5k").arrays
    model, _ = handed_to_fit(dropout, CONFIG, ARMS["plain"], arrays)
    assert model.optimizer.get_config()["momentum"] == 0.95
    assert float(model.optimizer.learning_rate) == pytest.approx(CONFIG.learning_rate)


def test_max_norm_bounds_every_layer():
    model = build_model(CONFIG, ARMS["dropout + max-norm"], seed=0)
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert len(dense) == CONFIG.hidden_layers + 1
    assert all(layer.kernel_constraint.max_value == 2 for layer in dense)
    plain = build_model(CONFIG, ARMS["dropout"], seed=0)
    for a, b in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
