"""A ReLU net of 30 layers stalls, often for good, under Xavier's weights and learns under He's.

Source: He, Zhang, Ren & Sun (ICCV 2015), section 2.2, figures 2 and 3: of 22 layers both converge,
He's sooner; of 30 layers Xavier's stalls. "Xavier" there is N(0, 1/n_in), the forward half of
Glorot & Bengio (AISTATS 2010); He's is N(0, 2/n_in), for ReLU stops one half of what comes in.
What not to do, from the lectures: constant weights, which keep units alike, and N(0, 1) (overflow).

Differs from the source: dense layers of 96 on MNIST, not convolutions on ImageNet. Under Xavier 30
layers stall on some seeds throughout and on others for hundreds of steps; 40 layers stall on every
seed. Under He 40 layers learn, but three seeds of six overflow later. Nets of 21 convolutions
(--paper: also 29) on CIFAR-10, maps mirrored at the border, stall under Xavier; under He three
seeds of six end above chance, at about 20 %, within the 414 steps.

    make recipe-glorot-vs-he          four to six minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge
from keras import initializers, layers, ops

from common.experiment import Data, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Alike, Exact, Higher
from common.training import fit


@dataclass(frozen=True)
class Config:
    width: int = 96  # units or channels in a hidden layer; multiples of 32 keep equal units equal
    learning_rate: float = 0.01  # of gradient descent with momentum .9
    weight_decay: Annotated[float, Ge(0)] = 5e-4  # cost + weight_decay / 2 * sum of w^2
    batch_size: int = 100  # images in a mini-batch
    steps: int = 1_800  # mini-batches trained on
    every: int = 100  # steps between two evaluations; must divide those of a pass

    def __post_init__(self):
        if self.steps < self.every:
            raise ValueError(f"--steps: expected at least --every, received {self.steps}")


PAIR, ALL = ("Xavier", "He"), ("Xavier", "He", "Glorot", "large", "constant")
KINDS = {"22": ALL, "30": PAIR, "40": PAIR, "22, conv": PAIR, "30, conv": PAIR}
ARMS = {
    f"{name} {kind}": {"initializer": name, "depth": int(kind[:2]), "conv": "conv" in kind}
    for kind, names in KINDS.items()
    for name in names
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) or (B, 32, 32, 3) scaled, minus the mean -> (B, 10) logits."""
    generator = keras.random.SeedGenerator(seed)
    initial = {
        "constant": initializers.Constant(0.01),
        "large": initializers.RandomNormal(stddev=1.0, seed=generator),
        "Glorot": initializers.GlorotUniform(generator),
        "Xavier": initializers.VarianceScaling(1.0, "fan_in", "untruncated_normal", generator),
        "He": initializers.VarianceScaling(2.0, "fan_in", "untruncated_normal", generator),
    }[arm["initializer"]]
    penalty = keras.regularizers.L2(config.weight_decay / 2)
    settings = {"kernel_initializer": initial, "kernel_regularizer": penalty}
    x = inputs = keras.Input((32, 32, 3) if arm["conv"] else (28, 28))
    x = x if arm["conv"] else layers.Flatten()(x)
    for k in range(arm["depth"] - 1):
        if arm["conv"]:
            x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "symmetric")  # 32, 16, then 8 wide
            x = layers.Conv2D(config.width, 3, 2 if k < 2 else 1, activation="relu", **settings)(x)
        else:
            x = layers.Dense(config.width, "relu", **settings)(x)
    x = layers.GlobalAveragePooling2D()(x) if arm["conv"] else x
    return keras.Model(inputs, layers.Dense(10, **settings)(x))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, y_train), test = data
    net = build_model(config, arm, seed)
    mean = x_train.mean(axis=0, dtype="float64")
    centered = layers.Rescaling(1 / 255, -(mean / 255).astype("float32"))
    model = keras.Sequential([keras.Input(x_train.shape[1:]), centered, net])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sgd = keras.optimizers.SGD(config.learning_rate, momentum=0.9)
    model.compile(sgd, loss, metrics=["accuracy"])
    steps = {"epochs": config.steps // config.every, "steps_per_epoch": config.every}
    how = {"batch_size": config.batch_size, "validation_data": test}
    history = fit(model, x_train, y_train, **steps, **how).history
    training, test = (100 * np.array(history[name]) for name in ("accuracy", "val_accuracy"))
    metrics = {
        "final test accuracy (%)": test[-1],
        "training accuracy in the first third (%)": training[: max(1, len(training) // 3)].mean(),
        "evaluations at chance (%)": 100 * np.mean(np.abs(test - 10) <= 2),  # ones: 11.35
    }
    if arm["initializer"] == "constant":  # 0 if all units of each layer are one and the same
        kernels = [layer.get_weights()[0] for layer in net.layers if layer.weights][:-1]
        difference = max(np.max(np.ptp(kernel, axis=-1)) for kernel in kernels)
        metrics["largest difference of units"] = difference
    return Outcome(metrics, {"training error (%)": 100 - training})


# ---- findings
SOURCE = "He et al. 2015, 2.2"
EARLY, STALLED = "training accuracy in the first third (%)", "evaluations at chance (%)"
MNIST = {"dataset": ("mnist", "mnist5k")}
WORDS = {"Xavier": "Xavier as in He et al.: N(0, 1/n)", "He": "He: N(0, 2/n)", "large": "N(0, 1)"}
WORDS |= {"Glorot": "Glorot: U(±√(6/(n_in + n_out)))", "constant": "all weights .01"}
FINDINGS = (
    *(
        Higher(EARLY, f"He {n}", than=f"Xavier {n}", by=by, source=SOURCE, preset=preset, **MNIST)
        for preset, margins in {"default": (40, 40, 20), "paper": (0, 0, 0)}.items()
        for n, by in zip((30, 22, 40), margins, strict=True)
    ),
    Higher(STALLED, "Xavier 30", than="He 30", source=SOURCE, **MNIST),
    Alike(STALLED, "Xavier 40", to=100.0, within=1.0, source=SOURCE, **MNIST),
    Alike(STALLED, "large 22", to=100.0, within=1.0, **MNIST),
    Exact("largest difference of units", "constant 22", 0.0, within=0.0, **MNIST),
    Alike(STALLED, "Xavier 22, conv", to=100.0, within=1.0, dataset="cifar10", source=SOURCE),
)


def plot(results: Results):
    """Training error of every seed by step, one panel a depth."""
    depths = sorted({ARMS[arm]["depth"] for arm in results.arms})
    figure, axes = figures.panels(results.titled("Xavier against He"), 1, len(depths))
    how = {"every": results.config["every"], "xlabel": "step", "each_seed": True}
    for panel, depth in zip(axes[0], depths, strict=True):
        names = {arm: WORDS[arm.partition(" ")[0]] for arm in results.arms if f" {depth}" in arm}
        figures.curves(panel, results, "training error (%)", names, title=f"{depth} layers", **how)
        panel.set_ylim(*((70, 95) if results.dataset == "cifar10" else (0, 100)))
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def applies(arm: dict, preset: str, dataset: str) -> bool:
    """Dense arms on MNIST, --smoke: those of the paper; on CIFAR-10 30 layers need --paper."""
    if arm["conv"] or dataset == "cifar10":
        return arm["conv"] and dataset == "cifar10" and (arm["depth"] == 22 or preset == "paper")
    in_paper = arm["initializer"] in PAIR and arm["depth"] <= 30
    return in_paper or preset != "smoke"


CIFAR10 = {"width": 16, "batch_size": 64, "steps": 414, "every": 46}
ON = {"mnist5k": {"steps": 1_820, "every": 35}, "cifar10": CIFAR10}  # 35 steps are a pass
SMOKE, PAPER = {"steps": 4, "every": 2}, {"steps": 4_800}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, PAPER, ON, ("mnist", *ON), 6, applies)

if __name__ == "__main__":
    main(RECIPE)
