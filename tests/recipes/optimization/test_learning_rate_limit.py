"""Paths on a quadratic cost against the closed form, and the curvature of softmax regression."""

import numpy as np
import pytest

from recipes.optimization import learning_rate_limit
from recipes.optimization.learning_rate_limit import ARMS, FACTOR, LIMIT, SAME, Config, two_classes

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 100, (60, 28, 28), dtype=np.uint8)
DATA = 2 * ((IMAGES, RNG.integers(0, 10, 60)),)


@pytest.mark.parametrize("seed", range(3))
def test_the_points_have_the_sources_covariances_and_mean(seed):
    x, targets = two_classes(seed)
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.linalg.eigvalsh(x.T @ x / 100), [0.036, 0.84], rtol=1e-12)
    assert np.abs((x * targets).mean(axis=0) - [0.4, 0.8]).max() < 0.1
    assert targets.sum() == 0


@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm.startswith("linear")])
def test_keras_walks_the_closed_forms_path(arm):
    found = learning_rate_limit.train(Config(steps=30), ARMS[arm], 1, DATA)
    assert found.metrics[SAME] < 1e-12
    assert found.metrics[LIMIT] == pytest.approx(2, rel=1e-12)
    eta = ARMS[arm]["learning_rate"]
    largest = max(abs(1 - eta * h) for h in (0.036, 0.84, 1))
    assert found.curves["closed form"][30] == pytest.approx(largest**30, rel=1e-5)
    assert (found.curves["distance"][-1] < 1) == (eta < 2)


def test_the_best_learning_rate_is_two_over_the_sum_of_the_extreme_curvatures():
    """No learning rate has a smaller largest factor |1 - eta h|; `linear, 1.93` is near it."""
    h = np.array([0.036, 0.84, 1])
    rates = np.linspace(0.01, 2.5, 2491)
    factors = np.abs(1 - rates[:, None] * h).max(axis=1)
    assert rates[factors.argmin()] == pytest.approx(2 / (1 + 0.036), abs=1e-3)
    assert rates[factors.argmin()] == pytest.approx(1.93, abs=0.002)


@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm.startswith("digits")])
def test_the_limit_of_softmax_regression_is_that_of_its_hessian(arm, monkeypatch):
    kept = []
    original = learning_rate_limit.build_model
    monkeypatch.setattr(
        learning_rate_limit, "build_model", lambda *how: kept.append(original(*how)) or kept[-1]
    )
    config = Config(n_train=40, penalty=0.1, settle=400, steps=60)
    found = learning_rate_limit.train(config, ARMS[arm], 0, DATA)
    x = IMAGES[:40].reshape(40, -1) / 255.0
    x = x - x.mean(axis=0) if ARMS[arm]["centered"] else x
    # The limit belongs to the minimum; below it the net ends there again.
    if ARMS[arm]["share"] < 1:
        z = kept[0].predict(x, verbose=0).astype(float)
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        ones = np.hstack([x, np.ones((40, 1))])
        roots = np.einsum("nk,ni->nki", np.sqrt(p), ones)
        roots = roots[..., None, :] * (np.eye(10) - p[:, None, :])[..., None]
        roots = roots.reshape(400, -1) / np.sqrt(40)  # the Hessian is roots^T roots
        h = np.linalg.eigvalsh(roots @ roots.T)[-1] + 0.1
        assert found.metrics[LIMIT] == pytest.approx(2 / h, rel=1e-2)
        assert found.metrics[FACTOR] < 1
    else:
        assert found.metrics[FACTOR] > 1
