"""The small Inception against its published number of parameters, and its arms."""

import keras
import numpy as np
import pytest

from recipes.depth import inception_batch_norm
from recipes.depth.inception_batch_norm import ARMS, BEST, Config, build_model

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
LABELS = RNG.integers(0, 10, 40)
SMALL = Config(width=0.05, n_train=40, n_test=20, batch_size=20, steps=2, every=1)


def layers_of(arm, kind, config=SMALL):
    return [x for x in build_model(config, ARMS[arm], 0).layers if isinstance(x, kind)]


@pytest.mark.parametrize("arm", ["plain", "BN"])
def test_at_full_width_it_has_the_published_number_of_parameters(arm):
    """Zhang et al. 2017: 1,649,402, with one bias a map, which is beta where there is BN."""
    weights = build_model(Config(width=1.0), ARMS[arm], 0).trainable_weights
    assert sum(np.prod(weight.shape) for weight in weights) == 1_649_402


@pytest.mark.parametrize("arm", ARMS)
def test_batch_normalization_stands_between_convolution_and_activation(arm):
    convolutions = layers_of(arm, keras.layers.Conv2D)
    norms = layers_of(arm, keras.layers.BatchNormalization)
    assert len(convolutions) == 1 + 8 * 2 + 2
    assert len(norms) == (len(convolutions) if ARMS[arm]["bn"] else 0)
    assert all(layer.use_bias != ARMS[arm]["bn"] for layer in convolutions)
    assert all(layer.activation.__name__ == "linear" for layer in convolutions)
    names = {layer.activation.__name__ for layer in layers_of(arm, keras.layers.Activation)}
    assert names == {ARMS[arm]["f"]}


def test_sizes_are_28_14_and_7():
    sizes = [layer.output.shape[1] for layer in layers_of("BN", keras.layers.Concatenate)]
    assert sizes == [28, 28, 14, 14, 14, 14, 14, 7, 7, 7]


@pytest.mark.parametrize(("arm", "decay"), [("plain", 5e-4), ("BN", 5e-4), ("BN, rate x 30", 1e-4)])
def test_weight_decay_is_a_fifth_where_the_rate_is_raised(arm, decay):
    for layer in layers_of(arm, keras.layers.Conv2D):
        w = layer.kernel.numpy()
        penalty = float(layer.kernel_regularizer(layer.kernel))
        assert penalty == pytest.approx(decay / 2 * np.sum(w**2), rel=1e-5)


def test_each_image_is_standardized():
    """A net does not see an image's brightness or contrast, unless it is nearly uniform."""
    model = build_model(SMALL, ARMS["plain"], 0)
    x = IMAGES.astype("float32")
    np.testing.assert_allclose(model(0.5 * x + 60), model(x), rtol=1e-3, atol=1e-4)
    assert np.all(np.isfinite(model(np.full((1, 32, 32, 3), 7, "uint8"))))


@pytest.mark.parametrize("arm", ARMS)
def test_the_learning_rate_is_the_arms(arm, monkeypatch):
    seen = []

    def fit(model, *_, **__):
        seen.append((float(model.optimizer.learning_rate), model.optimizer.momentum))
        history = keras.callbacks.History()
        history.history = {"val_accuracy": [0.1, 0.4, 0.3], "loss": [1.0, 1.0, 1.0]}
        return history

    monkeypatch.setattr(inception_batch_norm, "fit", fit)
    data = (IMAGES, LABELS), (IMAGES, LABELS)
    outcome = inception_batch_norm.train(SMALL, ARMS[arm], 0, data)
    assert seen == [(pytest.approx(0.01 * ARMS[arm]["factor"]), 0.9)]
    assert outcome.metrics[BEST] == pytest.approx(40)
