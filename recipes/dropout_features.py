"""Under dropout the hidden units of an autoencoder respond less alike, and fewer at a time.

Source: Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov, Dropout (JMLR 15, 2014), sections
7.1 and 7.2: an autoencoder with one layer of 256 ReLU units on MNIST. Without dropout single
features mean nothing and units lean on each other ("co-adaptation"); with p = .5 they detect
edges, strokes and spots, and fewer are active at a time: mean activations of about .7, not 2.0.

Differs from the source: for co-adaptation it shows pictures only. The number here is the mean
absolute correlation of two hidden units' responses over the test images. That of their weights goes
the other way, and is not claimed: .060 with dropout, .053 without.

    make recipe-dropout-features          about a minute on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np

from common import data, figures
from common.claims import Effect
from common.command import AtLeast, main
from common.experiment import Outcome, Recipe, Run
from common.results import Results
from common.training import fit

SOURCE = "Srivastava et al. 2014"
SHOWN = 8  # features along each side of the figure


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    n_train: int = 10_000  # training images, the first ones of the data set
    hidden: int = 256  # ReLU units
    drop: Annotated[float, AtLeast(0, below=1)] = 0.5  # share of hidden units dropped
    rate: float = 0.001  # learning rate of Adam
    batch_size: int = 100  # images in a mini-batch
    epochs: int = 20  # passes over the training images


ARMS = {"plain": {"dropout": False}, "dropout": {"dropout": True}}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 784) in [0, 1] -> (B, 784) logits of the same pixels."""
    rng = keras.random.SeedGenerator(seed)
    initial = keras.initializers.GlorotUniform(seed=rng)
    drop = keras.layers.Dropout(config.drop, seed=seed) if arm["dropout"] else None
    return keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(config.hidden, "relu", kernel_initializer=initial),
            *([drop] if drop else []),
            keras.layers.Dense(784, kernel_initializer=initial),
        ]
    )


def train(run: Run, arm: dict) -> Outcome:
    config = run.config
    pixels, test = (
        data.unit(images).reshape(-1, 784)
        for images in (run.data.train.first(config.n_train).images, run.data.test.images)
    )
    model = build_model(config, arm, run.seed)
    history = fit(
        model,
        pixels,
        pixels,
        optimizer=keras.optimizers.Adam(config.rate),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        batch_size=config.batch_size,
        epochs=config.epochs,
        seed=run.seed,
        callbacks=run.watch(),
        validation_data={"test": (test, test)},
    ).history
    kernel, bias = (weight.numpy() for weight in model.layers[0].weights)
    hidden = np.maximum(test @ kernel + bias, 0)
    features = kernel[:, : SHOWN**2] / np.abs(kernel[:, : SHOWN**2]).max(axis=0)
    metrics = {
        "correlation": mean_correlation(hidden),
        "feature_correlation": mean_correlation(kernel),
        "active": 100 * np.mean(hidden > 0),
        "activation": hidden.mean(),
        "test_cost": history["test_loss"][-1],
    }
    return Outcome(
        metrics, {"test_cost": history["test_loss"], "features": np.round(127 * features).ravel()}
    )


def mean_correlation(units: np.ndarray) -> float:
    """(examples, units) -> mean absolute correlation of two different units; dead ones left out."""
    alive = units[:, units.std(axis=0) > 0]
    correlation = np.abs(np.corrcoef(alive, rowvar=False))
    n = len(correlation)
    return (correlation.sum() - n) / (n * (n - 1))


# Means over 4 seeds on MNIST and 5 on digits stand beside.
CLAIMS = (
    Effect(  # .227 against .110, .254 against .231
        "correlation of two units without dropout over that with it (ratio)",
        *(f"{arm}/correlation" for arm in ARMS),
        SOURCE,
        {"mnist": 1.5, "digits": 1.05},
        ratio=True,
    ),
    Effect(  # 2.63 against .58, 1.36 against .39; published: about 2.0 and .7
        "mean activation without dropout over that with it (ratio)",
        *(f"{arm}/activation" for arm in ARMS),
        f"{SOURCE}, figure 8",
        2,
        ratio=True,
        published=2.0 / 0.7,
    ),
    Effect(  # 96 against 52, 62 against 39
        "share of units active without dropout, less that with it (points)",
        *(f"{arm}/active" for arm in ARMS),
        f"{SOURCE}, figure 8, read from a plot",
        15,
    ),
)


def plot(results: Results):
    figure, axes = figures.panels(results.titled("First-layer features of an autoencoder"), 1, 2)
    for panel, arm in zip(axes[0], ARMS, strict=True):
        features = results.history(f"{arm}/features")[0].reshape(784, -1).T.reshape(-1, 28, 28)
        panel.imshow(figures.grid((1 + features / 127) / 2, SHOWN), cmap="gray", vmin=0, vmax=1)
        correlation = results.metric(f"{arm}/correlation").mean()
        figures.label(panel, f"{arm}: mean correlation of two units {correlation:.3f}", "", "")
        panel.set_axis_off()
    return figure


SMOKE, PAPER_KNOBS = {"n_train": 200, "epochs": 2}, {"n_train": 60_000, "epochs": 100}
ON = {"digits": {"n_train": 1_297}}
RECIPE = Recipe(__doc__, Config, ARMS, train, CLAIMS, plot, smoke=SMOKE, paper=PAPER_KNOBS, on=ON)

if __name__ == "__main__":
    main(RECIPE)
