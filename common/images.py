"""Photographs of any size as arrays: cut to squares once, then mapped from a file into memory.

`load` takes a folder with one folder of JPEG or PNG files a class, or any data set of TensorFlow
Datasets that has an image and a label. Each picture is scaled so that its shorter side fits, and
its middle is kept (Krizhevsky et al. 2012, section 2). The squares, one byte a pixel and channel,
stand in a cache (`$XDG_CACHE_HOME` or `~/.cache`, folder `keras-recipes`), so that training reads
neither JPEGs nor more than it needs: the arrays may be larger than the memory.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from common.data import DataError, Dataset, Split, cache_folder, find

ENDINGS = (".jpg", ".jpeg", ".png")
TEST_NAMES = ("test", "val", "validation")  # of folders and splits; TRAIN beside one of them
TRAIN = "train"
BROKEN = 0.01  # share of the pictures that may be unreadable
VERIFIED_BYTES = 2**32  # a larger cache is not read whole at every start
READ_AT_ONCE = 512  # pictures
DIGIT_PIXELS = 50_000_000  # of a picture of one digit, at most
FAINT, FAINT_INK = 0.05, 0.1  # contrast of a drawing, share of its strongest ink: less is paper

Picture = tuple[str, "Path | bytes", int]  # its name, file or content, and label


@dataclass(frozen=True)
class Source:
    """Pictures before they are read: `parts` are those of the training and of the test set."""

    label: str  # what it is, without a path of this machine
    classes: int
    key: str  # changes with the files
    sizes: tuple[int, int]
    parts: tuple[Iterable[Picture], Iterable[Picture]]


def load(name: str, data_dir: str | Path | None, side: int) -> Dataset:
    """Pictures of a data set as squares.

    Args:
        name: `folder`, or a data set of TensorFlow Datasets.
        data_dir: for `folder` the folder of classes, or one that holds `train` and `test` (or
            `val`, `validation`), each a folder of classes. Without those, every tenth picture of a
            class is a test picture. Otherwise as in `common.data.load`.
        side: height and width of the squares.

    Returns:
        uint8 images (n, side, side, 3) as numpy.memmap, in an order drawn once and for all.

    Raises:
        DataError: nothing there, fewer than two classes, a class without pictures, more than 1 % of
            the pictures unreadable (fewer are left out, and named), or too small a disk.
    """
    source = _folder(data_dir) if name == "folder" else _records(name, data_dir)
    key = hashlib.sha256(f"{source.key} {side}".encode()).hexdigest()[:12]
    cached = cache_folder() / f"{name}-{side}-{key}"
    notices: list[str] = []
    existed, found = cached.exists(), _read(cached, side, notices)
    if found is None:
        if existed:  # damaged
            shutil.rmtree(cached, ignore_errors=True)
        _write(cached, source, side)
        found = _read(cached, side, notices)
    about, train, test = found
    if about["broken"]:
        notices.append(
            f"{len(about['broken'])} of {sum(source.sizes)} pictures are unreadable and left out: "
            f"{_some(about['broken'])}"
        )
    return Dataset(name, train, test, source.label, about["sha256"], tuple(notices))


def square(content: Path | bytes, side: int) -> np.ndarray:
    """A picture's middle, (side, side, 3) uint8. Raises OSError or ValueError for a broken one."""
    with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as picture:
        picture.draft("RGB", (side, side))  # a JPEG is decoded no larger than needed
        fitted = ImageOps.fit(picture.convert("RGB"), (side, side), Image.Resampling.BICUBIC)
        return np.asarray(fitted)


