"""Images from JPEG and PNG files, cut to squares.

Each is scaled so that its shorter side fits, and its center is kept (Krizhevsky et al. 2012,
section 2).
"""

import io
import itertools
from collections.abc import Iterable, Iterator
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np

from common.data.tfds import DataError, Example
from common.system import cores, write_whole

ENDINGS = (".jpg", ".jpeg", ".png")
TEST_FOLDERS = ("test", "val", "validation")  # beside `train`
TEST_EVERY = 10  # without those folders, every tenth photograph is a test image
CHUNK = 512  # photographs in memory at once
CUT = 2  # part of a cache's name: another number where `square` or `cut` make other pixels


def in_folder(data_dir: str | Path | None) -> list[Example]:
    """The photographs in a folder of classes, each set in an order drawn once and for all.

    Or those in two such folders, `train` and `test` (or `val`, `validation`).

    Raises DataError: no such folder, fewer than two classes, a class without training photographs,
    or no test photographs.
    """
    if data_dir is None or not (root := Path(data_dir)).is_dir():
        raise DataError(f"--data-dir: expected a folder of classes, received {data_dir or 'none'}")
    places = [root / one for one in ("train", *TEST_FOLDERS) if (root / one).is_dir()][:2]
    if len(places) < 2 or places[0].name != "train":
        places = [root, root]
    listed = (sorted(place.glob("[!.]*/[!.]*")) for place in places)
    train, test = ([one for one in files if one.suffix.lower() in ENDINGS] for files in listed)
    if places[0] == places[1]:
        test = train[::TEST_EVERY]
        del train[::TEST_EVERY]
    classes = sorted({folder.name for place in places for folder in place.glob("[!.]*/")})
    untrained = sorted(set(classes) - {file.parent.name for file in train})
    if len(classes) < 2 or untrained or not test:
        raise DataError(
            f"--data-dir {root}: expected a folder for each of at least two classes, with training "
            f"photographs ({', '.join(ENDINGS)}), and test photographs; received {len(classes)} "
            f"classes, {len(test)} test photographs, none to train on of "
            + (", ".join(untrained[:5]) or "no class")
        )
    labels = {name: label for label, name in enumerate(classes)}
    for files in train, test:
        np.random.default_rng(0).shuffle(files)  # those held out at the end are of all classes
    return [
        (files is test, str(file), file, labels[file.parent.name])
        for files in (train, test)
        for file in files
    ]


def square(content: Path | bytes, side: int, mode: str = "RGB") -> np.ndarray | None:
    """The center of a photograph, (side, side, 3) uint8; None if it is unreadable.

    In Pillow's mode "L" it is gray, (side, side). A square of that side already stays as it is.
    """
    from PIL import Image, ImageOps  # a cached data set does without

    try:
        with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as image:
            image.draft(mode, (side, side))  # a JPEG is decoded no larger than needed
            upright = ImageOps.exif_transpose(image).convert(mode)  # as cameras mark it
            return np.asarray(ImageOps.fit(upright, (side, side), Image.Resampling.BICUBIC))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def cut(file: Path, examples: Iterable[Example], shape: tuple) -> list[list[int]]:
    """Writes the squares of all examples to a file; returns the labels of training and test set.

    Raises OSError, and DataError for unreadable examples and for a set without any.
    """
    remaining, labels, unreadable = iter(examples), ([], []), []
    side, mode = shape[0], "RGB" if len(shape) == 3 else "L"

    def squares() -> Iterator[np.ndarray]:
        with ThreadPool(cores()) as threads:  # Pillow decodes without Python's lock
            while chunk := list(itertools.islice(remaining, CHUNK)):
                found = threads.map(lambda one: square(one[2], side, mode), chunk)
                for (is_test, name, _, label), pixels in zip(chunk, found, strict=True):
                    if pixels is None:
                        unreadable.append(name)
                    else:
                        labels[is_test].append(label)
                        yield pixels
        if unreadable or not all(labels):
            raise DataError(
                f"expected training and test images, all readable; received {len(labels[0])} + "
                f"{len(labels[1])}, and {len(unreadable)} unreadable: {', '.join(unreadable[:20])}"
            )

    write_whole(file, squares())
    return list(labels)
