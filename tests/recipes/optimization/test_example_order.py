"""What example_order changes between its arms, and what it counts."""

import keras
import numpy as np
import pytest

from common import data
from common.training import context, fit
from recipes.optimization import example_order
from recipes.optimization.example_order import (
    ARMS,
    COST,
    LATE,
    PASSES,
    QUARTERS,
    TEST,
    WORK,
    Config,
)

TRAIN, (X_TEST, Y_TEST) = data.load("mnist5k").arrays
TESTED = X_TEST[:100], Y_TEST[:100]
CONFIG = Config(n_train=200, passes=3)


def outcome(arm, config=CONFIG):
    with context.running(context.Context(0)):
        return example_order.train(config, ARMS[arm], 0, (TRAIN, TESTED))


@pytest.fixture
def given(monkeypatch):
    """The rows and the labels of the examples that each quarter gets."""
    places, found = {image.tobytes(): i for i, image in enumerate(TRAIN[0])}, []

    def spy(model, x, y, *args, **settings):
        found.append((np.array([places[image.tobytes()] for image in x]), y))
        return fit(model, x, y, *args, **settings)

    monkeypatch.setattr(example_order, "fit", spy)
    return found


def test_costs_begin_before_training_and_end_after_it():
    found = outcome("shuffled")
    cost = found.curves[COST]
    assert len(cost) == QUARTERS * 3 + 1
    assert cost[0] == pytest.approx(np.log(10), rel=0.4)
    assert cost[-1] < 0.8 * cost[0]
    assert found.metrics[COST] == cost[-1]
    assert len(found.curves[TEST]) == 3
    assert found.metrics[LATE] == np.mean(found.curves[TEST])


def test_the_losses_are_keras_s():
    model = example_order.build_model(CONFIG, ARMS["shuffled"], 0)
    x, y = (part[:50] for part in TRAIN)
    losses, wrong = example_order.examine(model, x, y)
    logits = model.predict_on_batch(x)
    each = keras.ops.sparse_categorical_crossentropy(y, logits, from_logits=True)
    np.testing.assert_allclose(losses, each, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(wrong, logits.argmax(axis=1) != y)


@pytest.mark.parametrize(("arm", "share"), [("ranked", 0), ("ranked, wrong labels", 0.5)])
def test_so_many_labels_are_wrong(given, arm, share):
    outcome(arm, Config(n_train=2_000, passes=3, wrong=0.5))
    rows, labels = (np.concatenate(parts) for parts in zip(*given[:QUARTERS], strict=True))
    np.testing.assert_array_equal(np.sort(rows), np.arange(2_000))
    assert np.mean(labels != TRAIN[1][rows]) == pytest.approx(share, abs=0.05)


def test_ranked_quarters_are_drawn_from_the_second_pass_on(given):
    outcome("ranked")
    quarters = [rows for rows, _ in given]
    np.testing.assert_array_equal(np.sort(np.concatenate(quarters[:4])), np.arange(200))
    drawn = quarters[4:]
    assert all(len(set(rows)) < 50 for rows in drawn)  # with replacement
    assert all(len(rows) == 50 for rows in drawn)


@pytest.mark.parametrize("arm", ["shuffled", "ranked", "ranked, s decays"])
def test_passes_and_work(monkeypatch, arm):
    costs = iter([2.3, *[0.5] * 5, *[0.01] * 7])  # .05 is reached after six quarters

    def examine(model, x, y):
        cost = next(costs) if len(y) == 200 else 0.3
        return np.full(len(y), cost), np.zeros(len(y), bool)

    monkeypatch.setattr(example_order, "examine", examine)
    metrics = outcome(arm).metrics
    assert metrics[PASSES] == 6 / 4
    measured = 0 if arm == "shuffled" else 2  # before the two quarters of the second pass
    assert metrics[WORK] == pytest.approx(6 / 4 + measured / 3)


def test_a_cost_that_is_not_reached():
    assert outcome("sorted").metrics[PASSES] == np.inf


@pytest.mark.parametrize("arm", ARMS)
def test_batch_normalization_where_it_says_so(arm):
    kinds = [
        type(layer).__name__ for layer in example_order.build_model(CONFIG, ARMS[arm], 0).layers
    ]
    assert kinds.count("BatchNormalization") == 2 * arm.endswith("BN")


@pytest.mark.parametrize("wrong", [{"n_train": 210}, {"batch_size": 25, "n_train": 200}])
def test_mini_batches_that_do_not_fit(wrong):
    with pytest.raises(ValueError, match="expected a multiple of four mini-batches, and of ten"):
        Config(**wrong)
