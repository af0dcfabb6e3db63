"""MNIST, CIFAR-10, and digits as `keras.datasets` has them, proved to be what they claim to be.

Whatever the source, the images are compared with the checksum of the public data set: no result
names data that it did not use. They stand in the order in which their authors published them, so
"the first 1,000" are those of the literature, not those of TensorFlow Datasets' shuffling.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.data import tfds
from common.data.tfds import DataError
from common.system import write_whole

Data = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None

# What is publicly known of a data set, to tell it from any other.
CONTENT = {  # `content_checksum`
    "mnist": "f771933d03a86cc5f6899b91d168d95717c342a985562a4a2b5d8d2517a4cb24",
    "cifar10": "f08f3fc8e9e44e051211a4e932c7b19cc739dedc35a38a2b568cc33faeffb522",
}
FIRST_LABELS = {  # of the training images in the published order
    "mnist": (5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7, 2, 8, 6, 9),
    "cifar10": (6, 9, 9, 4, 1, 1, 2, 7, 8, 3, 4, 7, 7, 2, 9, 9, 9, 3, 2, 6),
}
VERIFIED_BYTES = 2**32  # a larger cache is not read whole at every start
NAMES = (*CONTENT, "digits", "none")


@dataclass(frozen=True)
class Dataset:
    """A data set: arrays ((x_train, y_train), (x_test, y_test)), None for no data.

    x are images (n, height, width) or (n, height, width, 3), uint8 in 0..255; y are labels (n,),
    int32 from 0.
    """

    name: str
    arrays: Data
    source: str  # where it was found, without a local path
    sha256: str  # of the arrays in their order
    notices: tuple[str, ...] = ()  # lines that the user must see

    @property
    def n_train(self) -> int:
        """Number of training examples."""
        return len(self.arrays[0][1]) if self.arrays else 0

    @property
    def n_test(self) -> int:
        """Number of test examples."""
        return len(self.arrays[1][1]) if self.arrays else 0


def load(
    name: str,
    data_dir: str | Path | None = None,
    fallback: str | None = None,
    side: int | None = None,
) -> Dataset:
    """Loads `mnist`, `cifar10`, `digits` (bundled with scikit-learn), or `none`, no data at all.

    With a `side`, any other name is that of photographs, cut to squares of so many pixels a side:
    see `photographs.load`. If `data_dir`, which holds NAME/VERSION/dataset_info.json, is given,
    only it is used. Otherwise a data set that is not found is replaced by the `fallback`, if there
    is one: the result has that name, and a notice that says so.

    Raises DataError: unknown name, not found and no fallback, damaged, or not the public data set.
    """
    if side is not None and name not in NAMES:
        from common.data import photographs  # needs Pillow

        return photographs.load(name, data_dir, side)
    if name == "none":
        return Dataset(name, None, "not needed", checksum(None))
    if name == "digits":
        data = _digits()
        return Dataset(name, data, "scikit-learn", checksum(data))
    if name not in CONTENT:
        raise DataError(f"expected one of the data sets {', '.join(NAMES)}; received: {name}")
    notices: list[str] = []
    try:
        folder, source = tfds.find(name, data_dir, notices)
    except tfds.NotFoundError:
        if fallback is None:
            raise
        notices.append(
            f"{name.upper()} NOT FOUND: RUNNING ON {fallback.upper()} INSTEAD. "
            f"Figures published for {name} do not apply."
        )
        return replace(load(fallback), notices=tuple(notices))
    data, sha256 = _verified(name, folder, notices)
    first = FIRST_LABELS[name]
    if tuple(data[0][1][: len(first)]) != first:
        notices.append(
            f"this copy of {name} is complete but not in the published order: "
            "its first n images are not those of the literature"
        )
    return Dataset(name, data, source, sha256, tuple(notices))


def content_checksum(data: Data) -> str:
    """SHA-256 of the examples of both splits, whatever their order within a split.

    Two faithful copies may differ in order, because TensorFlow Datasets shuffles, but not in this.
    """
    digest = hashlib.sha256()
    for split in data:
        examples = (image.tobytes() + bytes([label]) for image, label in zip(*split, strict=True))
        for one in sorted(hashlib.sha256(example).digest() for example in examples):
            digest.update(one)
    return digest.hexdigest()


def _verified(name: str, folder: Path, notices: list[str]) -> tuple[Data, str]:
    """The arrays of the public data set in `folder` and their checksum, cached."""
    entry = f"{name}-{folder.name}-{cache_key(sorted(folder.iterdir()))}"
    if found := read_cache(entry, notices):
        data, about = found  # small enough to be copied from the map into memory
        return tuple((np.array(images), labels) for images, labels in data), about["sha256"]
    data = tfds.decode(folder)
    if (received := content_checksum(data)) != CONTENT[name]:
        raise DataError(
            f"{folder}: expected the images of the public {name} (checksum {CONTENT[name][:12]}), "
            f"received {len(data[0][1])} + {len(data[1][1])} others ({received[:12]})"
        )
    try:
        write_cache(entry, (zip(*split, strict=True) for split in data), data[0][0].shape[1:])
    except OSError as error:
        notices.append(f"no cache in {cache_folder()} ({error.strerror}): each start decodes again")
    return data, checksum(data)


def _digits() -> Data:
    """scikit-learn's 1,797 handwritten digits, 8 x 8 in 0..16, scaled to 28 x 28 in 0..255.

    The file lists them writer by writer; the last 500, by other writers, are the test set.
    """
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    bundled = load_digits()
    images = zoom(bundled.images, (1, 3.5, 3.5), order=1, mode="nearest", grid_mode=True)
    images = np.round(images * (255 / 16)).astype(np.uint8)
    labels = bundled.target.astype(np.int32)
    return (images[:-500], labels[:-500]), (images[-500:], labels[-500:])


def cache_folder() -> Path:
    """Folder of the cached arrays; it may not exist yet."""
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(root, "keras-recipes")


def cache_key(files: Iterable[Path]) -> str:
    """12 hexadecimal digits that change with the names, sizes, and times of the files."""
    stats = [(file.parts[-3:], file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(stats).encode()).hexdigest()[:12]


def checksum(data: Data) -> str:
    """SHA-256 of the images and labels in their order; of nothing for None."""
    digest = hashlib.sha256()
    for split in data or ():
        for array in split:
            digest.update(array)
    return digest.hexdigest()


def write_cache(name: str, splits: Iterable[Iterable], shape: tuple[int, ...], **about) -> None:
    """Writes the (image, label) pairs of both splits, which it reads one at a time.

    The images, each of the `shape`, go to NAME.pixels. The rest goes to NAME.json, with `about`
    as it is after the last image; without this file there is no entry. Raises OSError.
    """
    digest, labels = hashlib.sha256(), []

    def pixels() -> Iterator[np.ndarray]:
        for split in splits:
            labels.append([])
            for image, label in split:
                digest.update(image)
                labels[-1].append(int(label))
                yield image
            digest.update(np.array(labels[-1], np.int32))

    write_whole(cache_folder() / f"{name}.pixels", pixels())
    about |= {"shape": shape, "labels": labels, "sha256": digest.hexdigest()}
    write_whole(cache_folder() / f"{name}.json", json.dumps(about).encode())


def read_cache(name: str, notices: list[str]) -> tuple[Data, dict] | None:
    """The images, mapped into memory, with their labels, and the entry's JSON.

    Returns None if there is no entry or, with a notice, if it does not have its checksum.
    """
    described, pixels = (cache_folder() / f"{name}.{ending}" for ending in ("json", "pixels"))
    if not described.exists():
        return None
    try:
        about = json.loads(described.read_text())
        train, test = (np.array(labels, np.int32) for labels in about["labels"])
        shape = (len(train) + len(test), *about["shape"])
        images = np.memmap(pixels, np.uint8, "r", shape=shape)
        data = (images[: len(train)], train), (images[len(train) :], test)
        if images.nbytes > VERIFIED_BYTES:
            notices.append("the cache of this data set is too large to be verified at every start")
        elif (received := checksum(data)) != about["sha256"]:
            raise ValueError(f"expected SHA-256 {about['sha256'][:12]}, received {received[:12]}")
    except (OSError, ValueError, KeyError, TypeError, ArithmeticError) as error:
        notices.append(f"damaged cache {pixels} ({error}): decoded again")
        return None
    return data, about
