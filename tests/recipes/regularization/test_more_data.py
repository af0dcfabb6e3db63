"""Sizes, steps and the validation images."""

import numpy as np
import pytest

from common import data, training
from recipes.regularization import more_data
from recipes.regularization.more_data import ARMS, RECIPE, SIZES, Config, build_model

ARRAYS = data.load("mnist5k").arrays


def sizes(preset, dataset):
    return [ARMS[arm]["n_train"] for arm in RECIPE.arms_for(preset, dataset)]


def test_sizes_by_setting():
    assert sizes("default", "mnist") == [100, 200, 500, 1_000, 2_000, 5_000, 10_000]
    assert sizes("paper", "mnist") == list(SIZES)
    assert sizes("paper", "mnist5k") == [100, 200, 500, 1_000, 2_000]


@pytest.mark.parametrize("n", [100, 1_000])
def test_every_size_takes_the_same_steps_and_validates_on_the_last_images(n, monkeypatch):
    seen = {}

    def spy(model, x, y, **settings):
        seen.update(x=x, **settings)
        return training.fit(model, x, y, **(settings | {"epochs": 1, "verbose": 0}))

    def measure(model, x, y):
        seen.update(val=x)
        return training.evaluate(model, x, y)

    monkeypatch.setattr(more_data, "fit", spy)
    monkeypatch.setattr(more_data, "evaluate", measure)
    more_data.train(Config(n_validation=297), {"n_train": n}, 0, ARRAYS)
    np.testing.assert_array_equal(seen["x"], ARRAYS[0][0][:n])
    np.testing.assert_array_equal(seen["val"], ARRAYS[0][0][-297:])
    assert seen["epochs"] * n == 60_000 * seen["batch_size"]


def test_the_penalty_does_not_depend_on_the_size():
    model = build_model(Config(decay=0.01), ARMS["100 images"], seed=0)
    kernels = [layer.kernel.numpy() for layer in model.layers if layer.weights]
    squares = sum((kernel.astype(float) ** 2).sum() for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(0.01 / 2 * squares, rel=1e-5)
