"""Adversarial examples: images changed a little, each in the way that harms a given net most.

`fgsm` is one step along the sign of the loss's gradient (Goodfellow, Shlens & Szegedy, Explaining
and harnessing adversarial examples, ICLR 2015); `pgd` takes many smaller ones (Madry et al.,
Towards deep learning models resistant to adversarial attacks, ICLR 2018). `harm` holds both against
random noise of the same size, which tells a robust net from one that merely hides its gradient.

Models take images and give logits. The cross-entropy's own gradient vanishes where a net is sure
of its answer, and before that loses its digits. It is (1 - p_y) times the gradient of
log sum_(j != y) exp(z_j) - z_y, which does neither; only the direction matters, so that is used.
"""

from __future__ import annotations

import warnings
import weakref
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
    return _attack(model, x, y, epsilon, x, epsilon, 1, targeted, clip, norm)


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
    size = 2.5 * epsilon / steps if step_size is None else step_size
    start = x if seed is None else noise(x, epsilon, seed, clip=clip, uniform=True, norm=norm)
    return _attack(model, x, y, epsilon, start, size, steps, targeted, clip, norm)


def noise(
    x: np.ndarray,
    epsilon: float,
    seed: int,
    *,
    clip: Range = (0, 1),
    uniform: bool = False,
    norm: Norm = "inf",
) -> np.ndarray:
    """x with every pixel epsilon up or down by the toss of a coin; `uniform`: by up to epsilon.

    The yardstick of an attack: as large, but blind. With norm "2" the whole move is shortened to
    length epsilon.
    """
    rng = np.random.default_rng(seed)
    if uniform:
        move = epsilon * rng.uniform(-1, 1, x.shape)
    else:
        move = epsilon * (2 * rng.integers(0, 2, x.shape, dtype=np.int8) - 1)
    low, high = (np.asarray(bound, np.float32) for bound in clip)
    return _within(tf.constant(x), tf.constant(x + move), epsilon, (low, high), norm).numpy()


