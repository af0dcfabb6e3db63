"""In a chain of sigmoid neurons the gradient falls as (1/4)^depth or faster unless weights are big.

Source: Nielsen, Neural Networks and Deep Learning (2015), chapter 5, "What's causing the vanishing
gradient problem?" and "The exploding gradient problem": one neuron per layer, a_k = sigmoid(z_k),
z_k = w_k a_(k-1) + b_k. The chain rule gives dE/dz_1 = a'(z_1) w_2 a'(z_2) ... w_depth a'(z_depth)
dE/da_depth, and a' is at most 1/4. With weights and biases from N(0, 1) it vanishes; with weights
of 100 and biases that keep every z at 0 it grows 25-fold per neuron.

Differs from the source: the book argues on paper. Here the gradient of random chains is computed,
in float64, with E = (a_depth - y)^2 / 2. Nothing is trained.

    make recipe-vanishing-chain          ten seconds on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
import tensorflow as tf
from annotated_types import Ge
from keras import initializers, layers

from common.experiment import Data, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Exact, Lower


@dataclass(frozen=True)
class Config:
    depth: Annotated[int, Ge(2)] = 10  # neurons in the longest chain
    chains: int = 1_000  # number of chains of each length
    big: float = 100.0  # weights of the chains whose gradient explodes


ARMS = {"N(0, 1)": {"explodes": False}, "big weights": {"explodes": True}}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, chains) inputs -> (B, chains) outputs; each layer is one neuron in each of the chains."""
    normal = initializers.RandomNormal(stddev=1.0, seed=keras.random.SeedGenerator(seed))
    a = inputs = keras.Input((config.chains,), dtype="float64")
    before = examples(config, seed)[0, 0]  # (chains,)
    for _ in range(config.depth):
        kernel, bias = normal, normal
        if arm["explodes"]:  # every z is 0 and every a 1/2
            kernel = initializers.Constant(config.big)
            bias, before = initializers.Constant(-config.big * before), 0.5
        how = {"kernel_initializer": kernel, "bias_initializer": bias, "dtype": "float64"}
        # One weight and one bias per chain.
        a = layers.EinsumDense("bc,c->bc", config.chains, "sigmoid", "c", **how)(a)
    return keras.Model(inputs, a)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    """Measures the gradient in chains of 1, 2, ... neurons as they are initialized."""
    model = build_model(config, arm, seed)
    x, y = examples(config, seed)
    sizes, shares = [], []
    for depth, neuron in enumerate(model.layers[1:], start=1):
        gradient = np.abs(first_gradient(keras.Model(model.inputs[0], neuron.output), x, y))
        weights = [layer.get_weights()[0] for layer in model.layers[2 : depth + 1]]
        limit = 0.25**depth * np.abs(np.prod(weights, axis=0))  # as |dE/da_depth| <= 1
        sizes.append(np.median(gradient))
        shares.append(np.max(gradient / limit))
    growth = (sizes[-1] / sizes[0]) ** (1 / (config.depth - 1))
    metrics = {
        "median |dE/dz_1| of one neuron": sizes[0],
        "median |dE/dz_1| of the longest chain": sizes[-1],
        "growth of median |dE/dz_1| per neuron": growth,
        "largest |dE/dz_1| over its limit": max(shares),
    }
    return Outcome(metrics, {"median |dE/dz_1|": sizes})


def examples(config: Config, seed: int) -> np.ndarray:
    """Inputs and targets of the chains, (2, 1, chains) in [0, 1]."""
    return np.random.default_rng(seed).uniform(size=(2, 1, config.chains))


def first_gradient(chain: keras.Model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dE/dz_1 of each chain, (chains,): the gradient by the first neuron's bias."""
    with tf.GradientTape() as tape:
        error = tf.reduce_sum((chain(x) - y) ** 2) / 2
    return tape.gradient(error, chain.layers[1].bias).numpy()


# ---- findings
LONGEST, ONE = "median |dE/dz_1| of the longest chain", "median |dE/dz_1| of one neuron"
LIMIT, NIELSEN = "largest |dE/dz_1| over its limit", "Nielsen 2015, chapter 5"
FINDINGS = (
    # Slopes of at most 1/4 in nine more neurons, if the weights are of size one.
    Lower(LONGEST, "N(0, 1)", than_metric=ONE, by=4**9, ratio=True, source=NIELSEN),
    Exact("growth of median |dE/dz_1| per neuron", "big weights", 25, within=0.1, source=NIELSEN),
    *(Lower(LIMIT, arm, than=1, source=NIELSEN) for arm in ARMS),
)


def plot(results: Results):
    """Gradient of the first neuron by the length of the chain."""
    figure, [[panel]] = figures.panels(results.titled("The gradient in a chain of neurons"), 1, 1)
    depths = np.arange(1, results.config["depth"] + 1)
    figures.curves(panel, results, "median |dE/dz_1|", xlabel="neurons in the chain")
    figures.points(panel, depths, 0.25**depths, "(1/4)^depth", joined=True)
    panel.set_yscale("log")
    figures.legend(panel)
    return figure


SMOKE = {"depth": 3, "chains": 10}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, datasets=("none",), seeds=6)

if __name__ == "__main__":
    main(RECIPE)
