"""Stopping: on validation images split from the training images, with the best weights restored."""

import numpy as np
import pytest

from common import data
from common.training import context
from recipes.regularization import early_stopping
from recipes.regularization.early_stopping import ARMS, Config, train

ARRAYS = data.load("mnist5k").arrays
CONFIG = Config(n_train=200, n_validation=97, patience=3, epochs=60)


@pytest.fixture(scope="module")
def outcomes():
    found = {}
    for name, arm in ARMS.items():
        with context.running(context.Context(0)):
            found[name] = train(CONFIG, arm, 0, ARRAYS)
    return found


@pytest.mark.parametrize("arm", ["validation cost", "validation accuracy"])
def test_stops_after_patience_and_keeps_the_best(outcomes, arm):
    outcome, whole = outcomes[arm], outcomes["no stop"]
    best, epochs = outcome.metrics["best epoch"], outcome.metrics["epochs trained"]
    assert epochs == min(best + CONFIG.patience, CONFIG.epochs)
    kept = outcome.curves["test cost"][best - 1]
    assert outcome.metrics["test cost"] == pytest.approx(kept, rel=1e-5)
    assert outcome.curves["test cost"] == whole.curves["test cost"][:epochs]


def test_without_a_stop_all_epochs_are_trained(outcomes):
    assert outcomes["no stop"].metrics["epochs trained"] == 60
    assert len(outcomes["no stop"].curves["test cost"]) == 60


def test_validation_images_are_training_images_that_follow(handed_to_fit):
    _, settings = handed_to_fit(early_stopping, CONFIG, ARMS["no stop"], ARRAYS)
    images = ARRAYS[0][0]
    np.testing.assert_array_equal(settings["x"], images[:200])
    np.testing.assert_array_equal(settings["validation_data"][0], images[200:297])
