"""Images made to fool one net fool other nets too, often into the same wrong class.

Source: Goodfellow, Shlens & Szegedy, Explaining and harnessing adversarial examples (ICLR 2015),
section 8: of the images made against a maxout net on which both nets err, softmax regression picks
its class for 84.6 %. The authors explain both facts by nets being nearly linear.

Differs from the source: four nets, trained for two epochs on 20,000 images; the first 5,000 test
images are attacked. Softmax regression agrees with our maxout net less often, still less after
longer training (--paper). The baseline is random noise of size epsilon, .25.

    make recipe-fgsm-transfer          one to two minutes on 2 cores
"""

import functools
from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Higher, Printed
from common.ingredients.attacks import fgsm, noise, probabilities
from common.ingredients.digit_nets import digit_net
from common.training import fit, once


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 20_000  # training images, the first ones
    epochs: int = 2  # passes over them
    learning_rate: float = 1e-3  # of Adam
    batch_size: int = 100  # images in a mini-batch
    n_test: Annotated[int, Examples("test")] = 5_000  # test images attacked, the first ones
    epsilon: Annotated[float, Ge(0)] = 0.25  # largest change of a pixel in [0, 1]


ARMS = {  # the net that is attacked
    "softmax regression": {"net": "softmax"},
    "ReLU net": {"net": "ReLU"},
    "maxout net": {"net": "maxout"},
    "conv net": {"net": "conv"},
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 10) logits."""
    return digit_net(arm["net"], seed)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, y_train), (x_test, y_test) = data

    def trained(model: keras.Model) -> list[np.ndarray]:
        """Weights of the model after training."""
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(config.learning_rate), loss)
        x, y = x_train[: config.n_train], y_train[: config.n_train]
        fit(model, x, y, batch_size=config.batch_size, epochs=config.epochs)
        return model.get_weights()

    nets = {name: build_model(config, other, seed) for name, other in ARMS.items()}
    own = next(name for name in ARMS if ARMS[name] == arm)
    for name in sorted(ARMS, key=lambda name: name != own):  # arms side by side share the work
        nets[name].set_weights(once(name, functools.partial(trained, nets[name])))
    x, y = np.float32(x_test[: config.n_test]), y_test[: config.n_test]

    def predictions(images: np.ndarray) -> dict[str, np.ndarray]:
        """Classes (n,) that each net predicts."""
        return {name: probabilities(net, images).argmax(axis=1) for name, net in nets.items()}

    attacked = predictions(fgsm(nets[own], x, y, 255 * config.epsilon))
    noisy = predictions(noise(x, 255 * config.epsilon, seed))
    others = [name for name in ARMS if name != own]
    wrong, wrong_anyway = ([p[name] != y for name in others] for p in (attacked, noisy))
    metrics = {
        "mean error of the other nets (%)": 100 * np.mean(wrong),
        "mean error of the others under noise (%)": 100 * np.mean(wrong_anyway),
    }
    return Outcome(metrics | compare(attacked, own, y))


def compare(predicted: dict[str, np.ndarray], own: str, y: np.ndarray) -> dict[str, float]:
    """Error (%) of each net on images against the net `own`, and its agreement with it (%).

    `predicted` are classes (n,) by net, y the true ones. Agreement is the share of the same class
    among images on which both err; 0 if there are none.
    """
    metrics = {}
    for name, classes in predicted.items():
        both = (classes != y) & (predicted[own] != y)
        same = both & (classes == predicted[own])
        metrics[f"error of the {name} (%)"] = 100 * np.mean(classes != y)
        metrics[f"agreement with the {name} (%)"] = 100 * same.sum() / max(1, both.sum())
    return metrics


# ---- findings
OTHERS, NOISY = "mean error of the other nets (%)", "mean error of the others under noise (%)"
AGREE, SOURCE = "agreement with the softmax regression (%)", "Goodfellow et al. 2015, section 8"
TRAINING = "It falls with training: compare the default with the paper preset"
FINDINGS = (
    *(
        Higher(OTHERS, arm, than_metric=NOISY, by=by, preset=preset, source=SOURCE)
        for preset, by in (("default", 5), ("paper", 0))
        for arm in ARMS
    ),
    Printed(AGREE, "maxout net", 84.6, SOURCE, preset=("default", "paper"), cause=TRAINING),
)


def plot(results: Results):
    """Error of each net on the images made against each, and how often both agree."""
    figure, axes = figures.panels(results.titled("Adversarial images among nets"), 1, 2)
    noise = np.mean([results.metric(NOISY, arm) for arm in ARMS])
    error = f"error (%) at epsilon {results.config['epsilon']:g}; under noise {noise:.0f}"
    titles = {"error of": error, "agreement with": "same wrong class, where both err (%)"}
    for panel, (metric, title) in zip(axes[0], titles.items(), strict=True):
        shares = [[results.metric(f"{metric} the {n} (%)", a).mean() for n in ARMS] for a in ARMS]
        panel.imshow(shares, cmap="Blues", vmin=0, vmax=180)  # dark type stays legible
        for (row, column), share in np.ndenumerate(shares):
            panel.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=24)
        figures.label(panel, title, "shown to", "made against")
        ticks = range(len(ARMS)), [arm["net"] for arm in ARMS.values()]
        panel.set_xticks(*ticks)
        panel.set_yticks(*ticks)
        panel.grid(visible=False)
    return figure


SMOKE = {"n_train": 500, "epochs": 1, "n_test": 100}
PAPER = {"n_train": 60_000, "epochs": 30, "n_test": 10_000}
ON = {"mnist5k": {"n_train": 3_500, "epochs": 12, "n_test": 1_000}}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, PAPER, ON, seeds=6)

if __name__ == "__main__":
    main(RECIPE)