def digit(file: Path) -> np.ndarray:
    """A drawn digit as MNIST has them, (28, 28, 1) uint8: grey, white on black, centred.

    Darker ink than paper is inverted (paper is the median of the picture's border). What is drawn
    is scaled into 20 x 20 pixels, and its centre of mass put in the middle (LeCun, Bottou, Bengio &
    Haffner 1998, section III A).

    Raises:
        DataError: no picture, one of more than 50 megapixels, or one with nothing drawn on it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(file, formats=("JPEG", "PNG"))
        with picture:
            if (pixels := math.prod(picture.size)) > DIGIT_PIXELS:
                raise DataError(
                    f"{file}: expected at most {DIGIT_PIXELS / 1e6:.0f} megapixels, "
                    f"received {pixels / 1e6:.1f}"
                )
            grey = _grey(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{file}: expected a PNG or JPEG, received: {error}") from None
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    paper = np.median(border)
    ink = grey - paper if np.max(grey) - paper >= paper - np.min(grey) else paper - grey
    ink = np.maximum(ink, 0)
    if ink.max() < FAINT:
        raise DataError(f"{file}: expected something drawn on it, received an even area")
    ink /= ink.max()
    rows, columns = (np.flatnonzero((ink > FAINT_INK).any(axis=axis)) for axis in (1, 0))
    drawn = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = 20 / max(drawn.shape)
    size = [max(1, round(side * scale)) for side in drawn.shape[::-1]]
    small = np.asarray(Image.fromarray(drawn).resize(size, Image.Resampling.BOX))
    small = small / small.max()
    total = small.sum()
    centre = [(small.sum(axis=1 - axis) @ np.arange(small.shape[axis])) / total for axis in (0, 1)]
    made = np.zeros((28, 28), np.float32)
    down, right = (
        min(max(round(13.5 - at), 0), 28 - side)
        for at, side in zip(centre, small.shape, strict=True)
    )
    made[down : down + small.shape[0], right : right + small.shape[1]] = small
    return np.round(255 * made).astype(np.uint8)[..., None]


def _grey(picture: Image.Image) -> np.ndarray:
    """A picture's brightness (H, W) float32, 0 to 1; what is transparent lies on white."""
    picture = ImageOps.exif_transpose(picture)
    if picture.mode[0] in "IF":  # more than 8 bits
        return np.asarray(picture, np.float32) / 65_535
    rgba = picture.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    return np.asarray(Image.alpha_composite(white, rgba).convert("L"), np.float32) / 255


def _folder(root: str | Path | None) -> Source:
    if root is None or not Path(root).is_dir():
        received = f"{root}, which is none" if root else "nothing"
        raise DataError(f"--data-dir: expected a folder of classes, received {received}")
    root = Path(root)
    test = next((root / name for name in TEST_NAMES if (root / name).is_dir()), None)
    split = test is not None and (root / TRAIN).is_dir()
    files = _by_class(root / TRAIN if split else root)
    if len(files) < 2:
        raise DataError(
            f"--data-dir {root}: expected at least two folders, one a class, received {len(files)}"
        )
    if split:
        tested = _by_class(test)
        if not any(tested.values()):
            raise DataError(f"{test}: expected pictures (.jpg, .jpeg, .png), received none")
        if unknown := sorted(set(tested) - set(files)):
            raise DataError(f"{test}: expected the classes of {TRAIN}, received {_some(unknown)}")
        parts = files, tested
    else:
        parts = (
            {name: [f for i, f in enumerate(own) if i % 10] for name, own in files.items()},
            {name: own[::10] for name, own in files.items()},
        )
    for name, own in parts[0].items():
        if not own:
            expected = "pictures (.jpg, .jpeg, .png)" if split else "at least two pictures"
            received = len(files[name])
            raise DataError(f"{root}: expected {expected} in the class {name}, received {received}")
    labels = {name: label for label, name in enumerate(sorted(files))}
    listed = [
        [(f"{name}/{file.name}", file, labels[name]) for name, own in part.items() for file in own]
        for part in parts
    ]
    stats = [
        (name, file.stat().st_size, file.stat().st_mtime_ns)
        for name, file, _ in itertools.chain(*listed)
    ]
    sizes = len(listed[0]), len(listed[1])
    mixed = [[part[i] for i in np.random.default_rng(0).permutation(len(part))] for part in listed]
    label = f"--data-dir, {len(files)} classes"
    return Source(label, len(files), repr((stats, sizes)), sizes, (mixed[0], mixed[1]))


def _by_class(root: Path) -> dict[str, list[Path]]:
    folders = [one for one in sorted(root.iterdir()) if one.is_dir() and one.name[0] != "."]
    return {
        folder.name: sorted(f for f in folder.iterdir() if f.suffix.lower() in ENDINGS)
        for folder in folders
    }


