"""A change that nobody sees makes a net trained on ImageNet take one thing for another.

Source: Goodfellow, Shlens & Szegedy, Explaining and harnessing adversarial examples (ICLR 2015),
figure 1, shown in the lecture of TU Darmstadt: GoogLeNet sees a panda (57.7 %), after a step of
.007 along the gradient's sign a gibbon (99.3 %), and in that sign alone a nematode (8.2 %).

Differs from the source: SqueezeNet v1.1 and two other photographs, so other numbers come out.
Epsilon is a share of the pixels' range: .007 is 1.785 of 255 levels, in the net's input as well,
which is pixels minus their mean. Noise moves each pixel as far, up or down. Confidence is that in
the first answer. The smallest epsilon that changes it is sought in steps of 1/16 level.

With --dataset cifar10, or folder and --data-dir DIR, random test photographs are attacked instead.
A copy takes scikit-learn's two photographs, or PNG files in a folder `imagenet` beside it.

    make recipe-fgsm-imagenet          half a minute on 2 cores
    make recipe-fgsm-imagenet ARGS="--image FILE"
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import keras
import numpy as np
from annotated_types import Gt, Le
from PIL import Image

from common.experiment import Data, Outcome, Photographs, Recipe, Results, figures, main
from common.experiment.findings import Higher, Lower
from common.ingredients.attacks import loss_gradient, noise, probabilities, project
from common.ingredients.pictures import photographs, read_picture, squares
from common.ingredients.squeezenet import pretrained

BESIDE = Path(globals().get("__file__", "")).parent / "imagenet"  # a notebook has no __file__
STEP, MOST = 1 / 16, 4  # levels of 255, of the search for the smallest epsilon
BATCH, SHOWN = 20, 3  # pictures in a mini-batch, whose gradient takes 0.4 GB; in the figure
LEAST = "smallest epsilon that changes the answer (1/255)"


@dataclass(frozen=True)
class Config:
    image: Path | None = None  # PNG or JPEG of your own; None: two photographs
    weights: str = "SqueezeNet"  # or a net of keras.applications, which is downloaded
    epsilon: Annotated[float, Gt(0), Le(1)] = 0.007  # largest change of a pixel in [0, 1]
    side: Annotated[int, Photographs] = 227  # pixels of the squares that the net sees
    n_pictures: int = 200  # test photographs of a data set


ARMS = {"ImageNet net": {}}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, side, side, 3) pixels in 0..255 -> (B, 1000) logits."""
    return pretrained(config.weights, config.side)


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    x, epsilon = squares(pictures(config, seed, data), config.side), 255 * config.epsilon
    net = build_model(config, arm, seed)
    gradient, batches = loss_gradient(net, x.shape[1:]), range(0, len(x), BATCH)
    answers = (before := probabilities(net, x)).argmax(axis=1).astype("int32")
    signs = [np.sign(gradient(x[i : i + BATCH], answers[i : i + BATCH])) for i in batches]
    signs = np.concatenate(signs).astype("float64")
    after = project(x, x + epsilon * signs, epsilon, (0, 255))
    shown = {"before": x, "change": 127.5 * (1 + signs), "after": after}
    p = {"without attack": before, "under attack": probabilities(net, after)}
    p |= {"under noise": probabilities(net, noise(x, epsilon, seed))}
    shown |= {"p before": before, "p after": p["under attack"]}
    shown["p change"] = probabilities(net, shown["change"][:SHOWN])
    curves = {f"confidence {how} (%)": 100 * p[how][range(len(x)), answers] for how in p}
    changed = {how: p[how].argmax(axis=1) != answers for how in ("under attack", "under noise")}
    curves |= {f"answers changed {how} (%)": 100 * which for how, which in changed.items()}
    metrics = {name: np.mean(values) for name, values in curves.items()}
    curves[LEAST] = smallest(net, x, signs, answers)
    metrics[LEAST] = np.median(curves[LEAST])
    return Outcome(metrics, curves, {name: some[:SHOWN] for name, some in shown.items()})


def smallest(net: keras.Model, x: np.ndarray, signs: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """The least step (n,) along the signs that changes the answer; infinite if MOST does not."""
    least = np.full(len(x), np.inf)
    for size in np.arange(STEP, MOST + STEP, STEP):
        rest = np.flatnonzero(np.isinf(least))
        if len(rest):
            moved = project(x[rest], x[rest] + size * signs[rest], size, (0, 255))
            least[rest[probabilities(net, moved).argmax(axis=1) != answers[rest]]] = size
    return least


def pictures(config: Config, seed: int, data: Data) -> list[Image.Image]:
    """Those to be attacked: a file, test images drawn at random, or two photographs."""
    if data is None:
        return [read_picture(config.image)] if config.image else photographs(BESIDE)[::-1]
    if config.image is not None:
        raise ValueError("expected --image or --dataset, received both")
    n, images = config.n_pictures, data[1][0]
    if n > len(images):
        raise ValueError(f"--n-pictures: expected at most {len(images)}, received {n}")
    chosen = np.random.default_rng(seed).permutation(len(images))[:n]
    return [Image.fromarray(images[i]) for i in chosen]


# ---- findings
SOURCE = "Goodfellow et al. 2015, figure 1"
ARM, SURE = "ImageNet net", "confidence under attack (%)"
CHANGED = "answers changed under attack (%)"
FINDINGS = (
    Lower(SURE, ARM, than_metric="confidence under noise (%)", source=SOURCE),
    Higher(CHANGED, ARM, than_metric="answers changed under noise (%)", dataset="cifar10"),
)


def plot(results: Results):
    """Each picture before the attack, the sign of the gradient, and the picture after it."""
    file, config = BESIDE / "classes.txt", results.config
    names = file.read_text().splitlines() if file.exists() else [f"class {i}" for i in range(1000)]
    title = Path(config["image"]).name if config["image"] else results.titled("Pictures attacked")
    sign = f"+ {config['epsilon']:.3g} \N{MULTIPLICATION SIGN} "
    rows = len(results.picture("before", ARM))
    figure, axes = figures.panels(f"{title}: {config['weights']}", rows, 3)
    for column, (name, left) in enumerate({"before": "", "change": sign, "after": "= "}.items()):
        shown = (results.picture(one, ARM) for one in (name, f"p {name}"))
        for panel, pixels, p in zip(axes[:, column], *shown, strict=True):
            panel.imshow(pixels / 255, interpolation="nearest")
            panel.set_axis_off()
            words = f"“{names[p.argmax()]}”\n{p.max():.1%} confidence"
            panel.text(0.5, -0.03, words, ha="center", va="top", transform=panel.transAxes)
            panel.text(0, 0.5, left, size=30, ha="right", transform=panel.transAxes)
    return figure


SMOKE = {"n_pictures": 8}
RECIPE = Recipe(Config, ARMS, train, FINDINGS, plot, SMOKE, datasets=("none", "cifar10"), seeds=6)

if __name__ == "__main__":
    main(RECIPE)
