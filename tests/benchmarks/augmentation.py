"""Images a second of a conv net with and without distortions drawn anew in the compiled step."""

from __future__ import annotations

from functools import partial

import keras

from common import data, training
from recipes.augmentation import KINDS, Config, build_model
from tests.benchmarks.timing import Clock, compare

N, EPOCHS = 1_000, 4


def train(kind: str, split: data.Split) -> float:
    """Seconds of an epoch."""
    clock = Clock()
    training.fit(
        build_model("conv", kind, Config(), seed=0),
        split.images,
        split.labels,
        optimizer=keras.optimizers.Adam(0.001),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        batch_size=20,
        epochs=EPOCHS,
        callbacks=[clock],
    )
    return clock.epoch_seconds()


def measure() -> str:
    """The section of docs/benchmarks.md."""
    split = data.load("mnist", fallback="digits").train.first(N)
    work = {kind: partial(train, kind, split) for kind in KINDS}
    table = compare("distortion", "images a second", work, scale=N, per_second=True)
    return f"## Augmentation\n\nThe augmentation recipe's conv net, batches of 20.\n\n{table}\n"
