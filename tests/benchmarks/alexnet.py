"""Images a second of AlexNet at full size beside PyTorch, and whether reading keeps up."""

from __future__ import annotations

import contextlib
import tempfile
import time
from functools import partial
from pathlib import Path

import keras
import numpy as np
import torch
from PIL import Image

from common.data import photographs
from common.ingredients.alexnet import PUBLISHED, alexnet
from common.training import fit
from tests.benchmarks.timing import Clock, compare, spread

BATCH = 32
CIFAR = {"side": 32, "first": (5, 1, "same"), "maps": (32, 64, 96, 96, 64), "units": 512}
EPOCHS = 3  # the first one is not counted


def examples() -> tuple[np.ndarray, np.ndarray]:
    """Noise of the right shape: what is in the images does not matter to the time."""
    rng, side = np.random.default_rng(0), PUBLISHED["side"]
    pixels = rng.integers(0, 256, (BATCH, side, side, 3), dtype=np.uint8)
    return pixels, rng.integers(0, 10, BATCH, dtype=np.int32)


def ours(precision: str) -> float:
    """Seconds of a step."""
    clock = Clock()
    keras.config.set_dtype_policy(precision)
    try:
        model = alexnet(10, seed=0, **PUBLISHED)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.01, 0.9), loss)
        fit(
            model,
            *examples(),
            batch_size=BATCH,
            epochs=EPOCHS,
            verbose=0,
            callbacks=[clock],
        )
    finally:
        keras.config.set_dtype_policy("float32")
        keras.utils.clear_session()
    return clock.epoch_seconds()


def torch_net(stack: dict, normalized: bool = True) -> torch.nn.Module:
    """The same stack, or without its local response normalization; PyTorch divides alpha by n."""
    nn = torch.nn
    size, stride, border = stack["first"]
    maps, units, groups = stack["maps"], stack["units"], 2
    lrn = partial(nn.LocalResponseNorm, 5, alpha=5e-4, beta=0.75, k=2.0)
    norm = lrn if normalized else nn.Identity
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


def pytorch(precision: str, normalized: bool = True) -> float:
    """Seconds of a step, in an eager loop as PyTorch's tutorials write it."""
    torch.manual_seed(0)
    pixels, labels = (torch.from_numpy(array) for array in examples())
    pixels, labels = pixels.permute(0, 3, 1, 2).contiguous(), labels.long()
    model = torch_net(PUBLISHED, normalized)
    model(pixels[:1].float())  # makes the lazy layers
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, weight_decay=5e-4)
    half = torch.autocast("cpu", torch.bfloat16, enabled=precision == "mixed_bfloat16")
    for epoch in range(EPOCHS):
        if epoch == 1:
            began = time.perf_counter()
        optimizer.zero_grad()
        with half:
            logits = model(pixels.float() / 255)
        torch.nn.functional.cross_entropy(logits.float(), labels).backward()
        optimizer.step()
    return (time.perf_counter() - began) / (EPOCHS - 1)


def reading(n: int = 200) -> str:
    """Photographs of 500 x 375 a second: cut for the first time, and read from a mapped file."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        files = [Path(name) / f"{i}.jpg" for i in range(n)]
        for file in files:
            coarse = rng.integers(0, 256, (15, 20, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC).save(file)
        began = time.perf_counter()
        pixels = [photographs.square(file, 256) for file in files]
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
        f"Reading JPEGs of 500 x 375 to squares of 256, on one core: {cut:,.0f} a second the first "
        f"time; later, mapped from the cache, {spread(rates)} a second (min / median / max)."
    )


def computes_in_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 numbers itself; elsewhere they are slower."""
    with contextlib.suppress(OSError):
        flags = Path("/proc/cpuinfo").read_text()
        return any(flag in flags for flag in ("amx_bf16", "avx512_bf16"))
    return False


def measure() -> str:
    """The section of docs/benchmarks.md."""
    ways = {
        "PyTorch eager, float32": partial(pytorch, "float32"),
        "PyTorch eager, float32, without LRN": partial(pytorch, "float32", normalized=False),
        "fit, float32": partial(ours, "float32"),
    }
    half = "bfloat16 was not measured: this processor does not compute in it.\n\n"
    if computes_in_bfloat16():
        half = ""
        ways["PyTorch eager, bfloat16"] = partial(pytorch, "mixed_bfloat16")
        ways["fit, bfloat16"] = partial(ours, "mixed_bfloat16")
    work = f"two groups, 227 x 227, batch {BATCH}"
    table = compare(work, "images a second", ways, BATCH, per_second=True)
    return (
        "## AlexNet at full size\n\nA training step without augmentation. PyTorch's local "
        "response normalization (LRN) is a three-dimensional pooling, slow on a processor; "
        f"ours stays in every row.\n\n{table}\n\n{half}{reading()}\n"
    )
