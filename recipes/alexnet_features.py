"""Inside AlexNet: its first filters grow smooth, and images that it finds alike are alike.

Source: Krizhevsky, Sutskever & Hinton (NIPS 2012), figures 3 and 4: the first layer's filters, and
the six training images whose last hidden layer is nearest to a test image's by Euclidean distance.

Differs from the source: CIFAR-10 and the scaled stack of the recipe alexnet. Without its checkpoint
each seed trains briefly; with it all seeds load one net, and differ in test images and untrained
filters alone. Roughness, our own number, is the mean squared difference of neighbouring weights
over twice their variance: 1 for white noise, less if smooth. Nearest by features is compared with
nearest by raw pixels.

    make recipe-alexnet-features          two to five minutes on 2 cores
"""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from common import checkpoint, figures
from common.claims import Effect
from common.command import main
from common.experiment import Outcome, Recipe, Run
from common.layers import Crop, small_alexnet
from common.results import Results, UsageError
from common.training import fit

SOURCE, NEAREST = "Krizhevsky et al. 2012, 6.1", 6
CHECKPOINT = Path("results/alexnet/AlexNet.0.npz")


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    checkpoint: Path = CHECKPOINT  # of the recipe alexnet, used if it is there
    n_train: int = 10_000  # training images without a checkpoint, and those that are searched
    epochs: int = 5  # passes over them without a checkpoint
    rate: float = 0.01  # learning rate without a checkpoint
    queries: int = 1_000  # test images, drawn by the seed, whose like are searched


ARMS = {"AlexNet": {}}
PICTURES = ("before", "filters", "alike")  # of seed 0


def build_model(seed: int) -> keras.Model:
    """(B, 32, 32, 3) in [-255, 255], mean subtracted -> (B, 10) logits."""
    return small_alexnet(10, seed)


def roughness(filters: np.ndarray) -> float:
    """Filters (H, W, channels, n) -> mean over them, each with its mean taken away."""
    centred = filters - filters.mean(axis=(0, 1), keepdims=True)
    steps = [np.square(np.diff(centred, axis=axis)).mean(axis=(0, 1)) for axis in (0, 1)]
    return float(np.mean(np.mean(steps, axis=0) / (2 * np.square(centred).mean(axis=(0, 1)))))


def nearest(queries: np.ndarray, among: np.ndarray, k: int = NEAREST) -> np.ndarray:
    """Rows (n, d) -> the k rows of `among` (m, d) at the least Euclidean distance, (n, k)."""
    distance = np.square(among).sum(axis=1) - 2 * queries @ among.T  # + |query|^2, the same for all
    return np.argsort(distance, axis=1)[:, :k]


def responses(net: keras.Model, layer: str, x: np.ndarray) -> np.ndarray:
    """A layer's responses to images (n, 32, 32, 3) in [-255, 255], mean subtracted."""
    probe = keras.Model(net.inputs[0], net.get_layer(layer).output)
    program = tf.function(probe, autograph=False).get_concrete_function(
        tf.TensorSpec((None, 32, 32, 3), tf.float32)
    )
    return np.concatenate([program(tf.constant(x[i : i + 500])) for i in range(0, len(x), 500)])


def trained(run: Run) -> tuple[keras.Model, np.ndarray]:
    """The net and the mean image: from the checkpoint, or trained now."""
    config, net = run.config, build_model(run.seed)
    if config.checkpoint.exists():
        about = {"net": "AlexNet cifar", "classes": 10, "data": run.data.name}
        mean, *weights = checkpoint.load(config.checkpoint, about)
        net.set_weights(weights)
        return net, mean
    if config.checkpoint != CHECKPOINT:
        raise UsageError(f"--checkpoint: expected a file, received {config.checkpoint}")
    few = run.data.train.first(config.n_train)
    mean = few.images.mean(axis=0)
    crop = Crop(32, mean, margin=4, seed=run.seed)
    fit(
        keras.Sequential([keras.Input((32, 32, 3)), crop, net]),
        few.images,
        few.labels,
        optimizer=keras.optimizers.SGD(config.rate, 0.9),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        batch_size=64,
        epochs=config.epochs,
        seed=run.seed,
        callbacks=run.watch(),
    )
    return net, mean


