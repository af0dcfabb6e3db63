"""Which units are dropped, how many, and that nothing else differs between the arms."""

import keras
import numpy as np
import pytest

from recipes.regularization.dropout_rate import ARMS, PLACES, RATES, Config, build_model

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 28, 28), dtype=np.uint8)
CONFIG = Config(width=200)


def dense_and_after(model):
    """Each dense layer, and the dropout that follows it, if one does."""
    following = [*model.layers[1:], None]
    drops = [layer if isinstance(layer, keras.layers.Dropout) else None for layer in following]
    pairs = zip(model.layers, drops, strict=True)
    return [pair for pair in pairs if isinstance(pair[0], keras.layers.Dense)]


def test_arms_are_all_rates_at_all_places():
    assert len(ARMS) == 1 + len(RATES) * len(PLACES)
    assert ARMS["p = 0.4, hidden layers"] == {"p": 0.4, "places": (1, 2)}


@pytest.mark.parametrize("arm", ARMS)
def test_dropout_follows_the_layers_of_its_arm(arm):
    pairs = dense_and_after(build_model(CONFIG, ARMS[arm], 0))
    assert [layer.units for layer, _ in pairs] == [200, 200, 10]
    assert [drop is not None for _, drop in pairs] == [i in ARMS[arm]["places"] for i in (1, 2, 3)]
    assert all(drop.rate == ARMS[arm]["p"] for _, drop in pairs if drop)


@pytest.mark.parametrize("p", RATES)
def test_so_many_units_are_dropped_and_the_others_scaled(p):
    model = build_model(CONFIG, ARMS[f"p = {p}, first layer"], 0)
    ((_, drop), *_) = dense_and_after(model)
    h = RNG.uniform(1, 2, (60, 200)).astype("float32")
    kept = np.array(drop(h, training=True))
    assert np.mean(kept == 0) == pytest.approx(p, abs=0.02)
    np.testing.assert_allclose(kept[kept != 0], (h / (1 - p))[kept != 0], rtol=1e-6)


def test_all_arms_start_alike_and_predict_alike():
    plain = np.array(build_model(CONFIG, ARMS["no dropout"], 3)(IMAGES))
    for arm in ARMS.values():
        np.testing.assert_array_equal(build_model(CONFIG, arm, 3)(IMAGES), plain)
