"""What replication costs a step: two logical devices on this processor, ours beside Keras's own.

On one processor two replicas cannot be faster than one; the table shows what they cost.
"""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf

from common.training import distribution, fit
from tests.benchmarks.timing import Clock, compare

N, BATCH, EPOCHS = 2_000, 100, 4
RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (N, 28, 28, 1), dtype=np.uint8)
Y = RNG.integers(0, 10, N, dtype=np.int32)


def build(width: int) -> keras.Model:
    hidden = [keras.layers.Dense(width, "relu") for _ in range(2)]
    scaled = [keras.Input((28, 28, 1)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    return keras.Sequential([*scaled, *hidden, keras.layers.Dense(10)])


def settings() -> dict:
    return {
        "optimizer": keras.optimizers.SGD(0.01),
        "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        "metrics": ["accuracy"],
    }


def ours(width: int, shared: bool) -> float:
    """Seconds of an epoch."""
    clock, strategy = Clock(), distribution._State.strategy
    distribution._State.strategy = strategy if shared else tf.distribute.get_strategy()
    try:
        with distribution.scope():
            model = build(width)
            model.compile(**settings())
            fit(model, X, Y, batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=[clock])
    finally:
        distribution._State.strategy = strategy
    return clock.epoch_seconds()


def plain(width: int, shared: bool) -> float:
    """`keras.Model.fit`, on a pipeline that holds the mini-batches ready."""
    clock = Clock()
    batches = tf.data.Dataset.from_tensor_slices((X, Y)).batch(BATCH).cache()
    strategy = distribution._State.strategy if shared else tf.distribute.get_strategy()
    with strategy.scope():
        model = build(width)
        model.compile(**settings())
        model.fit(batches.prefetch(2), epochs=EPOCHS, verbose=0, callbacks=[clock])
    return clock.epoch_seconds()


def main() -> None:
    """In a process of its own, since devices are settled before TensorFlow starts."""
    distribution.start("cpu:2")
    for width in (30, 512):
        work = {
            "one device, fit": lambda w=width: ours(w, shared=False),
            "one device, keras.Model.fit": lambda w=width: plain(w, shared=False),
            "two replicas, fit": lambda w=width: ours(w, shared=True),
            "two replicas, keras.Model.fit": lambda w=width: plain(w, shared=True),
        }
        about = f"784-{width}-{width}-10, batches of {BATCH}"
        print(compare(about, "microseconds a step", work, 1e6 * BATCH / N), "\n", sep="")


def measure() -> str:
    """The section of docs/benchmarks.md."""
    command = [sys.executable, "-m", "tests.benchmarks.replicas"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return (
        "## Replicas\n\nTwo logical devices on one processor, which can gain nothing; the steps "
        f"show what sharing costs.\n\n{done.stdout.strip()}\n"
    )


if __name__ == "__main__":
    main()
