"""Both losses in NumPy, noise that falls to zero, and principal components of training images."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax

from recipes.cost import svm_output
from recipes.cost.svm_output import (
    ARMS,
    COMPONENTS,
    ENTROPY,
    HINGE,
    TEST,
    Config,
    FadingNoise,
    build_model,
    steps,
    train,
)

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (130, 28, 28), dtype=np.uint8), RNG.integers(0, 10, 130)
TESTED = RNG.integers(0, 256, (40, 28, 28), dtype=np.uint8), RNG.integers(0, 10, 40)
DATA = (IMAGES, LABELS), TESTED
CONFIG = Config(n_train=100, width=8, batch_size=30, epochs=2)


def entropy_of(outputs, hot):
    return -np.mean(np.sum(hot * log_softmax(outputs, axis=1), axis=1))


def hinge_of(outputs, hot):
    return np.mean(np.maximum(0, 1 - (2 * hot - 1) * outputs) ** 2)


@pytest.mark.parametrize(("arm", "expected"), [("softmax", entropy_of), ("SVM", hinge_of)])
def test_the_loss(arm, expected, handed_to_fit):
    model, how = handed_to_fit(svm_output, CONFIG, ARMS[arm], DATA)
    outputs, hot = RNG.normal(0, 2, (5, 10)).astype("float32"), how["y"][:5]
    assert float(model.loss(hot, outputs)) == pytest.approx(expected(outputs, hot), rel=1e-5)
    np.testing.assert_array_equal(how["y"], np.eye(10)[LABELS[:100]])


def test_the_inputs_are_the_largest_principal_components(handed_to_fit):
    """Those of the training images alone, in [0, 1]; those of the test images along them."""
    _, how = handed_to_fit(svm_output, CONFIG, ARMS["SVM"], DATA)
    pixels = IMAGES[:100].reshape(100, -1) / 255
    _, singular, axes = np.linalg.svd(pixels - pixels.mean(axis=0))
    variances = (singular**2 / 100)[:COMPONENTS][::-1]
    np.testing.assert_allclose(how["x"].var(axis=0), variances, rtol=1e-3)
    tested = (TESTED[0].reshape(40, -1) / 255 - pixels.mean(axis=0)) @ axes[:COMPONENTS].T
    received = np.abs(how["validation_data"][0])  # the sign of an axis is arbitrary
    np.testing.assert_allclose(received, np.abs(tested[:, ::-1]), atol=1e-4)


def test_the_learning_rate_falls_linearly_to_zero(handed_to_fit):
    model, _ = handed_to_fit(svm_output, CONFIG, ARMS["SVM"], DATA)
    schedule = model.optimizer._learning_rate
    assert steps(CONFIG) == 8  # the last of four mini-batches in an epoch has ten images
    received = [float(schedule(step)) for step in (0, 2, 8)]
    np.testing.assert_allclose(received, [0.1, 0.075, 0], atol=1e-7)


def test_noise_falls_linearly_to_zero():
    layer, x = FadingNoise(2.0, 4, seed=0), np.zeros((100, 100), "float32")
    received = [np.std(layer(x, training=True)) for _ in range(6)]
    np.testing.assert_allclose(received, [2, 1.5, 1, 0.5, 0, 0], rtol=0.02)


def test_noise_is_for_training_alone():
    layer, x = FadingNoise(2.0, 4, seed=0), np.ones((2, 3), "float32")
    np.testing.assert_array_equal(layer(x), x)
    assert layer.step == 0


def test_only_the_last_layer_is_penalized():
    model = build_model(CONFIG, ARMS["SVM"], 0)
    weights = keras.ops.convert_to_numpy(model.layers[-1].kernel)
    assert float(sum(model.losses)) == pytest.approx(0.0005 * np.sum(weights**2), rel=1e-5)
    assert weights.std() == pytest.approx(0.01, rel=0.3)


@pytest.mark.parametrize("arm", list(ARMS))
def test_noise_is_an_arm(arm):
    has = [isinstance(layer, FadingNoise) for layer in build_model(CONFIG, ARMS[arm], 0).layers]
    assert any(has) == ("no noise" not in arm)


@pytest.mark.parametrize("arm", ["softmax", "SVM"])
def test_what_is_measured(arm, monkeypatch):
    """All of it on the test images, by the net at the end, and without the penalty."""
    nets = []
    monkeypatch.setattr(
        svm_output, "build_model", lambda *how: nets.append(build_model(*how)) or nets[-1]
    )
    outcome = train(CONFIG, ARMS[arm], 0, DATA)
    pixels = IMAGES[:100].reshape(100, -1) / 255
    x = svm_output.preprocess("decorrelated", pixels)(TESTED[0].reshape(40, -1) / 255)
    outputs = nets[0].predict(x[:, -COMPONENTS:].astype("float32"), verbose=0)
    hot = np.eye(10)[TESTED[1]]
    expected = {
        TEST: 100 * np.mean(outputs.argmax(axis=1) != TESTED[1]),
        ENTROPY: entropy_of(outputs, hot),
        HINGE: hinge_of(outputs, hot),
    }
    assert outcome.metrics == pytest.approx(expected, rel=1e-4)
    assert outcome.curves[TEST] == pytest.approx([expected[TEST]], rel=1e-4)
