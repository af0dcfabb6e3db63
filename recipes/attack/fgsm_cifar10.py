"""A small change makes a net err on nearly all photographs, on average more surely than before.

Source: Goodfellow, Shlens & Szegedy, Explaining and harnessing adversarial examples (ICLR 2015),
section 4: a convolutional maxout net on preprocessed CIFAR-10 errs on 87.15 % of the test images at
epsilon .1, with a mean probability of 96.6 % for its wrong predictions.

Differs from the source: a ReLU net with batch normalization, five epochs on 20,000 images, 2,000
test images (--paper: 60 epochs, all images; not run). Each color has its mean subtracted and is
divided by its standard deviation; epsilon .1 is then about 6 of 255 levels. Pixels stay within what
a photograph can show. Confidence is that in wrong predictions. The net errs more often than theirs,
and is less sure.

    make recipe-fgsm-cifar10          three to ten minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge
from keras import layers

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Higher, Printed
from common.ingredients.attacks import error, fgsm, noise, pgd, probabilities
from common.training import fit

SHARES = (0, 0.1, 0.2, 0.3, 0.5, 0.7, 1)  # of epsilon, in the curves
SHOWN = 4  # images in the figure


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 20_000  # training images, the first ones
    epochs: int = 5  # passes over them
    learning_rate: float = 0.003  # of Adam at the start, falling to 0 along a cosine
    batch_size: int = 50  # images in a mini-batch
    n_test: Annotated[int, Examples("test")] = 2_000  # test images attacked, the first ones
    epsilon: Annotated[float, Ge(0)] = 0.1  # largest change of a pixel, in standard deviations
    steps: int = 10  # of the iterated attack (PGD), which would show a masked gradient


ARMS = {"conv net": {}}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 32, 32, 3) standardized pixels -> (B, 10) logits."""
    he = keras.initializers.HeNormal(seed=keras.random.SeedGenerator(seed))
    x = inputs = keras.Input((32, 32, 3))
    for maps in (32, 64, 128):
        x = layers.Conv2D(maps, 3, padding="same", use_bias=False, kernel_initializer=he)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.MaxPooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, kernel_initializer=he)(layers.Flatten()(x)))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, y_train), (x_test, y_test) = data
    x_train, y_train = x_train[: config.n_train], y_train[: config.n_train]
    mean, std = (np.float32(f(x_train, axis=(0, 1, 2))) for f in (np.mean, np.std))
    net = build_model(config, arm, seed)
    standardize = layers.Normalization(mean=mean, variance=std**2)
    mirror = layers.RandomFlip("horizontal", seed=seed)
    model = keras.Sequential([keras.Input((32, 32, 3)), standardize, mirror, net])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    steps = config.epochs * -(-len(x_train) // config.batch_size)
    falling = keras.optimizers.schedules.CosineDecay(config.learning_rate, steps)
    model.compile(keras.optimizers.Adam(falling), loss)
    fit(model, x_train, y_train, batch_size=config.batch_size, epochs=config.epochs)

    x, y = (np.float32(x_test[: config.n_test]) - mean) / std, y_test[: config.n_test]
    epsilon, clip = config.epsilon, ((0 - mean) / std, (255 - mean) / std)
    attacked = fgsm(net, x, y, epsilon, clip=clip)
    many_steps = pgd(net, x, y, epsilon, steps=config.steps, seed=seed, clip=clip)
    p, q = probabilities(net, x), probabilities(net, attacked)
    before, after = p.argmax(axis=1), q.argmax(axis=1)
    fooled = after != y
    epsilons = [share * epsilon for share in SHARES]
    curves = {
        "error under attack (%)": [error(net, fgsm(net, x, y, e, clip=clip), y) for e in epsilons],
        "error under noise (%)": [error(net, noise(x, e, seed, clip=clip), y) for e in epsilons],
    }
    metrics = {name: series[-1] for name, series in curves.items()} | {
        "error without attack (%)": error(net, x, y),
        "error under many steps (%)": error(net, many_steps, y),
        "confidence in errors (%)": 100 * q.max(axis=1)[fooled].mean() if fooled.any() else 0.0,
        "confidence without attack (%)": 100 * p.max(axis=1).mean(),
    }
    shown = np.flatnonzero((before == y) & fooled)[:SHOWN]
    pictures = {"before": x[shown] * std + mean, "after": attacked[shown] * std + mean}
    seen = np.stack([before, p.max(axis=1), after, q.max(axis=1)], axis=1)
    pictures["seen"] = seen[shown]
    return Outcome(metrics, curves, pictures)


# ---- findings
ATTACKED, NOISY = "error under attack (%)", "error under noise (%)"
CONFIDENCE, SOURCE = "confidence in errors (%)", "Goodfellow et al. 2015, section 4"
FINDINGS = (
    Higher(ATTACKED, "conv net", than_metric=NOISY, by=30, source=SOURCE),
    Higher(CONFIDENCE, "conv net", than_metric="confidence without attack (%)", source=SOURCE),
    Printed(ATTACKED, "conv net", 87.15, SOURCE, cause="Unknown; another net", preset="paper"),
    Printed(CONFIDENCE, "conv net", 96.6, SOURCE, cause="Unknown; another net", preset="paper"),
)
CLASSES = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def plot(results: Results):
    """Fooled photographs, and the error by epsilon."""
    figure, axes = figures.panels(results.titled("Fast gradient sign method"), 1, 2)
    before, after, seen = (results.picture(n, "conv net") for n in ("before", "after", "seen"))
    said = [(f"{CLASSES[int(a)]}\n{p:.0%}", f"{CLASSES[int(b)]}\n{q:.0%}") for a, p, b, q in seen]
    figures.triptychs(axes[0, 0], before / 255, after / 255, said, strength=10)
    axes[0, 0].set_title("photograph, change (10 times), together")
    panel, x = axes[0, 1], results.config["epsilon"] * np.array(SHARES)
    figures.curve(panel, results.curves(ATTACKED, "conv net"), "attack", x=x)
    figures.curve(panel, results.curves(NOISY, "conv net"), "noise", figures.COLORS[1], x)
    figures.label(panel, "", "epsilon (standard deviations of a pixel)", "test error (%)")
    figures.points(panel, [0.1], [87.15], "Goodfellow et al.")
    panel.set_ylim(0, 102)
    figures.legend(panel)
    return figure


SMOKE = {"n_train": 256, "epochs": 1, "n_test": 50, "steps": 2}
PAPER = {"n_train": 50_000, "epochs": 60, "batch_size": 100, "n_test": 10_000}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, PAPER, datasets=("cifar10",), seeds=3)

if __name__ == "__main__":
    main(RECIPE)
