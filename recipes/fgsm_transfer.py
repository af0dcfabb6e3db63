"""Images made to fool one net fool other nets too, and mostly into the same wrong class.

Source: Goodfellow, Shlens & Szegedy, Explaining and harnessing adversarial examples (ICLR 2015),
section 8. Of images made against a maxout net, on which both err, softmax regression sees the class
that the maxout net sees in 84.6 %. They explain the transfer and the agreement by the nets' being
nearly linear.

Differs from the source: its maxout net is deep and trained to the end, ours and the three others
make two passes over 20,000 images; the first 5,000 test images are attacked. Random noise of the
same size, shown to the same nets, is the yardstick. `fgsm` is about the attack itself.

    make recipe-fgsm-transfer          one to two minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from keras import layers, ops

from common import attacks, figures
from common.claims import Band, Effect
from common.command import AtLeast, main
from common.data import unit
from common.experiment import Outcome, Recipe, Run
from common.results import Results
from common.training import fit

PAPER = "Goodfellow et al. 2015, 8"


@dataclass(frozen=True)
class Config:
    """The knobs of this recipe."""

    n_train: int = 20_000  # training images, the first ones of the data set
    epochs: int = 2  # passes over them
    rate: float = 1e-3  # learning rate of Adam
    batch_size: int = 100  # images in a mini-batch
    n_test: int = 5_000  # test images attacked, the first ones
    epsilon: Annotated[float, AtLeast(0)] = 0.25  # how far a pixel may move, in [0, 1]


ARMS = {  # the net that is attacked
    "softmax regression": {"net": "softmax"},
    "ReLU net": {"net": "ReLU"},
    "maxout net": {"net": "maxout"},
    "conv net": {"net": "conv"},
}
NETS = [arm["net"] for arm in ARMS.values()]


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


_TRAINED: dict[tuple, dict[str, keras.Model]] = {}  # every arm needs all nets of its seed


def trained(run: Run) -> dict[str, keras.Model]:
    """The nets by name; a process trains them once a seed."""
    config, key = run.config, (run.config, run.seed, run.data.sha256)
    if key not in _TRAINED:
        _TRAINED.clear()
        few, nets = run.data.train.first(config.n_train), {}
        for number, name in enumerate(NETS):
            nets[name] = build_model(name, run.seed)
            fit(
                nets[name],
                few.images,
                few.labels,
                optimizer=keras.optimizers.Adam(config.rate),
                loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                batch_size=config.batch_size,
                epochs=config.epochs,
                seed=run.seed,
                callbacks=run.watch(number + 1, len(NETS)),
            )
        _TRAINED[key] = nets
    return _TRAINED[key]


def compare(seen: dict[str, np.ndarray], source: str, labels: np.ndarray) -> dict[str, float]:
    """What every net sees in the images made against `source`, by its name: (n,) classes.

    -> errors (%), and among those where both err, how many are the same class (%); 0 if none.
    """
    metrics = {}
    for name, classes in seen.items():
        both = (classes != labels) & (seen[source] != labels)
        metrics[f"on {name}"] = 100 * np.mean(classes != labels)
        metrics[f"as {name}"] = 100 * np.sum((classes == seen[source]) & both) / max(1, both.sum())
    return metrics


def train(run: Run, arm: dict) -> Outcome:
    config, nets, source = run.config, trained(run), arm["net"]
    test = run.data.test.first(config.n_test)
    x, y = unit(test.images), test.labels
    attacked = attacks.fgsm(nets[source], x, y, config.epsilon)
    noisy = attacks.noise(x, config.epsilon, run.seed)
    seen, blind = (
        {name: attacks.logits(net, pictures).argmax(axis=1) for name, net in nets.items()}
        for pictures in (attacked, noisy)
    )
    others = [name for name in NETS if name != source]
    metrics = compare(seen, source, y)
    metrics["others"] = np.mean([metrics[f"on {name}"] for name in others])
    metrics["others_by_noise"] = 100 * np.mean([blind[name] != y for name in others])
    return Outcome(metrics)


def transfer(arm: str, more_than) -> Effect:
    name = f"made against the {arm}: errors of the others over noise's (points)"
    return Effect(name, f"{arm}/others", f"{arm}/others_by_noise", PAPER, more_than)


# Means and deviations over 6 seeds on MNIST and digits stand beside.
CLAIMS = (
    Band(  # 70.4 +- 2.7, 82.8 +- 2.2
        "maxout net and softmax regression err alike where both err (%)",
        "maxout net/as softmax",
        {"mnist": (62.2, 78.5), "digits": (76.1, 89.5)},
        PAPER,
        84.6,
    ),
    *(transfer(arm, 5) for arm in ARMS),  # 57, 85; 59, 84; 56, 84; 23, 62
)


def plot(results: Results):
    figure, axes = figures.panels(results.titled("Adversarial images among nets"), 1, 2)
    epsilon = results.config["epsilon"]
    for panel, what, title in zip(
        axes[0],
        ("on", "as"),
        (f"error (%) at epsilon {epsilon:g}", "same wrong class, where both err (%)"),
        strict=True,
    ):
        shares = np.array(
            [[results.metric(f"{arm}/{what} {net}").mean() for net in NETS] for arm in ARMS]
        )
        panel.imshow(shares, cmap="Blues", vmin=0, vmax=180)  # dark type stays legible
        for (row, column), share in np.ndenumerate(shares):
            panel.text(column, row, f"{share:.0f}", ha="center", va="center")
        figures.label(panel, title, "shown to", "made against" if what == "on" else "")
        panel.set_xticks(range(len(NETS)), NETS)
        panel.set_yticks(range(len(NETS)), NETS)
        panel.grid(visible=False)
    return figure


RECIPE = Recipe(
    __doc__,
    Config,
    ARMS,
    train,
    CLAIMS,
    plot,
    smoke={"n_train": 500, "epochs": 1, "n_test": 100},
    paper={"n_train": 60_000, "epochs": 30, "n_test": 10_000},
    on={"digits": {"n_train": 1_297, "epochs": 30, "n_test": 500}},
    jobs=1,  # a process that has the nets attacks them all
)

if __name__ == "__main__":
    main(RECIPE)
