"""Late in a trained net, the images that excite a unit are more often of one class than early.

Source: Zeiler & Fergus (ECCV 2014), sections 4 and 4.2: the nine patches that excite a unit most,
what in them does so, and the answer's probability while a gray square hides a part; Krizhevsky,
Sutskever & Hinton (NIPS 2012), section 6.1: images near in a late layer. Neither prints numbers.

Differs from the source: SqueezeNet v1.1 with ImageNet's weights looks at CIFAR-10, and numbers are
added. The untrained net has He's weights; chance is for images drawn at random. Each layer shows
the unit with the largest share of one class, by guided backpropagation (Springenberg et al. 2015),
which is the paper's projection, blocked at units that did not respond.

    make recipe-imagenet-features          one to two minutes on 2 cores
"""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge, Gt, Lt
from keras import layers
from PIL import Image

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Higher, Lower
from common.ingredients.attacks import probabilities
from common.ingredients.neighbors import nearest
from common.ingredients.pictures import photographs, squares
from common.ingredients.squeezenet import squeezenet
from common.ingredients.units import exciting, hiding, occlusion, purity

LAYERS = ["conv1", *(f"fire{i}" for i in range(2, 10))]
MOST, QUERIES, SIDE = 9, 3, 227  # images that excite a unit; in the figure; pixels of photographs
SHARE, SERIES = f"commonest class of {MOST} images, %s (%%)", "share of the commonest class (%)"
SAME, ANSWER = "nearest by %s of its class (%%)", "answer's probability, %s hidden (%%)"
BESIDE = Path(globals().get("__file__", "")).parent.parent / "attack/imagenet"  # photographs


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Ge(6), Examples("train")] = 5_000  # images searched, the first ones
    n_test: Annotated[int, Ge(MOST), Examples("test")] = 2_000  # test images, drawn by the seed
    n_hidden: int = 500  # test images of which parts are hidden
    side: int = 64  # pixels to which images are enlarged
    square: Annotated[float, Gt(0), Lt(1)] = 0.25  # side of the gray square / that of the image
    step: int = 8  # pixels from one place of the square to the next on a photograph


