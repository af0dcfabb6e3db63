"""Adversarial examples: images changed a little, in the direction that harms a given model most.

`fgsm` takes one step along the sign of the gradient (Goodfellow, Shlens & Szegedy, Explaining and
harnessing adversarial examples, ICLR 2015), `pgd` many (Madry et al., Towards deep learning models
resistant to adversarial attacks, ICLR 2018). `harm` compares both with random noise of their size,
which tells a robust model from one whose gradient is masked. Models take images and return logits.
One step can leak the true class to an adversarially trained model; its own prediction cannot.
"""

import warnings

import keras
import numpy as np
import tensorflow as tf

AT_ONCE = 500  # images in a mini-batch


def logits(model, x):
    """(n, classes) float32 of images (n, ...)."""
    return np.float32(model.predict(x, batch_size=AT_ONCE, verbose=0))


def fgsm(model, x, y, epsilon, *, targeted=False, clip=(0, 255), norm="inf"):
    """x + epsilon * sign(dJ/dx), within `clip`: `pgd` in one step, with the same arguments."""
    return pgd(model, x, y, epsilon, steps=1, targeted=targeted, clip=clip, norm=norm)


def pgd(model, x, y, epsilon, *, steps=20, seed=None, targeted=False, clip=(0, 255), norm="inf"):
    """Images (n, ...) float32 within epsilon of x that raise the cross-entropy J of y.

    Each step of 2.5 epsilon / steps is projected back to within epsilon. Raises ValueError if an
    argument is not as described, or if the model ends in a softmax.

    Args:
        model: images -> logits (B, classes), called with training=False.
        x, y: images (n, ...) within `clip`, and their true classes (n,).
        epsilon: largest change of a pixel, exact to the last bit; with norm "2", largest Euclidean
            norm of an image's change, up to rounding.
        seed: of a random start within epsilon; None starts at x.
        targeted: lowers J instead; y are the classes that the model should predict.
        clip: least and largest value of a pixel: two numbers, or two arrays (channels,).
        norm: "inf" steps along the sign of the gradient, "2" along the gradient.
    """
    x, y, classes = np.asarray(x, np.float32), np.asarray(y), model.output_shape[-1]
    low, high = clip = np.float32(clip)
    outside, unknown = x[~((low <= x) & (x <= high))], y[~((y >= 0) & (y < classes))]
    last = model.layers[-1]
    softmax = getattr(last, "activation", None) is keras.activations.softmax
    for right, expected, received in (
        (0 <= epsilon < np.inf, "a finite epsilon of at least 0", epsilon),
        (steps >= 1, "at least 1 step", steps),
        (norm in ("inf", "2"), "norm 'inf' or '2'", repr(norm)),
        (len(x) > 0, "at least 1 image", 0),
        (outside.size == 0, f"pixels in {low} .. {high}", outside[:1]),
        (y.shape == (len(x),), f"{len(x)} classes", f"shape {y.shape}"),
        (unknown.size == 0, f"classes in 0 .. {classes - 1}", unknown[:1]),
        (not (softmax or isinstance(last, keras.layers.Softmax)), "logits", "a softmax"),
    ):
        if not right:
            raise ValueError(f"expected {expected}, received {received}")
    step = 2.5 * epsilon / steps * (1 - 2 * targeted)
    start = x if seed is None else noise(x, epsilon, seed, clip=clip, uniform=True, norm=norm)
    specs = tf.TensorSpec((None, *x.shape[1:])), tf.TensorSpec((None,), tf.int32)
    program = tf.function(lambda x, y: loss_gradient(model, x, y), autograph=False)
    gradient = program.get_concrete_function(*specs)
    attacked = []
    for i in range(0, len(x), AT_ONCE):
        batch, labels, now = (a[i : i + AT_ONCE] for a in (x, np.int32(y), start))
        for _ in range(steps):
            g = np.float64(gradient(tf.constant(now), tf.constant(labels)))
            g = np.sign(g) if norm == "inf" else g / image_norms(g)
            now = project(batch, now + step * g, epsilon, clip, norm)
        attacked.append(now)
    return np.concatenate(attacked)


def loss_gradient(model, x, y):
    """d/dx of log sum_(j != y) exp(z_j) - z_y: dJ/dx over 1 - p_y, not rounded to 0 at p_y = 1."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        z = tf.cast(model(x, training=False), tf.float32)
        others = tf.where(tf.one_hot(y, z.shape[-1]) > 0, -np.inf, z)
        loss = tf.reduce_logsumexp(others, axis=-1) - tf.gather(z, y, batch_dims=1)
    return tape.gradient(loss, x)


def project(x, moved, epsilon, clip, norm):
    """`moved` (float64), brought to within epsilon of x (float32) and within `clip`; float32."""
    change = moved - np.float64(x)
    if norm == "2":
        change *= epsilon / np.maximum(image_norms(change), epsilon)
    near = np.clip(np.float32(x + np.clip(change, -epsilon, epsilon)), *clip)
    # Where rounding to float32 exceeds epsilon, the next number toward x.
    return np.where(np.abs(near - np.float64(x)) > epsilon, np.nextafter(near, x), near)


def image_norms(a):
    """(n, ...) -> (n, 1, ...): Euclidean norms of images, above 0 so that they can divide."""
    squares = np.sum(a * a, axis=tuple(range(1, a.ndim)), keepdims=True)
    return np.maximum(np.sqrt(squares), np.finfo(float).tiny)


def noise(x, epsilon, seed, *, clip=(0, 255), uniform=False, norm="inf"):
    """x with each pixel moved by epsilon, up or down at random; `uniform`: by at most epsilon."""
    rng, x = np.random.default_rng(seed), np.asarray(x, np.float32)
    signs = rng.uniform(-1, 1, x.shape) if uniform else 2 * rng.integers(0, 2, x.shape, np.int8) - 1
    return project(x, x + epsilon * np.float64(signs), epsilon, np.float32(clip), norm)


class GradientMaskingWarning(UserWarning):
    """An attack does no more harm than a weaker one: no evidence that the model is robust."""


def harm(model, x, y, epsilon, *, steps=20, seed=0, clip=(0, 255)):
    """Errors (%) by name: on the images ("clean"), and under "noise", "fgsm" and "pgd".

    Arguments as of `pgd`, y the true classes. Warns where `masking` suspects a masked gradient.
    """
    images = {
        "clean": x,
        "noise": noise(x, epsilon, seed, clip=clip),
        "fgsm": fgsm(model, x, y, epsilon, clip=clip),
        "pgd": pgd(model, x, y, epsilon, steps=steps, seed=seed, clip=clip),
    }
    wrong = {name: logits(model, one).argmax(axis=1) != y for name, one in images.items()}
    errors = {name: 100 * float(np.mean(one)) for name, one in wrong.items()}
    if reason := masking(errors):
        warnings.warn(reason, GradientMaskingWarning, stacklevel=2)
    return errors


def masking(errors):
    """Why the errors of `harm` suggest a masked gradient (Athalye et al., ICML 2018), or None."""
    clean, noisy, one, many = (errors[name] for name in ("clean", "noise", "fgsm", "pgd"))
    if clean < noisy >= one:
        return f"noise causes as many errors as an attack ({noisy:.4g} %): masked gradient?"
    if one > many:
        return f"one step causes more errors than many ({one:.4g} %): masked gradient?"
    return None
