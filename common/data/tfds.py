"""Folders of TensorFlow Datasets: downloaded, and read in order."""

import hashlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.system import UsageError, message

DOWNLOAD_SECONDS = 900
# Without a network TensorFlow Datasets would try for minutes, so a server of Google's, which has
# MNIST and most others, is asked first by the same client (requests).
NO_NETWORK = 3  # exit status
PREPARE = """
import requests, sys
try:
    requests.head("https://storage.googleapis.com", timeout=8)
except requests.RequestException:
    sys.exit(int(sys.argv[3]))
try:
    import tensorflow_datasets as tfds
    tfds.builder(sys.argv[1], data_dir=sys.argv[2], try_gcs=False).download_and_prepare()
except Exception as error:
    sys.exit(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
"""

# Whether it is of the test set, its name, its JPEG or PNG file or the content of one, its label.
Example = tuple[bool, str, Path | bytes, int]


class DataError(UsageError):
    """The data asked for is missing, damaged, or not what it claims to be."""


def download(name: str, root: Path) -> str | None:
    """Downloads a data set into a folder, in limited time; why it failed, or None."""
    command = [sys.executable, "-c", PREPARE, name, str(root), str(NO_NETWORK)]
    try:  # in a process of its own, whose time can be limited
        subprocess.run(command, timeout=DOWNLOAD_SECONDS, check=True, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"no download of {name} within {DOWNLOAD_SECONDS} s"
    except subprocess.CalledProcessError as error:
        no_network = error.returncode == NO_NETWORK
        return "no network" if no_network else f"the download of {name} failed"
    return None


def newest(base: Path) -> Path | None:
    """BASE/VERSION, or BASE/CONFIG/VERSION, of the highest version prepared; None without one."""
    prepared = [file.parent for file in base.rglob("dataset_info.json")]
    found = [folder for folder in prepared if folder.name.replace(".", "").isdigit()]
    configs = sorted({str(version.parent.relative_to(base.parent)) for version in found})
    if len(configs) > 1:
        raise DataError(f"expected one of {', '.join(configs)}; received {base.name}")
    return max(found, key=lambda one: [int(n) for n in one.name.split(".")], default=None)


def examples(folder: Path) -> Iterator[Example]:
    """Examples of the training set, then of the test set, in a fixed order.

    Sorted by name, those of MNIST and CIFAR-10 are in the published order.

    Raises DataError for damaged or unreadable files, and for a data set of something else.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow_datasets  # takes seconds, and a cached data set does without

    tensorflow_datasets.display_progress_bar(False)
    encoded = {"image": tensorflow_datasets.decode.SkipDecoding()}
    try:
        builder = tensorflow_datasets.builder_from_directory(folder)
        splits, features = builder.info.splits, dict(builder.info.features)
        pair = [one for one in ("train", "validation", "test") if one in splits][:2]
        classes = getattr(features.get("label"), "num_classes", None) or 0
        if len(pair) < 2 or "train" not in pair or "image" not in features or classes < 2:
            raise ValueError(f"{', '.join(features)} of {classes} classes in {', '.join(splits)}")
        for split in pair:
            # Where there are no ids, records are sorted by MD5 of split and number in publication.
            numbers = range(splits[split].num_examples)
            numbers = np.argsort([hashlib.md5(f"{split}{n}".encode()).digest() for n in numbers])
            found = builder.as_dataset(split, decoders=encoded)
            found = found.map(lambda one: (one.get("id", ""), one["image"], one["label"]))
            batches = found.batch(256).as_numpy_iterator()  # faster than one by one
            found = itertools.chain.from_iterable(zip(*batch, strict=True) for batch in batches)
            for number, (own, image, label) in zip(numbers, found, strict=True):
                yield split != "train", str(own or f"{split} {number:08}"), image, int(label)
    except Exception as error:  # which kind depends on which byte is wrong
        received = message(error)
        raise DataError(
            f"expected a readable data set in {folder}, images of at least two classes in train "
            f"and validation or test, received: {received}"
        ) from None
