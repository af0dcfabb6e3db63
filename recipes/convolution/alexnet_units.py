"""The images that excite a deep unit of AlexNet most are more often of one class.

Source: Zeiler & Fergus (ECCV 2014), sections 4 and 4.2, pictures without numbers: the patches that
excite a unit most, what in them does so, and the output while a gray square hides a part.

Differs from the source: CIFAR-10, the stack of the recipe alexnet, trained briefly, and a number of
our own, the share of the commonest class. The paper's projection is replaced by the gradient of the
response with respect to the pixels (Simonyan et al. 2014), which differs at the ReLUs only.

    make recipe-alexnet-units          five to eight minutes on 2 cores
"""

import itertools
from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
import tensorflow as tf
from annotated_types import Ge, Le
from keras import layers, ops

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Higher
from common.ingredients.alexnet import alexnet
from common.ingredients.layers import Crop
from common.training import fit

LAYERS, UNITS = [f"conv{i}" for i in range(1, 6)], (0, 16)  # the units in the figure
MOST, SIDE = 9, 96  # images that excite a unit most; pixels of a picture of what does so


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 20_000  # training images, the first ones
    epochs: int = 6  # passes over them
    learning_rate: float = 0.01  # of gradient descent with momentum .9
    batch_size: int = 64  # images in a mini-batch
    n_shown: Annotated[int, Ge(MOST), Examples("test")] = 2_000  # test images that units see
    square: Annotated[int, Ge(1), Le(32)] = 8  # side of the gray square, pixels


ARMS = {"AlexNet": {}}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 32, 32, 3) pixels minus their mean -> (B, 10) logits."""
    return alexnet(10, seed)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, y_train), (x_test, y_test) = data
    x_train, y_train = x_train[: config.n_train], y_train[: config.n_train]
    mean = x_train.mean(axis=0, dtype="float32")
    net = build_model(config, arm, seed)
    model = keras.Sequential([keras.Input((32, 32, 3)), Crop(32, mean, margin=4, seed=seed), net])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sgd = keras.optimizers.SGD(config.learning_rate, momentum=0.9)
    model.compile(sgd, loss, metrics=["accuracy"])
    fit(model, x_train, y_train, batch_size=config.batch_size, epochs=config.epochs)
    chosen = np.random.default_rng(seed).permutation(len(x_test))[: config.n_shown]
    images, labels = x_test[chosen] - mean, y_test[chosen]
    outputs = [layers.GlobalMaxPooling2D()(net.get_layer(name).output) for name in LAYERS]
    probe = keras.Model(net.inputs[0], [*outputs, net.output])
    *strongest, logits = probe.predict(images, batch_size=500, verbose=0)
    right = logits.argmax(axis=1) == labels
    metrics, excited = {"test accuracy (%)": 100 * np.mean(right)}, []
    for name, output, responses in zip(LAYERS, outputs, strongest, strict=True):
        metrics[f"commonest class of {MOST} images, {name} (%)"] = purity(responses, labels)
        for unit in UNITS:
            image = images[responses[:, unit].argmax()]
            excited += exciting(image, mean, keras.Model(net.inputs[0], output[:, unit]))
    shown = np.argsort(~right, kind="stable")[:5]  # the right ones first
    hidden = [probabilities(probe, images[i], config.square)[..., labels[i]] for i in shown]
    tests = x_test[chosen][shown] / 255
    return Outcome(metrics, pictures={"excited": excited, "images": tests, "hidden": hidden})


def purity(strongest: np.ndarray, labels: np.ndarray) -> float:
    """Strongest responses (n, units), labels (n,) -> mean share of the commonest class (%)."""
    most = labels[np.argsort(-strongest, axis=0)[:MOST]]
    alive = strongest.max(axis=0) > 0  # units that respond at all
    return 100 * np.mean([np.bincount(classes).max() / MOST for classes in most.T[alive]])


def exciting(image: np.ndarray, mean: np.ndarray, unit: keras.Model) -> list[np.ndarray]:
    """The patch of an image that excites a unit, and the gradient of its response there.

    `image` is (32, 32, 3) minus `mean`; `unit` takes (1, 32, 32, 3) to the unit's strongest
    response. Both pictures show its receptive field, enlarged, (SIDE, SIDE, 3) in 0..1.
    """
    with tf.GradientTape() as tape:
        tape.watch(x := tf.constant(image[None]))
        response = unit(x)
    gradient = tape.gradient(response, x)[0].numpy()
    rows, columns = (np.flatnonzero(np.abs(gradient).sum(axis=(axis, 2))) for axis in (1, 0))
    if len(rows) == 0:  # a unit that never responds
        return 2 * [np.ones((SIDE, SIDE, 3), "float32")]
    both = np.stack([(image + mean) / 255, 0.5 + gradient / np.abs(gradient).max() / 2])
    field = both[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    how = {"interpolation": "nearest", "pad_to_aspect_ratio": True, "fill_value": 1.0}
    return list(ops.convert_to_numpy(ops.image.resize(field, (SIDE, SIDE), **how)))


def probabilities(probe: keras.Model, image: np.ndarray, side: int) -> np.ndarray:
    """Classes' probabilities by position of a gray square on an image, (p, p, classes)."""
    places = range(0, 33 - side, 2)
    hidden = np.repeat(image[None], len(places) ** 2, axis=0)
    for one, (row, column) in zip(hidden, itertools.product(places, places), strict=True):
        one[row : row + side, column : column + side] = 0
    softmax = ops.softmax(probe.predict(hidden, batch_size=500, verbose=0)[-1])
    return np.reshape(softmax, (len(places), len(places), -1))


# ---- findings
SOURCE, COMMONEST = "Zeiler & Fergus 2014", f"commonest class of {MOST} images, %s (%%)"
FINDINGS = (Higher(COMMONEST % "conv5", "AlexNet", than_metric=COMMONEST % "conv1", source=SOURCE),)


def plot(results: Results):
    """What excites units, of how many classes that is, and where hiding matters."""
    title = results.titled("What excites AlexNet's units")
    figure, [[units, share, images, hidden]] = figures.panels(title, 1, 4)
    units.get_gridspec().set_width_ratios([5, 4, 2, 2])
    figures.show(units, results.picture("excited", "AlexNet"), 4, "two units: patch, gradient")
    for row, name in enumerate(LAYERS):
        units.text(-3, (SIDE + 2) * (row + 0.5), name, ha="right", va="center")
    shares = np.array([results.metric(COMMONEST % name, "AlexNet") for name in LAYERS]).T
    figures.lines(share, shares, "each seed", figures.COLORS[0])
    title, y = f"{MOST} images that excite a unit most", "of the commonest class (%), each seed"
    figures.label(share, title, "convolution", y)
    share.set_ylim(0)
    figures.show(images, results.picture("images", "AlexNet"), 1, "test\nimage")
    maps, title = results.picture("hidden", "AlexNet"), "probability while\na square hides"
    figures.show(hidden, maps, 1, f"{title}\n(blue 0, yellow 1)", cmap="YlGnBu_r")
    return figure


SMOKE = {"n_train": 128, "epochs": 1, "n_shown": 100}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, datasets=("cifar10",), seeds=3)

if __name__ == "__main__":
    main(RECIPE)