def train(run: Run, arm: dict) -> Outcome:
    config, rng = run.config, np.random.default_rng(run.seed)
    before = build_model(run.seed).get_layer(index=1).kernel.numpy()
    net, mean = trained(run)
    filters = net.get_layer(index=1).kernel.numpy()
    among = run.data.train.first(config.n_train)
    chosen = rng.permutation(len(run.data.test))[: config.queries]
    asked, labels = run.data.test.images[chosen], run.data.test.labels[chosen]
    x, queries = ((images - mean).astype(np.float32) for images in (among.images, asked))
    by_features = nearest(responses(net, "dense7", queries), responses(net, "dense7", x))
    by_pixels = nearest(queries.reshape(len(queries), -1), x.reshape(len(x), -1))
    right = responses(net, net.layers[-1].name, queries).argmax(axis=1) == labels
    metrics = {
        "roughness": roughness(filters),
        "roughness_before": roughness(before),
        "alike": 100 * np.mean(among.labels[by_features] == labels[:, None]),
        "alike_pixels": 100 * np.mean(among.labels[by_pixels] == labels[:, None]),
        "accuracy": 100 * np.mean(right),
        "checkpoint": float(config.checkpoint.exists()),
    }
    shown = np.argsort(~right, kind="stable")[:7] if run.seed == 0 else []  # the right ones first
    rows = [
        [asked[i], *among.images[found[i]]] for i in shown for found in (by_features, by_pixels)
    ]
    pictures = dict(zip(PICTURES, (before, filters, np.array(rows)), strict=True))
    series = {name: np.ravel(one).round(5) * (run.seed == 0) for name, one in pictures.items()}
    return Outcome(metrics, series)


CLAIMS = (
    Effect(  # 1.58 (1.45 .. 1.73)
        "first filters: roughness untrained over trained",
        "AlexNet/roughness_before",
        "AlexNet/roughness",
        SOURCE,
        more_than=1,
        ratio=True,
    ),
    Effect(  # 6.7 (5.6 .. 7.9)
        "six nearest of the same class: by features over by pixels (points)",
        "AlexNet/alike",
        "AlexNet/alike_pixels",
        SOURCE,
    ),
)


def plot(results: Results):
    found = results.metric("AlexNet/checkpoint").all()
    source = ", checkpoint" if found else ", briefly trained"
    figure, axes = figures.panels(results.titled("AlexNet's filters and features" + source), 1, 3)
    for panel, name, which in zip(axes[0], PICTURES, ("_before", ""), strict=False):
        filters = results.history(f"AlexNet/{name}")[0].reshape(5, 5, 3, -1)
        low, high = (f(filters, axis=(0, 1, 2)) for f in (np.min, np.max))
        panel.imshow(figures.grid(np.moveaxis((filters - low) / (high - low), -1, 0), 4))
        rough = results.metric(f"AlexNet/roughness{which}").mean()
        title = "untrained" if which else "trained"
        figures.label(panel, f"filters, {title}: roughness {rough:.2f}", "", "")
    alike = results.history("AlexNet/alike")[0].reshape(-1, 32, 32, 3) / 255
    panel = axes[0, 2]
    panel.imshow(figures.grid(alike, 1 + NEAREST))
    figures.label(panel, "nearest: by features, by pixels", "", "")
    for panel in axes[0]:
        panel.set_axis_off()
    return figure


SMOKE = {"n_train": 128, "epochs": 1, "queries": 20}
RECIPE = Recipe(
    __doc__, Config, ARMS, train, CLAIMS, plot, smoke=SMOKE, paper={}, datasets=("cifar10",)
)

if __name__ == "__main__":
    main(RECIPE)
