"""Through layers of sigmoids all images come to look alike: the paralysis of a deep net.

Source: lecture of Technosphere Moscow, "the problem of a net's paralysis, visualized": an image and
what the first hidden layer makes of it under weights from N(0, .01), which is noise. Let a be a
layer's inputs and z = a W. A unit's z varies between images; the mean of z over the images varies
between units. Their expectations are as tr Cov(a) to |mean of a|^2. No numbers are printed.

Differs from the source: MNIST, and all four layers, of 196 units; .01 is taken as the variance. No
net is trained. A sigmoid has a mean near .5 and a slope of at most 1/4: from layer 2 on the ratio
falls tenfold a layer, under N(0, 1 / n) eighteenfold; from layer 1 to 2 it falls 18- and 105-fold.

    make recipe-network-paralysis          half a minute on 2 cores
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge
from keras import initializers, layers

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Alike, Lower


@dataclass(frozen=True)
class Config:
    side: Annotated[int, Ge(1)] = 14  # a hidden layer has side x side units
    images: Annotated[int, Examples("test"), Ge(3)] = 1_000  # test images
    nets: Annotated[int, Ge(1)] = 10  # of random weights; their variances are averaged


ARMS = {"N(0, .01)": {"variance": 0.01}, "N(0, 1 / n)": {"variance": None}}
HIDDEN = 4
RATIO = [f"layer {k}, between images over between units" for k in range(1, HIDDEN + 1)]
FORMULA = [f"layer {k}, the same over the formula" for k in range(1, HIDDEN + 1)]


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 10) logits."""
    generator = keras.random.SeedGenerator(seed)
    initial = initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal", generator)
    if arm["variance"]:
        initial = initializers.RandomNormal(0, arm["variance"] ** 0.5, generator)
    x = inputs = keras.Input((28, 28))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(x))
    for _ in range(HIDDEN):
        x = layers.Dense(config.side**2, "sigmoid", kernel_initializer=initial)(x)
    return keras.Model(inputs, layers.Dense(10, kernel_initializer=initial)(x))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    x = data[1][0][: config.images].reshape(-1, 784) / 255
    variances, pixel = [], np.arange(28) * config.side // 28
    for net in range(config.nets):
        a, pictures = x, [x[:3].reshape(3, 28, 28)]
        kernels = build_model(config, arm, config.nets * seed + net).get_weights()[:-2:2]
        for kernel in kernels:
            z = a @ kernel
            variances.append([*between(z), a.var(axis=0).sum(), np.sum(a.mean(axis=0) ** 2)])
            a = 1 / (1 + np.exp(-z))
            pictures.append(a[:3].reshape(3, config.side, config.side)[:, pixel][:, :, pixel])
    images, units, trace, mean = np.reshape(variances, (-1, HIDDEN, 4)).mean(axis=0).T
    ratio, formula = images / units, trace / mean
    metrics = dict(zip(RATIO + FORMULA, [*ratio, *ratio / formula], strict=True))
    scaled = [(one - one.min()) / np.ptp(one) for one in pictures]  # each layer on its own
    return Outcome(metrics, {"measured": ratio, "formula": formula}, {"layers": np.array(scaled)})


def between(z):
    """Mean over units of z's (n, units) variance between images; variance of mean z over units."""
    return z.var(axis=0).mean(), z.mean(axis=0).var()


# ---- findings
FINDINGS = (
    *(Alike(metric, arm, to=1.0, within=0.1) for arm in ARMS for metric in FORMULA),
    *(
        Lower(after, arm, than_metric=before, by=5, ratio=True)
        for arm in ARMS
        for before, after in pairwise(RATIO)
    ),
)


def plot(results: Results):
    """Three images in each layer; the variances by layer."""
    figure, at = figures.mosaic(results.titled("A net's paralysis"), ["aab", "aab"])
    seen = results.picture("layers", results.arms[0]).swapaxes(0, 1).reshape(-1, 28, 28)
    figures.show(at["a"], seen, 1 + HIDDEN, f"images, and layers 1 to 4 under {results.arms[0]}")
    x = np.arange(1, 1 + HIDDEN)
    for arm, color in zip(results.arms, figures.COLORS, strict=False):
        figures.curve(at["b"], results.curves("measured", arm), arm, color, x)
        at["b"].plot(x, results.curves("formula", arm)[0], "o", color=color, label="formula")
    at["b"].set(yscale="log", xticks=x, xlabel="layer")
    at["b"].set_title("z: variance between images\nover variance between units")
    figures.legend(at["b"])
    return figure


SMOKE = {"images": 10, "nets": 1}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, seeds=6)

if __name__ == "__main__":
    main(RECIPE)
