"""A net of three convolutions, the forerunner of AlexNet, errs on 18 % of CIFAR-10.

Source: A. Krizhevsky, cuda-convnet (2011), nets and rates of layers-18pct.cfg and
layer-params-18pct.cfg, and its page on methodology: no augmentation, 18 % test error. Four fifths
of the images are trained on for 100 epochs, then all of them for 40, then for 10 each at a tenth
and a hundredth of the rate. Local response normalisation is the early one, within a map.

Differs from the source: the default budget keeps the stages' proportions (8 : 4 : 1 : 1 in
mini-batches), is nearly 80 times shorter and ends near 49 %. --paper has the published length; its
one recorded seed ends at 18.3 %. The fifth held out is the last 10,000 images. Biases learn at the
weights' rate, there at twice it.

    make recipe-cuda-convnet          three to six minutes on 2 cores; --paper nearly two hours
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from keras import ops

from common import figures
from common.claims import Band, Effect
from common.command import AtLeast, main
from common.experiment import Outcome, Recipe, Run
from common.results import Results
from common.training import fit

SOURCE = "cuda-convnet, layers-18pct"


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    rate: float = 0.001  # learning rate in the first two stages
    momentum: Annotated[float, AtLeast(0, below=1)] = 0.9  # of gradient descent
    decay: Annotated[float, AtLeast(0)] = 0.004  # weight decay of the convolutions
    decay_out: Annotated[float, AtLeast(0)] = 1.0  # weight decay of the last layer
    batch_size: int = 128  # images in a mini-batch
    every: int = 50  # mini-batches between two points of the curves
    length: int = 1  # of the last stage, in units of `every`; the stages are as 8 : 4 : 1 : 1
    n_validation: int = 10_000  # images held out in the first stage


ARMS = {"18 % net": {}}
# Length of each stage, and the factor on the rate. The first holds images out, by whose error the
# author chose the lengths; here they are fixed.
STAGES = ((8, 1.0), (4, 1.0), (1, 0.1), (1, 0.01))


class NormaliseWithinMap(keras.layers.Layer):
    """u = x / (1 + alpha / 9 * sum of x^2 over the 3 x 3 neighbours in the map)^.75."""

    def __init__(self, alpha: float = 5e-5):
        super().__init__()
        self.alpha = alpha

    def call(self, x):
        squares = ops.pad(ops.square(x), ((0, 0), (1, 1), (1, 1), (0, 0)))
        mean = ops.average_pool(squares, 3, strides=1, padding="valid")
        root = ops.rsqrt(1 + self.alpha * mean)
        return x * (root * ops.sqrt(root))  # a general power takes a quarter of all time


def build_model(config: Config, mean: np.ndarray, seed: int) -> keras.Model:
    """(B, 32, 32, 3) in [0, 1] -> (B, 10) logits; `mean` (32, 32, 3) in 0..255 is subtracted."""
    draws = keras.random.SeedGenerator(seed)

    def settings(stddev: float, decay: float) -> dict:
        initial = keras.initializers.RandomNormal(stddev=stddev, seed=draws)
        penalty = keras.regularizers.L2(decay / 2)
        return {"kernel_initializer": initial, "kernel_regularizer": penalty}

    def conv(filters: int, stddev: float) -> keras.Layer:
        how = settings(stddev, config.decay)
        return keras.layers.Conv2D(filters, 5, padding="same", **how)

    relu = keras.layers.ReLU
    layers = [keras.Input((32, 32, 3)), keras.layers.Rescaling(255.0, -mean)]
    layers += [conv(32, 1e-4), keras.layers.MaxPooling2D(3, 2, "same"), relu()]
    layers += [NormaliseWithinMap()]
    layers += [conv(32, 0.01), relu(), keras.layers.AveragePooling2D(3, 2, "same")]
    layers += [NormaliseWithinMap()]
    layers += [conv(64, 0.01), relu(), keras.layers.AveragePooling2D(3, 2, "same")]
    layers += [keras.layers.Flatten()]
    return keras.Sequential([*layers, keras.layers.Dense(10, **settings(0.01, config.decay_out))])


def train(run: Run, arm: dict) -> Outcome:
    config, everything, test = run.config, run.data.train, run.data.test
    some, _ = everything.hold_out(config.n_validation)
    mean = everything.images.mean(axis=0, dtype=np.float64)
    model = build_model(config, mean.astype(np.float32), run.seed)
    optimizer = keras.optimizers.SGD(config.rate, config.momentum)
    training, errors = [], []
    for k, (length, part) in enumerate(STAGES):
        optimizer.learning_rate = config.rate * part
        split = everything if k else some
        history = fit(
            model,
            split.images,
            split.labels,
            optimizer=optimizer,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            batch_size=config.batch_size,
            epochs=length * config.length,
            steps_per_epoch=config.every,
            seed=len(STAGES) * run.seed + k,
            callbacks=run.watch(k + 1, len(STAGES)),
            validation_data={"test": (test.images, test.labels)},
            validation_freq=length,
        ).history
        training += [100 * (1 - value) for value in history["accuracy"]]
        errors += [100 * (1 - value) for value in history["test_accuracy"]]
    metrics = {"error": errors[-1], "before": errors[2 * config.length - 1]}
    return Outcome(metrics, {"test": errors, "training": training})


CLAIMS = (
    # 49.34 +- .53 over 3 seeds; one seed of --paper: 18.26
    Band("test error (%)", "18 % net/error", {"cifar10": (47.7, 51.0)}, SOURCE, published=18),
    Effect(  # 3.1 (-.1 .. 6.3): three seeds cannot quite tell
        "smaller rates at the end lower the test error by (points)",
        "18 % net/before",
        "18 % net/error",
        SOURCE,
        {},
    ),
)


def plot(results: Results):
    figure, axes = figures.panels(results.titled("cuda-convnet"), 1, 1)
    panel, unit = axes[0, 0], results.config["every"] * results.config["length"]
    figures.label(panel, "", "mini-batch", "error (%)")
    training = results.history("18 % net/training")
    figures.lines(panel, training, "training", figures.COLORS[0], results.config["every"])
    start, measured = 0, []
    for k, (length, part) in enumerate(STAGES):
        panel.axvline(start * unit, color=figures.GREY, linewidth=1)
        where, about = panel.get_xaxis_transform(), f"rate x {part:g}"
        about = f"all images, {about}" if k == 1 else about
        panel.text(start * unit, 0.99, about, rotation=90, va="top", transform=where)
        shares = np.arange(1, results.config["length"] + 1) / results.config["length"]
        measured += list((start + length * shares) * unit)
        start += length
    test = results.history("18 % net/test")
    panel.plot(
        measured, test.T, "o-", color=figures.COLORS[1], label=["test"] + ["_"] * (len(test) - 1)
    )
    panel.axhline(18, color=figures.GREY, linestyle="--", label="published test error")
    panel.set_ylim(0)
    figures.legend(panel)
    return figure


RECIPE = Recipe(
    __doc__,
    Config,
    ARMS,
    train,
    CLAIMS,
    plot,
    smoke={"every": 2},
    paper={"every": 391, "length": 10},
    datasets=("cifar10",),
    jobs=1,
)

if __name__ == "__main__":
    main(RECIPE)
