"""A net trained on eight classes learns two others from 50 images better than a new net.

Source: the lecture (TU Darmstadt) on deep nets after Krizhevsky et al. 2012; Yosinski, Clune,
Bengio & Lipson (NIPS 2014): features learned on other classes help, more so if they are trained
further. They print no figures for training sets this small.

Differs from the source: CIFAR-10 and the stack of the recipe alexnet. All classes but deer and
horse are learned first, then these two from 50 to 500 images: by a new net, by a new last layer on
frozen features, or by fine-tuning all layers, each on the same number of mini-batches. Weights
start as He's: with AlexNet's own a new net learns nothing from so few images. The gain is certain
for 50 images only, and gone at 500. Frozen features do as well as fine-tuned ones, except at 500.

    make recipe-fine-tuning          six to eighteen minutes on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge, Le, Lt
from keras import layers, ops

from common.experiment import Data, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Lower
from common.ingredients.alexnet import alexnet
from common.ingredients.layers import Crop
from common.training import fit, once

TWO, EIGHT = (4, 7), (0, 1, 2, 3, 5, 6, 8, 9)  # deer and horse, and the other classes
SIZES = (50, 100, 200, 500)  # numbers of training images of the two classes


@dataclass(frozen=True)
class Config:
    n_eight: Annotated[int, Ge(1), Le(40_000)] = 20_000  # training images of the eight classes
    epochs_eight: int = 3  # passes over them
    batch_eight: int = 64  # images in a mini-batch of the eight classes
    batch_size: int = 25  # images in a mini-batch of the two classes
    steps: int = 200  # mini-batches of the two classes, in whole passes over their images
    learning_rate: float = 0.01  # of a new net, and of a new last layer on frozen features
    learning_rate_tuned: float = 0.001  # of fine-tuning, the new last layer included
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9  # of gradient descent


ARMS = {
    "new net": {"pretrained": False, "frozen": False, "classes": 2},
    "frozen": {"pretrained": True, "frozen": True, "classes": 2},
    "fine-tuned": {"pretrained": True, "frozen": False, "classes": 2},
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 32, 32, 3) pixels minus their mean -> (B, classes) logits, of AlexNet's features."""
    net = alexnet(arm["classes"], seed)
    he = keras.initializers.HeNormal(seed=keras.random.SeedGenerator(seed))
    features = keras.Model(net.inputs[0], net.layers[-2].output, name="features")
    weights = [(weight, he if weight.ndim > 1 else ops.zeros) for weight in features.get_weights()]
    features.set_weights([ops.convert_to_numpy(make(old.shape)) for old, make in weights])
    features.trainable = not arm["frozen"]
    inputs = keras.Input((32, 32, 3))
    x = features(layers.Rescaling(1 / 64)(inputs))  # standard deviation near 1, for He's weights
    return keras.Model(inputs, layers.Dense(arm["classes"], kernel_initializer="zeros")(x))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    mean = data[0][0].mean(axis=0)
    (x_train, y_train), test = (only(TWO, *images) for images in data)

    def learn(net, x, y, learning_rate, **how) -> dict:
        """Trains the net in place on random crops; its history."""
        crop = Crop(32, mean, margin=4, seed=seed)
        model = keras.Sequential([keras.Input((32, 32, 3)), crop, net])
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        sgd = keras.optimizers.SGD(learning_rate, config.momentum)
        model.compile(sgd, loss, metrics=["accuracy"])
        return fit(model, x, y, **how).history

    def eight_classes() -> list[np.ndarray]:
        """Weights of the features after training on the eight classes."""
        net = build_model(config, ARMS["new net"] | {"classes": 8}, seed)
        x, y = (array[: config.n_eight] for array in only(EIGHT, *data[0]))
        how = {"batch_size": config.batch_eight, "epochs": config.epochs_eight}
        learn(net, x, y, config.learning_rate, **how)
        return net.get_layer("features").get_weights()

    weights = once("eight classes", eight_classes) if arm["pretrained"] else None
    tuned, metrics = arm["pretrained"] and not arm["frozen"], {}
    learning_rate = config.learning_rate_tuned if tuned else config.learning_rate
    for size in SIZES:
        net = build_model(config, arm, seed)
        if weights:
            net.get_layer("features").set_weights(weights)
        epochs = max(1, config.steps // -(-size // config.batch_size))
        how = {"batch_size": config.batch_size, "epochs": epochs}
        how |= {"validation_data": test, "validation_freq": epochs}
        history = learn(net, x_train[:size], y_train[:size], learning_rate, **how)
        metrics[f"test error from {size} images (%)"] = 100 * (1 - history["val_accuracy"][-1])
    return Outcome(metrics, {"test error (%)": list(metrics.values())})


def only(classes: tuple[int, ...], x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The images of these classes, labeled 0, 1, ... in their order."""
    chosen = np.isin(y, classes)
    return x[chosen], np.searchsorted(classes, y[chosen]).astype("int32")


# ---- findings
SOURCE = "Yosinski et al. 2014"
FINDINGS = (
    Lower("test error from 50 images (%)", "fine-tuned", than="new net", source=SOURCE),
    Lower("test error from 500 images (%)", "fine-tuned", than="frozen", source=SOURCE),
)


def plot(results: Results):
    """Test error by the number of training images of the two classes."""
    title = results.titled("Deer or horse, after eight other classes")
    figure, [[panel]] = figures.panels(title, 1, 1)
    xlabel = "training images of the two classes"
    figures.curves(panel, results, "test error (%)", x=SIZES, xlabel=xlabel)
    panel.set_xscale("log")
    panel.set_xticks(SIZES, [str(size) for size in SIZES])
    panel.minorticks_off()
    panel.set_ylim(0, 50)
    figures.legend(panel)
    return figure


SMOKE = {"n_eight": 128, "epochs_eight": 1, "steps": 4}
PAPER = {"n_eight": 40_000, "epochs_eight": 30, "steps": 1_000}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, PAPER, datasets=("cifar10",), seeds=6)

if __name__ == "__main__":
    main(RECIPE)
