"""Images a second of a conv net with and without distortions drawn anew in the compiled step."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np

from common import data
from common.training import fit
from recipes.regularization.augmentation import ARMS, KINDS, Config, build_model
from tests.benchmarks.timing import Clock, compare

N, EPOCHS = 1_000, 4


def train(kind: str, x: np.ndarray, y: np.ndarray) -> float:
    """Seconds of an epoch."""
    clock = Clock()
    model = build_model(Config(), ARMS[f"conv 1000 {kind}"], seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.001), loss)
    fit(model, x, y, batch_size=20, epochs=EPOCHS, verbose=0, callbacks=[clock])
    return clock.epoch_seconds()


def measure() -> str:
    """The section of docs/benchmarks.md."""
    x, y = data.load("mnist", fallback="mnist5k").arrays[0]
    work = {kind: partial(train, kind, x[:N], y[:N]) for kind in KINDS}
    table = compare("distortion", "images a second", work, scale=N, per_second=True)
    return (
        f"## Augmentation\n\nThe augmentation recipe's conv net, mini-batches of 20.\n\n{table}\n"
    )
