"""What is compared: losses at their own best learning rates, their margins and confidences."""

import numpy as np
import pytest
from scipy.special import softmax

from common.ingredients.losses import loss_of_outputs
from recipes.cost import losses
from recipes.cost.losses import (
    ARMS,
    BEST,
    CALIBRATION,
    MARGIN,
    RATES,
    TEST,
    Config,
    outputs_of,
    reliability,
    train,
)

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (60, 28, 28), dtype=np.uint8), RNG.integers(0, 10, 60)
CONFIG = Config(n_train=30, n_validation=20, width=3, epochs=1)


def test_the_square_of_softmax_is_half_the_squared_distance():
    x, hot = RNG.normal(size=(4, 3, 10)), np.eye(10)[RNG.integers(0, 10, (4, 1))]
    expected = np.sum((softmax(x, axis=-1) - hot) ** 2, axis=-1) / 2
    np.testing.assert_allclose(loss_of_outputs("square of softmax", x, hot), expected, rtol=1e-6)


@pytest.mark.parametrize("arm", list(ARMS))
def test_the_loss_is_that_of_all_nets_together(arm, handed_to_fit):
    model, how = handed_to_fit(losses, CONFIG, ARMS[arm], ((IMAGES, LABELS), (IMAGES, LABELS)))
    np.testing.assert_array_equal(how["x"], IMAGES[:30])
    outputs = RNG.normal(size=(5, len(RATES), 10)).astype("float32")
    hot = np.eye(10, dtype="float32")[LABELS[:5]]
    each = [np.mean(loss_of_outputs(arm, outputs[:, r], hot)) for r in range(len(RATES))]
    assert np.mean(model.loss(LABELS[:5], outputs)) == pytest.approx(sum(each), rel=1e-5)


def test_the_learning_rate_is_chosen_on_validation_images(monkeypatch):
    """Net 2 is right on validation images, net 1 on test images."""

    def outputs(model, images):
        outputs = np.zeros((len(images), len(RATES), 10))
        labels = {30: y[:30], 20: y[-20:], 50: y_test}[len(images)]
        outputs[np.arange(len(images)), {30: 3, 20: 2, 50: 1}[len(images)], labels] = 4.0
        if len(images) == 30:
            outputs[np.arange(30), 2, labels] = 1.5
        return outputs

    y, y_test = RNG.integers(1, 10, 60), RNG.integers(1, 10, 50)
    monkeypatch.setattr(losses, "outputs_of", outputs)
    data = ((IMAGES, y), (RNG.integers(0, 256, (50, 28, 28), dtype=np.uint8), y_test))
    outcome = train(CONFIG, ARMS["hinge"], 0, data)
    assert outcome.metrics[BEST] == RATES[2]
    assert outcome.metrics[TEST] == 100  # as sure of all classes, and "0" is none of these
    assert outcome.metrics[MARGIN] == 1.5
    assert outcome.metrics[CALIBRATION] == pytest.approx(10)


def test_reliability_by_hand():
    """Two images in the bin .5 .. .75, one hit; one sure and right, one sure and wrong."""
    p = np.array([[0.6, 0.4], [0.3, 0.7], [0.9, 0.1], [0.02, 0.98]])
    confidence, accuracy, share = reliability(np.log(p), np.array([0, 0, 0, 0]), bins=4)
    np.testing.assert_allclose(confidence, [0, 0, 0.65, 0.94])
    np.testing.assert_allclose(accuracy, [0, 0, 0.5, 0.5])
    np.testing.assert_allclose(share, [0, 0, 0.5, 0.5])


def test_a_sure_answer_belongs_to_the_last_bin():
    confidence, accuracy, share = reliability(np.array([[1e3, 0.0]]), np.array([0]), bins=15)
    assert (confidence[-1], accuracy[-1], share[-1]) == (1, 1, 1)


def test_outputs_of_a_net_that_diverged_are_zero():
    class Diverged:
        def predict_on_batch(self, images):
            return np.full((len(images), 2, 10), [[np.nan], [np.inf]])

    assert not outputs_of(Diverged(), IMAGES).any()