ARMS = {"trained": {"trained": True}, "untrained": {"trained": False}}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, side, side, 3) pixels in 0..255 -> (B, 1000) logits."""
    net = squeezenet(config.side)
    if not arm["trained"]:
        he = keras.initializers.HeNormal(seed=keras.random.SeedGenerator(seed))
        net.set_weights([he(w.shape) if w.ndim > 1 else 0 * w for w in net.get_weights()])
    return net


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, y_train), (x_test, y_test) = data
    x_train, y_train = x_train[: config.n_train], y_train[: config.n_train]
    rng, net = np.random.default_rng(seed), build_model(config, arm, seed)
    chosen = rng.permutation(len(x_test))[: config.n_test]
    x, labels = x_test[chosen], y_test[chosen]
    images, among = (squares(map(Image.fromarray, some), config.side) for some in (x, x_train))
    outputs = [layers.GlobalMaxPooling2D()(net.get_layer(name).output) for name in LAYERS]
    outputs.append(layers.GlobalAveragePooling2D()(net.get_layer("fire9").output))
    probe = keras.Model(net.inputs[0], outputs)
    *strongest, features = probe.predict(images, verbose=0)
    shares = [purity(responses, labels, MOST) for responses in strongest]
    curves = {SERIES: [np.nanmean(share) for share in shares]}
    metrics = {SHARE % name: share for name, share in zip(LAYERS, *curves.values(), strict=True)}
    metrics[SHARE % "chance"] = purity(rng.random((len(x), 1000)), labels, MOST).mean()
    pixels = (np.float32(some).reshape(len(some), -1) for some in (x, x_train))
    found = {"features": nearest(features, probe.predict(among, verbose=0)[-1])}
    found["pixels"] = nearest(*pixels)
    same = {name: y_train[indices] == labels[:, None] for name, indices in found.items()}
    metrics |= {SAME % name: 100 * np.mean(which) for name, which in same.items()}
    some, size = images[: config.n_hidden], round(config.square * config.side)
    predict = functools.partial(probabilities, net)
    metrics |= {ANSWER % what: 100 * p for what, p in hiding(predict, some, size).items()}
    if seed or not arm["trained"]:
        return Outcome(metrics, curves)
    shown = []  # the rest is for the figure
    for name, responses, share in list(zip(LAYERS, strongest, shares, strict=True))[::2]:
        unit = int(np.nanargmax(share))
        shown.append(exciting(net, name, unit, images[np.argsort(-responses[:, unit])[:MOST]]))
    near = [[x[i], *x_train[found[name][i]]] for i in range(QUERIES) for name in found]
    near_same = [[True, *same[name][i]] for i in range(QUERIES) for name in found]
    pictures = {"exciting": shown, "near": near, "same": near_same}
    pictures["hidden"], net = squares(photographs(BESIDE), SIDE), squeezenet(SIDE)
    predict, size = functools.partial(probabilities, net), round(config.square * SIDE)
    maps = [occlusion(predict, one, size, config.step) for one in pictures["hidden"]]
    pictures["answers"], pictures["maps"] = zip(*maps, strict=True)
    return Outcome(metrics, curves, pictures)


# ---- findings
SOURCE, NEAR = "Zeiler & Fergus 2014", "Krizhevsky et al. 2012, section 6.1"
FINDINGS = (
    Higher(SHARE % "fire9", "trained", than="untrained", source=SOURCE),
    Higher(SHARE % "fire9", "trained", than_metric=SHARE % "conv1", source=SOURCE),
    Lower(ANSWER % "middle", "trained", than_metric=ANSWER % "corner", source=SOURCE),
    Higher(SAME % "features", "trained", than_metric=SAME % "pixels", source=NEAR),
)


def plot(results: Results):
    """What excites units, of how many classes it is, where hiding matters, and similar images."""
    title = results.titled("What a net trained on ImageNet sees")
    figure, [[patches, parts, share], [hidden, maps, similar]] = figures.panels(title, 2, 3)
    shown = {name.rpartition("/")[2]: picture for name, picture in results.pictures.items()}
    images, gradients = (np.concatenate(shown["exciting"][:, i]) for i in (0, 1))
    title, sharp = f"the {MOST} images that excite a unit most", {"interpolation": "nearest"}
    figures.show(patches, images, MOST, title, [(name,) for name in LAYERS[::2]], **sharp)
    figures.show(parts, gradients, MOST, "what in them does so", **sharp)
    figures.curves(share, results, SERIES, xlabel="layer", title=f"{MOST} images, mean over units")
    chance = results.metric(SHARE % "chance", "trained").mean()
    share.axhline(chance, color=figures.GRAY, linestyle="--", label="chance")
    share.set(ylim=(0, 60), xticks=range(1, 10, 2), xticklabels=LAYERS[::2])
    figures.legend(share)
    names = (BESIDE / "classes.txt").read_text().splitlines()
    answers = [(names[answer].replace(" ", "\n"),) for answer in shown["answers"]]
    figures.show(hidden, shown["hidden"] / 255, 1, "the net's answer", answers)
    title = "its probability while a\nsquare hides a place"
    figures.show(maps, shown["maps"], 1, f"{title} (black 0, white 1)", cmap="magma")
    near = np.where(shown["same"][..., None, None, None], 1, 0.35) * (shown["near"] / 255 - 1) + 1
    title = "a test image and those near it\n(pale: of another class)"
    by = [("features",), ("pixels",)] * QUERIES
    figures.show(similar, np.concatenate(near), near.shape[1], title, by, **sharp)
    return figure


SMOKE = {"n_train": 100, "n_test": 50, "step": 57}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, datasets=("cifar10",), seeds=3)

if __name__ == "__main__":
    main(RECIPE)
