"""The images attacked are those that the net learned from, and stay photographs."""

import numpy as np
import pytest

from common.ingredients import attacks
from recipes.attack import fgsm_cifar10
from recipes.attack.fgsm_cifar10 import ARMS, CLASSES, Config

RNG = np.random.default_rng(0)


def photographs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Colors of different means and standard deviations, with black and white pixels."""
    pixels = RNG.normal((60, 128, 200), (20, 40, 60), (n, 32, 32, 3)).clip(0, 255)
    return pixels.astype(np.uint8), np.arange(n, dtype=np.int32) % 10


DATA = photographs(40), photographs(30)
MEAN, STD = (f(DATA[0][0].reshape(-1, 3), axis=0) for f in (np.mean, np.std))


@pytest.fixture(scope="module")
def untrained():
    """What `train` measures of a net that learned nothing, and what it attacked."""
    seen, many_steps = {}, fgsm_cifar10.pgd

    def attacked(net, x, y, epsilon, **how):
        seen.update(net=net, x=x, **how)
        return many_steps(net, x, y, epsilon, **how)

    config = Config(n_train=40, n_test=30, steps=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fgsm_cifar10, "fit", lambda model, *_, **how: seen.update(model=model))
        patch.setattr(fgsm_cifar10, "pgd", attacked)
        outcome = fgsm_cifar10.train(config, ARMS["conv net"], 0, DATA)
    return outcome, seen


def test_images_are_standardized_by_the_training_images_as_in_training(untrained):
    _, seen = untrained
    test = DATA[1][0]
    np.testing.assert_allclose(seen["x"], (test - MEAN) / STD, atol=1e-5)
    low, high = seen["clip"]
    np.testing.assert_allclose(low * STD + MEAN, 0, atol=1e-4)
    np.testing.assert_allclose(high * STD + MEAN, 255, atol=1e-4)
    whole = seen["model"](test, training=False)
    standardized = seen["net"](seen["x"], training=False)
    np.testing.assert_allclose(standardized, whole, rtol=1e-3, atol=1e-3)


def test_curves_begin_without_an_attack_and_meet_the_metrics(untrained):
    outcome, seen = untrained
    for name, series in outcome.curves.items():
        assert series[0] == outcome.metrics["error without attack (%)"]
        assert series[-1] == outcome.metrics[name]
    y = DATA[1][1]
    attacked = attacks.fgsm(seen["net"], seen["x"], y, 0.1, clip=seen["clip"])
    logits = seen["net"].predict(attacked, verbose=0)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    fooled = p.argmax(axis=1) != y
    assert outcome.metrics["error under attack (%)"] == pytest.approx(100 * fooled.mean())
    expected = 100 * p.max(axis=1)[fooled].mean()
    assert outcome.metrics["confidence in errors (%)"] == pytest.approx(expected, rel=1e-4)


def test_what_is_shown_moved_by_epsilon_and_stays_a_photograph(untrained):
    outcome, _ = untrained
    before, after, seen = (outcome.pictures[name] for name in ("before", "after", "seen"))
    assert 0 < len(before) == len(after) == len(seen) <= fgsm_cifar10.SHOWN
    assert np.all(np.abs(after - before) <= 0.1 * STD + 1e-3)
    assert np.all((after >= -1e-3) & (after <= 255 + 1e-3))
    np.testing.assert_allclose(before, before.round(), atol=1e-3)
    assert np.all(seen[:, 0] != seen[:, 2])
    assert seen[:, [0, 2]].max() < len(CLASSES)
