"""Images near each other in AlexNet's last hidden layer are of one class more often than by pixels.

Source: Krizhevsky, Sutskever & Hinton (NIPS 2012), section 6.1, figures 3 and 4, pictures without
numbers: the filters of the first layer, and the six training images whose last hidden layer is
nearest to a test image's by Euclidean distance.

Differs from the source: CIFAR-10 and the stack of the recipe alexnet, trained briefly. Roughness,
our own number, is the mean squared difference of neighboring weights over twice their variance.

    make recipe-alexnet-features          five to eight minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Higher, Lower
from common.ingredients.alexnet import alexnet
from common.ingredients.layers import Crop
from common.training import fit

NEAREST = 6  # training images found for a test image


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 20_000  # training images, which are searched too
    epochs: int = 6  # passes over them
    learning_rate: float = 0.01  # of gradient descent with momentum .9
    batch_size: int = 64  # images in a mini-batch
    queries: Annotated[int, Examples("test")] = 1_000  # test images, drawn by the seed


ARMS = {"AlexNet": {}}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 32, 32, 3) pixels minus their mean -> (B, 10) logits."""
    return alexnet(10, seed)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, y_train), (x_test, y_test) = data
    x_train, y_train = x_train[: config.n_train], y_train[: config.n_train]
    mean = x_train.mean(axis=0, dtype="float32")
    net = build_model(config, arm, seed)
    before = net.get_layer("conv1").get_weights()[0]
    model = keras.Sequential([keras.Input((32, 32, 3)), Crop(32, mean, margin=4, seed=seed), net])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sgd = keras.optimizers.SGD(config.learning_rate, momentum=0.9)
    model.compile(sgd, loss, metrics=["accuracy"])
    fit(model, x_train, y_train, batch_size=config.batch_size, epochs=config.epochs)
    filters = net.get_layer("conv1").get_weights()[0]
    chosen = np.random.default_rng(seed).permutation(len(x_test))[: config.queries]
    queries, labels = x_test[chosen], y_test[chosen]
    probe = keras.Model(net.inputs[0], [net.get_layer("dense7").output, net.output])
    (features, logits), (among, _) = (
        probe.predict(x - mean, batch_size=500, verbose=0) for x in (queries, x_train)
    )
    right = logits.argmax(axis=1) == labels
    pixels = (x.reshape(len(x), -1).astype("float32") for x in (queries, x_train))
    found = {"features": nearest(features, among), "pixels": nearest(*pixels)}
    metrics = {
        "roughness of the trained filters": roughness(filters),
        "roughness of the untrained filters": roughness(before),
        "test accuracy (%)": 100 * np.mean(right),
    }
    for name, indices in found.items():
        same = 100 * np.mean(y_train[indices] == labels[:, None])
        metrics[f"nearest {NEAREST} by {name} of the same class (%)"] = same
    shown = np.argsort(~right, kind="stable")[:5]  # the right ones first
    rows = [[queries[i], *x_train[indices[i]]] for i in shown for indices in found.values()]
    return Outcome(metrics, pictures={"untrained": before, "trained": filters, "nearest": rows})


def nearest(queries: np.ndarray, among: np.ndarray, k: int = NEAREST) -> np.ndarray:
    """Rows (n, d) -> the k rows of `among` (m, d) at the smallest Euclidean distance, (n, k)."""
    # |among|^2 - 2 queries among^T; |query|^2 is the same for all of a row.
    distance = np.square(among).sum(axis=1) - 2 * queries @ among.T
    return np.argsort(distance, axis=1)[:, :k]


def roughness(filters: np.ndarray) -> float:
    """Mean over filters (H, W, channels, n) of the roughness defined above."""
    centered = filters - filters.mean(axis=(0, 1))
    steps = [np.square(np.diff(centered, axis=axis)).mean(axis=(0, 1)) for axis in (0, 1)]
    return float(np.mean(np.mean(steps, axis=0) / (2 * np.square(centered).mean(axis=(0, 1)))))


# ---- findings
SAME, ROUGHNESS = f"nearest {NEAREST} by %s of the same class (%%)", "roughness of the %s filters"
SMOOTHER = {"than_metric": ROUGHNESS % "untrained", "ratio": True}
SOURCE = "Krizhevsky et al. 2012, section 6.1"
FINDINGS = (
    Higher(SAME % "features", "AlexNet", than_metric=SAME % "pixels", source=SOURCE),
    Lower(ROUGHNESS % "trained", "AlexNet", **SMOOTHER, source=SOURCE),
)


def plot(results: Results):
    """The filters before and after training, and the images nearest to test images."""
    figure, axes = figures.panels(results.titled("AlexNet's filters and features"), 1, 3)
    for panel, which in zip(axes[0], ("untrained", "trained"), strict=False):
        filters = np.moveaxis(results.picture(which, "AlexNet"), -1, 0)
        low, high = (f(filters, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
        rough = results.metric(ROUGHNESS % which, "AlexNet").mean()
        title = f"filters, {which}: roughness {rough:.2f}"
        figures.show(panel, (filters - low) / (high - low), 4, title)
    rows = results.picture("nearest", "AlexNet").reshape(-1, 32, 32, 3) / 255
    title = "test image, then the nearest by features\nand, in the row below, by pixels"
    figures.show(axes[0, 2], rows, 1 + NEAREST, title)
    return figure


SMOKE = {"n_train": 128, "epochs": 1, "queries": 20}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, datasets=("cifar10",), seeds=3)

if __name__ == "__main__":
    main(RECIPE)
