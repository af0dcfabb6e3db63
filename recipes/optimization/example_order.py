"""Shuffled examples train well; sorted ones do not, and hard ones first only where labels are right.

Source: ...
Differs from the source: ...

    make recipe-example-order          two to three minutes on 2 cores
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge
from keras import layers

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Alike, Exact, Higher, Lower
from common.ingredients.callbacks import Record
from common.training import fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 10_000  # training images, the first ones
    batch_size: int = 50  # images in a mini-batch
    passes: int = 10  # through the training images, or as many examples
    wrong: float = 0.1  # share of the labels that are wrong in the arms with wrong labels


ORDERS = (
    "shuffled",
    "shuffled once",
    "sorted by class",
    "one class a batch",
    "balanced",
    "ranked, 100",
    "ranked, 1e8 to 100",
)
ARMS = {name: {"order": name} for name in ORDERS}
ARMS |= {
    f"wrong labels, {name}": {"order": name, "wrong": True}
    for name in ("shuffled", "ranked, 100", "ranked, 1e8 to 100")
}
ARMS |= {
    f"BN, {name}": {"order": name, "bn": True}
    for name in ("shuffled", "balanced", "one class a batch", "sorted by class")
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 10) logits."""
    he = keras.initializers.HeNormal(keras.random.SeedGenerator(seed))
    x = inputs = keras.Input((28, 28))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(x))
    for width in (256, 128):
        x = layers.Dense(width, kernel_initializer=he)(x)
        x = layers.BatchNormalization()(x) if arm.get("bn") else x
        x = layers.ReLU()(x)
    return keras.Model(inputs, layers.Dense(10, kernel_initializer=he)(x))


class Ordered(keras.utils.PyDataset):
    """Mini-batches of a quarter of a pass, in an order that may depend on the losses."""

    def __init__(self, model, x, y, batch_size, passes, order, rng):
        super().__init__()
        self.model, self.x, self.y, self.batch_size = model, x, y, batch_size
        self.losses, self.costs = losses(model, x, y), []
        self.quarters = quarters(order, self, passes, rng)
        self.rows = next(self.quarters)

    def __len__(self):
        return -(-len(self.rows) // self.batch_size)

    def __getitem__(self, i):
        rows = self.rows[i * self.batch_size :][: self.batch_size]
        return self.x[rows], self.y[rows]

    def on_epoch_end(self):
        self.losses = losses(self.model, self.x, self.y)
        self.costs.append(self.losses.mean())
        self.rows = next(self.quarters, self.rows)


def quarters(order, data, passes, rng):
    n = len(data.y)
    once = rng.permutation(n)
    by_class = once[np.argsort(data.y[once], kind="stable")]
    for t in range(4 * passes):
        if t % 4 == 0:
            rows = rng.permutation(n)
            if order == "shuffled once":
                rows = once
            if order == "sorted by class":
                rows = by_class
            if order == "balanced":
                place = np.empty(n)
                for c in range(10):
                    k = np.flatnonzero(data.y[rows] == c)
                    place[k] = (np.arange(len(k)) + rng.uniform()) / len(k)
                rows = rows[np.argsort(place)]
            if order == "one class a batch":
                r = rows[np.argsort(data.y[rows], kind="stable")].reshape(-1, data.batch_size)
                rows = rng.permutation(r).ravel()
        if order.startswith("ranked") and t >= 4:
            s = 100 if order == "ranked, 100" else 1e8 * 1e-6 ** (t / (4 * passes - 1))
            p = s ** -(np.arange(n) / n)
            yield rng.choice(np.argsort(-data.losses), n // 4, p=p / p.sum())
        else:
            yield rows[t % 4 * n // 4 : (t % 4 + 1) * n // 4]


def losses(model, x, y):
    z = np.concatenate([model.predict_on_batch(x[i : i + 5000]) for i in range(0, len(x), 5000)])
    z = z - z.max(axis=1, keepdims=True)
    return np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x, y), (x_test, y_test) = data
    x, y, rng = x[: config.n_train], y[: config.n_train], np.random.default_rng(seed)
    if arm.get("wrong"):
        y = np.where(
            rng.uniform(size=len(y)) < config.wrong, (y + rng.integers(1, 10, len(y))) % 10, y
        )
    model = build_model(config, arm, seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.001), loss)
    ordered = Ordered(model, x, y, config.batch_size, config.passes, arm["order"], rng)
    errors = Record(
        lambda: (
            100
            * np.mean(
                np.argmax(
                    np.concatenate(
                        [
                            model.predict_on_batch(x_test[i : i + 5000])
                            for i in range(0, len(x_test), 5000)
                        ]
                    ),
                    axis=1,
                )
                != y_test
            )
        )
    )
    fit(model, ordered, None, None, 4 * config.passes, verbose=0, callbacks=[errors])
    return Outcome(
        {"test": errors.values[-1], "cost": ordered.costs[-1]},
        {"test": errors.values, "cost": ordered.costs},
    )
