"""What it costs to train against attacks."""

from __future__ import annotations

from functools import partial

import keras

from common import data, training
from recipes.adversarial_training import ARMS, Config, build_model
from tests.benchmarks.timing import Clock, compare

N, EPOCHS = 5_000, 3


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


def measure() -> str:
    """The section of docs/benchmarks.md."""
    mnist = data.load("mnist", fallback="digits")
    few = mnist.train.first(min(N, len(mnist.train)))
    work = {arm: partial(train, arm, few) for arm in ARMS}
    trained = compare("training", "seconds for an epoch", work, scale=1)
    about = f"The adversarial-training recipe's conv net, {len(few):,} images in batches of 100"
    return f"## Adversarial training\n\n{about}.\n\n{trained}\n"
