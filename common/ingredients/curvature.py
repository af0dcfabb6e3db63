"""How strongly the cost is curved."""

import inspect

import numpy as np
import tensorflow as tf
from scipy.sparse.linalg import LinearOperator, eigsh


def hessian_product(model, loss, x, y):
    """-> a function v -> the product of the mean loss's Hessian with v.

    It is the derivative of the gradient along v; both have the form of `model.trainable_weights`.

    Args:
        model: built; its trainable weights are those that count.
        loss: (targets (B, ...), outputs (B, ...)) -> (B,).
        x, y: all examples, as the model and the loss take them.
    """
    others = [one.value for one in model.non_trainable_variables]
    x, y = tf.constant(x), tf.constant(y)

    def product(v):
        weights = [tf.convert_to_tensor(one.value) for one in model.trainable_weights]
        with tf.autodiff.ForwardAccumulator(weights, v) as along:
            with tf.GradientTape() as tape:
                tape.watch(weights)
                mean = tf.reduce_mean(loss(y, model.stateless_call(weights, others, x)[0]))
            gradient = tape.gradient(mean, weights)
        return along.jvp(gradient)

    return product


def extreme_eigenvalues(model, loss, x, y, tolerance, seed):
    """-> the lowest and the highest eigenvalue of the mean loss's Hessian, by Lanczos's method.

    Args:
        model, loss, x, y: as for `hessian_product`.
        tolerance: of an eigenvalue, relative.
        seed: of the vector to begin with.
    """
    product = tf.function(hessian_product(model, loss, x, y), autograph=False, jit_compile=True)
    shapes = [tuple(one.shape) for one in model.trainable_weights]
    ends = np.cumsum([np.prod(shape) for shape in shapes])

    def flat(vector):
        parts = np.split(vector.astype("float32").ravel(), ends[:-1])
        parts = [tf.constant(a.reshape(shape)) for a, shape in zip(parts, shapes, strict=True)]
        return np.concatenate([part.numpy().ravel() for part in product(parts)])

    hessian = LinearOperator((ends[-1], ends[-1]), flat, dtype="float32")
    rng = np.random.default_rng(seed)
    how = {"v0": rng.normal(size=ends[-1]).astype("float32"), "ncv": min(60, ends[-1])}
    if "rng" in inspect.signature(eigsh).parameters:  # since SciPy 1.17, for restarts of its search
        how["rng"] = rng
    return np.sort(eigsh(hessian, 2, which="BE", tol=tolerance, return_eigenvectors=False, **how))


def sharpness(model, loss, x, y, iterations, seed):
    """-> a compiled function () -> the Hessian's largest eigenvalue, and its vector of length 1.

    The Hessian is that of the mean loss, and the vector has the form of `model.trainable_weights`.

    The largest in magnitude, which while a net learns is positive. Power iterations start from a
    random vector, and at the next call from where the last one ended: after few changes of the
    weights few `iterations` are enough.

    Args:
        model, loss, x, y: as for `hessian_product`.
        iterations: of the power method at each call.
        seed: of the random vector.
    """
    weights, rng = model.trainable_weights, np.random.default_rng(seed)
    vector = [tf.constant(rng.normal(size=one.shape), "float32") for one in weights]
    hessian = hessian_product(model, loss, x, y)

    def iterate(i, v, product):
        norm = tf.linalg.global_norm(product)
        v = [one / norm for one in product]
        return i + 1, v, hessian(v)

    @tf.function(autograph=False, jit_compile=True)
    def largest(start):
        _, v, product = tf.while_loop(
            lambda i, *_: i < iterations, iterate, (tf.constant(0), start, start)
        )
        return sum(tf.reduce_sum(a * b) for a, b in zip(v, product, strict=True)), product

    def measure():
        nonlocal vector
        value, vector = largest(vector)
        norm = tf.linalg.global_norm(vector)
        return float(value), [(one / norm).numpy() for one in vector]

    return measure


def least_squares(x, targets, steps):
    """Gradient descent on half the squared error of a linear layer from 0, in closed form.

    -> the Hessian's eigenvalues, largest first (D + 1,): those of the second moments of the inputs
    and the bias; the least cost; and the cost above it after 0 .. steps - 1 steps at learning rate
    1 / (largest eigenvalue), (steps,).

    Args:
        x: inputs (n, D).
        targets: (n, K); their squared errors are added over K, and averaged over n.
        steps: how many.
    """
    x = np.pad(x.astype("float64"), ((0, 0), (0, 1)), constant_values=1)
    h, axes = (part[..., ::-1] for part in np.linalg.eigh(x.T @ x / len(x)))
    along = np.sum((axes.T @ (x.T @ targets) / len(x)) ** 2, axis=1)
    kept = h > 1e-9 * h[0]
    above = along[kept] / h[kept] / 2
    powers = (1 - h[kept] / h[0]) ** (2 * np.arange(steps)[:, None])
    return h, np.sum(targets**2) / len(x) / 2 - above.sum(), powers @ above
