"""When a net has learned enough, and how long it took."""

import math
from types import SimpleNamespace

import pytest

from common.ingredients.learned import StopAt, epochs_to


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


def test_the_epochs_are_read_off_a_straight_line_between_two():
    assert epochs_to(25.0, [60.0, 30.0, 20.0]) == pytest.approx(2.5)
    assert epochs_to(25.0, [60.0, 25.0]) == pytest.approx(2)
    assert epochs_to(25.0, [10.0]) == pytest.approx(65 / 80)  # from chance, 90 %
    assert epochs_to(25.0, [20.0, 40.0, 10.0], chance=30.0) == pytest.approx(0.5)  # the first time


def test_an_error_that_is_never_reached_takes_forever():
    assert epochs_to(25.0, [60.0, 30.0, 25.1]) == math.inf
