"""A net trained on eight classes learns two others from 50 images better than a new one.

Source: the lecture (TU Darmstadt) on deep nets after Krizhevsky et al. 2012; Yosinski, Clune,
Bengio & Lipson, How transferable are features in deep neural networks? (NIPS 2014): features
learnt on other classes help, more so if they are trained on. It has no figures for sets this small.

Differs from the source: CIFAR-10 and the scaled stack of the recipe alexnet. All classes but deer
and horse are learnt first, then these two from 50 to 500 images: from scratch, with the features
frozen and only a new last layer trained, or all trained on at a smaller rate. All take the same
number of steps; test images are the 2,000 of the two classes. Weights start as He's: with AlexNet's
own, a new net learns nothing from so few images, and beating it would show little. Against He's, on
six seeds and after three passes over the eight classes, the gain is sure for 50 images only, and
gone at 500. Frozen features do as well as fine-tuned ones except at 500 images.

    make recipe-fine-tuning          six to eighteen minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np

from common import figures
from common.claims import Band, Effect
from common.command import AtLeast, main
from common.data import Split
from common.experiment import Outcome, Recipe, Run
from common.layers import Crop, small_alexnet
from common.results import Results
from common.training import fit

SOURCE = "Yosinski et al. 2014"
NEW = (4, 7)  # deer and horse
SIZES = (50, 100, 200, 500)


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    n_first: int = 20_000  # images of the eight classes
    epochs: int = 3  # passes over them
    steps: int = 200  # mini-batches on the two classes
    rate: float = 0.01  # learning rate from scratch, on eight classes, of a new last layer alone
    rate_tuned: float = 0.001  # learning rate of the fine-tuned net, its new last layer too
    momentum: Annotated[float, AtLeast(0, below=1)] = 0.9  # of gradient descent
    batch_first: int = 64  # images in a mini-batch of the eight classes
    batch_size: int = 25  # images in a mini-batch of the two classes


ARMS = {
    "scratch": {"first": False, "frozen": False},
    "frozen": {"first": True, "frozen": True},
    "fine-tuned": {"first": True, "frozen": False},
}


def build_model(
    classes: int, seed: int, weights: list[np.ndarray] | None = None, frozen: bool = False
) -> keras.Model:
    """(B, 32, 32, 3) mean-subtracted pixels -> (B, classes) logits: a new last layer on the stack.

    `weights` are those of another such net, of which all but the last layer's are taken.
    """
    net = small_alexnet(classes, seed)
    draws = keras.random.SeedGenerator(seed)
    body = keras.Model(net.inputs[0], net.layers[-2].output)
    body.set_weights(weights[:-2] if weights else [balanced(w, draws) for w in body.get_weights()])
    body.trainable = not frozen
    inputs = keras.Input((32, 32, 3))
    # He's weights are for inputs of deviation one; frozen features are those without dropout.
    features = body(inputs / 64, training=False if frozen else None)
    return keras.Model(inputs, keras.layers.Dense(classes, kernel_initializer="zeros")(features))


def balanced(weight: np.ndarray, draws: keras.random.SeedGenerator) -> np.ndarray:
    """A kernel of He's size, or a bias of zero: AlexNet's own do not begin to learn from so few."""
    if weight.ndim == 1:
        return np.zeros_like(weight)
    return np.array(keras.initializers.HeNormal(seed=draws)(weight.shape))


def only(split: Split, classes: tuple[int, ...]) -> Split:
    """The images of these classes, labelled by their place among them."""
    chosen = np.isin(split.labels, classes)
    labels = np.searchsorted(classes, split.labels[chosen]).astype(np.int32)
    return Split(split.images[chosen], labels)


def learn(run: Run, model: keras.Model, split: Split, rate: float, batch: int, **how) -> dict:
    """Trains in place on parts and mirrors; the history."""
    mean = run.data.train.images.mean(axis=0, dtype=np.float64)
    crop = Crop(32, mean, margin=4, seed=run.seed)
    return fit(
        keras.Sequential([keras.Input((32, 32, 3)), crop, model]),
        split.images,
        split.labels,
        optimizer=keras.optimizers.SGD(rate, run.config.momentum),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        batch_size=batch,
        seed=run.seed,
        **how,
    ).history


_FIRST: dict[tuple, list[np.ndarray]] = {}  # two arms begin with the same net; it is trained once


def first(run: Run) -> list[np.ndarray]:
    """Weights of the stack after training on the eight classes."""
    key = (run.config, run.seed, run.data.sha256)
    if key not in _FIRST:
        net = build_model(8, run.seed)
        eight = only(run.data.train, tuple(sorted({*range(10)} - {*NEW}))).first(run.config.n_first)
        how = {"epochs": run.config.epochs, "callbacks": run.watch(1, 2)}
        learn(run, net, eight, run.config.rate, run.config.batch_first, **how)
        _FIRST.clear()
        _FIRST[key] = net.get_weights()
    return _FIRST[key]


def train(run: Run, arm: dict) -> Outcome:
    config = run.config
    weights = first(run) if arm["first"] else None
    tuned = arm["first"] and not arm["frozen"]
    two, test = (only(split, NEW) for split in (run.data.train, run.data.test))
    metrics = {}
    for number, size in enumerate(SIZES):
        history = learn(
            run,
            build_model(2, run.seed, weights, arm["frozen"]),
            two.first(size),
            config.rate_tuned if tuned else config.rate,
            config.batch_size,
            epochs=1,
            steps_per_epoch=config.steps,
            callbacks=run.watch(len(SIZES) + 1 + number, 2 * len(SIZES)),
            validation_data={"test": (test.images, test.labels)},
        )
        metrics[str(size)] = 100 * (1 - history["test_accuracy"][-1])
    return Outcome(metrics)


def better(arm: str, size: int, more_than: dict[str, float]) -> Effect:
    name = f"{size} images: error {'from ' * (arm == 'scratch')}{arm} over fine-tuned (points)"
    return Effect(name, f"{arm}/{size}", f"fine-tuned/{size}", SOURCE, more_than)


SURE = {"cifar10": 0}
# Means, intervals and deviations over 6 seeds stand beside.
CLAIMS = (
    better("scratch", 50, SURE),  # 5.1 (2.1 .. 8.0)
    better("scratch", 100, {}),  # 3.2 (-3.7 .. 10.0)
    better("scratch", 200, {}),  # 2.2 (-3.3 .. 7.7)
    better("scratch", 500, {}),  # -.1 (-3.1 .. 2.9)
    better("frozen", 50, {}),  # -1.0 (-2.6 .. .6)
    better("frozen", 500, SURE),  # 2.4 (.8 .. 3.9)
    *(  # 29.55 +- .95, 24.16 +- .68
        Band(f"{size} images, fine-tuned: error (%)", f"fine-tuned/{size}", band, "own runs")
        for size, band in ((50, {"cifar10": (26.7, 32.4)}), (500, {"cifar10": (22.1, 26.3)}))
    ),
)


def plot(results: Results):
    figure, axes = figures.panels(results.titled("Deer or horse, after eight other classes"), 1, 1)
    panel = axes[0, 0]
    figures.label(panel, "", "images of the two classes", "test error (%)")
    for color, arm in zip(figures.COLORS, ARMS, strict=False):
        errors = np.array([results.metric(f"{arm}/{size}") for size in SIZES]).T
        figures.curve(panel, errors, arm, color, np.array(SIZES))
    panel.set_xscale("log")
    panel.set_xticks(SIZES, [str(size) for size in SIZES])
    panel.minorticks_off()
    panel.set_ylim(0, 50)
    figures.legend(panel)
    return figure


SMOKE = {"n_first": 128, "epochs": 1, "steps": 4}
PAPER = {"n_first": 40_000, "epochs": 30, "steps": 1_000}
RECIPE = Recipe(
    __doc__, Config, ARMS, train, CLAIMS, plot, SMOKE, PAPER, datasets=("cifar10",), seeds=6, jobs=1
)

if __name__ == "__main__":
    main(RECIPE)
