"""The formulas against Keras's optimizers on a real net, and against closed forms."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.ingredients.optimizers import adagrad, adam, rmsprop, sgd

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 20)).astype("float32").astype(float)  # Keras rounds what it is given
Y = RNG.integers(0, 4, 64)
CASES = {
    "plain": (sgd(0.1), keras.optimizers.SGD(0.1)),
    "momentum": (sgd(0.1, 0.9), keras.optimizers.SGD(0.1, 0.9)),
    "Nesterov": (sgd(0.1, 0.9, True), keras.optimizers.SGD(0.1, 0.9, nesterov=True)),
    "AdaGrad": (adagrad(0.05), keras.optimizers.Adagrad(0.05)),
    "RMSProp": (rmsprop(0.005), keras.optimizers.RMSprop(0.005)),
    "Adam": (adam(0.001), keras.optimizers.Adam(0.001)),  # beta2 ** t is rounded in Keras
}


@pytest.mark.parametrize("name", CASES)
def test_a_hundred_steps_on_a_net_are_kerass(name):
    """604 parameters of tanh and softmax units in double precision, mini-batches of 8."""
    step, optimizer = CASES[name]
    glorot = keras.initializers.GlorotUniform(seed=1)
    hidden = keras.layers.Dense(24, "tanh", kernel_initializer=glorot, dtype="float64")
    model = keras.Sequential(
        [
            keras.Input((20,), dtype="float64"),
            hidden,
            keras.layers.Dense(4, kernel_initializer=glorot, dtype="float64"),
        ]
    )
    sizes = [weight.shape for weight in model.get_weights()]
    theta = np.concatenate([weight.ravel() for weight in model.get_weights()])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, dtype="float64")
    model.compile(optimizer, loss)

    def gradient(theta, x, y):
        ends = np.cumsum([np.prod(size) for size in sizes])[:-1]
        parts = [p.reshape(s) for p, s in zip(np.split(theta, ends), sizes, strict=True)]
        w1, b1, w2, b2 = parts
        h = np.tanh(x @ w1 + b1)
        z = h @ w2 + b2
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        d2 = (p - np.eye(4)[y]) / len(x)
        d1 = d2 @ w2.T * (1 - h**2)
        found = (x.T @ d1, d1.sum(axis=0), h.T @ d2, d2.sum(axis=0))
        return np.concatenate([part.ravel() for part in found])

    for i in range(100):
        rows = np.arange(8 * i, 8 * i + 8) % 64
        model.train_on_batch(X[rows], Y[rows])
        theta = step(theta, gradient(theta, X[rows], Y[rows]))
    kept = np.concatenate([weight.ravel() for weight in model.get_weights()])
    assert np.abs(kept - theta).max() < 1e-6
    assert np.abs(theta).max() > 0.1


@given(st.floats(0.01, 100), st.floats(-100, 100).filter(lambda g: abs(g) > 1e-3))
def test_under_a_constant_gradient_adams_every_step_is_its_learning_rate(rate, g):
    step, w = adam(rate, epsilon=0), 0.0
    for t in range(1, 6):
        w = step(w, g)
        assert w == pytest.approx(-np.sign(g) * rate * t, rel=1e-9)


def test_first_steps_without_bias_correction_and_of_rmsprop_are_3_162_learning_rates():
    assert adam(1.0, epsilon=0, corrected=False)(0.0, 5.0) == pytest.approx(-0.1 / np.sqrt(0.001))
    assert rmsprop(1.0, epsilon=0)(0.0, 5.0) == pytest.approx(-1 / np.sqrt(0.1))


def test_adagrads_steps_shrink_as_one_over_the_root_of_their_number():
    step, w = adagrad(1.0, start=0, epsilon=0), 0.0
    for t in range(1, 10):
        last, w = w, step(w, 3.0)
        assert last - w == pytest.approx(1 / np.sqrt(t))


def test_momentum_on_a_plane_ends_ten_times_as_fast():
    step, w = sgd(0.1, 0.9), 0.0
    for _ in range(300):
        last, w = w, step(w, 1.0)
    assert last - w == pytest.approx(0.1 / (1 - 0.9))


def test_nesterovs_point_ahead_is_the_sources_two_steps():
    """v <- mu v - eta g(w + mu v), w <- w + v; here w + mu v is what is kept."""
    h, eta, mu = 3.0, 0.1, 0.9
    w = v = 1.0
    ahead, step = w + mu * 0.0, sgd(eta, mu, True)
    w, v = 1.0, 0.0
    for _ in range(20):
        ahead = step(ahead, h * ahead)
        v = mu * v - eta * h * (w + mu * v)
        w = w + v
        assert ahead == pytest.approx(w + mu * v, rel=1e-9)
