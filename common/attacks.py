"""Adversarial examples: images changed a little, each in the way that harms a given net most.

`fgsm` is one step along the sign of the loss's gradient (Goodfellow, Shlens & Szegedy, Explaining
and harnessing adversarial examples, ICLR 2015); `pgd` takes many smaller ones (Madry et al.,
Towards deep learning models resistant to adversarial attacks, ICLR 2018). `harm` holds both against
random noise of the same size, which tells a robust net from one that merely hides its gradient.

Models take images and give logits. The cross-entropy's own gradient vanishes where a net is sure
of its answer. It is (1 - p_y) times that of log sum_(j != y) exp(z_j) - z_y, which never does; since
only the direction matters, the latter is used, in every precision.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

BATCH = 500  # images attacked at once

Labels = np.ndarray | Literal["predicted"]
Range = tuple[float | np.ndarray, float | np.ndarray]
Norm = Literal["inf", "2"]


class GradientMaskingWarning(UserWarning):
    """The attack does no more harm than noise: its failure is no evidence of robustness."""


def fgsm(
    model: keras.Model,
    x: np.ndarray,
    y: Labels,
    epsilon: float,
    *,
    targeted: bool = False,
    clip: Range = (0, 1),
    norm: Norm = "inf",
) -> np.ndarray:
    """x + epsilon * sign(dJ/dx), within the range of images. The model is left as it was.

    Args:
        model: images -> logits (B, classes), called as for prediction.
        x: images (n, ...), float32 within `clip`.
        y: classes (n,) whose cross-entropy J is raised: the true ones, or `"predicted"`, the
            model's own answers. True ones tell it nothing new only if it was not trained on such
            images: after adversarial training a single step may leak the label it was made with.
            With `targeted`, the classes that the model shall see instead.
        epsilon: no pixel moves further than this, exactly. With norm "2", no image does.
        targeted: lower the cross-entropy of y.
        clip: the least and the largest value of a pixel, each a number or an array (channels,).
        norm: "inf", or "2" for x + epsilon * g / |g|_2.

    Returns:
        float32, as x.

    Raises:
        ValueError: shapes that disagree, classes that the model does not have, an epsilon that is
            negative or not finite, images outside `clip`, another norm, or a softmax at the end.
    """
    step = _Step(model, x, y, epsilon, targeted, clip, norm)
    return step.batched(lambda x, y: step.moved(x, x, y, epsilon))


def pgd(
    model: keras.Model,
    x: np.ndarray,
    y: Labels,
    epsilon: float,
    *,
    steps: int = 20,
    step_size: float | None = None,
    seed: int | None = None,
    targeted: bool = False,
    clip: Range = (0, 1),
    norm: Norm = "inf",
) -> np.ndarray:
    """`fgsm` in many steps, each followed by the way back to within epsilon of x.

    Args as in `fgsm`, and:
        steps: how many.
        step_size: of each; None: 2.5 * epsilon / steps, enough to cross the whole range.
        seed: begin at a random place within epsilon; None: at x.

    Raises ValueError as `fgsm`, and for fewer than one step or a step that is not positive.
    """
    if steps < 1:
        raise ValueError(f"expected at least 1 step, received {steps}")
    if step_size is not None and not 0 < step_size < np.inf:
        raise ValueError(f"expected a finite step_size above 0, received {step_size}")
    step = _Step(model, x, y, epsilon, targeted, clip, norm)
    size = 2.5 * epsilon / steps if step_size is None else step_size

    def attack(x: tf.Tensor, y: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
        def body(i: tf.Tensor, now: tf.Tensor) -> list[tf.Tensor]:
            return [i + 1, step.moved(x, now, y, size)]

        return tf.while_loop(lambda i, _: i < steps, body, [tf.constant(0), start])[1]

    start = x if seed is None else noise(x, epsilon, seed, clip=clip, uniform=True)
    return step.batched(attack, start)


def noise(
    x: np.ndarray, epsilon: float, seed: int, *, clip: Range = (0, 1), uniform: bool = False
) -> np.ndarray:
    """x with every pixel epsilon up or down by the toss of a coin; `uniform`: by up to epsilon.

    The yardstick of an attack: as large, but blind.
    """
    rng = np.random.default_rng(seed)
    if uniform:
        move = epsilon * rng.uniform(-1, 1, x.shape)
    else:
        move = epsilon * (2 * rng.integers(0, 2, x.shape, dtype=np.int8) - 1)
    bounds = [np.asarray(bound, np.float32) for bound in clip]
    return _within(tf.constant(x), tf.constant(x + move), epsilon, bounds).numpy()


def logits(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """The model's answers to images (n, ...): (n, classes) float32."""
    spec = tf.TensorSpec((None, *x.shape[1:]), tf.float32)
    program = tf.function(lambda x: tf.cast(model(x, training=False), tf.float32), autograph=False)
    program = program.get_concrete_function(spec)
    parts = [program(tf.constant(x[i : i + 1_000])) for i in range(0, len(x), 1_000)]
    return np.concatenate(parts)


