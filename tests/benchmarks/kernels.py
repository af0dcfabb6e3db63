"""The operations that large steps spend their time in: what no training loop can mend."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
import tensorflow as tf
import torch

from tests.benchmarks.timing import compare

TIMES = 20  # in a round
IMAGES = 500  # at once, as an attack takes them
RNG = np.random.default_rng(0)


def uniform(*shape: int) -> np.ndarray:
    return RNG.random(shape, np.float32)


def seconds(operation: Callable[[], object]) -> float:
    """Of one call, the first not counted."""
    operation()
    began = time.perf_counter()
    for _ in range(TIMES):
        operation()
    return (time.perf_counter() - began) / TIMES


def products() -> str:
    """A mini-batch times a layer's weights, as in dropout's net."""
    x, w = uniform(100, 1024), uniform(1024, 1024)
    torch_x, torch_w, tf_w = torch.from_numpy(x), torch.from_numpy(w), tf.constant(w)
    by_tf = partial(tf.function(lambda x: x @ tf_w, autograph=False), tf.constant(x))
    by_xla = tf.function(lambda x: x @ tf_w, autograph=False, jit_compile=True)
    ways = {
        "TensorFlow": by_tf,
        "XLA": partial(by_xla, tf.constant(x)),
        "PyTorch": lambda: torch_x @ torch_w,
        "NumPy": lambda: x @ w,
    }
    timed = {name: partial(seconds, way) for name, way in ways.items()}
    work = "100 x 1024 times 1024 x 1024"
    return compare(work, "GFLOP/s", timed, 2e-9 * 100 * 1024**2, per_second=True)


def image_gradients() -> str:
    """Of the attacked conv net's first layer, from its pooled maps back to the image."""
    images, upstream = uniform(IMAGES, 28, 28, 1), uniform(IMAGES, 13, 13, 16)
    kernel = uniform(3, 3, 1, 16)

    @partial(tf.function, autograph=False)
    def by_tf(x, upstream):
        with tf.GradientTape() as tape:
            tape.watch(x)
            maps = tf.nn.conv2d(x, kernel, 1, "VALID")
            pooled = tf.nn.max_pool2d(maps, 2, 2, "VALID")
        return tape.gradient(pooled, x, upstream)

    torch_kernel = torch.from_numpy(kernel).permute(3, 2, 0, 1).contiguous()
    torch_upstream = torch.from_numpy(upstream).permute(0, 3, 1, 2).contiguous()

    def by_torch():
        x = torch.from_numpy(images).permute(0, 3, 1, 2).contiguous().requires_grad_()
        maps = torch.nn.functional.conv2d(x, torch_kernel)
        torch.nn.functional.max_pool2d(maps, 2).backward(torch_upstream)
        return x.grad

    tensors = tf.constant(images), tf.constant(upstream)
    np.testing.assert_allclose(by_tf(*tensors)[..., 0], by_torch()[:, 0], rtol=1e-4, atol=1e-4)
    timed = {
        "TensorFlow": partial(seconds, partial(by_tf, *tensors)),
        "PyTorch": partial(seconds, by_torch),
    }
    work = "convolution, pooling, and back to the image"
    return compare(work, "microseconds an image", timed, 1e6 / IMAGES)


def measure() -> str:
    """The section of docs/benchmarks.md."""
    about = "Single operations that large steps consist of, and that no training loop can mend."
    return f"## Where large steps go\n\n{about}\n\n{products()}\n\n{image_gradients()}\n"
