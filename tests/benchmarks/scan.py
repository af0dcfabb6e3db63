"""The dense nets of `contest` in JAX by hand: an epoch is one `lax.scan` that XLA compiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from common.training.loop import order
from tests.benchmarks.timing import Clock

Layers = Sequence[tuple[np.ndarray, ...]]  # the weights of each layer


def seconds(
    loss: Callable,
    weights: Layers,
    state: Layers,
    x: np.ndarray,
    y: np.ndarray,
    batch: int,
    epochs: int,
    rate: float,
    momentum: float = 0.0,
) -> float:
    """Seconds of an epoch of stochastic gradient descent; n must be a multiple of `batch`.

    `loss(weights, state, x, y, key)` gives the mean cost, and right answers with the next state.
    """
    gradient = jax.value_and_grad(loss, has_aux=True)
    x, y = jnp.asarray(x), jnp.asarray(y)

    def step(carried, rows):
        weights, speeds, state, key = carried
        key, own = jax.random.split(key)
        (cost, (right, state)), slopes = gradient(weights, state, x[rows], y[rows], own)
        if momentum:
            speeds = jax.tree.map(lambda v, g: momentum * v - rate * g, speeds, slopes)
            weights = jax.tree.map(jnp.add, weights, speeds)
        else:
            weights = jax.tree.map(lambda w, g: w - rate * g, weights, slopes)
        return (weights, speeds, state, key), (cost, right)

    def epoch(carried, rows):
        carried, (costs, right) = lax.scan(step, carried, rows)
        return carried, costs.mean(), right.sum()

    compiled, clock = jax.jit(epoch, donate_argnums=0), Clock()
    weights, state = jax.tree.map(jnp.array, (weights, state))
    speeds = jax.tree.map(jnp.zeros_like, weights) if momentum else ()
    carried = weights, speeds, state, jax.random.key(0)
    for number in range(epochs):
        rows = order(0, number, len(x)).reshape(-1, batch)
        carried, cost, right = compiled(carried, rows)
        float(cost), int(right)
        clock.on_epoch_end(number)
    return clock.epoch_seconds()


def by_layer(weights: list[np.ndarray]) -> Layers:
    """Keras's flat list of kernels and biases, in pairs."""
    return list(zip(weights[::2], weights[1::2], strict=True))


def sigmoid_loss(weights, state, x, y, key):
    """784-30-10 sigmoids, cross-entropy of ten sigmoid outputs; y are one-hot."""
    (w1, b1), (w2, b2) = weights
    z = jax.nn.sigmoid(x @ w1 + b1) @ w2 + b2
    cost = jnp.sum(jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z))), axis=1)
    return cost.mean(), (jnp.sum(z.argmax(1) == y.argmax(1)), state)


def _softmax(z, y):
    cost = jax.nn.logsumexp(z, axis=1) - jnp.take_along_axis(z, y[:, None], axis=1)[:, 0]
    return cost.mean(), jnp.sum(z.argmax(1) == y)


def normalized_loss(weights, state, x, y, key):
    """Sigmoid layers with batch normalization; a hidden layer's weights are kernel, gamma, beta."""
    *hidden, (w, b) = weights
    moved = []
    for (kernel, gamma, beta), (mean, variance) in zip(hidden, state, strict=True):
        z = x @ kernel
        own = z.mean(axis=0), z.var(axis=0)
        x = jax.nn.sigmoid(gamma * (z - own[0]) * lax.rsqrt(own[1] + 1e-3) + beta)
        pairs = zip((mean, variance), own, strict=True)
        moved.append(tuple(old + 0.01 * (new - old) for old, new in pairs))
    cost, right = _softmax(x @ w + b, y)
    return cost, (right, moved)


def dropped_loss(drops: Sequence[float]) -> Callable:
    """ReLU layers, each input of which is dropped with its probability."""

    def loss(weights, state, x, y, key):
        for i, (share, (w, b)) in enumerate(zip(drops, weights, strict=True)):
            key, own = jax.random.split(key)
            kept = jax.random.bernoulli(own, 1 - share, x.shape)
            x = jnp.where(kept, x / (1 - share), 0) @ w + b
            x = jax.nn.relu(x) if i < len(drops) - 1 else x
        cost, right = _softmax(x, y)
        return cost, (right, state)

    return loss