def harm(
    model: keras.Model,
    x: np.ndarray,
    y: np.ndarray,
    epsilon: float,
    *,
    steps: int = 20,
    seed: int = 0,
    clip: Range = (0, 1),
) -> dict[str, float]:
    """Errors (%) on images as they are (`clean`), and under `noise`, `fgsm` and `pgd`.

    Args as in `pgd`, y the true classes.

    Warns:
        GradientMaskingWarning: noise of the same size errs as often as an attack, or one step
            more often than many: then the gradient does not show the way (Athalye, Carlini &
            Wagner, Obfuscated gradients give a false sense of security, ICML 2018).
    """
    images = {
        "clean": x,
        "noise": noise(x, epsilon, seed, clip=clip),
        "fgsm": fgsm(model, x, y, epsilon, clip=clip),
        "pgd": pgd(model, x, y, epsilon, steps=steps, seed=seed, clip=clip),
    }
    errors = {
        name: 100 * float(np.mean(logits(model, one).argmax(axis=1) != y))
        for name, one in images.items()
    }
    if said := masking(errors):
        warnings.warn(said, GradientMaskingWarning, stacklevel=2)
    return errors


def masking(errors: dict[str, float]) -> str | None:
    """What in the errors that `harm` measured speaks for a masked gradient; None if nothing."""
    for better, worse in (("fgsm", "noise"), ("pgd", "noise"), ("pgd", "fgsm")):
        if errors[better] <= errors[worse] and errors[worse] > errors["clean"]:
            return (
                f"{worse} errs as often as {better} ({errors[worse]:.4g} and {errors[better]:.4g} "
                "%): the gradient may be masked, and the net less robust than it looks"
            )
    return None


class _Step:
    """Checked arguments, and one compiled step away from x."""

    def __init__(self, model, x, y, epsilon, targeted, clip, norm):
        if not 0 <= epsilon < np.inf:
            raise ValueError(f"expected a finite epsilon of at least 0, received {epsilon}")
        if norm not in ("inf", "2"):
            raise ValueError(f"expected norm 'inf' or '2', received {norm!r}")
        if getattr(model.layers[-1], "activation", None) is keras.activations.softmax:
            raise ValueError("expected a model that gives logits, received one with a softmax")
        self.clip = [np.asarray(bound, np.float32) for bound in clip]
        self.x = np.asarray(x, np.float32)
        if not (np.all(self.x >= self.clip[0]) and np.all(self.x <= self.clip[1])):
            raise ValueError(
                f"expected images within {clip[0]} .. {clip[1]}, "
                f"received {np.min(x)} .. {np.max(x)}"
            )
        classes = model.output_shape[-1]
        if isinstance(y, str):
            if y != "predicted" or targeted:
                raise ValueError(f"expected classes or 'predicted' (not targeted), received {y!r}")
            y = logits(model, self.x).argmax(axis=1)
        self.y = np.asarray(y, np.int32)
        if self.y.shape != (len(x),):
            raise ValueError(f"expected {len(x)} classes, received shape {self.y.shape}")
        if len(x) == 0 or self.y.min() < 0 or self.y.max() >= classes:
            raise ValueError(
                f"expected images with classes from 0 to {classes - 1}, received "
                f"{sorted({*self.y.tolist()} - {*range(classes)}) or 'none'}"
            )
        self.model, self.epsilon, self.norm = model, epsilon, norm
        self.sign = -1 if targeted else 1

    def batched(self, attack: Callable[..., tf.Tensor], *more: np.ndarray) -> np.ndarray:
        """attack(x, y, *more) over all examples, compiled for batches of any length."""
        examples = [self.x, self.y, *more]
        specs = [tf.TensorSpec((None, *one.shape[1:]), one.dtype) for one in examples]
        program = tf.function(attack, autograph=False).get_concrete_function(*specs)
        parts = [
            program(*(tf.constant(one[i : i + BATCH]) for one in examples))
            for i in range(0, len(self.x), BATCH)
        ]
        return np.concatenate(parts)

    def moved(self, x: tf.Tensor, now: tf.Tensor, y: tf.Tensor, size: float) -> tf.Tensor:
        """One step from `now`, where the harm is largest to first order."""
        with tf.GradientTape() as tape:
            tape.watch(now)
            z = tf.cast(self.model(now, training=False), tf.float32)
            own = tf.one_hot(y, z.shape[-1], dtype=tf.bool, on_value=True, off_value=False)
            others = tf.reduce_logsumexp(tf.where(own, -np.inf, z), axis=-1)
            loss = self.sign * tf.reduce_sum(others - tf.gather(z, y, batch_dims=1))
        gradient = tf.cast(tape.gradient(loss, now), tf.float64)
        if self.norm == "inf":
            direction = tf.sign(gradient)
        else:
            length = _lengths(gradient)
            direction = tf.math.divide_no_nan(gradient, length)
        further = tf.cast(now, tf.float64) + size * direction
        return _within(x, further, self.epsilon, self.clip, self.norm)


def _lengths(move: tf.Tensor) -> tf.Tensor:
    """Euclidean lengths of moves (B, ...), (B, 1, ...)."""
    axes = list(range(1, len(move.shape)))
    return tf.sqrt(tf.reduce_sum(tf.square(move), axes, keepdims=True))


def _within(x: tf.Tensor, moved: tf.Tensor, epsilon: float, clip: list, norm: Norm = "inf"):
    """What of `moved` (float64) lies no further than epsilon from x (float32), and within clip.

    In double precision, and where rounding to float32 went beyond epsilon, one number back: the
    bound holds as it is written.
    """
    start = tf.cast(x, tf.float64)
    move = moved - start
    if norm == "2":
        move *= tf.minimum(1.0, tf.math.divide_no_nan(np.float64(epsilon), _lengths(move)))
        return tf.clip_by_value(tf.cast(start + move, tf.float32), *clip)
    move = tf.clip_by_value(move, -epsilon, epsilon)
    near = tf.clip_by_value(tf.cast(start + move, tf.float32), *clip)
    beyond = tf.abs(tf.cast(near, tf.float64) - start) > epsilon
    return tf.where(beyond, tf.math.nextafter(near, x), near)
