"""Photographs of any size as arrays: cut to squares once, then mapped from a file into memory.

They come from a folder with one folder of JPEG or PNG files per class, or any data set of
TensorFlow Datasets with images and labels. Each is scaled so that its shorter side fits, and its
center is kept (Krizhevsky et al. 2012, section 2). The squares may take more space than memory has.
"""

import io
import itertools
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from common.data import tfds
from common.data.datasets import Dataset, cache_folder, cache_key, read_cache, write_cache
from common.data.tfds import DataError
from common.system import cores

ENDINGS = (".jpg", ".jpeg", ".png")
TEST_FOLDERS = ("test", "val", "validation")  # beside `train`
TEST_EVERY = 10  # without those folders, every tenth photograph of a class is a test image
MAX_UNREADABLE = 0.01  # of all photographs
CHUNK = 512  # photographs in memory at once

Photograph = tuple[str, Path | bytes, int]  # name, file or content, label


@dataclass(frozen=True)
class Source:
    """Photographs before they are decoded."""

    label: str  # where they were found, without a local path
    classes: int
    key: str  # changes with the files
    total: int  # photographs
    splits: Iterable[Iterable[Photograph]]  # those of the training and of the test set


def load(name: str, data_dir: str | Path | None, side: int) -> Dataset:
    """Images (n, side, side, 3) as numpy.memmap, in an order drawn once and for all.

    `name` is a data set of TensorFlow Datasets, found as in `datasets.load`, or `folder`: then
    `data_dir` is a folder of classes, or holds `train` and `test` (or `val`, `validation`), each a
    folder of classes. Without those, every tenth photograph of a class is a test image.

    Raises DataError: nothing there, fewer than two classes, a class without photographs, more than
    1 % of them unreadable (fewer are left out, and named), or too little space on the disk.
    """
    source = _folder(data_dir) if name == "folder" else _records(name, data_dir)
    entry = f"{name.replace('/', '-')}-{side}-{source.key}"
    notices: list[str] = []
    if (found := read_cache(entry, notices)) is None:
        _write(entry, source, side)
        found = read_cache(entry, notices)
    data, about = found
    unreadable, total = about["unreadable"], source.total
    classes, n_test = len(np.unique(data[0][1])), len(data[1][1])
    received = f"{len(unreadable)} of {total} unreadable: {', '.join(unreadable[:5])}"
    if len(unreadable) > MAX_UNREADABLE * total or classes < source.classes or not n_test:
        raise DataError(
            f"expected photographs of {source.classes} classes, and test photographs, at most 1 % "
            f"unreadable; received {classes} classes, {n_test} test photographs, {received}"
        )
    if unreadable:
        notices.append(f"photographs left out: {received}")
    return Dataset(name, data, source.label, about["sha256"], tuple(notices))


def square(content: Path | bytes, side: int) -> np.ndarray | None:
    """The center of a photograph, (side, side, 3) uint8; None if it is unreadable."""
    try:
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
            image.draft("RGB", (side, side))  # a JPEG is decoded no larger than needed
            fitted = ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.BICUBIC)
            return np.asarray(fitted)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _write(entry: str, source: Source, side: int) -> None:
    """Cuts all photographs into an entry of the cache."""
    unreadable: list[str] = []

    def squares(photographs: Iterable[Photograph]) -> Iterator[tuple[np.ndarray, int]]:
        remaining = iter(photographs)
        with ThreadPoolExecutor(cores()) as threads:  # Pillow decodes without Python's lock
            while chunk := list(itertools.islice(remaining, CHUNK)):
                cut = threads.map(lambda one: square(one[1], side), chunk)
                for (name, _, label), pixels in zip(chunk, cut, strict=True):
                    if pixels is None:
                        unreadable.append(name)
                    else:
                        yield pixels, label

    needed, folder = source.total * side * side * 3, cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if needed > (free := shutil.disk_usage(folder).free):
            free, needed = (f"{size / 1e9:.1f} GB" for size in (free, needed))
            raise DataError(f"{folder}: expected {needed} of free disk space, received {free}")
        write_cache(entry, map(squares, source.splits), (side, side, 3), unreadable=unreadable)
    except OSError as error:
        raise DataError(f"expected to write in {folder}, received: {error}") from None


def _folder(data_dir: str | Path | None) -> Source:
    """A folder of classes, or one of such folders for training and test."""
    if data_dir is None or not (root := Path(data_dir)).is_dir():
        raise DataError(f"--data-dir: expected a folder of classes, received {data_dir}")
    tests = [root / name for name in TEST_FOLDERS if (root / name).is_dir()]
    if tests and (root / "train").is_dir():
        train, test = _by_class(root / "train"), _by_class(tests[0])
    else:
        train = _by_class(root)
        test = {name: files[::TEST_EVERY] for name, files in train.items()}
        for files in train.values():
            del files[::TEST_EVERY]
    untrained = sorted(name for name in {*train, *test} if not train.get(name))
    if untrained or len(train) < 2 or not any(test.values()):
        names = (untrained or sorted(train))[:5]
        counts = (f"{one} {len(train.get(one, ()))} + {len(test.get(one, ()))}" for one in names)
        raise DataError(
            f"--data-dir {root}: expected a folder for each of at least two classes, with training "
            f"+ test photographs ({', '.join(ENDINGS)}), received {', '.join(counts) or 'none'}"
        )
    splits = []
    for classes in (train, test):
        listed = [
            (f"{name}/{file.name}", file, label)
            for label, name in enumerate(train)
            for file in classes.get(name, ())
        ]
        # Mixed, so that examples held out at the end are of all classes.
        splits.append([listed[i] for i in np.random.default_rng(0).permutation(len(listed))])
    key = cache_key(file for split in splits for _, file, _ in split)
    total = sum(map(len, splits))
    return Source(f"--data-dir, {len(train)} classes", len(train), key, total, splits)


def _by_class(root: Path) -> dict[str, list[Path]]:
    """The photographs in each folder, both sorted by name."""
    folders = sorted(one for one in root.iterdir() if one.is_dir() and one.name[0] != ".")
    files = (sorted(f for f in one.iterdir() if f.suffix.lower() in ENDINGS) for one in folders)
    return {folder.name: own for folder, own in zip(folders, files, strict=True)}


def _records(name: str, data_dir: str | Path | None) -> Source:
    """A data set of TensorFlow Datasets; its photographs stay encoded until they are cut."""
    folder, label = tfds.find(name, data_dir, [])
    with tfds.opened(folder) as (builder, _):
        splits, features = builder.info.splits, dict(builder.info.features)
    pair = [one for one in ("train", "validation", "test") if one in splits][:2]
    classes = getattr(features.get("label"), "num_classes", None) or 0
    if len(pair) < 2 or "train" not in pair or "image" not in features or classes < 2:
        raise DataError(
            f"{name}: expected images of at least two classes in train and validation or test, "
            f"received {', '.join(features)} of {classes} classes in {', '.join(splits)}"
        )

    def encoded(split: str) -> Iterator[Photograph]:
        import tensorflow_datasets

        with tfds.opened(folder) as (builder, in_order):
            decoders = {"image": tensorflow_datasets.decode.SkipDecoding()}
            examples = builder.as_dataset(split, decoders=decoders, **in_order)
            for i, example in enumerate(examples.as_numpy_iterator()):
                yield f"{split} {i}", example["image"], int(example["label"])

    total = sum(splits[split].num_examples for split in pair)
    return Source(label, classes, cache_key(sorted(folder.iterdir())), total, map(encoded, pair))
