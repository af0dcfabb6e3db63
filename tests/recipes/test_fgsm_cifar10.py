"""What is attacked are the images that the net learned from, and stays photographs."""

import numpy as np
import pytest

from common import attacks, data
from common.experiment import Run
from recipes import fgsm_cifar10
from recipes.fgsm_cifar10 import ARMS, CLASSES, Config

RNG = np.random.default_rng(0)
PHOTOS = (-1, 32, 32, 3)


def photographs(n: int) -> data.Split:
    """Colours of different mean and deviation, some of them black or white."""
    pixels = RNG.normal((60, 128, 200), (20, 40, 60), (n, 32, 32, 3)).clip(0, 255)
    return data.Split(pixels.astype(np.uint8), np.arange(n, dtype=np.int32) % 10)


@pytest.fixture(scope="module")
def untrained():
    """-> the data, what `train` measures of a net that learned nothing, nets and attacked images.

    Untrained it errs nearly everywhere, before and after: what is tested is the arithmetic.
    """
    seen, harm = {}, attacks.harm

    def attacked(net, x, y, epsilon, *, clip, **how):
        seen.update(net=net, x=x, clip=clip)
        return harm(net, x, y, epsilon, clip=clip, **how)

    found = data.Dataset("cifar10", photographs(40), photographs(30), "noise", "")
    config = Config(n_train=40, n_test=30, steps=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fgsm_cifar10, "fit", lambda model, *_, **how: seen.update(whole=model))
        patch.setattr(attacks, "harm", attacked)
        outcome = fgsm_cifar10.train(Run(config, 0, found), ARMS["conv net"])
    return found, outcome, seen


def test_images_are_standardised_by_the_training_images_as_in_training(untrained):
    found, _, seen = untrained
    pixels = found.train.images.reshape(-1, 3) / 255
    mean, deviation = pixels.mean(axis=0), pixels.std(axis=0)
    test = found.test.images / 255
    np.testing.assert_allclose(seen["x"], (test - mean) / deviation, atol=1e-5)
    np.testing.assert_allclose(seen["clip"][0] * deviation + mean, 0, atol=1e-6)
    np.testing.assert_allclose(seen["clip"][1] * deviation + mean, 1, atol=1e-6)
    whole = seen["whole"](test.astype(np.float32), training=False)
    np.testing.assert_allclose(attacks.logits(seen["net"], seen["x"]), whole, rtol=1e-3, atol=1e-3)


def test_curves_begin_without_an_attack_and_meet_the_metrics(untrained):
    found, outcome, seen = untrained
    clean, end = outcome.metrics["clean"], fgsm_cifar10.EPSILONS.index(0.1)
    for series, metric in (("error", "fgsm"), ("noise_error", "noise")):
        assert outcome.history[series][0] == pytest.approx(clean)
        assert outcome.history[series][end] == pytest.approx(outcome.metrics[metric])
    attacked = attacks.fgsm(seen["net"], seen["x"], found.test.labels, 0.1, clip=seen["clip"])
    logits = attacks.logits(seen["net"], attacked)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    fooled = p.argmax(axis=1) != found.test.labels
    assert outcome.metrics["confidence"] == pytest.approx(100 * p.max(axis=1)[fooled].mean())


def test_what_is_shown_moved_by_epsilon_and_stays_a_photograph(untrained):
    found, outcome, _ = untrained
    before, after, seen = (
        np.reshape(outcome.history[name], shape)
        for name, shape in (("before", PHOTOS), ("after", PHOTOS), ("seen", (-1, 4)))
    )
    assert 0 < len(before) == len(after) == len(seen) <= fgsm_cifar10.SHOWN
    step = 0.1 * found.train.images.reshape(-1, 3).std(axis=0)  # of 255
    assert np.all(np.abs(after - before) <= step + 0.02)  # rounded to hundredths
    assert np.all((after >= -0.01) & (after <= 255.01))
    np.testing.assert_array_equal(before, before.round())
    assert np.all(seen[:, 0] != seen[:, 2])
    assert seen[:, [0, 2]].max() < len(CLASSES)
