"""Momentum crosses a ravine up to sqrt(kappa) times faster; adaptive steps differ by parameter.

Source: lecture of Duisburg-Essen; Kingma & Ba, Adam (2015), figures 1 and 2, without numbers: Adam
and Nesterov's momentum learn faster than AdaGrad, on softmax regression and on a ReLU net.
Convergence rates on a quadratic cost (curvature ratio kappa): Polyak's and Nesterov's.

Differs from the source: 5,000 images, 15 epochs, layers of 64, no dropout, no decay. Each has the
best of thirteen learning rates by training cost. On the ReLU net Nesterov's momentum is faster
than Adam; Adam works at more learning rates than plain steps there, not on softmax regression. The
ravine (kappa 100) is crossed by the same formulas in NumPy: momentum in 87 steps, plain in 691.

    make recipe-optimizers          three minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Exact, Higher, Lower
from common.ingredients.callbacks import Record
from common.ingredients.learning_rates import LearningRates, evaluate_each, nets_alike, total_cost
from common.ingredients.optimizers import adagrad, adam, ravine, rmsprop, sgd
from common.training import fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 5_000  # training images, the first ones
    width: int = 64  # hidden units in each of two layers
    batch_size: int = 125  # images in a mini-batch; a small last one would add noise
    epochs: Annotated[int, Ge(1)] = 15  # passes over the training images


RATES = 10.0 ** np.arange(-5, 1.5, 0.5)  # each trains its own copy of the net
NESTEROV = {"momentum": 0.9, "nesterov": True}
OPTIMIZERS = {  # Keras's, its arguments, by hand, and the rates by theory for curvatures 1 and .01
    "plain": (keras.optimizers.SGD, {}, sgd, [(2 / 1.01,)]),
    "momentum": (keras.optimizers.SGD, {"momentum": 0.9}, sgd, [(4 / 1.1**2, (0.9 / 1.1) ** 2)]),
    "Nesterov": (keras.optimizers.SGD, NESTEROV, sgd, [(1.0, 0.9 / 1.1, True)]),
    "AdaGrad": (keras.optimizers.Adagrad, {}, adagrad, RATES[:, None]),
    "RMSProp": (keras.optimizers.RMSprop, {}, rmsprop, RATES[:, None]),
    "Adam": (keras.optimizers.Adam, {}, adam, RATES[:, None]),
}
NETS = {"softmax": 0, "ReLU": 2}  # hidden layers
ARMS = {f"{one}, {net}": {"optimizer": one, "net": net} for net in NETS for one in OPTIMIZERS}
COST, BEST = "training cost, geometric mean of all epochs", "best learning rate"
RANGE = "decades of learning rates within a point of the lowest test error"
RAVINE, CONTRACTION = "steps to 1e-6 on the ravine", "contraction per step on the ravine"
DISTANCE, STEPS = "distance from the minimum, relative", range(0, 401, 4)  # of the ravine, shown


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, R, 10) logits of R nets that start alike."""
    he = keras.initializers.HeNormal(keras.random.SeedGenerator(seed))
    return nets_alike(len(RATES), [config.width] * NETS[arm["net"]], "relu", he)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x, y), test = data
    x, y = x[: config.n_train], y[: config.n_train]
    model = build_model(config, arm, seed)
    of_keras, how, by_hand, rates = OPTIMIZERS[arm["optimizer"]]
    model.compile(of_keras(LearningRates(RATES), **how), total_cost)
    record = Record(lambda: evaluate_each(model, x, y)[0])
    sizes = {"batch_size": config.batch_size, "epochs": config.epochs}
    fit(model, x, y, callbacks=[record], **sizes)
    cost, error = np.array(record.values), evaluate_each(model, *test)[1]  # (epochs, R), (R,)
    height = np.exp(np.log(cost).mean(axis=0))  # of a curve on a logarithmic axis
    best = np.nanargmin(height)
    metrics = {COST: height[best], "test error (%)": error[best], BEST: RATES[best]}
    metrics[RANGE] = np.sum(error <= error.min() + 1) / 2
    paths = [ravine(by_hand(*rate)) for rate in rates]
    path = min(paths, key=lambda path: np.linalg.norm(path[200]))
    away = np.linalg.norm(path, axis=1) / np.linalg.norm(path[0])
    metrics[RAVINE] = np.argmax(away <= 1e-6) or np.inf
    if len(rates) == 1:  # known without a search, and the same for both nets
        metrics[CONTRACTION] = (away[1000] / away[500]) ** (1 / 500)
    curves = {"cost": cost[:, best], "test error (%)": error, DISTANCE: away[STEPS]}
    if arm["optimizer"] == "AdaGrad" and arm["net"] == "softmax":
        sums = model.optimizer.variables[-1].numpy()[best, :-1]  # of squares, (784, 10)
        return Outcome(metrics, curves, {"steps": (1 / np.sqrt(sums)).mean(1).reshape(28, 28)})
    return Outcome(metrics, curves)


# ---- findings
SOURCE, POLYAK = "Kingma & Ba 2015", "Polyak 1964, Nesterov 1983"
FINDINGS = (
    *(
        Exact(CONTRACTION, f"{one}, softmax", value, within=0.002, source=POLYAK)
        for one, value in (("plain", 99 / 101), ("momentum", 9 / 11), ("Nesterov", 0.9))
    ),
    Lower(RAVINE, "momentum, softmax", than="plain, softmax", ratio=True, by=5, source=POLYAK),
    *(
        Lower(COST, f"{one}, {net}", than=f"AdaGrad, {net}", ratio=True, source=SOURCE)
        for one in ("Nesterov", "Adam")
        for net in NETS
    ),
    *(Lower(COST, f"Adam, {net}", than=f"plain, {net}", ratio=True) for net in NETS),
    Lower(COST, "Nesterov, ReLU", than="Adam, ReLU", ratio=True),
    Higher(RANGE, "Adam, ReLU", than="plain, ReLU"),
)


def plot(results: Results):
    """Cost, the ravine, errors by learning rate, and AdaGrad's learning rates by pixel."""
    figure, axes = figures.panels(results.titled("Six optimizers"), 2, 3)
    for (top, bottom), net in zip(axes.T, NETS, strict=False):
        names = {arm: how["optimizer"] for arm, how in ARMS.items() if how["net"] == net}
        figures.curves(top, results, "cost", names, title=f"{net}: each at its best")
        figures.curves(bottom, results, "test error (%)", names, x=RATES, xlabel="learning rate")
        top.set_yscale("log")
        bottom.set_xscale("log")
    figures.legend(axes[1, 0])
    valley, pixels = axes[:, 2]
    figures.curves(valley, results, DISTANCE, names, 1, STEPS, "step", "a ravine of kappa 100")
    valley.set(yscale="log", ylim=(1e-8, 2))
    for panel in axes.ravel()[:-1]:
        panel.get_lines()[1].set(linestyle="--", zorder=3)  # momentum, else under Nesterov's
    steps, title = results.picture("steps", "AdaGrad, softmax"), "AdaGrad's steps, seed 0"
    figures.show(pixels, steps[None], 1, f"{title}\n(white: largest)", vmax=None)
    return figure


SMOKE, ON = {"n_train": 200, "epochs": 1}, {"mnist5k": {"n_train": 3_500, "epochs": 21}}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, on=ON, seeds=3)

if __name__ == "__main__":
    main(RECIPE)
