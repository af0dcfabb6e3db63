"""In a chain of sigmoid neurons the gradient falls as (1/4)^depth or faster unless weights are big.

Source: Nielsen, Neural Networks and Deep Learning (2015), chapter 5, "What's causing the vanishing
gradient problem?" and "The exploding gradient problem": one neuron a layer, a_k = sigmoid(z_k),
z_k = w_k a_(k-1) + b_k. The chain rule gives dE/dz_1 = a'(z_1) w_2 a'(z_2) ... w_depth a'(z_depth)
dE/da_depth, and a' is at most 1/4. With weights and biases from N(0, 1) it vanishes; with weights
of 100 and biases that keep every z at 0 it grows by 25 a layer.

Differs from the source: the book argues on paper; here 1,000 chains of up to ten neurons are drawn,
and the formula is compared with automatic differentiation in float64. E = (a_depth - y)^2 / 2.

    make recipe-vanishing-chain          ten seconds on 2 cores
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from common import figures
from common.claims import Band, Effect
from common.command import main
from common.experiment import Outcome, Recipe, Run
from common.results import Results

NIELSEN = "Nielsen 2015, ch. 5"


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    depth: int = 10  # neurons of the longest chain
    chains: int = 1_000  # chains drawn for each depth
    big: float = 100.0  # weights of the chains whose gradient explodes


ARMS = {"N(0, 1)": {"explodes": False}, "big weights": {"explodes": True}}


def build_model(config: Config, arm: dict, seed: int) -> dict[str, np.ndarray]:
    """Chains of neurons: inputs x and targets y (chains,), weights and biases (depth, chains)."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(size=(2, config.chains))
    w, b = rng.normal(size=(2, config.depth, config.chains))
    if arm["explodes"]:
        w = np.full_like(w, config.big)
        b = -w * np.concatenate([[x], np.full_like(w[1:], 0.5)])  # all z are 0, all a are 1/2
    return {"x": x, "y": y, "w": w, "b": b}


def by_formula(x, y, w, b) -> tuple[np.ndarray, np.ndarray]:
    """-> dE/dz_1 by the chain rule, and its bound (1/4)^depth |w_2 ... w_depth|; both (chains,)."""
    a, product = x, np.ones_like(x)
    for weight, bias in zip(w, b, strict=True):
        a = 1 / (1 + np.exp(-(weight * a + bias)))
        product = product * a * (1 - a)
    weights = np.prod(w[1:], axis=0)
    return product * weights * (a - y), 0.25 ** len(w) * np.abs(weights)  # |dE/da| = |a - y| <= 1


def by_autodiff(x, y, w, b) -> np.ndarray:
    """-> dE/dz_1 (chains,)."""
    with tf.GradientTape() as tape:
        z = tf.constant(w[0] * x + b[0])
        tape.watch(z)
        a = tf.sigmoid(z)
        for weight, bias in zip(w[1:], b[1:], strict=True):
            a = tf.sigmoid(weight * a + bias)
        error = tf.square(a - y) / 2
    return tape.gradient(error, z).numpy()


def train(run: Run, arm: dict) -> Outcome:
    """Nothing is trained: the chains are as they were drawn."""
    chains = build_model(run.config, arm, run.seed)
    sizes, errors, shares = [], [], []
    for depth in range(1, run.config.depth + 1):
        first = chains | {"w": chains["w"][:depth], "b": chains["b"][:depth]}
        (formula, bound), found = by_formula(**first), by_autodiff(**first)
        sizes.append(np.median(np.abs(found)))
        errors.append(np.max(np.abs(found - formula) / np.abs(formula)))
        shares.append(np.max(np.abs(found) / bound))
    metrics = {
        "first": sizes[0],
        "deepest": sizes[-1],
        "growth": (sizes[-1] / sizes[0]) ** (1 / max(len(sizes) - 1, 1)),
        "error": max(errors),
        "share": max(shares),
    }
    return Outcome(metrics, {"size": sizes})


def exact(name: str, metric: str, low: float, high: float, published: float | None = None) -> Band:
    return Band(name, metric, {"none": (low, high)}, NIELSEN, published)


CLAIMS = (
    Effect(
        "N(0, 1): median |dE/dz_1| of one neuron over that of the longest chain (ratio)",
        "N(0, 1)/first",
        "N(0, 1)/deepest",
        NIELSEN,
        4**9,  # what slopes of at most 1/4 do to nine layers of weights of size one
        ratio=True,
    ),
    exact("N(0, 1): largest |dE/dz_1| over its bound", "N(0, 1)/share", 0, 1),
    exact("big weights: largest |dE/dz_1| over its bound", "big weights/share", 0, 1 + 1e-9),
    exact("big weights: growth of |dE/dz_1| a layer", "big weights/growth", 24.9, 25.1, 25),
    exact("N(0, 1): largest error of the formula", "N(0, 1)/error", 0, 1e-9),
    exact("big weights: largest error of the formula", "big weights/error", 0, 1e-9),
)


def plot(results: Results):
    figure, axes = figures.panels("The gradient in a chain of neurons", 1, 1)
    panel = axes[0, 0]
    figures.label(panel, "", "neurons in the chain", "median |dE/dz| at the first neuron")
    for color, arm in zip(figures.COLORS, ARMS, strict=False):
        figures.curve(panel, results.history(f"{arm}/size"), arm, color)
    depths = np.arange(1, results.config["depth"] + 1)
    figures.points(panel, depths, 0.25**depths, "(1/4)^depth", joined=True)
    panel.set_yscale("log")
    figures.legend(panel)
    return figure


RECIPE = Recipe(
    __doc__,
    Config,
    ARMS,
    train,
    CLAIMS,
    plot,
    smoke={"depth": 3, "chains": 10},
    paper={},
    datasets=(),
    seeds=5,
    jobs=1,
)

if __name__ == "__main__":
    main(RECIPE)
