"""Large mini-batches reach a cost in fewer steps, up to a critical size; small ones need less data.

Source: lecture of Duisburg-Essen; McCandlish et al., An empirical model of large-batch training
(2018). With B of n examples, drawn without replacement, the gradient varies around the full one, G,
by tr(Sigma) / B * (n - B) / (n - 1), where Sigma is one example's covariance. A cost takes
S (1 + C / B) steps, S if B is large; C is near the noise scale, tr(Sigma) / |G|^2.

Differs from the source: 1,024 images of 14 x 14 pixels, 30 tanh units, the best of ten learning
rates for each B. The source's net: C = 20 .. 200, noise scale from 50 to 900, rising; ours: 49.

    make recipe-gradient-descent          one to three minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Alike, Exact, Higher, Lower
from common.ingredients.callbacks import Record
from common.ingredients.learning_rates import LearningRates, evaluate_each, nets_alike, total_cost
from common.ingredients.noise import backpropagated, batch_variance, noise_scale
from common.training import fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train"), Ge(512)] = 1_024  # training images, the first ones
    width: int = 30  # hidden units
    target: float = 0.3  # cost J of the training images that is to be reached
    steps: Annotated[int, Ge(64)] = 250  # fewest steps of gradient descent
    passes: int = 4  # fewest passes over the images; the larger of both counts is trained
    draws: Annotated[int, Ge(2)] = 4_000  # mini-batches in a measurement of the variance


RATES = 2.0 ** np.arange(-6, 4)  # learning rates; each moves its own copy of the net
STEPS, IMAGES = "steps to the target", "images to the target"
BEST, LARGEST = "best learning rate", "largest learning rate to reach the target"
RISES = f"J rises at learning rate {RATES[2]} (% of measurements)"
NOISE, LEAST = "noise scale at the start", "steps / (1 + noise scale / B)"  # S: steps if B is large
VARIANCES = [f"variance over the formula's, {when}" for when in ("start", "end")]
SIZES = (1, 4, 16, 64, 256)
ARMS = {f"B = {size}": {"batch": size} for size in SIZES} | {"full batch": {"batch": None}}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 10, 10) logits of ten nets that start alike."""
    glorot = keras.initializers.GlorotUniform(keras.random.SeedGenerator(seed))
    return nets_alike(len(RATES), [config.width], "tanh", glorot, pool=2)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    x, y = (some[: config.n_train] for some in data[0])
    n, batch = len(x), arm["batch"] or len(x)
    steps, every = max(config.steps, config.passes * n // batch), max(1, 16 // batch)  # 16 images
    model = build_model(config, arm, seed)
    model.compile(keras.optimizers.SGD(LearningRates(RATES)), total_cost)
    record = Record(lambda: evaluate_each(model, x, y)[0])
    start, layers = record.measure(), backpropagated(model, x, y)
    how = {"batch_size": batch, "epochs": steps // every, "steps_per_epoch": every}
    fit(model, x, y, callbacks=[record], **how)
    cost = np.array([start, *record.values]).T  # (R, measurements)
    trained = (cost <= config.target).any(axis=1)
    took = np.where(trained, (cost <= config.target).argmax(axis=1), np.inf) * every
    best, count, noise = took.argmin(), took.min(), noise_scale(layers)[0]
    metrics = {STEPS: count, IMAGES: count * batch, LEAST: count / (1 + noise / batch)}
    metrics |= {BEST: RATES[best], LARGEST: RATES[trained].max(initial=0), NOISE: noise}
    metrics[RISES] = 100 * np.mean(np.diff(cost[2]) > 0)
    for name, seen in zip(VARIANCES, (layers, backpropagated(model, x, y)), strict=True):
        if batch < n:  # a full batch does not vary
            measured, formula = batch_variance(seen, best, batch, config.draws, seed)
            metrics[name] = measured / formula
    return Outcome(metrics, {"J": cost[best]})


# ---- findings
SINGLE, FULL, SOURCE = "B = 1", "full batch", "McCandlish et al. 2018"
FINDINGS = (
    Lower(STEPS, "B = 16", than=SINGLE, ratio=True, by=4, source=SOURCE),
    Alike(STEPS, FULL, to="B = 256", within=10, source=SOURCE),
    Lower(IMAGES, SINGLE, than=FULL, ratio=True, by=10, source=SOURCE),
    *(Alike(LEAST, arm, to=FULL, within=15, source=SOURCE) for arm in (SINGLE, "B = 16")),
    Higher(LARGEST, "B = 64", than=SINGLE, ratio=True, by=4),
    # 0.15 is three standard errors of 4,000 draws where single images differ most, at the end.
    *(Exact(name, f"B = {size}", 1, within=0.15) for name in VARIANCES for size in SIZES),
    Exact(RISES, FULL, 0, within=0),
    Higher(RISES, SINGLE, than=0),
)


def plot(results: Results):
    """J by image and by step; images, steps and learning rates by the size of a mini-batch."""
    figure, axes = figures.panels(results.titled("Gradient descent by mini-batches"), 2, 2)
    (by_image, by_step), (to_target, rates) = axes
    n = results.config["n_train"]
    sizes = {arm: ARMS[arm]["batch"] or n for arm in results.arms}
    for color, (arm, size) in zip(figures.COLORS, sizes.items(), strict=False):
        cost = results.curves("J", arm)[:1]
        steps = max(1, 16 // size) * np.arange(1, cost.shape[1])
        for panel, x in ((by_image, steps * size), (by_step, steps)):
            figures.curve(panel, cost[:, 1:], arm, color, x)
    for panel, what in ((by_image, "images seen"), (by_step, "steps")):
        panel.axhline(results.config["target"], color=figures.GRAY, linestyle=":")
        panel.set(xscale="log", ylim=(0, 2.5))
        figures.label(panel, "best learning rate of each B, seed 0", what, "J, training cost")
    figures.legend(by_step)
    x, last = np.array(list(sizes.values())), results.arms[-1]
    noise, least = (results.metric(metric, last).mean() for metric in (NOISE, LEAST))
    formula = {"color": figures.GRAY, "linestyle": "--", "label": "S (1 + noise scale / B)"}
    to_target.plot(x, least * (1 + noise / x), **formula)
    to_target.axvline(noise, color=figures.GRAY, linestyle=":", label="B = noise scale")
    for panel, metrics in ((to_target, (IMAGES, STEPS)), (rates, (LARGEST, BEST))):
        for metric, color in zip(metrics, figures.COLORS, strict=False):
            values = np.array([results.metric(metric, arm) for arm in sizes]).T
            figures.curve(panel, values, metric, color, x)
        panel.set(xscale="log", yscale="log", xticks=x, xticklabels=x, xlabel="B, mini-batch size")
        panel.minorticks_off()
        figures.legend(panel)
    to_target.set_ylabel(f"images, steps to J = {results.config['target']}")
    rates.set_ylabel("learning rate")
    return figure


SMOKE = {"n_train": 512, "steps": 64, "passes": 1, "draws": 20}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, seeds=3)

if __name__ == "__main__":
    main(RECIPE)
