"""What attacks and training against them cost."""

from __future__ import annotations

import time
from functools import partial

import keras
import numpy as np
import torch

from common import attacks, data, training
from recipes.adversarial_training import ARMS, Config, build_model
from tests.benchmarks.timing import Clock, compare

N, EPOCHS = 5_000, 3
ATTACKED, EPSILON = 10_000, 0.25


def train(arm: str, split: data.Split) -> float:
    """Seconds of an epoch."""
    clock = Clock()
    training.fit(
        build_model(Config(), ARMS[arm], seed=0),
        split.images,
        split.labels,
        optimizer=keras.optimizers.Adam(0.001),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        batch_size=100,
        epochs=EPOCHS,
        callbacks=[clock],
    )
    return clock.epoch_seconds()


def ours(x: np.ndarray, y: np.ndarray) -> float:
    """Seconds; the program is compiled before, as it is once a net."""
    net = build_model(Config(), ARMS["plain"], seed=0)
    attacks.fgsm(net, x[:1], y[:1], EPSILON)
    began = time.perf_counter()
    attacks.fgsm(net, x, y, EPSILON)
    return time.perf_counter() - began


def pytorch(x: np.ndarray, y: np.ndarray) -> float:
    """Seconds of the loop that its tutorials show, in the same batches."""
    nn = torch.nn
    net = nn.Sequential(
        *(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(800, 10)),
    ).eval()
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    images = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()
    labels = torch.from_numpy(y).long()
    began = time.perf_counter()
    for start in range(0, len(x), attacks.BATCH):
        rows = slice(start, start + attacks.BATCH)
        part = images[rows].clone().requires_grad_()
        torch.nn.functional.cross_entropy(net(part), labels[rows], reduction="sum").backward()
        (part.detach() + EPSILON * part.grad.sign()).clamp(0, 1)
    return time.perf_counter() - began


def measure() -> str:
    """The section of docs/benchmarks.md."""
    mnist = data.load("mnist", fallback="digits")
    few = mnist.train.first(min(N, len(mnist.train)))
    work = {arm: partial(train, arm, few) for arm in ARMS}
    trained = compare("training", "seconds for an epoch", work, scale=1)
    x = np.resize(data.unit(mnist.test.images), (ATTACKED, 28, 28, 1))
    y = np.resize(mnist.test.labels, ATTACKED)
    work = {"PyTorch eager": partial(pytorch, x, y), "common.attacks.fgsm": partial(ours, x, y)}
    attacked = compare("FGSM", "images a second", work, scale=ATTACKED, per_second=True)
    about = f"The adversarial-training recipe's conv net, {len(few):,} images in batches of 100"
    return (
        f"## Adversarial images\n\n{about}; then FGSM on {ATTACKED:,} images.\n\n"
        f"{trained}\n\n{attacked}\n"
    )