def _records(name: str, data_dir: str | Path | None) -> Source:
    """Any data set of TensorFlow Datasets; its pictures stay encoded until they are cut."""
    notices: list[str] = []
    folder, label = find(name, data_dir, notices)
    if folder is None:
        raise DataError(
            f"no {name} to be had: expected it in --data-dir, $TFDS_DATA_DIR or a download; "
            + "; ".join(notices)
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(folder)
    splits = builder.info.splits
    test = next((one for one in ("validation", "test") if one in splits), None)
    if TRAIN not in splits or test is None or not {"image", "label"} <= set(builder.info.features):
        raise DataError(
            f"{name}: expected images with labels in train and validation or test, "
            f"received {', '.join(builder.info.features)} in {', '.join(splits)}"
        )

    def part(split: str) -> Iterator[Picture]:
        in_order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        records = builder.as_dataset(
            split=split, decoders={"image": tfds.decode.SkipDecoding()}, read_config=in_order
        )
        for i, record in enumerate(records.as_numpy_iterator()):
            yield f"{split} {i}", record["image"], int(record["label"])

    classes = builder.info.features["label"].num_classes
    if classes < 2:
        raise DataError(f"{name}: expected at least two classes, received {classes}")
    stats = [(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in sorted(folder.iterdir())]
    sizes = splits[TRAIN].num_examples, splits[test].num_examples
    return Source(label, classes, repr(stats), sizes, (part(TRAIN), part(test)))


def _write(cached: Path, source: Source, side: int) -> None:
    """Cuts every picture, on all processors, into a folder that appears whole or not at all."""
    needed = sum(source.sizes) * side * side * 3
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(cached.parent).free
        if needed > free:
            raise DataError(
                f"{cached.parent}: expected {needed / 1e9:.1f} GB free for the pictures, "
                f"received {free / 1e9:.1f} GB"
            )
        made = Path(tempfile.mkdtemp(dir=cached.parent, suffix=".part"))
    except OSError as error:
        raise DataError(f"expected to write in {cached.parent}, received: {error}") from None
    try:
        broken: list[str] = []
        digest, labels = hashlib.sha256(), {}
        for name, part in zip(("train", "test"), source.parts, strict=True):
            labels[name] = []
            with open(made / name, "wb") as stream:
                for one, pixels, label in cut(part, side):
                    if pixels is None:
                        broken.append(one)
                        continue
                    stream.write(pixels)
                    digest.update(pixels)
                    labels[name].append(label)
            digest.update(np.array(labels[name], np.int32))
        total = sum(source.sizes)
        if len(broken) > BROKEN * total:
            raise DataError(
                f"expected at most 1 % unreadable pictures, received {len(broken)} of {total}: "
                f"{_some(broken)}"
            )
        if empty := sorted(set(range(source.classes)) - set(labels["train"])):
            raise DataError(
                f"expected readable pictures in each class, received none in number {empty[0]}"
            )
        if not labels["test"]:
            raise DataError("expected readable test pictures, received none")
        about = {"labels": labels, "broken": broken, "sha256": digest.hexdigest()}
        (made / "about.json").write_text(json.dumps(about))
        try:
            os.replace(made, cached)
        except OSError:
            if not cached.exists():
                raise
            shutil.rmtree(made)  # another process was sooner, with the same
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


def cut(pictures: Iterable[Picture], side: int) -> Iterator[tuple[str, np.ndarray | None, int]]:
    """The squares in their order, None for a broken one; a few hundred are in memory at once."""

    def one(picture: Picture) -> tuple[str, np.ndarray | None, int]:
        name, content, label = picture
        try:
            return name, square(content, side), label
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            return name, None, label

    waiting = iter(pictures)
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # Pillow decodes outside Python's lock
        while some := list(itertools.islice(waiting, READ_AT_ONCE)):
            yield from threads.map(one, some)


def _read(cached: Path, side: int, notices: list[str]) -> tuple[dict, Split, Split] | None:
    """What `_write` wrote; None if it is not there or damaged."""
    if not cached.exists():
        return None
    digest = hashlib.sha256()
    try:
        about = json.loads((cached / "about.json").read_text())
        splits = []
        for name in ("train", "test"):
            labels = np.array(about["labels"][name], np.int32)
            shape = (len(labels), side, side, 3)
            if (cached / name).stat().st_size != np.prod(shape):
                raise ValueError(f"expected {np.prod(shape)} bytes in {name}")
            splits.append(Split(np.memmap(cached / name, np.uint8, "r", shape=shape), labels))
        if sum(split.images.nbytes for split in splits) > VERIFIED_BYTES:
            notices.append("the cache of this data set is too large to be verified at each start")
            return about, splits[0], splits[1]
        for split in splits:
            for start in range(0, len(split), READ_AT_ONCE):
                digest.update(np.ascontiguousarray(split.images[start : start + READ_AT_ONCE]))
            digest.update(split.labels)
        if digest.hexdigest() != about["sha256"]:
            raise ValueError(f"expected checksum {about['sha256'][:12]}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        notices.append(f"damaged cache {cached} ({error}): read anew")
        return None
    return about, splits[0], splits[1]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
