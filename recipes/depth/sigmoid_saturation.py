"""The last of four hidden sigmoid layers falls to 0 and returns late; the last of five stays there.

Source: Glorot & Bengio (AISTATS 2010), 3.1 and figure 2, which the lecture of Technosphere Moscow
calls "the net while it learns": four hidden layers of 1,000 sigmoids, weights from U(-1 / sqrt n,
1 / sqrt n), batches of 10. The cost stands still while the last layer's mean is near 0, for 2
million steps; with five layers it never moves while they watch. No other numbers are printed.

Differs from the source: 200 units on MNIST, not on generated shapes; at a learning rate of .5 the
last layer returns after 5,000 to 13,000 of 24,000 steps. tanh and softsign learn at once, at .1.
All their layers saturate together; in the paper those of tanh do so one after the other.

    make recipe-sigmoid-saturation          two minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge
from keras import layers

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Higher, Lower
from common.ingredients.callbacks import Record
from common.training import fit


@dataclass(frozen=True)
class Config:
    width: int = 200  # units in a hidden layer
    batch_size: int = 10  # images in a mini-batch
    steps: Annotated[int, Ge(1)] = 24_000  # mini-batches trained on
    every: Annotated[int, Ge(1)] = 250  # steps between two measurements; must divide a pass's
    watched: Annotated[int, Examples("test")] = 300  # test images whose activations are measured


ARMS = {
    "sigmoid, 4 layers": {"hidden": 4, "activation": "sigmoid", "learning_rate": 0.5},
    "sigmoid, 5 layers": {"hidden": 5, "activation": "sigmoid", "learning_rate": 0.5},
    "tanh, 4 layers": {"hidden": 4, "activation": "tanh", "learning_rate": 0.1},
    "softsign, 4 layers": {"hidden": 4, "activation": "softsign", "learning_rate": 0.1},
}
LOWEST, LAST, ACCURACY = "lowest mean of the last layer", "its mean at the end", "accuracy (%)"
CHANCE = "steps to an accuracy of 20 %"


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 10) logits."""
    generator = keras.random.SeedGenerator(seed)
    initial = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform", generator)
    x = inputs = keras.Input((28, 28))
    x = layers.Flatten()(layers.Rescaling(1 / 255)(x))
    for _ in range(arm["hidden"]):
        x = layers.Dense(config.width, arm["activation"], kernel_initializer=initial)(x)
    return keras.Model(inputs, layers.Dense(10, kernel_initializer=initial)(x))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x, y), (watched, _) = data
    model, watched = build_model(config, arm, seed), watched[: config.watched]
    hidden = keras.Model(model.inputs[0], [layer.output for layer in model.layers[3:-1]])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(arm["learning_rate"]), loss, metrics=["accuracy"])
    record = Record(lambda: [(a.mean(), a.std()) for a in hidden.predict_on_batch(watched)])
    first = record.measure()
    how = {"epochs": config.steps // config.every, "steps_per_epoch": config.every}
    history = fit(model, x, y, batch_size=config.batch_size, callbacks=[record], **how).history
    means, spreads = np.array([first, *record.values]).T  # (layers, 1 + measurements) each
    accuracy = 100 * np.array(history["accuracy"])
    learned = np.append(accuracy > 20, True).argmax() * config.every  # all steps if it never does
    metrics = {LOWEST: means[-1].min(), LAST: means[-1, -1]}
    curves = {f"mean of layer {k}": mean for k, mean in enumerate(means, 1)}
    curves |= {f"spread of layer {k}": spread for k, spread in enumerate(spreads, 1)}
    curves |= {ACCURACY: accuracy}
    return Outcome(metrics | {ACCURACY: accuracy[-1], CHANCE: learned}, curves)


# ---- findings
FOUR, FIVE, TANH, SOFTSIGN = ARMS
SOURCE = {"source": "Glorot & Bengio 2010, 3.1"}
FINDINGS = (
    Lower(LOWEST, FOUR, than=0.03, **SOURCE),
    Higher(LAST, FOUR, than_metric=LOWEST, by=3, ratio=True, **SOURCE),
    Higher(ACCURACY, FOUR, than=80.0, **SOURCE),
    Lower(LAST, FIVE, than=0.01, **SOURCE),
    Lower(ACCURACY, FIVE, than=15.0, **SOURCE),
    *(Lower(CHANCE, arm, than=FOUR, by=1_000) for arm in (TANH, SOFTSIGN)),
)


def plot(results: Results):
    """Activations of each layer by step, and the accuracy of all nets."""
    layout = ["aaabbb", "aaabbb", "ccddee"]
    figure, at = figures.mosaic(results.titled("The net while it learns"), layout)
    measured = results.curves("mean of layer 1", results.arms[0]).shape[1]
    x = results.config["every"] * np.arange(measured)
    for letter, arm in zip("abcd", results.arms, strict=False):
        for k, color in enumerate(figures.COLORS[: ARMS[arm]["hidden"]], 1):
            mean, std = (results.curves(f"{of} of layer {k}", arm)[0] for of in ("mean", "spread"))
            if letter in "ab":
                ends = {"color": color, "alpha": 0.15, "linewidth": 0}
                at[letter].fill_between(x, *np.clip([mean - std, mean + std], 0, 1), **ends)
            shown = mean if letter in "ab" else std
            at[letter].plot(x, shown, color=color, label=f"layer {k}")
        what = "activation" if letter in "ab" else "spread of activations"
        figures.label(at[letter], f"{arm}, seed 0", "step", what)
    how = {"xlabel": "step", "each_seed": True, "every": results.config["every"]}
    figures.curves(at["e"], results, ACCURACY, **how)
    at["b"].legend(loc="lower right", bbox_to_anchor=(1, 0.08))
    figure.legend(
        *at["e"].get_legend_handles_labels(), loc="outside lower center", ncols=4, title="accuracy"
    )
    return figure


SMOKE, ON = {"steps": 4, "every": 2}, {"mnist5k": {"every": 175}}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, on=ON, seeds=6)

if __name__ == "__main__":
    main(RECIPE)
