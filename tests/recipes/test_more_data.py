"""Sizes, steps and the split of the validation images."""

import numpy as np
import pytest

from common import data, training
from common.experiment import Run
from recipes import more_data
from recipes.more_data import ARMS, RECIPE, Config, build_model

DIGITS = data.load("digits")


def test_sizes_by_setting():
    sizes = {
        setting: RECIPE.arms_for(*setting) for setting in (("default", "mnist"), ("paper", "mnist"))
    }
    assert [int(arm) for arm in sizes["default", "mnist"]] == [
        100,
        200,
        500,
        1000,
        2000,
        5000,
        10000,
    ]
    assert [int(arm) for arm in sizes["paper", "mnist"]][-2:] == [20_000, 50_000]
    assert RECIPE.arms_for("paper", "digits") == ["100", "200", "500", "1000"]


@pytest.mark.parametrize("arm", ["100", "1000"])
def test_every_size_takes_the_same_steps_and_validates_on_the_last_images(arm, monkeypatch):
    seen = {}

    def spy(model, x, y, **settings):
        seen.update(x=x, epochs=settings["epochs"])
        return training.fit(model, x, y, **(settings | {"epochs": 1}))

    def measure(model, x, y):
        seen.update(val=x)
        return training.evaluate(model, x, y)

    monkeypatch.setattr(more_data, "fit", spy)
    monkeypatch.setattr(more_data, "evaluate", measure)
    outcome = more_data.train(Run(Config(n_validation=297), 0, DIGITS), ARMS[arm])
    np.testing.assert_array_equal(seen["x"], DIGITS.train.images[: int(arm)])
    np.testing.assert_array_equal(seen["val"], DIGITS.train.images[-297:])
    assert seen["epochs"] * int(arm) == 600_000
    assert outcome.metrics["n"] == int(arm)


def test_the_penalty_does_not_depend_on_the_size():
    model = build_model(decay=0.01, seed=0)
    squares = sum((layer.kernel.numpy().astype(float) ** 2).sum() for layer in model.layers[1:])
    assert float(sum(model.losses)) == pytest.approx(0.01 / 2 * squares, rel=1e-5)
