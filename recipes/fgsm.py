"""One step along the sign of the gradient makes nets err on nearly every image, and confidently.

Source: Goodfellow, Shlens & Szegedy, Explaining and harnessing adversarial examples (ICLR 2015),
section 4: x' = x + epsilon * sign(dJ/dx). MNIST in [0, 1], epsilon .25: softmax regression errs on
99.9 % of the test images with a mean confidence of 79.3 %, a maxout net on 89.4 % with 97.6 %.

Differs from the source: five passes over 20,000 images, 2,000 test images; a ReLU net and a small
conv net are attacked too. Pixels stay in [0, 1]. Confidence is the mean probability of a net's own
answer, over the images on which it errs. `common/attacks.py` takes the gradient in a form that does
not round to 0 where a net is sure. The cross-entropy's own float32 gradient ("own gradient") does,
and fools the maxout net less often: part of the published 10.6 % that withstood may be rounding.
--image attacks a picture of your own on the conv net trained before; --target is the class that it
shall be taken for.

    make recipe-fgsm          about two minutes on 2 cores
    make recipe-fgsm ARGS="--image FILE --epsilon .2"
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from common import attacks, checkpoint, figures, images
from common.claims import Band, Effect
from common.command import AtLeast, main
from common.data import unit
from common.experiment import Outcome, Recipe, Run
from common.results import Results, UsageError, write_whole
from common.training import fit

PAPER, OWN = "Goodfellow et al. 2015, 4", "own runs"
EPSILONS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)  # of the curves
SHOWN = 4  # images in the figure
SHAPES = {"before": (28, 28), "after": (28, 28), "seen": (4,)}  # what is kept of each


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    n_train: int = 20_000  # training images, the first ones of the data set
    epochs: int = 5  # passes over them
    rate: float = 1e-3  # learning rate of Adam
    batch_size: int = 100  # images in a mini-batch
    n_test: int = 2_000  # test images attacked, the first ones
    epsilon: Annotated[float, AtLeast(0)] = 0.25  # how far a pixel may move, in [0, 1]
    steps: int = 20  # of the iterated attack (PGD), which would show a masked gradient
    image: Path | None = None  # trains nothing, but attacks this PNG or JPEG
    target: Annotated[int | None, AtLeast(0, below=10)] = None  # what --image shall be taken for


ARMS = {
    "softmax regression": {"net": "softmax"},
    "ReLU net": {"net": "ReLU"},
    "maxout net": {"net": "maxout"},
    "conv net": {"net": "conv"},
}
SAVED = {"net": "conv net of the recipe fgsm"}


def build_model(net: str, seed: int) -> keras.Model:
    """(B, 28, 28, 1) in [0, 1] -> (B, 10) logits; `net` is softmax, ReLU, maxout or conv."""
    draws = keras.random.SeedGenerator(seed)
    he = keras.initializers.HeNormal(seed=draws)
    x = inputs = keras.Input((28, 28, 1))
    if net == "conv":
        for maps in (16, 32):
            conv = layers.Conv2D(maps, 3, activation="relu", kernel_initializer=he)
            x = layers.MaxPooling2D()(conv(x))
    x = layers.Flatten()(x)
    for i in range(2 * (net in ("ReLU", "maxout"))):
        if net == "ReLU":
            x = layers.Dense(256, "relu", kernel_initializer=he)(x)
        else:  # 240 units, each the largest of 5 sums
            x = layers.Dropout(0.5 if i else 0.2, seed=10 * seed + i)(x)
            x = layers.Dense(240 * 5, kernel_initializer=he)(x)
            x = ops.max(ops.reshape(x, (-1, 240, 5)), axis=-1)
    glorot = keras.initializers.GlorotUniform(seed=draws)
    return keras.Model(inputs, layers.Dense(10, kernel_initializer=glorot)(x))


def answers(net: keras.Model, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The classes (n,) that the net sees in images, and its confidence in them."""
    p = ops.softmax(attacks.logits(net, x)).numpy()
    return p.argmax(axis=1), p.max(axis=1)


