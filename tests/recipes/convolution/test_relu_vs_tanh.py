"""When a net has learned enough, and how long it took."""

from types import SimpleNamespace

import numpy as np
import pytest

from recipes.convolution import relu_vs_tanh
from recipes.convolution.relu_vs_tanh import ARMS, Config, StopAt


def test_it_stops_when_the_error_is_reached_and_not_before():
    model = SimpleNamespace(stop_training=False)
    reached, stopped = StopAt(25.0), []
    reached.set_model(model)
    for epoch, accuracy in enumerate([0.5, 0.74, 0.75, 0.8]):
        reached.on_epoch_end(epoch, {"accuracy": accuracy})
        stopped.append(bool(model.stop_training))
    assert stopped == [False, False, True, True]


def test_another_reason_to_stop_stands():
    model = SimpleNamespace(stop_training=True)
    reached = StopAt(25.0)
    reached.set_model(model)
    reached.on_epoch_end(0, {"accuracy": 0.1})
    assert model.stop_training


def test_what_is_measured_is_the_passes_and_the_last_error(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    split = images, np.arange(20, dtype=np.int32) % 10

    def learned(*arguments, callbacks, **settings):
        assert [one.error for one in callbacks if isinstance(one, StopAt)] == [30.0]
        return SimpleNamespace(history={"accuracy": [0.25, 0.5, 0.75]})

    monkeypatch.setattr(relu_vs_tanh, "fit", learned)
    config = Config(n_train=20, error=30.0)
    outcome = relu_vs_tanh.train(config, ARMS["ReLU"], 0, (split, split))
    epochs = {"epochs to 25 % training error": 3, "training error (%)": pytest.approx(25)}
    assert outcome.metrics == epochs
    assert outcome.curves == {"training error (%)": pytest.approx([75, 50, 25])}
