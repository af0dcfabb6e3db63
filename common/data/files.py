"""MNIST and CIFAR-10 in files that Keras downloads and their authors publish.

These are `mnist.npz`, MNIST's four IDX files (gzipped or not), and `cifar-10-batches-py`. All hold
the examples in the published order. Nothing that a file holds is run.
"""

import _codecs
import gzip
import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from common.data.tfds import DataError

MOST_BYTES = 2**28  # of a file, unpacked; the public ones have at most 55 million
BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
IDX = ("train-images?idx3", "train-labels?idx1", "t10k-images?idx3", "t10k-labels?idx1")
# Each layout lists its files as patterns, in the order in which `read` takes them.
LAYOUTS = {
    "mnist": [["mnist.npz"], [f"{name}-ubyte*" for name in IDX]],
    "cifar10": [
        [f"{folder}{batch}" for batch in BATCHES]
        for folder in ("cifar-10-batches-py/", "cifar-10-batches-py-target/*/", "")
    ],
}
RECONSTRUCT = np.zeros(0).__reduce__()[0]
ADMITTED = {  # in a pickle, under the names of NumPy 1 and 2
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("_codecs", "encode"): _codecs.encode,  # bytes that Python 3 pickled for Python 2
}
Splits = list[tuple[np.ndarray, np.ndarray]]  # images and labels of training and test set


class Arrays(pickle.Unpickler):
    """Admits NumPy arrays in containers of Python; anything else is refused before it runs."""

    def find_class(self, module: str, name: str) -> Any:
        """What a pickle calls by this name. Raises pickle.UnpicklingError."""
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(f"{module}.{name} in a pickle")
        return ADMITTED[module, name]


def find(name: str, root: Path) -> list[Path]:
    """The files of a data set in a folder, in the order in which `read` takes them; or none."""
    for patterns in LAYOUTS.get(name, []):
        # Unpacked archives may have a folder of nearly the same name beside the file.
        found = [sorted(root.glob(one), key=lambda f: (not f.is_file(), f)) for one in patterns]
        if all(found):
            return [matching[0] for matching in found]
    return []


def place(files: list[Path]) -> Path:
    """The file, or the folder of several."""
    return files[0] if len(files) == 1 else files[0].parent


def read(files: list[Path], shape: tuple[int, ...]) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """((x_train, y_train), (x_test, y_test)): images (n, *shape) uint8, labels (n,) int32.

    Raises DataError for files that are damaged or hold something else.
    """
    try:
        if files[0].suffix == ".npz":
            splits = _npz(files[0])
        else:
            splits = _batches(files) if files[0].name == BATCHES[0] else _idx(files)
        splits = [(np.array(x, np.uint8, order="C"), np.array(y, np.uint8)) for x, y in splits]
        data = tuple((x.reshape(-1, *shape), y.ravel().astype(np.int32)) for x, y in splits)
        if any(len(x) != len(y) for x, y in data):
            raise ValueError(f"images and labels of shapes {[(x.shape, y.shape) for x, y in data]}")
        return data
    except Exception as error:  # which kind depends on which byte is wrong
        received = f"{type(error).__name__} {error}"[:200]
        raise DataError(f"expected images in {place(files)}, received: {received}") from None


def _content(file: Path) -> bytes:
    """The content of a file, unpacked if it is gzipped. Raises ValueError if it is too long."""
    with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as stream:
        content = stream.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ValueError(f"{file.name} with more than {MOST_BYTES} bytes")
    return content


def _npz(file: Path) -> Splits:
    stream = io.BytesIO(_content(file))
    with zipfile.ZipFile(stream) as packed:
        if sum(one.file_size for one in packed.infolist()) > MOST_BYTES:
            raise ValueError(f"arrays with more than {MOST_BYTES} bytes")
    with np.load(stream, allow_pickle=False) as arrays:
        return [(arrays[f"x_{split}"], arrays[f"y_{split}"]) for split in ("train", "test")]


def _idx(files: list[Path]) -> Splits:
    x_train, y_train, x_test, y_test = (np.frombuffer(_content(file), np.uint8) for file in files)
    return [(x_train[16:], y_train[8:]), (x_test[16:], y_test[8:])]  # behind the headers


def _batches(files: list[Path]) -> Splits:
    found = [Arrays(io.BytesIO(_content(file)), encoding="bytes").load() for file in files]
    if sum(np.size(part) for one in found for part in (one[b"data"], one[b"labels"])) > MOST_BYTES:
        raise ValueError(f"arrays with more than {MOST_BYTES} bytes")  # some are never written out
    images = [one[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) for one in found]
    labels = [one[b"labels"] for one in found]
    return [(np.concatenate(images[:-1]), np.concatenate(labels[:-1])), (images[-1], labels[-1])]