def logits(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """The model's answers to images (n, ...): (n, classes) float32."""
    program = _program(model, "forward")
    return np.concatenate([program(tf.constant(x[i : i + BATCH])) for i in range(0, len(x), BATCH)])


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
    said = "the gradient may be masked, and the net less robust than it looks"
    for attack in ("fgsm", "pgd"):
        if errors["clean"] < errors["noise"] >= errors[attack]:
            return f"noise errs as often as {attack} ({errors['noise']:.4g} %): {said}"
    if errors["fgsm"] > errors["pgd"]:
        return f"one step errs more often than many ({errors['fgsm']:.4g} %): {said}"
    return None


def _attack(model, x, y, epsilon, start, size, steps, targeted, clip, norm) -> np.ndarray:
    """`steps` of `size` from `start`, over all examples, in batches. Arguments are checked here."""
    if not 0 <= epsilon < np.inf:
        raise ValueError(f"expected a finite epsilon of at least 0, received {epsilon}")
    if norm not in ("inf", "2"):
        raise ValueError(f"expected norm 'inf' or '2', received {norm!r}")
    last = model.layers[-1]
    softmax = getattr(last, "activation", None) is keras.activations.softmax
    if softmax or isinstance(last, keras.layers.Softmax):
        raise ValueError("expected a model that gives logits, received one with a softmax")
    x, start = np.asarray(x, np.float32), np.asarray(start, np.float32)
    low, high = (np.broadcast_to(np.float32(bound), x.shape[1:]) for bound in clip)
    if not np.all((low <= x) & (x <= high)):
        raise ValueError(
            f"expected images within {clip[0]} .. {clip[1]}, received {x.min()} .. {x.max()}"
        )
    if isinstance(y, str):
        if y != "predicted" or targeted:
            raise ValueError(f"expected classes, or 'predicted' if not targeted, received {y!r}")
        y = logits(model, x).argmax(axis=1)
    y, classes = np.asarray(y, np.int32), model.output_shape[-1]
    if y.shape != (len(x),) or len(x) == 0:
        raise ValueError(f"expected {len(x) or 'some'} classes, received shape {y.shape}")
    if y.min() < 0 or y.max() >= classes:
        raise ValueError(
            f"expected classes from 0 to {classes - 1}, received {y.min()} .. {y.max()}"
        )
    numbers = np.float64(epsilon), np.float64(size), np.int32(steps), np.float32(1 - 2 * targeted)
    settings = [tf.constant(one) for one in (*numbers, low, high)]
    program = _program(model, norm)
    parts = [
        program(*(tf.constant(a[i : i + BATCH]) for a in (x, y, start)), *settings).numpy()
        for i in range(0, len(x), BATCH)
    ]
    return np.concatenate(parts)


# One program a model, made at the first attack on it and gone with it.
_PROGRAMS: weakref.WeakKeyDictionary[keras.Model, dict] = weakref.WeakKeyDictionary()


def _program(model: keras.Model, kind: Norm | Literal["forward"]) -> Callable[..., tf.Tensor]:
    """Compiled: x -> logits, or (x, y, start, epsilon, size, steps, sign, low, high) -> attacked x.

    The latter in the norm that `kind` names.
    """
    programs = _PROGRAMS.setdefault(model, {})
    key = (kind, *map(id, model.layers))  # layers may have been added since
    if key not in programs:
        shape = model.input_shape[1:]
        model = weakref.proxy(model)  # else the program would keep its own key alive
        images, bound = tf.TensorSpec((None, *shape)), tf.TensorSpec(shape)
        classes, count = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((), tf.int32)
        number, sign = tf.TensorSpec((), tf.float64), tf.TensorSpec(())

        def forward(x):
            return tf.cast(model(x, training=False), tf.float32)

        def attack(x, y, start, epsilon, size, steps, sign, low, high):
            def body(i: tf.Tensor, now: tf.Tensor) -> list[tf.Tensor]:
                move = size * _direction(model, now, y, sign, kind)
                moved = tf.cast(now, tf.float64) + move
                return [i + 1, _within(x, moved, epsilon, (low, high), kind)]

            return tf.while_loop(lambda i, _: i < steps, body, [tf.constant(0), start])[1]

        if kind == "forward":
            program, inputs = forward, [images]
        else:
            program = attack
            inputs = [images, classes, images, number, number, count, sign, bound, bound]
        compiled = tf.function(program, autograph=False)
        programs[key] = compiled.get_concrete_function(*inputs)
    return programs[key]


def _direction(model, now: tf.Tensor, y: tf.Tensor, sign: tf.Tensor, norm: Norm) -> tf.Tensor:
    """Of unit length in the norm, float64: where the loss grows most to first order."""
    with tf.GradientTape() as tape:
        tape.watch(now)
        z = tf.cast(model(now, training=False), tf.float32)
        own = tf.one_hot(y, z.shape[-1], on_value=True, off_value=False, dtype=tf.bool)
        others = tf.reduce_logsumexp(tf.where(own, -np.inf, z), axis=-1)
        loss = sign * tf.reduce_sum(others - tf.gather(z, y, batch_dims=1))
    gradient = tf.cast(tape.gradient(loss, now), tf.float64)
    if norm == "inf":
        return tf.sign(gradient)
    return tf.math.divide_no_nan(gradient, _lengths(gradient))


def _lengths(move: tf.Tensor) -> tf.Tensor:
    """Euclidean lengths of moves (B, ...), (B, 1, ...)."""
    axes = list(range(1, len(move.shape)))
    return tf.sqrt(tf.reduce_sum(tf.square(move), axes, keepdims=True))


def _within(x: tf.Tensor, moved: tf.Tensor, epsilon: float, clip: tuple, norm: Norm = "inf"):
    """What of `moved` (float64) lies no further than epsilon from x (float32), and within clip.

    In double precision, and where rounding to float32 went beyond epsilon, one number back: the
    bound holds as it is written.
    """
    start = tf.cast(x, tf.float64)
    move = moved - start
    if norm == "2":
        share = tf.math.divide_no_nan(tf.cast(epsilon, tf.float64), _lengths(move))
        move *= tf.minimum(tf.ones((), tf.float64), share)
        return tf.clip_by_value(tf.cast(start + move, tf.float32), *clip)
    move = tf.clip_by_value(move, -epsilon, epsilon)
    near = tf.clip_by_value(tf.cast(start + move, tf.float32), *clip)
    beyond = tf.abs(tf.cast(near, tf.float64) - start) > epsilon
    return tf.where(beyond, tf.math.nextafter(near, x), near)
