"""AlexNet, scaled down, names over half of the small photographs correctly after four epochs.

Source: Krizhevsky, Sutskever & Hinton, ImageNet classification with deep convolutional neural
networks (NIPS 2012): two groups of maps ("grouped", 60,965,224 parameters) as on its two GPUs, or
one ("single", 62,378,344). Top-1 and top-5 error: 37.5 and 17.0 % on ILSVRC-2010, 40.7 and 18.2 %
on the validation images of ILSVRC-2012. `--schedule halve` is the lecture's (TU Darmstadt).

Differs from the source: by default the stack is scaled down to CIFAR-10 ("cifar"), with crops of 32
x 32 from a margin of 4, and validated on the last tenth of the training images. After four epochs,
not ninety, ten crops lower the top-5 error alone. Full-size crops are 227 wide, not 224. --paper,
never run, trains "grouped" on `--dataset imagenet2012`, on other photographs of TensorFlow
Datasets, or on your own, one folder a class: `--dataset folder --data-dir DIR`.

    make recipe-alexnet          eight to twenty minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import keras
import numpy as np
from annotated_types import Ge
from keras import ops

from common.experiment import Data, Examples, Outcome, Photographs, Recipe, Results, figures, main
from common.experiment.findings import Lower
from common.ingredients.alexnet import PUBLISHED, alexnet
from common.ingredients.layers import Crop, pca_colors, predict_crops
from common.training import fit

SHOWN = 12  # random crops in the figure
VARIANTS = {"cifar": {}, "single": PUBLISHED | {"groups": 1}, "grouped": PUBLISHED}


@dataclass(frozen=True)
class Config:
    variant: Literal["cifar", "single", "grouped"] = "cifar"  # of the stack
    schedule: Literal["tenth", "halve"] = "tenth"  # of the learning rate, when validation stalls
    learning_rate: float = 0.01  # at the start, momentum .9; ten times that with "halve"
    weight_decay: Annotated[float, Ge(0)] = 5e-4  # times the weights, added to their gradient
    batch_size: int = 128  # images in a mini-batch
    epochs: int = 4  # passes over the training images
    side: Annotated[int, Photographs] = 40  # pixels of the squares cut from photographs
    n_train: Annotated[int, Examples("train"), Ge(0)] = 0  # their last tenth validates; 0: all
    n_test: Annotated[int, Examples("test"), Ge(0)] = 0  # test images, the first ones; 0: all

    def __post_init__(self):
        """Raises ValueError for too small photographs, or no image to validate on."""
        if self.n_train == 1:
            raise ValueError("--n-train: expected 0 or at least 2, received 1")
        least = VARIANTS[self.variant].get("side", 32)
        if self.side < least:
            expected = f"at least {least} for --variant {self.variant}"
            raise ValueError(f"--side: expected {expected}, received {self.side}")


ARMS = {"AlexNet": {"classes": 10}}  # or those of the photographs


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, size, size, 3) pixels minus their mean -> (B, classes) logits; size 32 or 227."""
    variant = VARIANTS[config.variant]
    return alexnet(arm["classes"], seed, weight_decay=config.weight_decay, **variant)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    x, y = (array[: config.n_train or None] for array in data[0])
    x_test, y_test = (array[: config.n_test or None] for array in data[1])
    held_out = max(1, len(x) // 10)
    validation_data = x[-held_out:], y[-held_out:]
    x, y = x[:-held_out], y[:-held_out]
    classes = 1 + max(int(labels.max()) for _, labels in data)
    net = build_model(config, arm | {"classes": classes}, seed)
    mean = x.mean(axis=0, dtype=np.float64)
    margin = 4 if net.input_shape[1] == len(mean) == 32 else 0
    crop = Crop(net.input_shape[1], mean, margin, pca_colors(x), seed=seed)
    model = keras.Sequential([keras.Input(x.shape[1:]), crop, net])
    start, factor = (10, 0.5) if config.schedule == "halve" else (1, 0.1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    sgd = keras.optimizers.SGD(start * config.learning_rate, momentum=0.9)
    model.compile(sgd, loss, metrics=["accuracy"])
    stalls = {"patience": 1, "mode": "max", "min_delta": 0}
    how = {"batch_size": config.batch_size, "epochs": config.epochs}
    how["callbacks"] = [keras.callbacks.ReduceLROnPlateau("val_accuracy", factor, **stalls)]
    history = fit(model, x, y, **how, validation_data=validation_data).history
    metrics, predicted = {}, predict_crops(crop, net, x_test)
    for crops, probabilities in zip(("center crop", "ten crops"), predicted, strict=True):
        for name, k in (("test", 1), ("top-5", 5)):
            right = ops.convert_to_numpy(ops.in_top_k(y_test, probabilities, k))
            metrics[f"{name} error, {crops} (%)"] = 100 * np.mean(~right)
    curves = {
        "training error (%)": 100 * (1 - np.array(history["accuracy"])),
        "validation error (%)": 100 * (1 - np.array(history["val_accuracy"])),
        "learning rate": history["learning_rate"],
    }
    filters = np.moveaxis(net.get_layer("conv1").get_weights()[0], -1, 0)
    crops = ops.convert_to_numpy(crop(np.repeat(x[:1], SHOWN, axis=0), training=True))
    return Outcome(metrics, curves, {"filters": filters, "crops": crops + mean.mean(axis=(0, 1))})


# ---- findings
ERROR = "test error, ten crops (%)"
FINDINGS = (Lower(ERROR, "AlexNet", than=50.0, dataset="cifar10"),)  # over half are right


def plot(results: Results):
    """Errors by epoch, the filters of the first layer, and one image as training sees it."""
    variant = results.config["variant"]
    title = results.titled("AlexNet scaled down" if variant == "cifar" else f"AlexNet, {variant}")
    figure, [[learning, first_layer, augmented]] = figures.panels(title, 1, 3)
    figures.label(learning, "learning", "epoch", "error (%)")
    for color, name in zip(figures.COLORS, ("training", "validation"), strict=False):
        figures.lines(learning, results.curves(f"{name} error (%)", "AlexNet"), name, color)
    error = results.metric(ERROR, "AlexNet").mean()
    learning.axhline(error, color=figures.GRAY, linestyle="--", label="test, ten crops")
    learning.locator_params(axis="x", integer=True)
    learning.set_ylim(0)
    figures.legend(learning)
    filters = results.picture("filters", "AlexNet")
    low, high = (f(filters, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    title = f"first layer: {len(filters)} filters"
    figures.show(first_layer, (filters - low) / (high - low), 8 if len(filters) > 32 else 4, title)
    crops = np.clip(results.picture("crops", "AlexNet") / 255, 0, 1)
    figures.show(augmented, crops, 3, "one image as training sees it")
    return figure


SMOKE = {"epochs": 1, "n_train": 256, "n_test": 256}
PAPER = {"variant": "grouped", "side": 256, "epochs": 90}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, PAPER, datasets=("cifar10",), seeds=3)

if __name__ == "__main__":
    main(RECIPE)
