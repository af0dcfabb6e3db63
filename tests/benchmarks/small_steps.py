"""Seconds of a small training step: plain Keras, PyTorch, NumPy by hand, and `common.training`.

The overfitting recipe's protocol: 784-30-10, sigmoid, batch 10, 1,000 images.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import keras
import numpy as np
import torch

from common import data, training
from common.experiment import Run
from recipes.overfitting import RECIPE, build_model, cross_entropy
from tests.benchmarks.timing import Clock, compare

EPOCHS, N, BATCH, RATE = 6, 1_000, 10, 0.5
STEPS = N // BATCH


def ours(images: np.ndarray, targets: np.ndarray) -> float:
    clock = Clock()
    training.fit(
        build_model(30, 0),
        images,
        targets,
        optimizer=keras.optimizers.SGD(RATE),
        loss=cross_entropy,
        metrics=["accuracy"],
        batch_size=BATCH,
        epochs=10 * EPOCHS,
        callbacks=[clock],
    )
    return clock.epoch_seconds() / STEPS


def plain_fit(images: np.ndarray, targets: np.ndarray) -> float:
    clock, model = Clock(), build_model(30, 0)
    model.compile(keras.optimizers.SGD(RATE), cross_entropy, metrics=["accuracy"])
    x = data.unit(images)
    model.fit(x, targets, batch_size=BATCH, epochs=EPOCHS, callbacks=[clock], verbose=0)
    return clock.epoch_seconds() / STEPS


def pytorch(images: np.ndarray, targets: np.ndarray) -> float:
    """An eager loop as its tutorials write it, accuracy counted as well."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(784, 30), torch.nn.Sigmoid(), torch.nn.Linear(30, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    x, y = torch.from_numpy(data.unit(images)), torch.from_numpy(targets)
    clock = Clock()
    for epoch in range(EPOCHS):
        correct, total = 0, 0.0
        for rows in torch.from_numpy(training.order(0, epoch, N).astype(np.int64)).split(BATCH):
            optimizer.zero_grad()
            logits = model(x[rows])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, y[rows], reduction="sum"
            )
            (loss / len(rows)).backward()
            optimizer.step()
            total += loss.detach()
            correct += (logits.argmax(1) == y[rows].argmax(1)).sum()
        float(total), int(correct)
        clock.on_epoch_end(epoch)
    return clock.epoch_seconds() / STEPS


def numpy_by_hand(images: np.ndarray, targets: np.ndarray) -> float:
    """The formulas written out for a batch, in float32, cost and accuracy counted as well."""
    w1, b1, w2, b2 = build_model(30, 0).get_weights()
    x_all = data.unit(images).reshape(N, 784)
    clock = Clock()
    for epoch in range(EPOCHS):
        correct, total = 0, 0.0
        for rows in training.order(0, epoch, N).reshape(-1, BATCH):
            x, y = x_all[rows], targets[rows]
            hidden = 1 / (1 + np.exp(-(x @ w1 + b1)))
            z = hidden @ w2 + b2
            a = 1 / (1 + np.exp(-z))
            total += np.sum(np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z))))
            correct += np.sum(z.argmax(1) == y.argmax(1))
            delta = (a - y) / BATCH
            hidden_delta = (delta @ w2.T) * hidden * (1 - hidden)
            w2 -= RATE * (hidden.T @ delta)
            b2 -= RATE * delta.sum(0)
            w1 -= RATE * (x.T @ hidden_delta)
            b1 -= RATE * hidden_delta.sum(0)
        clock.on_epoch_end(epoch)
    return clock.epoch_seconds() / STEPS


CONTENDERS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "common.training.fit": ours,
    "keras.Model.fit": plain_fit,
    "PyTorch, eager loop": pytorch,
    "NumPy, by hand": numpy_by_hand,
}


def whole_protocol(dataset: data.Dataset) -> float:
    """Seconds of one seed of the recipe: 400 epochs, all test images evaluated after each."""
    began = time.perf_counter()
    RECIPE.train(Run(RECIPE.config(), 0, dataset), {})
    return time.perf_counter() - began


def measure() -> str:
    """The section of docs/benchmarks.md."""
    dataset = data.load("mnist", fallback="digits")
    images = dataset.train.images[:N]
    targets = keras.utils.to_categorical(dataset.train.labels[:N], 10)
    work = {name: partial(way, images, targets) for name, way in CONTENDERS.items()}
    table = compare("a step of 10 images", "microseconds", work, scale=1e6)
    return (
        f"## Small steps\n\nThe overfitting recipe's net: 784-30-10, sigmoid, 1,000 images.\n\n"
        f"{table}\n\nOne seed of the recipe on {dataset.name} (400 epochs, {len(dataset.test):,} "
        f"test images after each): {whole_protocol(dataset):.1f} s.\n"
    )
