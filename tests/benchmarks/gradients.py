"""What the chapter on optimization measures: many gradients, curvature, many learning rates."""

from __future__ import annotations

import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from common.ingredients.curvature import sharpness
from common.ingredients.landscape import Landscape, random_directions
from common.ingredients.learning_rates import LearningRates, nets_alike, total_cost
from common.ingredients.noise import backpropagated, noise_scale
from common.training import fit
from tests.benchmarks.timing import Clock, compare

RNG = np.random.default_rng(0)
X, Y = RNG.uniform(0, 255, (1_000, 28, 28)).astype(np.float32), RNG.integers(0, 10, 1_000)
HE = keras.initializers.HeNormal(seed=0)
RATES = 10.0 ** np.arange(-5, 1.5, 0.5)


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """A function that does the work and reports the seconds; it is done once before."""
    work()

    def once() -> float:
        began = time.perf_counter()
        work()
        return time.perf_counter() - began

    return once


def noise_scales() -> str:
    """The noise scale of one net from 1,000 gradients."""
    model = nets_alike(1, [30], "tanh", keras.initializers.GlorotUniform(0), pool=2)
    weights = [weight.value for weight in model.trainable_weights]

    @tf.function(autograph=False)
    def squares(x, y):
        with tf.GradientTape() as tape:
            logits = model(x[None])[:, 0]
            cost = tf.nn.sparse_softmax_cross_entropy_with_logits(y[None], logits)
        parts = [tf.reshape(part, [-1]) for part in tape.gradient(cost, weights)]
        return tf.concat(parts, axis=0)

    def by_products():
        return noise_scale(backpropagated(model, X, Y))[0]

    def one_by_one():
        each = tf.stack(
            [squares(x, y) for x, y in zip(tf.constant(X), tf.constant(Y), strict=True)]
        )
        full = tf.reduce_mean(each, axis=0)
        scale = tf.reduce_mean(tf.reduce_sum(each**2, axis=1)) / tf.reduce_sum(full**2) - 1
        return float(scale)

    np.testing.assert_allclose(by_products(), one_by_one(), rtol=1e-3)
    ways = {"products of layers": timed(by_products), "a gradient each": timed(one_by_one)}
    return compare("noise scale, 1,000 images, 196-30-10", "milliseconds", ways, 1e3)


def curvatures() -> str:
    """Eight products of the Hessian of a 784-100-10 net with a vector, on 1,000 images."""
    model = keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.Dense(100, "tanh"),
            keras.layers.Dense(10),
        ]
    )
    x, y = X / 255, np.eye(10, dtype="float32")[Y]

    def loss(targets, outputs):
        return keras.ops.sum(keras.ops.square(targets - outputs), axis=-1) / 2

    weights = [weight.value for weight in model.trainable_weights]

    def twice_backwards():
        v = [tf.ones_like(weight) for weight in weights]
        for _ in range(8):
            with tf.GradientTape() as outer:
                with tf.GradientTape() as tape:
                    cost = tf.reduce_mean(loss(y, model(x)))
                gradient = tape.gradient(cost, weights)
                along = sum(tf.reduce_sum(a * b) for a, b in zip(gradient, v, strict=True))
            product = outer.gradient(along, weights)
            norm = tf.linalg.global_norm(product)
            v = [part / norm for part in product]
        return float(norm)

    ways = {
        "compiled": timed(sharpness(model, loss, x, y, 8, seed=0)),
        "eager, twice backwards": timed(twice_backwards),
    }
    return compare("8 Hessian products, 1,000 images, 784-100-10", "milliseconds", ways, 1e3)


def surfaces() -> str:
    """The cost of a 784-100-10 net at 51 x 51 places on a plane; the slow way at 51 of them."""
    stack = [keras.layers.Dense(100, "relu"), keras.layers.Dense(10)]
    model = keras.Sequential([keras.Input((28, 28)), keras.layers.Flatten(), *stack])
    loss, axis = keras.losses.SparseCategoricalCrossentropy, np.linspace(-1, 1, 51)
    model.compile("sgd", loss(from_logits=True))
    x, weights = X / 255, model.get_weights()
    plane = random_directions(weights, 2, seed=0)
    near = Landscape(model, loss(from_logits=True, reduction=None), x, Y)

    def row():
        costs = []
        for place in axis:
            moved = [a - b + place * c for a, b, c in zip(weights, *plane, strict=True)]
            model.set_weights(moved)
            costs.append(model.evaluate(x, Y, batch_size=len(x), verbose=0))
        return costs

    np.testing.assert_allclose(row(), near.surface(plane[::-1], axis, [-1.0])[0], rtol=1e-3)
    one_row = timed(row)
    ways = {
        "compiled": timed(lambda: near.surface(plane, axis, axis)),
        "set_weights and evaluate": lambda: len(axis) * one_row(),
    }
    return compare("surface of 51 x 51, 1,000 images, 784-100-10", "seconds", ways, 1)


def learning_rates() -> str:
    """An epoch of Adam at thirteen learning rates."""

    def epoch(rates, times) -> Callable[[], float]:
        model, clock = nets_alike(len(rates), [64, 64], "relu", HE), Clock()
        model.compile(keras.optimizers.Adam(LearningRates(rates)), total_cost)

        def seconds() -> float:
            clock.ends.clear()
            fit(model, X, Y, batch_size=128, epochs=6, callbacks=[clock], verbose=0)
            return times * clock.epoch_seconds()

        return seconds

    ways = {"together": epoch(RATES, 1), "one after the other": epoch(RATES[:1], len(RATES))}
    work = "13 learning rates, 784-64-64-10, Adam, batch 128"
    return compare(work, "milliseconds for 1,000 images", ways, 1e3)


def measure() -> str:
    """The section of docs/benchmarks.md."""
    about = (
        "Gradients of single examples, curvature, surfaces of the cost, grids of learning rates."
    )
    tables = "\n\n".join((noise_scales(), curvatures(), surfaces(), learning_rates()))
    return f"## Many gradients\n\n{about}\n\n{tables}\n"