def own_gradient(model: keras.Model, x: np.ndarray, y: np.ndarray, epsilon: float) -> np.ndarray:
    """`attacks.fgsm` as it is often written: where p_y rounds to 1 a part of the gradient is 0."""
    with tf.GradientTape() as tape:
        tape.watch(x := tf.constant(x))
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(x, training=False))
    return tf.clip_by_value(x + epsilon * tf.sign(tape.gradient(loss, x)), 0, 1).numpy()


def train(run: Run, arm: dict) -> Outcome:
    config, few = run.config, run.data.train.first(run.config.n_train)
    net = build_model(arm["net"], run.seed)
    fit(
        net,
        few.images,
        few.labels,
        optimizer=keras.optimizers.Adam(config.rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        batch_size=config.batch_size,
        epochs=config.epochs,
        seed=run.seed,
        callbacks=run.watch(),
    )
    test = run.data.test.first(config.n_test)
    x, y = unit(test.images), test.labels

    def error_on(pictures: np.ndarray) -> float:
        return 100 * np.mean(answers(net, pictures)[0] != y)

    metrics = attacks.harm(net, x, y, config.epsilon, steps=config.steps, seed=run.seed)
    attacked = attacks.fgsm(net, x, y, config.epsilon)
    answer, confidence = answers(net, attacked)
    fooled = answer != y
    metrics["confidence"] = 100 * confidence[fooled].mean() if fooled.any() else 0.0
    metrics["own_gradient"] = error_on(own_gradient(net, x, y, config.epsilon))
    series = {
        "error": [error_on(attacks.fgsm(net, x, y, epsilon)) for epsilon in EPSILONS],
        "noise_error": [error_on(attacks.noise(x, epsilon, run.seed)) for epsilon in EPSILONS],
    }
    metrics["strongest"] = series["error"][-1]
    if arm["net"] != "conv":
        return Outcome(metrics, series)
    before, surely = answers(net, x)
    shown = np.flatnonzero((before == y) & fooled)[: SHOWN * (run.seed == 0)]
    series["before"], series["after"] = np.ravel(x[shown]), np.ravel(attacked[shown])
    series["seen"] = np.ravel(np.array([before, surely, answer, confidence]).T[shown])
    return Outcome(metrics, series, net.get_weights(), SAVED | {"data": run.data.name})


def attack_file(config: Config, out: Path) -> str | None:
    """--image: writes the triptych of one picture; says what the net saw."""
    if config.image is None and config.target is not None:
        raise UsageError(f"--target: expected with --image, received {config.target} alone")
    if config.image is None:
        return None
    saved = out / "conv-net.0.npz"
    if not saved.exists():
        received = "received nothing: run the recipe first"
        raise UsageError(f"--image: expected a trained net in {saved}, {received}")
    net = build_model("conv", 0)
    net.set_weights(checkpoint.load(saved, SAVED))
    x = unit(images.digit(config.image))[None]
    y = "predicted" if config.target is None else np.array([config.target])
    attacked = attacks.fgsm(net, x, y, config.epsilon, targeted=config.target is not None)
    seen = np.array(answers(net, np.concatenate([x, attacked]))).T.reshape(1, 4)
    with figures.style():
        figure, axes = figures.panels(f"{config.image.name}, epsilon {config.epsilon:g}", 1, 1)
        figures.triptychs(axes[0, 0], x[..., 0], attacked[..., 0], said(seen))
        write_whole(file := out / f"{config.image.stem}-fooled.png", figures.png(figure))
    words = ", attacked as ".join(" ".join(one.split()) for one in said(seen)[0])
    return f"{config.image.name}, grey, white on black, centred: seen as {words}\nfigure   {file}"


def said(seen: np.ndarray) -> list[tuple[str, str]]:
    """Class and confidence before and after the attack, (n, 4), in words."""
    return [(f"{was:.0f}\n{sure:.1%}", f"{now:.0f}\n{surer:.1%}") for was, sure, now, surer in seen]


WHAT = {
    "fgsm": "error at .25",
    "own_gradient": "error at .25 by own gradient",
    "strongest": "error at .3",
    "confidence": "confidence in errors",
    "clean": "error without attack",
}


def error(arm: str, metric: str, mnist: tuple, digits: tuple, published=None) -> Band:
    name, source = f"{arm}: {WHAT[metric]} (%)", PAPER if published else OWN
    return Band(name, f"{arm}/{metric}", {"mnist": mnist, "digits": digits}, source, published)


# Means and deviations over 6 seeds on MNIST and digits stand beside.
CLAIMS = (
    error("softmax regression", "fgsm", (99, 100), (99, 100), 99.9),  # 100, 100: all
    error("softmax regression", "confidence", (80.6, 83.5), (86.3, 89.4), 79.3),  # 82.0, 87.8
    error("maxout net", "own_gradient", (96.6, 99.8), (93.9, 100), 89.4),  # 98.2 +- .5, 97.1 +- 1.0
    error("maxout net", "fgsm", (99.7, 100), (99.4, 100)),  # 99.95 +- .05, 100
    error("maxout net", "confidence", (75.8, 87.7), (94.0, 96.8), 97.6),  # 81.7 +- 2.0, 95.4 +- .4
    error("conv net", "strongest", (94.1, 100), (99.3, 100)),  # 97.1 +- 1.0, 99.9 +- .2
    *(
        Effect(f"{arm}: attack over noise (points)", f"{arm}/fgsm", f"{arm}/noise", PAPER, 30)
        for arm in ARMS  # 65, 86; 62, 90; 68, 89; 75, 83
    ),
    error("softmax regression", "clean", (10.5, 12.8), (7.4, 8.2)),  # 11.6 +- .4, 7.8 +- .1
    error("ReLU net", "clean", (3.2, 5.6), (5.4, 7.4)),  # 4.4 +- .4, 6.4 +- .3
    error("maxout net", "clean", (3.3, 6.0), (4.8, 8.0)),  # 4.6 +- .4, 6.4 +- .5
    error("conv net", "clean", (1.8, 4.0), (4.3, 8.8)),  # 2.9 +- .3, 6.5 +- .7
)


def plot(results: Results):
    figure, axes = figures.panels(results.titled("Fast gradient sign method"), 1, 2)
    before, after, seen = (
        results.history(f"conv net/{name}")[0].reshape(-1, *shape) for name, shape in SHAPES.items()
    )
    figures.triptychs(axes[0, 0], before, after, said(seen))
    axes[0, 0].set_title("conv net: image, change, together")
    panel = axes[0, 1]
    figures.label(panel, "", "epsilon", "test error (%)")
    for color, arm in zip(figures.COLORS, ARMS, strict=False):
        figures.curve(panel, results.history(f"{arm}/error"), arm, color, np.array(EPSILONS))
        panel.plot(EPSILONS, results.history(f"{arm}/noise_error").mean(axis=0), "--", color=color)
    panel.plot([], [], "--", color=figures.GREY, label="random noise")
    panel.set_ylim(0, 102)
    panel.legend(loc=(0.57, 0.5))
    return figure


SMOKE = {"n_train": 500, "epochs": 1, "n_test": 100, "steps": 2}
ALL = {"n_train": 60_000, "epochs": 30, "n_test": 10_000}
ON = {"digits": {"n_train": 1_297, "epochs": 60, "n_test": 500}}
RECIPE = Recipe(
    __doc__, Config, ARMS, train, CLAIMS, plot, smoke=SMOKE, paper=ALL, on=ON, instead=attack_file
)

if __name__ == "__main__":
    main(RECIPE)
