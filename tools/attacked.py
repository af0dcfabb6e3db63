"""What the page on FGSM shows: two pictures, the sign of their gradients, and a net's answers.

python -m tools.attacked        trains a net for the digit (a minute), and writes the page's data
"""

from __future__ import annotations

import base64
import io
import json
import sys
from typing import Any

import numpy as np
from PIL import Image

import recipes  # noqa: F401  starts TensorFlow quietly

# isort: split
import keras

from common import data
from common.ingredients.attacks import loss_gradient, probabilities, project
from common.ingredients.pictures import photographs, squares
from common.ingredients.squeezenet import pretrained
from common.system import write_whole
from common.training import context, fit
from recipes.attack import fgsm_imagenet, fgsm_picture
from tools.catalog import DOCS

FILE = DOCS / "site" / "_static" / "play" / "fgsm-data.js"
LEVELS = {"digit": np.arange(0, 68, 4), "photograph": np.arange(0, 8.25, 0.25)}  # of 255


def main() -> int:
    """Writes FILE."""
    shown = {"digit": digit(), "photograph": photograph()}
    write_whole(FILE, f"window.attacked = {json.dumps(shown)};\n".encode())
    return 0


def digit() -> dict[str, Any]:
    """The first test image, and the net that `fgsm_picture` trains on seed 0."""
    (x_train, y_train), (x_test, _) = data.load("mnist").arrays
    config = fgsm_picture.Config()
    net = fgsm_picture.build_model(config, {}, 0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.Adam(config.learning_rate), loss)
    x, y = x_train[: config.n_train], y_train[: config.n_train]
    with context.running(context.Context(0)):
        fit(net, x, y, batch_size=config.batch_size, epochs=config.epochs)
    return attacked("digit", net, np.float32(x_test[:1]), [str(one) for one in range(10)])


def photograph() -> dict[str, Any]:
    """The first photograph of `fgsm_imagenet`, and SqueezeNet."""
    names = (fgsm_imagenet.BESIDE / "classes.txt").read_text().splitlines()
    side = fgsm_imagenet.Config().side
    pictures = photographs(fgsm_imagenet.BESIDE)[::-1]
    return attacked(
        "photograph", pretrained("SqueezeNet", side), squares(pictures[:1], side), names
    )


def attacked(kind: str, net: keras.Model, x: np.ndarray, names: list[str]) -> dict[str, Any]:
    """Picture and sign as PNG, and the net's answer at each epsilon (levels of 255)."""
    first = probabilities(net, x).argmax(axis=1).astype("int32")
    sign = np.sign(loss_gradient(net, x.shape[1:])(x, first).numpy()).astype("float64")
    answers = []
    for level in LEVELS[kind]:
        p = probabilities(net, project(x, x + level * sign, level, (0, 255)))[0]
        answer = {"epsilon": float(level), "class": names[p.argmax()], "confidence": float(p.max())}
        answers.append(answer | {"first": float(p[first[0]])})
    return {"image": png(x[0]), "sign": png(127.5 * (1 + sign[0])), "answers": answers}


def png(pixels: np.ndarray) -> str:
    """A data URI of pixels in 0..255."""
    stream = io.BytesIO()
    Image.fromarray(pixels.round().astype("uint8")).save(stream, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(stream.getvalue()).decode()}"


if __name__ == "__main__":
    sys.exit(main())
