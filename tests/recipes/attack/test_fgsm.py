"""What is measured of a net, and the gradient that rounds to zero."""

import keras
import numpy as np
import pytest

from common.ingredients import attacks
from recipes.attack import fgsm
from recipes.attack.fgsm import ARMS, SHARES, Config, own_gradient

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (60, 28, 28), dtype=np.uint8)
Y = np.arange(60, dtype=np.int32) % 10


@pytest.fixture(scope="module")
def untrained():
    """By arm, a net that learned nothing, and its Outcome."""
    nets, config = [], Config(n_train=60, n_test=40, steps=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fgsm, "fit", lambda model, *_, **how: nets.append(model))
        outcomes = [fgsm.train(config, arm, 3, ((X, Y), (X, Y))) for arm in ARMS.values()]
    return dict(zip(ARMS, zip(nets, outcomes, strict=True), strict=True))


@pytest.mark.parametrize("arm", list(ARMS))
def test_curves_begin_without_an_attack_and_meet_the_metrics(untrained, arm):
    _, outcome = untrained[arm]
    for name, series in outcome.curves.items():
        assert series[0] == outcome.metrics["error without attack (%)"]
        assert series[SHARES.index(1)] == outcome.metrics[name]


def test_errors_and_confidence_are_those_of_the_attacked_images(untrained):
    net, outcome = untrained["ReLU net"]
    x, y = X[:40], Y[:40]
    logits = np.float64(net.predict(attacks.fgsm(net, x, y, 63.75), verbose=0))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    fooled = p.argmax(axis=1) != y
    assert outcome.metrics["error under attack (%)"] == pytest.approx(100 * fooled.mean())
    expected = 100 * p.max(axis=1)[fooled].mean()
    assert outcome.metrics["confidence in errors (%)"] == pytest.approx(expected, rel=1e-4)
    noisy = net.predict(attacks.noise(x, 63.75, 3), verbose=0).argmax(axis=1)
    assert outcome.metrics["error under noise (%)"] == pytest.approx(100 * np.mean(noisy != y))


def test_pictures_are_right_before_and_wrong_after(untrained):
    for net, outcome in untrained.values():
        before, after, seen = (outcome.pictures[name] for name in ("before", "after", "seen"))
        assert len(before) == len(after) == len(seen) <= fgsm.SHOWN
        assert np.all(np.abs(after - before) <= 63.75)
        assert np.all(seen[:, 0] != seen[:, 2])
        if len(seen):
            p = attacks.probabilities(net, after)
            np.testing.assert_array_equal(p.argmax(axis=1), seen[:, 2])
            np.testing.assert_allclose(p.max(axis=1), seen[:, 3], rtol=1e-5)


def test_the_cross_entropys_own_gradient_loses_the_share_of_a_sure_prediction():
    """Where p_y rounds to 1 its share, p_y - 1, is 0: the image moves the wrong way."""
    inputs = keras.Input((3,))
    net = keras.Model(inputs, keras.layers.Dense(2, use_bias=False)(inputs))
    x, y = np.array([[200, 200, 200]], np.float32), np.array([0])
    unsure = np.array([[1.0, 2.0], [1.0, -1.0], [3.0, 1.0]], np.float32)
    net.set_weights([unsure / 200])
    own = own_gradient(net, x, y, 20)
    np.testing.assert_allclose(own, attacks.fgsm(net, x, y, 20), atol=1e-4)
    net.set_weights([12 * unsure / 200])  # p_1 is e^-36: p_0 rounds to 1
    np.testing.assert_allclose(attacks.fgsm(net, x, y, 20), [[220, 180, 180]], atol=1e-4)
    np.testing.assert_allclose(own_gradient(net, x, y, 20), [[220, 180, 220]], atol=1e-4)
