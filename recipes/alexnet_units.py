"""Inside AlexNet: the images that excite a deep unit most are more often of one class.

Source: Zeiler & Fergus, Visualizing and understanding convolutional networks (ECCV 2014), sections
4 and 4.2: the patches that excite a unit most, what in them does so, and how the output changes
while a grey square hides a part of the image. That units grow with depth from edges to objects is
shown there in pictures. The number here, our own, is the share of the commonest class among the
nine images that excite a unit most, mean over units; from conv4 to conv5 it no longer grows.

Differs from the source: CIFAR-10 and the scaled stack of the recipe alexnet. Without its checkpoint
each seed trains briefly; with it all seeds load one net, and differ in the test images alone. What
in a patch excites is shown by the gradient of the response with respect to the pixels (Simonyan et
al. 2014), which is Zeiler and Fergus's projection but for what it lets pass at a ReLU.

    make recipe-alexnet-units          two to five minutes on 2 cores
"""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from matplotlib import colormaps

from common import checkpoint, figures
from common.claims import Effect
from common.command import main
from common.experiment import Outcome, Recipe, Run
from common.layers import Crop, small_alexnet
from common.results import Results, UsageError
from common.training import fit

SOURCE, MOST = "Zeiler & Fergus 2014", 9
CHECKPOINT = Path("results/alexnet/AlexNet.0.npz")


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    checkpoint: Path = CHECKPOINT  # of the recipe alexnet, used if it is there
    n_train: int = 10_000  # training images without a checkpoint
    epochs: int = 5  # passes over them without a checkpoint
    rate: float = 0.01  # learning rate without a checkpoint
    n_shown: int = 2_000  # test images, drawn by the seed, that are shown to the units
    square: int = 8  # side of the grey square, pixels


ARMS = {"AlexNet": {}}
LAYERS = [f"conv{i}" for i in range(1, 6)]
PICTURES = ("exciting", "hidden", "probability")  # of seed 0
MIDDLE = 120  # of the pixels' scale, added to mean-subtracted ones to show them


def build_model(seed: int) -> keras.Model:
    """(B, 32, 32, 3) in [-255, 255], mean subtracted -> (B, 10) logits."""
    return small_alexnet(10, seed)


def responses(net: keras.Model, layer: str, x: np.ndarray) -> np.ndarray:
    """A layer's responses to images (n, 32, 32, 3) in [-255, 255], mean subtracted."""
    probe = keras.Model(net.inputs[0], net.get_layer(layer).output)
    program = tf.function(probe, autograph=False).get_concrete_function(
        tf.TensorSpec((None, 32, 32, 3), tf.float32)
    )
    return np.concatenate([program(tf.constant(x[i : i + 500])) for i in range(0, len(x), 500)])


def purity(strongest: np.ndarray, labels: np.ndarray) -> float:
    """Strongest responses (n, units), labels (n,) -> mean share of the commonest class (%)."""
    most = labels[np.argsort(-strongest, axis=0)[:MOST]]
    alive = strongest.max(axis=0) > 0
    return 100 * np.mean([np.bincount(own).max() / MOST for own in most.T[alive]])


def exciting(net: keras.Model, layer: str, unit: int, x: np.ndarray) -> list[np.ndarray]:
    """The patch that excites a unit most, and the gradient of the response there.

    Two squares (32, 32, 3): the unit's receptive field, enlarged, on white.
    """
    maps = responses(net, layer, x)[..., unit]
    i, row, column = np.unravel_index(maps.argmax(), maps.shape)
    probe = keras.Model(net.inputs[0], net.get_layer(layer).output)
    with tf.GradientTape() as tape:
        image = tf.constant(x[i : i + 1])
        tape.watch(image)
        response = probe(image)[0, row, column, unit]
    gradient = tape.gradient(response, image)[0].numpy()
    rows, columns = (np.flatnonzero(np.abs(gradient).sum(axis=(axis, 2))) for axis in (1, 0))
    if len(rows) == 0:  # the unit is dead
        return 2 * [np.full((32, 32, 3), 255.0)]
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    grey = 127.5 * (1 + gradient / np.abs(gradient).max())
    return [fitted(picture[part]) for picture in (x[i] + MIDDLE, grey)]


