"""How strongly the cost is curved."""

import numpy as np
import tensorflow as tf


def sharpness(model, loss, x, y, iterations, seed):
    """-> a compiled function () -> the Hessian's largest eigenvalue, and its vector of length 1.

    The Hessian is that of the mean loss, and the vector has the form of `model.trainable_weights`.

    Of largest magnitude, that is; while a net learns it is positive. Power iterations start from a
    random vector, and at the next call from where the last one ended: after few changes of the
    weights few `iterations` are enough. The Hessian's product with a vector is the derivative of
    the gradient along it.

    Args:
        model: built; its trainable weights are those that count.
        loss: (targets (B, ...), outputs (B, ...)) -> (B,).
        x, y: all examples, as the model and the loss take them.
        iterations: of the power method at each call.
        seed: of the random vector.
    """
    weights, rng = [one.value for one in model.trainable_weights], np.random.default_rng(seed)
    vector = [tf.Variable(rng.normal(size=one.shape), dtype="float32") for one in weights]
    x, y = tf.constant(x), tf.constant(y)

    def iterate(i, v, product):
        norm = tf.linalg.global_norm(product)
        v = [one / norm for one in product]
        with tf.autodiff.ForwardAccumulator(weights, v) as along:
            with tf.GradientTape() as tape:
                mean = tf.reduce_mean(loss(y, model(x)))
            gradient = tape.gradient(mean, weights)
        return i + 1, v, along.jvp(gradient)

    @tf.function(autograph=False, jit_compile=True)
    def largest():
        start = [one.read_value() for one in vector]
        _, v, product = tf.while_loop(
            lambda i, *_: i < iterations, iterate, (tf.constant(0), start, start)
        )
        for one, value in zip(vector, product, strict=True):
            one.assign(value)
        return sum(tf.reduce_sum(a * b) for a, b in zip(v, product, strict=True))

    def measure():
        value, norm = float(largest()), tf.linalg.global_norm(vector)
        return value, [(one / norm).numpy() for one in vector]

    return measure
