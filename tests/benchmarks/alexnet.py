"""Images a second of AlexNet beside the same net in PyTorch, and whether reading keeps up."""

from __future__ import annotations

import tempfile
import time
from functools import partial
from pathlib import Path

import keras
import numpy as np
import torch
from PIL import Image

from common import images, results, training
from recipes.alexnet import VARIANTS, build_model
from tests.benchmarks.timing import Clock, compare, spread

SETTINGS = {"grouped": (32, 1), "cifar": (128, 4)}  # images in a mini-batch, mini-batches timed
EPOCHS = 3  # the first one is not counted


def examples(variant: str) -> tuple[np.ndarray, np.ndarray]:
    """Noise of the right shape: what is in the images does not matter to the time."""
    batch, steps = SETTINGS[variant]
    rng, side = np.random.default_rng(0), VARIANTS[variant]["side"]
    pixels = rng.integers(0, 256, (batch * steps, side, side, 3), dtype=np.uint8)
    return pixels, rng.integers(0, 10, batch * steps, dtype=np.int32)


def ours(variant: str, precision: str) -> float:
    """Seconds of an epoch."""
    clock = Clock()
    keras.config.set_dtype_policy(precision)
    try:
        training.fit(
            build_model(variant, 10, seed=0),
            *examples(variant),
            optimizer=keras.optimizers.SGD(0.01, 0.9),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            batch_size=SETTINGS[variant][0],
            epochs=EPOCHS,
            callbacks=[clock],
        )
    finally:
        keras.config.set_dtype_policy("float32")
        keras.utils.clear_session()
    return clock.epoch_seconds()


def torch_net(variant: str) -> torch.nn.Module:
    """The same stack; PyTorch divides alpha by n."""
    nn, stack = torch.nn, VARIANTS[variant]
    size, stride, border = stack["first"]
    maps, units, groups = stack["maps"], stack["units"], stack["groups"]
    norm = partial(nn.LocalResponseNorm, 5, alpha=5e-4, beta=0.75, k=2.0)
    padding = size // 2 if border == "same" else 0
    layers = [nn.Conv2d(3, maps[0], size, stride, padding), nn.ReLU(), norm(), nn.MaxPool2d(3, 2)]
    layers += [nn.Conv2d(maps[0], maps[1], 5, 1, 2, groups=groups), nn.ReLU(), norm()]
    layers += [nn.MaxPool2d(3, 2), nn.Conv2d(maps[1], maps[2], 3, 1, 1), nn.ReLU()]
    for i in (3, 4):
        layers += [nn.Conv2d(maps[i - 1], maps[i], 3, 1, 1, groups=groups), nn.ReLU()]
    layers += [nn.MaxPool2d(3, 2), nn.Flatten()]
    for _ in range(2):
        layers += [nn.LazyLinear(units), nn.ReLU(), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.LazyLinear(10))


def pytorch(variant: str, precision: str) -> float:
    """An eager loop as its tutorials write it."""
    batch, steps = SETTINGS[variant]
    torch.manual_seed(0)
    pixels, labels = (torch.from_numpy(array) for array in examples(variant))
    pixels, labels = pixels.permute(0, 3, 1, 2).contiguous(), labels.long()
    model = torch_net(variant)
    model(pixels[:1].float())  # makes the lazy layers
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    half = torch.autocast("cpu", torch.bfloat16, enabled=precision == "mixed_bfloat16")
    for epoch in range(EPOCHS):
        if epoch == 1:
            began = time.perf_counter()
        for step in range(steps):
            part = slice(step * batch, (step + 1) * batch)
            optimizer.zero_grad()
            with half:
                logits = model(pixels[part].float() / 255)
            torch.nn.functional.cross_entropy(logits.float(), labels[part]).backward()
            optimizer.step()
    return (time.perf_counter() - began) / (EPOCHS - 1)


def reading(n: int = 200) -> str:
    """Photographs of 500 x 375 a second: cut for the first time, and read from the cache."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        files = [Path(name) / f"{i}.jpg" for i in range(n)]
        for file in files:
            coarse = rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC).save(file)
        began = time.perf_counter()
        pixels = [square for _, square, _ in images.cut(((f.name, f, 0) for f in files), 256)]
        cut = n / (time.perf_counter() - began)
        np.stack(pixels).tofile(Path(name) / "all")
        mapped = np.memmap(Path(name) / "all", np.uint8, "r", shape=(n, 256, 256, 3))
        rates = []
        for _ in range(5):
            rows = np.sort(rng.permutation(n)[:128])
            began = time.perf_counter()
            mapped[rows].sum()
            rates.append(128 / (time.perf_counter() - began))
    return (
        f"Reading JPEGs of 500 x 375 to squares of 256: {cut:,.0f} a second the first time; later, "
        f"mapped from the cache, {spread(rates)} a second (min / median / max)."
    )


def measure() -> str:
    """The section of docs/benchmarks.md."""
    half = results.computes_in_bfloat16()
    parts = ["## AlexNet\n", "A training step without augmentation, images a second.\n"]
    for variant, (batch, steps) in SETTINGS.items():
        ways = {
            "PyTorch eager, float32": partial(pytorch, variant, "float32"),
            "common.training.fit, float32": partial(ours, variant, "float32"),
        }
        if half:
            ways["PyTorch eager, bfloat16"] = partial(pytorch, variant, "mixed_bfloat16")
            ways["common.training.fit, bfloat16"] = partial(ours, variant, "mixed_bfloat16")
        side = VARIANTS[variant]["side"]
        work = f"{variant}, {side} x {side}, batch {batch}"
        table = compare(work, "images a second", ways, batch * steps, per_second=True)
        parts.append(table + "\n")
    if not half:
        parts.append("bfloat16 was not measured: this processor does not compute in it.\n")
    return "\n".join([*parts, reading()]) + "\n"
