"""Stopping: on validation images split from the training images, with the best weights restored."""

import numpy as np
import pytest

from common import data, training
from common.experiment import Run
from recipes import early_stopping
from recipes.early_stopping import ARMS, Config, train

DIGITS = data.load("digits")
CONFIG = Config(n_train=200, n_validation=97, patience=3, epochs=60)


@pytest.fixture(scope="module")
def outcomes():
    return {name: train(Run(CONFIG, 0, DIGITS), arm) for name, arm in ARMS.items()}


@pytest.mark.parametrize("arm", ["validation cost", "validation accuracy"])
def test_stops_after_patience_and_keeps_the_best(outcomes, arm):
    outcome, whole = outcomes[arm], outcomes["none"]
    best, epochs = outcome.metrics["best_epoch"], outcome.metrics["epochs"]
    assert epochs == min(best + CONFIG.patience, CONFIG.epochs)
    kept = outcome.history["test_cost"][best - 1]
    assert outcome.metrics["test_cost"] == pytest.approx(kept, rel=1e-5)
    assert outcome.history["test_cost"] == whole.history["test_cost"][:epochs]
    if arm == "validation cost":
        assert best == 1 + np.argmin(whole.history["validation_cost"][:epochs])


def test_without_a_stop_all_epochs_are_trained(outcomes):
    assert outcomes["none"].metrics["epochs"] == 60
    assert len(outcomes["none"].history["test_cost"]) == 60


def test_validation_images_are_training_images_that_follow(monkeypatch):
    seen = {}

    def spy(model, x, y, **settings):
        seen.update(x=x, val=settings["validation_data"]["val"][0])
        return training.fit(model, x, y, **settings)

    monkeypatch.setattr(early_stopping, "fit", spy)
    train(Run(CONFIG, 0, DIGITS), ARMS["none"])
    np.testing.assert_array_equal(seen["x"], DIGITS.train.images[:200])
    np.testing.assert_array_equal(seen["val"], DIGITS.train.images[200:297])
