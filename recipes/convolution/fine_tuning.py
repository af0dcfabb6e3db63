"""Features learned on ImageNet tell two classes apart from 50 images; a new net needs far more.

Source: lecture of TU Darmstadt: train on ImageNet, then on data of your own; Yosinski, Clune,
Bengio & Lipson (NIPS 2014), who print nothing for so few images: features learned on other classes
help, and help more if they are trained further.

Differs from the source: SqueezeNet v1.1, and deer and horses of CIFAR-10, enlarged. A logistic
regression learns from the standardized means of SqueezeNet's last maps ("frozen"); then the last
two modules are trained too ("fine-tuned"), which helps clearly only with 500 images. The new net
has three convolutions, on images of 32 x 32, shifted and mirrored at random, and 600 steps, not 200
or 400. Each seed draws its training images. Hyperparameters were chosen on training images alone.

    make recipe-fine-tuning          five to nine minutes on 2 cores
"""

from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from common.experiment import Data, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Lower
from common.ingredients.squeezenet import pretrained
from common.training import fit

TWO = (4, 7)  # deer and horse
SIZES = (50, 100, 200, 500)  # numbers of training images


@dataclass(frozen=True)
class Config:
    weights: str = "SqueezeNet"  # or a net of keras.applications, which is downloaded
    cut: str = "fire7"  # its last layer that fine-tuning leaves as it is
    side: int = 128  # pixels to which images are enlarged for it
    batch_size: int = 25  # images in a mini-batch
    steps: int = 200  # mini-batches of a training, in whole passes over the images
    steps_new: int = 600  # those of the new net
    learning_rate: float = 0.01  # of the new net
    learning_rate_top: float = 0.001  # of the logistic regression
    learning_rate_tuned: float = 0.003  # of fine-tuning


ARMS = {
    "frozen": {"pretrained": True, "tuned": False},
    "fine-tuned": {"pretrained": True, "tuned": True},
    "new net": {"pretrained": False, "tuned": False},
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, side, side, 3), or of a new net (B, 32, 32, 3), pixels in 0..255 -> (B, features)."""
    if arm["pretrained"]:
        return pretrained(config.weights, config.side, top=False)
    he = keras.initializers.HeNormal(seed=keras.random.SeedGenerator(seed))
    how = {"padding": "same", "activation": "relu", "kernel_initializer": he}
    x = inputs = keras.Input((32, 32, 3))
    x = layers.Rescaling(1 / 64, -2)(x)  # to a standard deviation near 1, for He's weights
    x = layers.RandomTranslation(1 / 8, 1 / 8, fill_mode="nearest", seed=seed)(x)
    x = layers.RandomFlip("horizontal", seed=seed)(x)
    for maps in (32, 64, 64):
        x = layers.MaxPooling2D()(layers.Conv2D(maps, 3, **how)(x))
    return keras.Model(inputs, layers.Dropout(0.5, seed=seed)(layers.Flatten()(x)))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x, y), (x_test, y_test) = (
        (x[np.isin(y, TWO)], np.int32(y[np.isin(y, TWO)] == TWO[1])) for x, y in data
    )
    drawn = np.random.default_rng(seed).permutation(len(x))[: SIZES[-1]]
    x, y, rest = x[drawn], y[drawn], build_model(config, arm, seed)
    if arm["pretrained"]:
        stem, rest = parts(rest, config)
        x, x_test = (stem.predict(some, batch_size=50, verbose=0) for some in (x, x_test))
        z, z_test = (rest.predict(some, batch_size=50, verbose=0) for some in (x, x_test))
    start, metrics = rest.get_weights(), {}
    for size in SIZES:
        rest.set_weights(start)
        top = layers.Dense(len(TWO), kernel_initializer="zeros")
        trainings = [([rest, top], x, x_test, config.learning_rate)]
        if arm["pretrained"]:
            norm = layers.BatchNormalization(center=False, scale=False, trainable=False)
            norm.build(z.shape)
            norm.set_weights([z[:size].mean(axis=0), z[:size].var(axis=0)])
            trainings = [([norm, top], z, z_test, config.learning_rate_top)]
        if arm["tuned"]:
            trainings.append(([rest, norm, top], x, x_test, config.learning_rate_tuned))
        steps = config.steps if arm["pretrained"] else config.steps_new
        epochs = max(1, steps // -(-size // config.batch_size))
        how = {"batch_size": config.batch_size, "epochs": epochs, "validation_freq": epochs}
        for stack, inputs, tests, learning_rate in trainings:
            model = keras.Sequential([keras.Input(inputs.shape[1:]), *stack])
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            model.compile(keras.optimizers.SGD(learning_rate, 0.9), loss, metrics=["accuracy"])
            history = fit(model, inputs[:size], y[:size], validation_data=(tests, y_test), **how)
        error = 1 - history.history["val_accuracy"][-1]
        metrics[f"test error from {size} images (%)"] = 100 * error
    return Outcome(metrics, {"test error (%)": list(metrics.values())})


def parts(net: keras.Model, config: Config) -> tuple[keras.Model, keras.Model]:
    """Images of any size -> responses of the layer `cut`, and these -> features."""
    if config.cut not in [layer.name for layer in net.layers]:
        raise ValueError(f"--cut: expected a layer of {config.weights}, received {config.cut}")
    cut = net.get_layer(config.cut).output
    images = keras.Input((None, None, 3))  # as float32: integers would be rounded
    enlarged = layers.Resizing(config.side, config.side, interpolation="bicubic")(images)
    stem = keras.Model(net.inputs[0], cut)
    return keras.Model(images, stem(enlarged)), keras.Model(cut, net.outputs[0])


# ---- findings
FEW, MANY = (f"test error from {size} images (%)" for size in (SIZES[0], SIZES[-1]))
FINDINGS = (
    *(Lower(error, "frozen", than="new net") for error in (FEW, MANY)),
    Lower(FEW, "frozen", than="new net", than_metric=MANY),
    Lower(MANY, "fine-tuned", than="frozen", source="Yosinski 2014"),
)


def plot(results: Results):
    """Test error by the number of training images of the two classes."""
    figure, [[panel]] = figures.panels(results.titled("Deer or horse, from few images"), 1, 1)
    figures.curves(panel, results, "test error (%)", x=SIZES, xlabel="training images")
    panel.set(xscale="log", ylim=(0, 40))
    panel.set_xticks(SIZES, [str(size) for size in SIZES])
    panel.minorticks_off()
    figures.legend(panel)
    return figure


SMOKE = {"side": 35, "steps": 4, "steps_new": 4}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, datasets=("cifar10",), seeds=6)

if __name__ == "__main__":
    main(RECIPE)