def fitted(patch: np.ndarray) -> np.ndarray:
    """A patch (h, w, 3) of at most 32 x 32, enlarged and on white (32, 32, 3)."""
    times = 32 // max(patch.shape[:2])
    large = patch.repeat(times, axis=0).repeat(times, axis=1)
    down, right = ((32 - side) // 2 for side in large.shape[:2])
    white = np.full((32, 32, 3), 255.0)
    white[down : down + large.shape[0], right : right + large.shape[1]] = large
    return white


def occluded(net: keras.Model, image: np.ndarray, label: int, side: int) -> np.ndarray:
    """Probability of the label while a grey square hides a part, by the square's place, (p, p)."""
    places = range(0, 32 - side + 1, 2)
    hidden = np.repeat(image[None], len(places) ** 2, axis=0)
    for number, (row, column) in enumerate((r, c) for r in places for c in places):
        hidden[number, row : row + side, column : column + side] = 0
    logits = net(tf.constant(hidden), training=False)
    return tf.nn.softmax(logits).numpy()[:, label].reshape(len(places), len(places))


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
    net, mean = trained(run)
    chosen = rng.permutation(len(run.data.test))[: config.n_shown]
    images, labels = run.data.test.images[chosen], run.data.test.labels[chosen]
    x = (images - mean).astype(np.float32)
    metrics = {name: purity(responses(net, name, x).max(axis=(1, 2)), labels) for name in LAYERS}
    logits = responses(net, net.layers[-1].name, x)
    right = logits.argmax(axis=1) == labels
    shown = np.argsort(~right, kind="stable")[:5]  # the right ones first
    metrics["accuracy"] = 100 * right.sum() / len(labels)
    metrics["checkpoint"] = float(config.checkpoint.exists())
    if run.seed:
        return Outcome(metrics, dict.fromkeys(PICTURES, ()))
    excited = [
        square for name in LAYERS for unit in (0, 16, 31) for square in exciting(net, name, unit, x)
    ]
    maps = [occluded(net, x[i], labels[i], config.square) for i in shown]
    found = np.clip(excited, 0, 255).round(), images[shown], 100 * np.array(maps).round(3)
    return Outcome(metrics, {n: np.ravel(one) for n, one in zip(PICTURES, found, strict=True)})


NAME = "share of the commonest class among nine images, conv5 over conv1 (points)"
CLAIMS = (Effect(NAME, "AlexNet/conv5", "AlexNet/conv1", SOURCE),)  # 17 (5 .. 29) over 3 seeds


def plot(results: Results):
    found = results.metric("AlexNet/checkpoint").all()
    source = ", checkpoint" if found else ", briefly trained"
    figure, axes = figures.panels(results.titled("What excites AlexNet's units" + source), 1, 3)
    excited, shown, maps = (results.history(f"AlexNet/{name}")[0] for name in PICTURES)
    excited, shown = (one.reshape(-1, 32, 32, 3) / 255 for one in (excited, shown))
    side = round((maps.size / len(shown)) ** 0.5)
    colours = colormaps["viridis"](maps.reshape(-1, side, side) / 100)[..., :3]
    hidden = [fitted(255 * one) / 255 for one in colours]
    pairs = np.array([one for pair in zip(shown, hidden, strict=True) for one in pair])
    left, middle, right = axes[0]
    left.imshow(figures.grid(excited, len(excited) // len(LAYERS)))
    figures.label(left, "three units: patch, gradient", "", "")
    rows = excited.shape[1] + 2
    left.set_yticks([rows * (i + 0.5) for i in range(len(LAYERS))], LAYERS)
    left.set_xticks([])
    left.grid(False)
    purities = np.array([results.metric(f"AlexNet/{name}") for name in LAYERS]).T
    figures.lines(middle, purities, "each seed", figures.COLORS[0])
    figures.label(middle, f"{MOST} images that excite a unit", "convolution", "of one class (%)")
    middle.set_ylim(0)
    right.imshow(figures.grid(pairs, 2))
    figures.label(right, "probability while a square hides", "", "")
    right.set_axis_off()
    return figure


SMOKE = {"n_train": 128, "epochs": 1, "n_shown": 100}
RECIPE = Recipe(
    __doc__, Config, ARMS, train, CLAIMS, plot, smoke=SMOKE, paper={}, datasets=("cifar10",)
)

if __name__ == "__main__":
    main(RECIPE)
