"""Dropping units at random while training lowers the test error of a net with few images.

Source: Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov, Dropout (JMLR 15, 2014), table 2
and section 10: ReLU layers, units retained with probability .8 in the input and .5 in hidden
layers, momentum .95, the norm of the weights into each unit kept at or under 2. MNIST test error
(%): standard net 1.60, dropout with 3x1024 ReLU 1.25, with max-norm 1.06.

Differs from the source: by default two layers of 512 on the first 1,000 images (their section 6.5
shows the same effect from 500 images on); --paper has 3x1024, all 60,000 images and 200 epochs,
without their early stopping. Keras's dropout is inverted: it scales kept units up while training,
where the paper scales the weights down for prediction; in expectation both are the same net.

    make recipe-dropout          about two minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
import tensorflow as tf

from common import figures
from common.claims import Band, Effect
from common.command import AtLeast, main
from common.experiment import Outcome, Recipe, Run
from common.results import Results
from common.training import fit, scaled

PAPER = "Srivastava et al. 2014"
DROPPED_NETS = 100  # thinned nets whose predictions are averaged
ASKED = 1_000  # test images that they are asked about


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    n_train: int = 1_000  # training images, the first ones of the data set
    layers: int = 2  # hidden layers
    width: int = 512  # units in each
    drop_input: Annotated[float, AtLeast(0, below=1)] = 0.2  # share of inputs dropped
    drop_hidden: Annotated[float, AtLeast(0, below=1)] = 0.5  # share of hidden units dropped
    bound: float = 2.0  # max-norm: the largest norm of the weights into one unit
    rate: float = 0.05  # learning rate of gradient descent with momentum .95
    batch_size: int = 100  # images in a mini-batch
    epochs: int = 150  # passes over the training images


ARMS = {
    "plain": {"dropout": False, "bound": False},
    "dropout": {"dropout": True, "bound": False},
    "dropout + max-norm": {"dropout": True, "bound": True},
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28, 1) in [0, 1] -> (B, 10) logits."""
    rng, masks = keras.random.SeedGenerator(seed), iter(range(1_000 * seed, 1_000 * (seed + 1)))

    def drop(share: float) -> list[keras.layers.Layer]:
        return [keras.layers.Dropout(share, seed=next(masks))] if arm["dropout"] else []

    def dense(units: int, activation: str | None) -> keras.layers.Layer:
        return keras.layers.Dense(
            units,
            activation,
            kernel_initializer=keras.initializers.HeNormal(seed=rng),
            kernel_constraint=keras.constraints.MaxNorm(config.bound) if arm["bound"] else None,
        )

    layers = [keras.Input((28, 28, 1)), keras.layers.Flatten(), *drop(config.drop_input)]
    for _ in range(config.layers):
        layers += [dense(config.width, "relu"), *drop(config.drop_hidden)]
    return keras.Sequential([*layers, dense(10, None)])


def train(run: Run, arm: dict) -> Outcome:
    config = run.config
    few, test = run.data.train.first(config.n_train), run.data.test
    model = build_model(config, arm, run.seed)
    history = fit(
        model,
        few.images,
        few.labels,
        optimizer=keras.optimizers.SGD(config.rate, momentum=0.95),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        batch_size=config.batch_size,
        epochs=config.epochs,
        seed=run.seed,
        callbacks=run.watch(),
        validation_data={"test": (test.images, test.labels)},
    ).history
    error = [100 * (1 - value) for value in history["test_accuracy"]]
    metrics = {"error": error[-1], "training_accuracy": 100 * history["accuracy"][-1]}
    if arm["dropout"]:
        metrics |= compare_with_ensemble(model, test.images[:ASKED], test.labels[:ASKED])
    return Outcome(metrics, {"error": error, "test_cost": history["test_loss"]})


def compare_with_ensemble(model: keras.Model, images, labels) -> dict[str, float]:
    """One pass through the whole net, against the mean prediction of many thinned ones.

    Also the inputs z of the first hidden layer: their mean over random masks, against z of the
    whole net; inverted dropout promises that they agree. The difference is given in standard errors
    of that mean, which is 1 on average if they do.
    """
    x = scaled(tf.constant(images))
    _, dropout, first, *_ = model.layers
    whole = tf.nn.softmax(model(x, training=False))
    thinned = tf.zeros_like(whole)
    z = tf.zeros((len(images), first.units)), tf.zeros((len(images), first.units))
    for _ in range(DROPPED_NETS):
        thinned += tf.nn.softmax(model(x, training=True)) / DROPPED_NETS
        one = tf.linalg.matmul(
            dropout(keras.ops.reshape(x, (len(x), -1)), training=True), first.kernel
        )
        z = z[0] + one, z[1] + one**2
    mean = z[0] / DROPPED_NETS
    error = tf.sqrt((z[1] / DROPPED_NETS - mean**2) / (DROPPED_NETS - 1))
    expected = tf.linalg.matmul(keras.ops.reshape(x, (len(x), -1)), first.kernel)
    whole, thinned = (np.argmax(answer, axis=1) for answer in (whole, thinned))
    return {
        "agreement": 100 * np.mean(whole == thinned),
        "whole_error": 100 * np.mean(whole != labels),
        "ensemble_error": 100 * np.mean(thinned != labels),
        "standard_errors": float(tf.sqrt(tf.reduce_mean(((mean - expected) / error) ** 2))),
    }


CLAIMS = ()


def plot(results: Results):
    figure, axes = figures.panels(results.titled("Dropout"), 1, 2)
    for panel, series, unit in zip(
        axes[0], ("error", "test_cost"), ("test error (%)", "test cost"), strict=True
    ):
        figures.label(panel, "", "epoch", unit)
        for color, arm in zip(figures.COLORS, ARMS, strict=False):
            figures.curve(panel, results.history(f"{arm}/{series}"), arm, color)
    axes[0, 0].set_ylim(top=2.5 * results.metric("plain/error").max(), bottom=0)
    figures.legend(axes[0, 0])
    return figure


RECIPE = Recipe(
    __doc__,
    Config,
    ARMS,
    train,
    CLAIMS,
    plot,
    smoke={"n_train": 200, "width": 32, "epochs": 2},
    paper={"n_train": 60_000, "layers": 3, "width": 1_024, "epochs": 200},
)

if __name__ == "__main__":
    main(RECIPE)
