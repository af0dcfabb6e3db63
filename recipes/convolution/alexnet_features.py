"""A well trained net has smoother filters in its first layer than a badly trained one.

Source: lecture of TU Darmstadt: which of two first layers is better? Noise: not converged, a
wrong learning rate, pixels not normalized? Smooth, diverse filters: well trained. Krizhevsky,
Sutskever & Hinton (NIPS 2012), section 6.1, figures 3 and 4, without numbers: the filters, and the
six training images whose last hidden layer is nearest to a test image's by Euclidean distance.

Differs from the source: CIFAR-10; kernels of 9 x 9 at stride 2, where the paper has 11 x 11 at
stride 4. Roughness, our own number, is the mean squared difference of neighboring weights over
twice their variance: 1 for noise. At rate .08 all units of the last hidden layer die for good; at
.01, 90 to 99 % die in epoch 1 and most return; uncentered, they return on one seed of three.

    make recipe-alexnet-features          eight to ten minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Higher, Lower
from common.ingredients.alexnet import alexnet
from common.ingredients.callbacks import Record
from common.ingredients.layers import Crop
from common.ingredients.neighbors import nearest
from common.training import fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 20_000  # training images, which are searched too
    epochs: int = 10  # passes over them
    kernel: int = 9  # size of the first layer's kernels, stride 2
    batch_size: int = 64  # images in a mini-batch
    queries: Annotated[int, Examples("test")] = 1_000  # test images, drawn by the seed


ROUGHNESS, DEAD = "roughness of the filters", "dead units (%)"  # of the last hidden layer
SAME, SHOWN = "nearest 6 by %s of the same class (%%)", 6  # metric; queries in the figure
ARMS = {
    "learning rate .01": {"learning_rate": 0.01, "centered": True},
    ".001, too small": {"learning_rate": 0.001, "centered": True},
    ".08, too large": {"learning_rate": 0.08, "centered": True},
    "pixels not centered": {"learning_rate": 0.01, "centered": False},
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 32, 32, 3) pixels minus their mean -> (B, 10) logits."""
    return alexnet(10, seed, first=(config.kernel, 2, "same"), maps=(30, 48, 64, 64, 48))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, y_train), (x_test, y_test) = data
    x_train, y_train = x_train[: config.n_train], y_train[: config.n_train]
    mean = x_train.mean(axis=0, dtype="float32") * arm["centered"]
    chosen = np.random.default_rng(seed).permutation(len(x_test))[: config.queries]
    queries, labels = x_test[chosen], y_test[chosen]
    net = build_model(config, arm, seed)
    hidden = keras.Model(net.inputs[0], net.get_layer("dense7").output)

    def measure() -> tuple[float, float]:
        responses = hidden.predict(queries - mean, batch_size=500, verbose=0)
        dead = 100 * np.mean(responses.max(axis=0) <= 0)
        return roughness(net.get_layer("conv1").get_weights()[0]), dead

    start, record = measure(), Record(measure)
    model = keras.Sequential([keras.Input((32, 32, 3)), Crop(32, mean, margin=4, seed=seed), net])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(arm["learning_rate"], 0.9), loss, metrics=["accuracy"])
    how = {"batch_size": config.batch_size, "epochs": config.epochs, "callbacks": [record]}
    how |= {"validation_data": (x_test, y_test), "validation_freq": config.epochs}
    history = fit(model, x_train, y_train, **how).history
    metrics = {"test accuracy (%)": 100 * history["val_accuracy"][-1]}
    metrics["roughness, untrained"], curves = start[0], {}
    for name, *values in zip((ROUGHNESS, DEAD), start, *record.values, strict=True):
        metrics[name], curves[name] = values[-1], values
    features = (hidden.predict(x - mean, batch_size=500, verbose=0) for x in (queries, x_train))
    pixels = (x.reshape(len(x), -1).astype("float32") for x in (queries, x_train))
    pictures = {"filters": net.get_layer("conv1").get_weights()[0]}
    for name, found in ("features", nearest(*features)), ("pixels", nearest(*pixels)):
        metrics[SAME % name] = 100 * np.mean(y_train[found] == labels[:, None])
        rows = np.concatenate([queries[:SHOWN, None], x_train[found[:SHOWN]]], axis=1)
        pictures[name] = rows.reshape(-1, *queries.shape[1:]) / 255
    return Outcome(metrics, curves, pictures)


def roughness(filters: np.ndarray) -> float:
    """Mean over filters (H, W, channels, n) of the roughness defined above."""
    centered = filters - filters.mean(axis=(0, 1))
    steps = [np.square(np.diff(centered, axis=axis)).mean(axis=(0, 1)) for axis in (0, 1)]
    return float(np.mean(np.mean(steps, axis=0) / (2 * np.square(centered).mean(axis=(0, 1)))))


# ---- findings
GOOD, SMALL, LARGE, RAW = ARMS
SOURCE = "lecture (TU Darmstadt)"
FINDINGS = (
    Lower(ROUGHNESS, GOOD, than_metric="roughness, untrained", ratio=True, by=2, source=SOURCE),
    Lower(ROUGHNESS, GOOD, than=SMALL, source=SOURCE),
    Lower(ROUGHNESS, SMALL, than=LARGE),
    Higher(DEAD, LARGE, than=GOOD, by=50),
    Higher(SAME % "features", GOOD, than_metric=SAME % "pixels", source="Krizhevsky et al. 2012"),
)


def plot(results: Results):
    """The filters of each arm, roughness and dead units by epoch, and the nearest images."""
    figure, axes = figures.panels(results.titled("First layers, trained well and badly"), 2, 4)
    for panel, arm in zip(axes[0], results.arms, strict=True):
        filters = np.moveaxis(results.picture("filters", arm), -1, 0)
        low, high = (f(filters, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
        accuracy = results.metric("test accuracy (%)", arm).mean()
        title = f"{arm}\ntest accuracy {accuracy:.0f} %"
        figures.show(panel, (filters - low) / (high - low), 6, title)
    epochs = range(results.config["epochs"] + 1)
    for panel, series in zip(axes[1], (ROUGHNESS, DEAD), strict=False):
        figures.curves(panel, results, series, x=epochs)
        panel.set_ylim(0, 102 if series == DEAD else None)
    figures.legend(axes[1, 0])
    for panel, name in zip(axes[1, 2:], ("features", "pixels"), strict=True):
        same = results.metric(SAME % name, GOOD).mean()
        title = f"a test image, its 6 nearest\nby {name}: {same:.0f} % its class"
        figures.show(panel, results.picture(name, GOOD), 7, title)
    return figure


SMOKE = {"n_train": 128, "epochs": 1, "queries": 20}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, datasets=("cifar10",), seeds=3)

if __name__ == "__main__":
    main(RECIPE)
