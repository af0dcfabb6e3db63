"""What lies between the start of a training and its end."""

import keras
import numpy as np
import pytest

from recipes.optimization.straight_line import ARMS, FAR, RISE, SHARE, Config, build_model, train

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (40, 28, 28), dtype=np.uint8), RNG.integers(0, 10, 40)
CONFIG = Config(n_train=20, n_measured=15, width=5, batch_size=10, epochs=4, points=6)


@pytest.mark.parametrize("arm", list(ARMS))
def test_the_line_leads_from_the_start_to_the_end_of_the_path(arm):
    outcome = train(CONFIG, ARMS[arm], 0, ((IMAGES, LABELS), (IMAGES, LABELS)))
    line, path = outcome.curves["cost on the line"], outcome.pictures["path"]
    start = build_model(CONFIG, ARMS[arm], 0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert line[0] == pytest.approx(float(loss(LABELS[:15], start(IMAGES[:15]))), rel=1e-5)
    assert line[-1] == outcome.metrics["cost at the end"]
    assert len(path) == 1 + CONFIG.epochs
    np.testing.assert_allclose(path[-1], 0, atol=1e-5)
    assert 0 < np.linalg.norm(path[0]) <= outcome.metrics[FAR] * (1 + 1e-6)
    assert 50 < outcome.metrics[SHARE] <= 100 + 1e-9
    for axis, places in zip(outcome.pictures["axes"], path.T, strict=True):
        assert axis[0] < places.min() < places.max() < axis[-1]  # it stays within its picture
    assert outcome.pictures["cost"].shape == (6, 6)


def test_a_rise_is_measured_from_the_lowest_cost_before(monkeypatch):
    costs = np.array([2.0, 1.0, 1.4, 1.2, 1.3, 0.5, 0.6])
    monkeypatch.setattr(
        "recipes.optimization.straight_line.Landscape.costs", lambda *_: costs.astype("float32")
    )
    monkeypatch.setattr("recipes.optimization.straight_line.Landscape.surface", lambda *_: None)
    outcome = train(CONFIG, ARMS["SGD"], 0, ((IMAGES, LABELS), (IMAGES, LABELS)))
    assert outcome.metrics[RISE] == pytest.approx(0.4)
