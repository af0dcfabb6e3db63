"""One step of adversarial training against NumPy, on softmax regression in closed form."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from common.training import context, fit
from recipes.attack.adversarial_training import ARMS, Adversarial, Config, build_model

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (8, 5), dtype=np.uint8)
Y = RNG.integers(0, 3, 8).astype(np.int32)
LEARNING_RATE, EPSILON = 0.5, 51


def softmax_regression(alpha=0.5, random_start=False, seed=0, epsilon=EPSILON):
    inputs = keras.Input((5,))
    normal = keras.initializers.RandomNormal(0, 1, seed=1)
    scaled = keras.layers.Rescaling(1 / 255)(inputs)
    net = keras.Model(inputs, keras.layers.Dense(3, kernel_initializer=normal)(scaled))
    return Adversarial(net, epsilon, alpha, random_start, seed)


def learn(model, epochs=1):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(LEARNING_RATE), loss, metrics=["accuracy"])
    with context.running(context.Context(seed=0)):
        return fit(model, X, Y, batch_size=len(X), epochs=epochs).history


def numpy_step(x, weights, bias):
    """Mean loss, and its gradients with respect to weights, bias and each image."""
    z = x / 255.0 @ weights + bias
    error = softmax(z, axis=1) - np.eye(3)[Y]
    loss = -log_softmax(z, axis=1)[np.arange(len(Y)), Y].mean()
    return loss, (x / 255.0).T @ error / len(Y), error.mean(axis=0), error @ weights.T


def attacked(x, gradient):
    return np.clip(x + EPSILON * np.sign(gradient), 0, 255)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9])
def test_a_step_descends_the_mixed_loss(alpha):
    model = softmax_regression(alpha)
    weights, bias = (np.float64(w) for w in model.get_weights())
    history = learn(model)
    loss, dw, db, dx = numpy_step(X, weights, bias)
    loss2, dw2, db2, _ = numpy_step(attacked(X, dx), weights, bias)
    expected = [
        weights - LEARNING_RATE * (alpha * dw + (1 - alpha) * dw2),
        bias - LEARNING_RATE * (alpha * db + (1 - alpha) * db2),
    ]
    for received, wanted in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(received, wanted, atol=1e-6)
    assert history["loss"][0] == pytest.approx(alpha * loss + (1 - alpha) * loss2, rel=1e-5)
    right = np.argmax(X / 255.0 @ weights + bias, axis=1) == Y
    assert history["accuracy"][0] == pytest.approx(right.mean())  # without attack


def test_a_random_start_trains_on_images_within_epsilon():
    """The loss is between that without attack and that of the worst images."""
    model = softmax_regression(random_start=True)
    weights, bias = (np.float64(w) for w in model.get_weights())
    loss, *_, dx = numpy_step(X, weights, bias)
    worst, *_ = numpy_step(attacked(X, dx), weights, bias)
    assert loss < learn(model)["loss"][0] <= worst * (1 + 1e-6)


def test_a_random_start_without_epsilon_is_plain_training():
    model = softmax_regression(random_start=True, epsilon=0)
    weights, bias = (np.float64(w) for w in model.get_weights())
    loss, dw, *_ = numpy_step(X, weights, bias)
    assert learn(model)["loss"][0] == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(model.get_weights()[0], weights - LEARNING_RATE * dw, atol=1e-6)


def test_a_random_start_moves_by_a_step_and_a_quarter(monkeypatch):
    """From a place within epsilon, along the sign there, and back to within epsilon."""
    model = softmax_regression(random_start=True)
    weights, bias = (np.float64(w) for w in model.get_weights())
    share = np.tile(RNG.uniform(-1, 1, 5), (len(X), 1))  # the same in any order of examples

    def uniform(shape, low, high, seed):
        assert (low, high) == (-EPSILON, EPSILON)
        return keras.ops.convert_to_tensor(EPSILON * share, "float32")

    monkeypatch.setattr(keras.random, "uniform", uniform)
    received = learn(model)["loss"][0]
    start = X + EPSILON * share
    *_, dx = numpy_step(np.clip(start, 0, 255), weights, bias)
    x = np.float64(X)
    near = np.clip(start + 1.25 * EPSILON * np.sign(dx), x - EPSILON, x + EPSILON)
    expected, *_ = numpy_step(np.clip(near, 0, 255), weights, bias)
    assert received == pytest.approx(expected, rel=1e-5)


def test_training_repeats_by_seed_and_differs_between_seeds():
    losses = [learn(softmax_regression(random_start=True, seed=s), 3)["loss"] for s in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_arms_begin_with_the_same_weights():
    nets = [build_model(Config(), arm, seed=3) for arm in ARMS.values()]
    assert [isinstance(net, Adversarial) for net in nets] == [False, True, True]
    assert [net.alpha for net in nets[1:]] == [0.5, 0]
    for net in nets[1:]:
        assert net.epsilon == 63.75
        for one, other in zip(nets[0].get_weights(), net.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = softmax_regression()
        losses = learn(model, epochs=10)["loss"]
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
