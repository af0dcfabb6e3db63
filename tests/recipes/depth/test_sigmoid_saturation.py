"""What sigmoid_saturation measures against Keras's own numbers."""

import keras
import numpy as np
import pytest

from common import data
from common.training import context
from recipes.depth import sigmoid_saturation
from recipes.depth.sigmoid_saturation import ACCURACY, ARMS, CHANCE, LAST, LOWEST, Config

TRAIN, TEST = data.load("mnist5k").arrays
CONFIG = Config(width=12, steps=10, every=5, watched=30)


def outcome(arm, config=CONFIG):
    with context.running(context.Context(0)):
        return sigmoid_saturation.train(config, ARMS[arm], 0, (TRAIN, TEST))


@pytest.mark.parametrize("arm", ARMS)
def test_curves_begin_before_training(arm):
    found = outcome(arm)
    model = sigmoid_saturation.build_model(CONFIG, ARMS[arm], 0)
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)][:-1]
    assert len(dense) == ARMS[arm]["hidden"]
    watched = keras.Model(model.inputs[0], [layer.output for layer in dense])(TEST[0][:30])
    for k, activations in enumerate(watched, 1):
        mean, spread = (found.curves[f"{of} of layer {k}"] for of in ("mean", "spread"))
        assert len(mean) == len(spread) == 3
        assert mean[0] == pytest.approx(np.mean(activations), abs=1e-6)
        assert spread[0] == pytest.approx(np.std(activations), abs=1e-6)


def test_the_last_layer_and_its_lowest_mean():
    found = outcome("sigmoid, 4 layers")
    last = found.curves["mean of layer 4"]
    assert found.metrics[LAST] == last[-1]
    assert found.metrics[LOWEST] == min(last)


@pytest.mark.parametrize(
    ("accuracy", "steps"), [([0.1, 0.15, 0.3], 10), ([0.25, 0.1, 0.1], 0), ([0.1, 0.1, 0.2], 15)]
)
def test_steps_at_chance(monkeypatch, accuracy, steps):
    def fit(model, x, y, callbacks, epochs, **_):
        for epoch in range(epochs):
            callbacks[0].on_epoch_end(epoch)
        history = keras.callbacks.History()
        history.history = {"accuracy": accuracy}
        return history

    monkeypatch.setattr(sigmoid_saturation, "fit", fit)
    metrics = outcome("tanh, 4 layers", Config(width=4, steps=15, every=5)).metrics
    assert metrics[CHANCE] == steps
    assert metrics[ACCURACY] == pytest.approx(100 * accuracy[-1])


@pytest.mark.parametrize("arm", ARMS)
def test_weights_are_uniform_within_one_over_the_root_of_n(arm):
    model = sigmoid_saturation.build_model(Config(), ARMS[arm], 0)
    for kernel, bias in zip(*[iter(model.get_weights())] * 2, strict=True):
        limit = len(kernel) ** -0.5
        assert np.abs(kernel).max() == pytest.approx(limit, rel=0.02)
        assert kernel.std() == pytest.approx(limit / 3**0.5, rel=0.05)
        assert not bias.any()
