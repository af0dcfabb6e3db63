"""One step along the sign of the gradient takes most of a net's confidence in a drawn digit.

Source: Goodfellow, Shlens & Szegedy, Explaining and harnessing adversarial examples (ICLR 2015),
section 4: x' = x + epsilon * sign(dJ/dx), J the cross-entropy of the true class.

Differs from the source: J is that of the class predicted for x, as your own picture has no label;
the conv net of `fgsm`; --target lowers J of that class instead. Confidence is that in the class
predicted without attack. Your picture is prepared as MNIST's were: gray, white on black, 20 x 20
pixels, its center of mass in the middle (LeCun, Bottou, Bengio & Haffner 1998, III A).

    make recipe-fgsm-picture          about a minute on 2 cores
    make recipe-fgsm-picture ARGS="--image FILE --epsilon .2 --seeds 1"
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge, Le
from PIL import Image

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Lower
from common.ingredients.attacks import fgsm, noise, probabilities
from common.ingredients.digit_nets import digit_net
from common.ingredients.pictures import read_picture
from common.training import fit

SHOWN = 4  # test images attacked without --image
FAINT, FAINT_INK = 0.05, 0.1  # contrast of a drawing, share of its strongest ink: less is paper


@dataclass(frozen=True)
class Config:
    image: Path | None = None  # PNG or JPEG of a drawn digit; None: the first test images
    target: Annotated[int | None, Ge(0), Le(9)] = None  # class to be predicted; None: any other
    epsilon: Annotated[float, Ge(0)] = 0.25  # largest change of a pixel in [0, 1]
    n_train: Annotated[int, Examples("train")] = 20_000  # training images, the first ones
    epochs: int = 5  # passes over them
    learning_rate: float = 1e-3  # of Adam
    batch_size: int = 100  # images in a mini-batch


ARMS = {"conv net": {}}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 28, 28) pixels in 0..255 -> (B, 10) logits."""
    return digit_net("conv", seed)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, y_train), (x_test, _) = data
    before = x_test[:SHOWN] if config.image is None else digit(config.image)[None]
    model = build_model(config, arm, seed)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(config.learning_rate), loss)
    x, y = x_train[: config.n_train], y_train[: config.n_train]
    fit(model, x, y, batch_size=config.batch_size, epochs=config.epochs)

    epsilon, targeted = 255 * config.epsilon, config.target is not None
    p_before = probabilities(model, before)
    predicted = p_before.argmax(axis=1)
    y = np.full_like(predicted, config.target) if targeted else predicted
    after = fgsm(model, before, y, epsilon, targeted=targeted)
    p_after = probabilities(model, after)
    p_noise = probabilities(model, noise(before, epsilon, seed))
    rows = np.arange(len(before))
    metrics = {
        "confidence without attack (%)": 100 * np.mean(p_before[rows, predicted]),
        "confidence under noise (%)": 100 * np.mean(p_noise[rows, predicted]),
        "confidence under attack (%)": 100 * np.mean(p_after[rows, predicted]),
    }
    pictures = {"before": before, "after": after, "p before": p_before, "p after": p_after}
    return Outcome(metrics, pictures=pictures)


def digit(file: Path) -> np.ndarray:
    """What is drawn in a PNG or JPEG, as MNIST has it, (28, 28) in 0..255."""
    gray = np.asarray(read_picture(file).convert("L"), "float32") / 255
    change = gray - np.median(np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]]))
    ink = np.maximum(change if change.max() >= -change.min() else -change, 0)
    if ink.max() < FAINT:
        raise ValueError("--image: expected a drawing, received an even area")
    ink /= ink.max()
    rows, columns = (np.flatnonzero((ink > FAINT_INK).any(axis=axis)) for axis in (1, 0))
    drawn = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    size = [max(1, round(20 * side / max(drawn.size))) for side in drawn.size]
    small = np.asarray(drawn.resize(size, Image.Resampling.BOX))
    made = np.zeros((28, 28), "float32")
    made[: size[1], : size[0]] = small / small.max()
    center = [np.arange(28) @ made.sum(axis=1 - axis) / made.sum() for axis in (0, 1)]
    shift = np.clip(np.round(13.5 - np.array(center)), 0, 28 - np.array(small.shape))
    return 255 * np.roll(made, shift.astype(int), axis=(0, 1))


# ---- findings
ATTACKED, SOURCE = "confidence under attack (%)", "Goodfellow et al. 2015, section 4"
FINDINGS = (
    Lower(ATTACKED, "conv net", than_metric="confidence without attack (%)", source=SOURCE),
    Lower(ATTACKED, "conv net", than_metric="confidence under noise (%)", source=SOURCE),
)


def plot(results: Results):
    """Each picture before and after the attack, with what the net predicts."""
    names = ("before", "after", "p before", "p after")
    before, after, *p = (results.picture(name, "conv net") for name in names)
    config, image = results.config, results.config["image"]
    title = Path(image).name if image else results.titled("A digit attacked")
    figure, axes = figures.panels(f"{title}, epsilon {config['epsilon']:g}", 1, 1)
    words = [[f"{one.argmax()}\n{one.max():.1%}" for one in each] for each in p]
    figures.triptychs(axes[0, 0], before / 255, after / 255, list(zip(*words, strict=True)))
    axes[0, 0].set_title("image, change, together")
    return figure


SMOKE = {"n_train": 500, "epochs": 1}
ON = {"mnist5k": {"n_train": 3_500, "epochs": 28}}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, on=ON, seeds=6)

if __name__ == "__main__":
    main(RECIPE)
