"""Where the time of a step goes: in a small net, and in dropout's large one."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import tensorflow as tf
import torch

from common import data
from common.ingredients.losses import sigmoid_cross_entropy
from common.training import fit
from recipes.regularization import overfitting
from tests.benchmarks import scan
from tests.benchmarks.kernels import seconds, uniform
from tests.benchmarks.timing import Clock, compare

N, BATCH, EPOCHS, RATE = 1_000, 10, 40, 0.5
B, UNITS = 100, 1024  # mini-batch and width of dropout's net


def small_net() -> str:
    """784-30-10 in mini-batches of 10, with less and less to do."""
    images, labels = (one[:N] for one in data.load("mnist", fallback="mnist5k").arrays[0])
    targets = keras.utils.to_categorical(labels, 10)
    scaled = images.reshape(N, 784).astype(np.float32) / 255

    def ours(metrics: list[str], is_scaled: bool = False) -> float:
        clock, model = Clock(), overfitting.build_model(overfitting.Config(), {}, 0)
        if is_scaled:
            dense = [keras.Input((784,)), *model.layers[-2:]]  # what comes before them is done
            model = keras.Sequential(dense)
        model.compile(keras.optimizers.SGD(RATE), sigmoid_cross_entropy, metrics=metrics)
        how = {"batch_size": BATCH, "epochs": EPOCHS, "verbose": 0, "callbacks": [clock]}
        fit(model, scaled if is_scaled else images, targets, **how)
        keras.utils.clear_session()
        return clock.epoch_seconds()

    def jax() -> float:
        weights = scan.by_layer(overfitting.build_model(overfitting.Config(), {}, 0).get_weights())
        how = scaled, targets, BATCH, EPOCHS, RATE
        return scan.seconds(scan.sigmoid_loss, weights, [], *how)

    ways = {
        "ours": partial(ours, ["accuracy"]),
        "without accuracy": partial(ours, []),
        "without accuracy, pixels scaled before": partial(ours, [], True),
        "JAX, with accuracy, pixels scaled before": jax,
    }
    return compare("784-30-10, batch 10", "images a second", ways, N, per_second=True)


def products() -> str:
    """Forward, to the weights and to the inputs of a layer."""
    x, w, d = uniform(B, UNITS), uniform(UNITS, UNITS), uniform(B, UNITS)
    of_tf, (tx, tw, td) = [tf.constant(one) for one in (x, w, d)], map(torch.from_numpy, (x, w, d))

    def three(x, w, d):
        return x @ w, tf.matmul(x, d, transpose_a=True), tf.matmul(d, w, transpose_b=True)

    ways = {
        "TensorFlow": partial(tf.function(three, autograph=False), *of_tf),
        "XLA": partial(tf.function(three, autograph=False, jit_compile=True), *of_tf),
        "PyTorch": lambda: (tx @ tw, tx.T @ td, td @ tw.T),
        "NumPy": lambda: (x @ w, x.T @ d, d @ w.T),
    }
    timed = {name: partial(seconds, way) for name, way in ways.items()}
    return compare(f"three products of a layer, {B} x {UNITS} x {UNITS}", "ms", timed, 1e3)


def masks() -> str:
    """Uniform random numbers for a mask of dropout."""
    seed, rng = tf.constant([1, 2]), np.random.default_rng(0)

    def drawn(seed):
        return tf.random.stateless_uniform((B, UNITS), seed)

    ways = {
        "TensorFlow": partial(tf.function(drawn, autograph=False), seed),
        "XLA": partial(tf.function(drawn, autograph=False, jit_compile=True), seed),
        "PyTorch": lambda: torch.rand(B, UNITS),
        "NumPy": lambda: rng.random((B, UNITS), np.float32),
    }
    timed = {name: partial(seconds, way) for name, way in ways.items()}
    return compare(f"random numbers of a mask, {B} x {UNITS}", "ms", timed, 1e3)


def momentum() -> str:
    """The update of a layer's weights."""
    slope = uniform(UNITS, UNITS)
    speed, weights = (tf.Variable(uniform(UNITS, UNITS)) for _ in range(2))
    of_torch, w, v = (torch.from_numpy(uniform(UNITS, UNITS)) for _ in range(3))

    def update(slope):
        weights.assign_add(speed.assign(0.95 * speed - 0.05 * slope))

    def by_torch():
        w.add_(v.mul_(0.95).sub_(of_torch, alpha=0.05))

    tensor = tf.constant(slope)
    ways = {
        "TensorFlow": partial(tf.function(update, autograph=False), tensor),
        "XLA": partial(tf.function(update, autograph=False, jit_compile=True), tensor),
        "PyTorch": by_torch,
    }
    timed = {name: partial(seconds, way) for name, way in ways.items()}
    return compare(f"momentum of a layer, {UNITS} x {UNITS}", "ms", timed, 1e3)


def measure() -> str:
    """The section of docs/benchmarks.md."""
    small = "A small net, with less and less to do. What is left is the arithmetic, and XLA's calls"
    large = "The pieces of a step of dropout's net, 3 x 1024: nearly three of each"
    parts = [f"{small}.", small_net(), f"{large}.", products(), masks(), momentum()]
    return "\n\n".join(["## What a step costs", *parts]) + "\n"
