"""On photographs a change too small to be seen makes a net err, and be surer than before.

Source: Goodfellow, Shlens & Szegedy, Explaining and harnessing adversarial examples (ICLR 2015),
section 4: a convolutional maxout net on preprocessed CIFAR-10 errs on 87.15 % of the test images at
epsilon .1, with a mean probability of 96.6 % for its wrong answers.

Differs from the source: a small ReLU conv net after three passes over 20,000 images. Preprocessed
means standardised here: less the mean, over the deviation of each colour's pixels, so that epsilon
.1 is about 6 of 255 steps of brightness; pixels stay within what a photograph can show. 2,000 test
images. Confidence: over the images on which the net errs. So briefly trained it is far less sure
than the published net, of anything.

    make recipe-fgsm-cifar10          two to three minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from keras import layers, ops

from common import attacks, figures
from common.claims import Band, Effect
from common.command import AtLeast, main
from common.data import unit
from common.experiment import Outcome, Recipe, Run
from common.results import Results
from common.training import fit

PAPER, OWN = "Goodfellow et al. 2015, 4", "own runs"
EPSILONS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1)  # of the curves
SHOWN = 4  # images in the figure
SHAPES = {"before": (32, 32, 3), "after": (32, 32, 3), "seen": (4,)}  # what is kept of each
CLASSES = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    n_train: int = 20_000  # training images, the first ones of the data set
    epochs: int = 3  # passes over them
    rate: float = 1e-3  # learning rate of Adam
    batch_size: int = 64  # images in a mini-batch
    n_test: int = 2_000  # test images attacked, the first ones
    epsilon: Annotated[float, AtLeast(0)] = 0.1  # how far a pixel may move, in deviations
    steps: int = 10  # of the iterated attack (PGD), which would show a masked gradient


ARMS = {"conv net": {}}


def build_model(seed: int) -> keras.Model:
    """(B, 32, 32, 3) standardised -> (B, 10) logits."""
    he = keras.initializers.HeNormal(seed=keras.random.SeedGenerator(seed))
    x = inputs = keras.Input((32, 32, 3))
    for maps in (32, 64, 64):
        conv = layers.Conv2D(maps, 3, padding="same", activation="relu", kernel_initializer=he)
        x = layers.MaxPooling2D()(conv(x))
    x = layers.Dropout(0.5, seed=seed)(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(10, kernel_initializer=he)(x))


def train(run: Run, arm: dict) -> Outcome:
    config, few = run.config, run.data.train.first(run.config.n_train)
    # Of bytes NumPy sums in float64; in float32, sums of millions of pixels lose their digits.
    mean, deviation = (np.float32(f(few.images, axis=(0, 1, 2)) / 255) for f in (np.mean, np.std))
    net = build_model(run.seed)
    standardise = layers.Normalization(mean=mean, variance=deviation**2)
    fit(
        keras.Sequential([keras.Input((32, 32, 3)), standardise, net]),
        few.images,
        few.labels,
        optimizer=keras.optimizers.Adam(config.rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        batch_size=config.batch_size,
        epochs=config.epochs,
        seed=run.seed,
        callbacks=run.watch(),
    )
    test = run.data.test.first(config.n_test)
    clip = (0 - mean) / deviation, (1 - mean) / deviation
    x, y = np.clip((unit(test.images) - mean) / deviation, *clip), test.labels

    def answers(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        p = ops.softmax(attacks.logits(net, pictures)).numpy()
        return p.argmax(axis=1), p.max(axis=1)

    metrics = attacks.harm(net, x, y, config.epsilon, steps=config.steps, seed=run.seed, clip=clip)
    attacked = attacks.fgsm(net, x, y, config.epsilon, clip=clip)
    (before, surely), (answer, confidence) = answers(x), answers(attacked)
    fooled = answer != y
    metrics["confidence"] = 100 * confidence[fooled].mean() if fooled.any() else 0.0
    metrics["confidence_before"] = 100 * surely.mean()
    series = {"error": [], "noise_error": []}
    for epsilon in EPSILONS:
        blind = attacks.noise(x, epsilon, run.seed, clip=clip)
        made = attacks.fgsm(net, x, y, epsilon, clip=clip)
        series["error"] += [100 * np.mean(answers(made)[0] != y)]
        series["noise_error"] += [100 * np.mean(answers(blind)[0] != y)]
    shown = np.flatnonzero((before == y) & fooled)[: SHOWN * (run.seed == 0)]
    for name, pictures in (("before", x), ("after", attacked)):
        series[name] = np.ravel(255 * (pictures[shown] * deviation + mean)).round(2)
    series["seen"] = np.ravel(np.array([before, surely, answer, confidence]).T[shown])
    return Outcome(metrics, series)


def band(name: str, metric: str, low: float, high: float, published=None) -> Band:
    source = PAPER if published else OWN
    return Band(f"{name} (%)", f"conv net/{metric}", {"cifar10": (low, high)}, source, published)


# Means and deviations over 6 seeds stand beside; of an earlier standardising, 2 % smaller.
CLAIMS = (
    band("error at .1", "fgsm", 92.0, 99.6, 87.15),  # 95.8 +- 1.3
    band("confidence in errors", "confidence", 53.2, 63.8, 96.6),  # 58.5 +- 1.8
    band("error by the iterated attack", "pgd", 98.9, 100),  # 99.7 +- .3
    band("error without attack", "clean", 37.4, 46.1),  # 41.8 +- 1.4
    Effect(
        "errors by the attack over by noise (points)",
        "conv net/fgsm",
        "conv net/noise",
        PAPER,
        {"cifar10": 30},
    ),
    Effect(
        "confidence in errors over that in all images before (points)",
        "conv net/confidence",
        "conv net/confidence_before",
        PAPER,
        {"cifar10": 0},
    ),
)


def plot(results: Results):
    figure, axes = figures.panels(results.titled("Fast gradient sign method"), 1, 2)
    before, after, seen = (
        results.history(f"conv net/{name}")[0].reshape(-1, *shape) for name, shape in SHAPES.items()
    )
    said = [
        (f"{CLASSES[int(was)]}\n{sure:.0%}", f"{CLASSES[int(now)]}\n{surer:.0%}")
        for was, sure, now, surer in seen
    ]
    figures.triptychs(axes[0, 0], before / 255, after / 255, said, strength=10)
    axes[0, 0].set_title("photograph, change (10 times), together")
    panel = axes[0, 1]
    figures.label(panel, "", "epsilon (deviations of a pixel)", "test error (%)")
    for color, name, series in zip(
        figures.COLORS, ("attack", "random noise"), ("error", "noise_error"), strict=False
    ):
        curve = results.history(f"conv net/{series}")
        figures.curve(panel, curve, name, color, np.array(EPSILONS))
    figures.points(panel, [0.1], [87.15], "Goodfellow et al.")
    panel.set_ylim(0, 100)
    figures.legend(panel)
    return figure


RECIPE = Recipe(
    __doc__,
    Config,
    ARMS,
    train,
    CLAIMS,
    plot,
    smoke={"n_train": 256, "epochs": 1, "n_test": 50, "steps": 2},
    paper={"n_train": 50_000, "epochs": 60, "n_test": 10_000},
    datasets=("cifar10",),
)

if __name__ == "__main__":
    main(RECIPE)
