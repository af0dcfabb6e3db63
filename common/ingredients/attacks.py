"""Adversarial examples: images changed a little, in the direction that harms a given model most.

`fgsm` takes one step along the sign of the gradient (Goodfellow, Shlens & Szegedy, Explaining and
harnessing adversarial examples, ICLR 2015), `pgd` many (Madry et al., Towards deep learning models
resistant to adversarial attacks, ICLR 2018). `harm` compares both with random noise of their size,
which tells a robust model from one whose gradient is masked. Models take images and return logits.
Against an adversarially trained model pass its predictions as y: the true labels may leak into a
single step (Kurakin, Goodfellow & Bengio, Adversarial machine learning at scale, ICLR 2017).
"""

import warnings

import keras
import numpy as np
import tensorflow as tf

AT_ONCE = 500  # images in a mini-batch


def fgsm(model, x, y, epsilon, *, targeted=False, clip=(0, 255)):
    """x + epsilon * sign(dJ/dx), within `clip`: `pgd` with one step."""
    return pgd(model, x, y, epsilon, steps=1, targeted=targeted, clip=clip)


def pgd(model, x, y, epsilon, *, steps=20, seed=None, targeted=False, clip=(0, 255)):
    """Images (n, ...) float32 within epsilon of x that raise the cross-entropy J of y.

    Each step of 2.5 epsilon / steps along the gradient's sign is projected back to within epsilon.

    Args:
        model: images -> logits (B, classes), called with training=False.
        x, y: images (n, ...) within `clip`, and their true classes (n,).
        epsilon: largest change of a pixel, exact to the last bit.
        steps: at least 1.
        seed: of a random start within epsilon; None starts at x.
        targeted: lowers J instead; y are the classes that the model should predict.
        clip: least and largest value of a pixel: two numbers, or two arrays (channels,).

    Raises ValueError for arguments outside these ranges and for a model that ends in a softmax.
    """
    x, y, (low, high) = np.float32(x), np.int32(y), np.float32(clip)
    classes, last = model.output_shape[-1], model.layers[-1]
    softmax = getattr(last, "activation", None) is keras.activations.softmax
    if not 0 <= epsilon < np.inf:
        raise ValueError(f"expected a finite epsilon of at least 0, received {epsilon}")
    if steps < 1:
        raise ValueError(f"expected steps of at least 1, received {steps}")
    if not np.all((low <= x) & (x <= high)):
        raise ValueError(f"expected pixels in {low} .. {high}, received {x.min()} .. {x.max()}")
    if y.shape != (len(x),) or not np.all((y >= 0) & (y < classes)):
        received = f"shape {y.shape} in {y.min()} .. {y.max()}"
        raise ValueError(f"expected {len(x)} classes in 0 .. {classes - 1}, received {received}")
    if softmax or isinstance(last, keras.layers.Softmax):
        raise ValueError("expected logits, received a softmax")
    gradient, step = loss_gradient(model, x.shape[1:]), 2.5 * epsilon / steps * (1 - 2 * targeted)
    attacked = np.copy(x) if seed is None else noise(x, epsilon, seed, clip=clip, uniform=True)
    for batch in (slice(i, i + AT_ONCE) for i in range(0, len(x), AT_ONCE)):
        for _ in range(steps):
            g = gradient(tf.constant(attacked[batch]), tf.constant(y[batch])).numpy()
            moved = attacked[batch] + step * np.sign(np.float64(g))
            attacked[batch] = project(x[batch], moved, epsilon, clip)
    return attacked


def loss_gradient(model, shape):
    """-> compiled (B, *shape), (B,) -> d/dx of log sum_(j != y) exp(z_j) - z_y.

    This is dJ/dx over 1 - p_y: of the same sign, and not rounded to 0 where p_y rounds to 1.
    """

    @tf.function(autograph=False)
    def gradient(x, y):
        with tf.GradientTape() as tape:
            tape.watch(x)
            z = tf.cast(model(x, training=False), tf.float32)
            others = tf.where(tf.one_hot(y, z.shape[-1]) > 0, -np.inf, z)
            loss = tf.reduce_logsumexp(others, axis=-1) - tf.gather(z, y, batch_dims=1)
        return tape.gradient(loss, x)

    specs = tf.TensorSpec((None, *shape)), tf.TensorSpec((None,), tf.int32)
    return gradient.get_concrete_function(*specs)


def project(x, moved, epsilon, clip):
    """`moved` (float64), brought to within epsilon of x (float32) and within `clip`; float32."""
    change = np.clip(moved - np.float64(x), -epsilon, epsilon)
    near = np.clip(np.float32(x + change), *np.float32(clip))
    # Where rounding to float32 exceeds epsilon, the next number toward x.
    return np.where(np.abs(near - np.float64(x)) > epsilon, np.nextafter(near, x), near)


def noise(x, epsilon, seed, *, clip=(0, 255), uniform=False):
    """x with each pixel moved by epsilon, up or down at random; `uniform`: by at most epsilon."""
    rng, x = np.random.default_rng(seed), np.float32(x)
    signs = rng.uniform(-1, 1, x.shape) if uniform else 2 * rng.integers(0, 2, x.shape, np.int8) - 1
    return project(x, x + epsilon * np.float64(signs), epsilon, clip)


def probabilities(model, x):
    """(n, classes) float32 of images (n, ...), by a model that returns logits."""
    batches = [x[i : i + AT_ONCE] for i in range(0, len(x), AT_ONCE)]
    # Each replica answers for the whole batch.
    logits = np.concatenate([model.predict_on_batch(some)[: len(some)] for some in batches])
    logits = logits.astype("float32")
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


def error(model, x, y):
    """Error (%) on images x of true classes y."""
    return 100 * np.mean(probabilities(model, x).argmax(axis=1) != y)


def harm(model, x, y, epsilon, *, steps=20, seed=0, clip=(0, 255)):
    """Errors (%) by name: on the images ("clean"), and under "noise", "fgsm" and "pgd".

    Arguments as of `pgd`, y the true classes. Warns where FGSM does no more harm than noise, or PGD
    less than FGSM: the gradient may be masked, and the model not robust (Athalye et al. 2018).
    """
    images = {
        "clean": x,
        "noise": noise(x, epsilon, seed, clip=clip),
        "fgsm": fgsm(model, x, y, epsilon, clip=clip),
        "pgd": pgd(model, x, y, epsilon, steps=steps, seed=seed, clip=clip),
    }
    errors = {name: error(model, attacked, y) for name, attacked in images.items()}
    clean, noisy, one, many = errors.values()
    if clean < noisy >= one or one > many:
        warnings.warn(f"masked gradient? Errors (%): {errors}", stacklevel=2)
    return errors
