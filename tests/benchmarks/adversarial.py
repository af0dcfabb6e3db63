"""The cost of training against attacks."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np

from common import data
from common.training import fit
from recipes.attack.adversarial_training import ARMS, Config, build_model
from tests.benchmarks.timing import Clock, compare

N, EPOCHS = 5_000, 3


def train(arm: str, x: np.ndarray, y: np.ndarray) -> float:
    """Seconds of an epoch."""
    clock = Clock()
    model = build_model(Config(), ARMS[arm], seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.001), loss, metrics=["accuracy"])
    fit(model, x, y, batch_size=100, epochs=EPOCHS, verbose=0, callbacks=[clock])
    return clock.epoch_seconds()


def measure() -> str:
    """The section of docs/benchmarks.md."""
    x, y = data.load("mnist", fallback="mnist5k").arrays[0]
    work = {arm: partial(train, arm, x[:N], y[:N]) for arm in ARMS}
    trained = compare("training", "seconds for an epoch", work, scale=1)
    n = min(N, len(x))
    about = f"The conv net of adversarial-training, {n:,} images in mini-batches of 100"
    return f"## Adversarial training\n\n{about}.\n\n{trained}\n"
