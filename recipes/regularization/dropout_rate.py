"""Dropping .2 to .6 of the hidden units helps, .8 harms; dropping .6 of outputs too undoes most.

Source: lecture of Technosphere Moscow: drop units with p = .4, but not those of the last layer; no
numbers. Srivastava et al., Dropout (JMLR 15, 2014), section 7.3: the test error is flat while .4 to
.8 of the units are retained, and rises beyond; figures without numbers.

Differs from the source: two layers of 256 units and the first 1,000 images; inputs are kept. The
error is lowest at p = .4: .3 points higher at .2, .4 at .6. "The last layer" may mean the last
hidden one, where dropping changes nothing at .4, or the outputs, where .2 helps and .6 harms. The
learning rate is small; at .05 (no arm) the error rises from .4 on where both hidden layers drop.

    make recipe-dropout-rate          three to four minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge
from keras import layers

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Alike, Higher, Lower
from common.training import fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 1_000  # training images, the first ones
    width: int = 256  # units in each of two hidden layers
    learning_rate: float = 0.01  # of gradient descent with momentum .95
    batch_size: int = 100  # images in a mini-batch
    epochs: Annotated[int, Ge(1)] = 100  # passes over the training images


RATES = (0.2, 0.4, 0.6, 0.8)
PLACES = {"first layer": (1,), "hidden layers": (1, 2), "outputs too": (1, 2, 3)}
ARMS = {"no dropout": {"p": 0.0, "places": ()}}
ARMS |= {f"p = {p}, {name}": {"p": p, "places": at} for name, at in PLACES.items() for p in RATES}
ERROR = "test error (%)"


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 10) logits."""
    he = keras.initializers.HeNormal(keras.random.SeedGenerator(seed))
    x = inputs = keras.Input((28, 28))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(x))
    for i, (units, f) in enumerate([(config.width, "relu")] * 2 + [(10, None)], 1):
        x = layers.Dense(units, f, kernel_initializer=he)(x)
        x = layers.Dropout(arm["p"], seed=100 * seed + i)(x) if i in arm["places"] else x
    return keras.Model(inputs, x)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x, y), test = data
    model = build_model(config, arm, seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sgd = keras.optimizers.SGD(config.learning_rate, momentum=0.95)
    model.compile(sgd, loss, metrics=["accuracy"])
    how = {"batch_size": config.batch_size, "epochs": config.epochs, "validation_data": test}
    x, y, every = x[: config.n_train], y[: config.n_train], min(10, config.epochs)
    history = fit(model, x, y, validation_freq=every, **how).history
    return Outcome({ERROR: 100 * (1 - history["val_accuracy"][-1])})


# ---- findings
PLAIN, LECTURE = "no dropout", "p = 0.4, hidden layers"
LITTLE, MUCH = "p = 0.2, hidden layers", "p = 0.6, hidden layers"
MNIST = {"dataset": "mnist"}  # mnist5k has few test images
FINDINGS = (
    Lower(ERROR, LITTLE, than=PLAIN, by=0.5),
    *(Lower(ERROR, arm, than=PLAIN, by=0.5, **MNIST) for arm in (LECTURE, MUCH)),
    Alike(ERROR, LITTLE, to=LECTURE, within=0.5, source="Srivastava et al. 2014, 7.3", **MNIST),
    Higher(ERROR, "p = 0.8, hidden layers", than=LECTURE, by=1),
    Alike(ERROR, "p = 0.4, first layer", to=LECTURE, within=0.5, **MNIST),
    Higher(ERROR, "p = 0.6, outputs too", than=MUCH, **MNIST),
)


def plot(results: Results):
    """Test error by p."""
    figure, [[panel]] = figures.panels(results.titled("How much to drop, and where"), 1, 1)
    x = np.array([0, *RATES])
    for name, color in zip(PLACES, figures.COLORS, strict=False):
        arms = [PLAIN, *(f"p = {p}, {name}" for p in RATES)]
        errors = np.array([results.metric(ERROR, arm) for arm in arms]).T
        figures.curve(panel, errors, f"dropped: {name}", color, x)
    figures.label(panel, "", "p, probability of dropping a unit", ERROR)
    panel.set(ylim=(9, 15), xticks=x)
    panel.annotate(f"{errors[:, -1].mean():.0f} % at .8", (0.61, 14.7))
    figures.legend(panel)
    return figure


SMOKE = {"n_train": 100, "width": 8, "epochs": 1}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, seeds=6)

if __name__ == "__main__":
    main(RECIPE)
