"""Skip connections turn the rugged surface of a deep net's cost into a wide and smooth bowl.

Source: Li, Xu, Taylor, Studer & Goldstein, Visualizing the loss landscape of neural nets (NIPS
2018), figures 1, 3 and 5, with test errors alone: the cost on the plane of two random directions
whose filters are as long as the net's own. Nets trained on small batches lie in wider valleys.

Differs from the source: dense layers on MNIST, not convolutions on CIFAR-10; no batch
normalization, and the branches beside skip connections start small. A width ends where the cost has
risen by .1, not at twice the cost, which a net that has learned less reaches later. Small batches
err less too (6.5 %, not 7.6), unless the training happens to end on a spike. Random directions that
are not normalized mislead: along them a net with rescaled weights, the same function, is narrower,
and the plain deep net no narrower than the one with skip connections.

    make recipe-loss-landscape          three minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge
from keras import initializers, layers, ops

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Exact, Higher, Lower
from common.ingredients.curvature import extreme_eigenvalues
from common.ingredients.landscape import Landscape, nonconvex, random_directions
from common.training import evaluate, fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 3_000  # training images, the first ones
    n_measured: Annotated[int, Ge(1)] = 500  # of these, and test images, on a surface
    weight_decay: Annotated[float, Ge(0)] = 5e-4  # cost + weight_decay / 2 * sum of w^2
    epochs: Annotated[int, Ge(1)] = 80  # passes over the training images
    points: Annotated[int, Ge(4)] = 41  # along each side of a surface
    directions: Annotated[int, Ge(2)] = 10  # whose widths are averaged


DEEP = {"depth": 20, "width": 32, "batch_size": 100, "learning_rate": 0.005}
SHALLOW = {"depth": 4, "width": 100, "skip": False}
ARMS = {
    "plain": DEEP | {"skip": False},
    "skip": DEEP | {"skip": True},
    "small batch": SHALLOW | {"batch_size": 10, "learning_rate": 0.01},
    "large batch": SHALLOW | {"batch_size": 500, "learning_rate": 0.1},
}
CONCAVE, RATIO = "not convex (% of the surface)", "lowest eigenvalue over the highest, negated"
WIDTH, RAW = "width", "width, not normalized"


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 10) logits."""
    generator, decay = keras.random.SeedGenerator(seed), config.weight_decay / 2

    def dense(units, activation=None, scale=2.0):
        normal = initializers.VarianceScaling(scale, "fan_in", "untruncated_normal", generator)
        how = {"kernel_initializer": normal, "kernel_regularizer": keras.regularizers.L2(decay)}
        return layers.Dense(units, activation, **how)

    blocks = arm["depth"] // 2 - 1
    x = inputs = keras.Input((28, 28))
    x = dense(arm["width"], "relu")(layers.Flatten()(layers.Rescaling(1 / 255)(x)))
    for _ in range(blocks):
        y = dense(arm["width"], "relu")(x)
        y = dense(arm["width"], scale=2 / (blocks + 1) ** 2 if arm["skip"] else 2.0)(y)
        x = ops.relu(x + y if arm["skip"] else y)
    return keras.Model(inputs, dense(10, scale=1.0)(x))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x, y), (x_test, y_test) = data
    x, y, n = x[: config.n_train], y[: config.n_train], config.n_measured
    model, loss = build_model(config, arm, seed), keras.losses.SparseCategoricalCrossentropy
    momentum = keras.optimizers.SGD(arm["learning_rate"], momentum=0.9)
    model.compile(momentum, loss(from_logits=True), metrics=["accuracy"])
    fit(model, x, y, batch_size=arm["batch_size"], epochs=config.epochs)
    metrics = {"test error (%)": 100 * (1 - evaluate(model, x_test, y_test)["accuracy"])}

    end, axis = model.get_weights(), np.linspace(-1, 1, config.points)
    how = model, loss(from_logits=True, reduction=None)
    near, near_test = Landscape(*how, x[:n], y[:n]), Landscape(*how, x_test[:n], y_test[:n])
    drawn = random_directions(end, config.directions, seed)
    surface, test = (one.surface(drawn[:2], axis, axis) for one in (near, near_test))
    lowest, highest = extreme_eigenvalues(*how, x[:n], y[:n], 0.01, seed)
    metrics |= {CONCAVE: 100 * nonconvex(surface), RATIO: -lowest / highest, "sharpness": highest}
    metrics["cost"] = near.costs(drawn[:1], [[0.0]])[0]
    metrics["width at twice the cost"] = near.width(drawn, metrics["cost"])

    factors = {2: 10, 3: 10, 4: 0.1}  # of the weights into a layer of ReLU, and out of it
    rescaled = [one * factors.get(i, 1) for i, one in enumerate(end)]
    model.set_weights(rescaled)
    same = Landscape(*how, x[:n], y[:n])
    for metric, normalized in ((WIDTH, True), (RAW, False)):
        before, after = (
            place.width(random_directions(weights, config.directions, seed, normalized), 0.1)
            for place, weights in ((near, end), (same, rescaled))
        )
        metrics |= {metric: before, f"{metric}, rescaled over before": after / before}
    return Outcome(metrics, pictures={"training cost": surface, "test cost": test})


# ---- findings
PLAIN, SKIP, SMALL, LARGE = ARMS
SOURCE = "Li et al. 2018"
FINDINGS = (
    Lower(CONCAVE, SKIP, than=PLAIN, source=SOURCE),
    Lower(RATIO, SKIP, than=PLAIN, ratio=True, source=SOURCE),
    Higher(WIDTH, SKIP, than=PLAIN, ratio=True, source=SOURCE),
    Higher(WIDTH, SMALL, than=LARGE, ratio=True, source=SOURCE),
    *(Exact(f"{WIDTH}, rescaled over before", arm, 1, within=1e-3, source=SOURCE) for arm in ARMS),
    *(Lower(f"{RAW}, rescaled over before", arm, than=0.5, source=SOURCE) for arm in ARMS),
)


def plot(results: Results):
    """Surfaces and contours: a plain deep net, the same with skip connections, and two shallow."""
    title = results.titled("The cost around a trained net, drawn for seed 0")
    figure, axes = figures.mosaic(title, ("PPSS", "PPSS", "PPSS", "pslm", "pslm"), solid="PS")
    x = y = np.linspace(-1, 1, results.config["points"])
    how = {"levels": np.geomspace(1e-3, 1e3, 37), "norm": "log"}
    for arm, panel in zip(results.arms, "pslm", strict=True):
        training, test = (results.picture(f"{name} cost", arm) for name in ("training", "test"))
        filled = axes[panel].contourf(x, y, training.clip(1e-3, 1e3), cmap="viridis", **how)
        axes[panel].contour(x, y, test, colors="white", linewidths=1, **how)
        axes[panel].set(title=arm, aspect="equal")
        if solid := axes.get(panel.upper()):
            heights = np.log10(training.clip(1e-3, 1e3))
            solid.plot_surface(*np.meshgrid(x, y), heights, cmap="viridis", rcount=99, ccount=99)
            solid.set(title=f"{arm}: log10 of the training cost", zlim=(-3, 3))
    figure.colorbar(filled, ax=axes["m"], label="training cost; lines: test", ticks=[1e-3, 1, 1e3])
    return figure


SMOKE = {"n_train": 200, "n_measured": 50, "epochs": 1, "points": 7, "directions": 2}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, seeds=3)

if __name__ == "__main__":
    main(RECIPE)
