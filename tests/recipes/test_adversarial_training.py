"""One step of adversarial training against NumPy, on softmax regression in closed form."""

import keras
import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from common import training
from recipes.adversarial_training import ARMS, Adversarial, Config, RandomStart, build_model

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 1, (8, 5)).astype(np.float32)
Y = RNG.integers(0, 3, 8).astype(np.int32)
RATE, EPSILON = 0.5, 0.2


def softmax_regression(family, **knobs):
    inputs = keras.Input((5,))
    normal = keras.initializers.RandomNormal(0, 1, seed=1)
    outputs = keras.layers.Dense(3, kernel_initializer=normal)(inputs)
    return family(inputs, outputs, epsilon=EPSILON, **knobs)


def step(model, epochs=1):
    return training.fit(
        model,
        X,
        Y,
        optimizer=keras.optimizers.SGD(RATE),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        batch_size=len(X),
        epochs=epochs,
    ).history


def numpy_step(x, weights, bias):
    """Mean loss, and its gradients by weights, bias and each image."""
    z = x.astype(np.float64) @ weights + bias
    away = softmax(z, axis=1) - np.eye(3)[Y]
    loss = -log_softmax(z, axis=1)[np.arange(len(Y)), Y].mean()
    return loss, x.T @ away / len(Y), away.mean(axis=0), away @ weights.T


def attacked(x, toward):
    return np.clip(x + EPSILON * np.sign(toward), 0, 1)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.9])
def test_a_step_descends_the_mixed_loss(alpha):
    model = softmax_regression(Adversarial, alpha=alpha)
    weights, bias = (np.float64(w) for w in model.get_weights())
    history = step(model)
    loss, dw, db, toward = numpy_step(X, weights, bias)
    loss2, dw2, db2, _ = numpy_step(attacked(X, toward), weights, bias)
    expected = [
        weights - RATE * (alpha * dw + (1 - alpha) * dw2),
        bias - RATE * (alpha * db + (1 - alpha) * db2),
    ]
    for received, wanted in zip(model.get_weights(), expected, strict=True):
        np.testing.assert_allclose(received, wanted, atol=1e-6)
    assert history["loss"][0] == pytest.approx(alpha * loss + (1 - alpha) * loss2, rel=1e-5)
    right = np.argmax(X @ weights + bias, axis=1) == Y
    assert history["accuracy"][0] == pytest.approx(right.mean())  # of the clean images


def test_a_random_start_keeps_within_epsilon_and_trains_on_what_it_makes():
    """Without epsilon it is plain training; with it the loss is that of images within reach."""
    model = softmax_regression(RandomStart, alpha=0.5, seed=0)
    weights, bias = (np.float64(w) for w in model.get_weights())
    loss, _, _, toward = numpy_step(X, weights, bias)
    worst, *_ = numpy_step(attacked(X, toward), weights, bias)
    history = step(model)
    assert loss < history["loss"][0] <= worst * (1 + 1e-6)
    model.set_weights([weights, bias])
    model.epsilon = 0.0
    plain = softmax_regression(Adversarial, alpha=0.999999)
    model.train_function = None
    assert step(model)["loss"][0] == pytest.approx(loss, rel=1e-5)
    step(plain)
    np.testing.assert_allclose(model.get_weights()[0], plain.get_weights()[0], atol=1e-4)


def test_training_repeats_by_seed_and_differs_between_seeds():
    losses = []
    for seed in (0, 0, 1):
        model = softmax_regression(RandomStart, alpha=0.5, seed=seed)
        losses.append(step(model, epochs=3)["loss"])
    assert losses[0] == losses[1] != losses[2]


def test_arms_begin_with_the_same_weights():
    nets = [build_model(Config(), arm, seed=3) for arm in ARMS.values()]
    for net in nets[1:]:
        for one, other in zip(nets[0].get_weights(), net.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = softmax_regression(Adversarial, alpha=0.5)
        losses = step(model, epochs=10)["loss"]
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
