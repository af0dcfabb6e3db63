"""How strongly the cost is curved."""

import numpy as np
import tensorflow as tf


def sharpness(model, loss, x, y, iterations, seed):
    """-> a compiled function () -> the largest eigenvalue of the Hessian of the mean loss.

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

    return lambda: float(largest())


def softmax_curvature(x, logits, penalty, seed):
    """-> the largest eigenvalue of softmax regression's Hessian, and its vector of length 1.

    The cost is the mean cross-entropy, and penalty / 2 times the sum of the squared parameters. The
    eigenvector has the parameters' form: kernel (in, C) and bias (C,).

    Args:
        x: inputs (n, in).
        logits: the outputs (n, C) for these.
        penalty: weight of the parameters' squares.
        seed: of the vector from which the power method starts.
    """
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p, x = p / p.sum(axis=1, keepdims=True), np.hstack([x, np.ones((len(x), 1))])
    v = np.random.default_rng(seed).normal(size=(x.shape[1], p.shape[1]))
    for _ in range(200):
        v = v / np.linalg.norm(v)
        z = p * (x @ v)
        product = x.T @ (z - p * z.sum(axis=1, keepdims=True)) / len(x) + penalty * v
        h, v = np.sum(v * product), product
    v = v / np.linalg.norm(v)
    return h, (v[:-1], v[-1])
