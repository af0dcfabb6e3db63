"""Augmentation keeps a net from learning its images by heart; the net errs on fewer new ones.

Source: Krizhevsky, Sutskever & Hinton (NIPS 2012), sections 3.3, 3.4 and 4, on ImageNet: without
random crops or dropout the net overfits; normalization gains 1.4 points, overlapping pools .4.

Differs from the source: half the maps of the recipe alexnet, 2,500 images of CIFAR-10 at 24 x 24,
and a tenth of the learning rate in the last fifth. "Augmentation" is random crops, mirrors and the
color shift; without it the net sees the center. Dropout slows memorizing, but gains nothing in test
error beyond the seeds' spread (--paper: 2 points), and costs 5 points beside augmentation (--paper:
3). --paper (5,000 images) also varies the best net: without response normalization it errs as
often; with pools of 2 x 2, which leave larger maps and more weights, less often on each seed.

    make recipe-alexnet-ablation          five to nine minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge, Le, Lt
from keras import layers

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Alike, Lower
from common.ingredients.alexnet import alexnet
from common.ingredients.layers import Crop, pca_colors
from common.training import fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 2_500  # training images, the first ones
    side: Annotated[int, Ge(15), Le(32)] = 24  # pixels of the crops
    epochs: int = 50  # passes over the training images
    learning_rate: float = 0.005  # of gradient descent with momentum; a tenth in the last fifth
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9  # of gradient descent
    weight_decay: Annotated[float, Ge(0)] = 5e-4  # times the weights, added to their gradient
    batch_size: int = 32  # images in a mini-batch
    every: int = 10  # epochs between two test errors, the last one at the end

    def __post_init__(self):
        """Raises ValueError if the last epoch is not one of those tested."""
        if min(self.every, self.epochs) > 0 and self.epochs % self.every:
            expected = f"a divisor of the {self.epochs} epochs"
            raise ValueError(f"--every: expected {expected}, received {self.every}")


NEITHER = {"dropout": 0.0, "augmented": False, "normalize": True, "pool": 3}
AUGMENTED = NEITHER | {"augmented": True}
ARMS = {
    "neither": NEITHER,
    "dropout": NEITHER | {"dropout": 0.5},
    "augmentation": AUGMENTED,
    "both": AUGMENTED | {"dropout": 0.5},
    "augmentation, no LRN": AUGMENTED | {"normalize": False},
    "augmentation, pools 2 x 2": AUGMENTED | {"pool": 2},
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, side, side, 3) pixels minus their mean -> (B, 10) logits."""
    parts = {name: arm[name] for name in ("normalize", "pool", "dropout")}
    size = {"side": config.side, "maps": (16, 32, 48, 48, 32)}
    return alexnet(10, seed, weight_decay=config.weight_decay, **size, **parts)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, y_train), test = data
    x_train, y_train = x_train[: config.n_train], y_train[: config.n_train]
    mean = x_train.mean(axis=0, dtype="float64")
    crop = [layers.Rescaling(1.0, -mean, dtype="float32"), layers.CenterCrop(*2 * (config.side,))]
    if arm["augmented"]:
        crop = [Crop(config.side, mean, 0, pca_colors(x_train), seed)]
    net = build_model(config, arm, seed)
    model = keras.Sequential([keras.Input((32, 32, 3)), *crop, net])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    last_fifth = [config.epochs * 4 // 5 * -(-len(x_train) // config.batch_size)]
    values = [config.learning_rate, config.learning_rate / 10]
    rate = keras.optimizers.schedules.PiecewiseConstantDecay(last_fifth, values)
    model.compile(keras.optimizers.SGD(rate, config.momentum), loss, metrics=["accuracy"])
    how = {"batch_size": config.batch_size, "epochs": config.epochs}
    how |= {"validation_data": test, "validation_freq": config.every}
    history = fit(model, x_train, y_train, **how).history
    curves = {
        "training error (%)": 100 * (1 - np.array(history["accuracy"])),
        "test error (%)": 100 * (1 - np.array(history["val_accuracy"])),
    }
    return Outcome({name: curve[-1] for name, curve in curves.items()}, curves)


# ---- findings
TEST, TRAINING, SOURCE = "test error (%)", "training error (%)", "Krizhevsky et al. 2012, section 4"
FINDINGS = (
    Lower(TEST, "augmentation", than="neither", source=SOURCE),
    *(Lower(TRAINING, "neither", than=arm, by=5, source=SOURCE) for arm in list(ARMS)[1:3]),
    Alike(TEST, "augmentation", to="augmentation, no LRN", within=1, preset="paper"),
)


def plot(results: Results):
    """Training and test error by epoch, a panel an arm."""
    title = results.titled("AlexNet with and without dropout and augmentation")
    figure, axes = figures.panels(title, 2, len(results.arms) // 2)
    for panel, arm in zip(axes.T.flat, results.arms, strict=True):
        title = f"{arm}\ntest error {results.metric(TEST, arm).mean():.1f} %"
        figures.label(panel, title, "epoch", "error (%)")
        how = zip((TRAINING, TEST), figures.COLORS, (1, results.config["every"]), strict=False)
        for series, color, every in how:
            figures.lines(panel, results.curves(series, arm), series[:-4], color, every)
        panel.set_ylim(0, 100)
    figures.legend(axes[0, 0])
    return figure


def applies(arm: dict, preset: str, dataset: str) -> bool:
    """The best net without one of its parts is left to --paper, which takes 45 minutes."""
    return preset == "paper" or (arm["normalize"] and arm["pool"] == 3)


SMOKE = {"n_train": 128, "epochs": 2, "every": 1}
PAPER = {"n_train": 5_000, "epochs": 60, "learning_rate": 0.01, "batch_size": 64}
HOW = {"seeds": 3, "applies": applies}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, PAPER, datasets=("cifar10",), **HOW)

if __name__ == "__main__":
    main(RECIPE)
