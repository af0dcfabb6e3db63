"""Folders of TensorFlow Datasets: found or downloaded, and read in order."""

import contextlib
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from common.system import UsageError

PROBE_SECONDS = 8  # a network that takes longer to answer counts as absent
DOWNLOAD_SECONDS = 900
GOOGLE = "https://storage.googleapis.com"  # of MNIST and most others; asked before a download
SERVERS = {"cifar10": "https://www.cs.toronto.edu"}
PROBE = """
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(urllib.request.Request(sys.argv[1], method="HEAD"))
except urllib.error.HTTPError:
    pass  # a server answered
"""
PREPARE = """
import sys, tensorflow_datasets as tfds
try:
    tfds.builder(sys.argv[1], data_dir=sys.argv[2], try_gcs=False).download_and_prepare()
except Exception as error:
    sys.exit(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
"""


class DataError(UsageError):
    """The data asked for is missing, damaged, or not what it claims to be."""


class NotFoundError(DataError):
    """The data set is in none of the usual places and cannot be downloaded."""


def find(name: str, data_dir: str | Path | None, notices: list[str]) -> tuple[Path, str]:
    """The folder of a data set's highest version, and where it was found, without a local path.

    Looks in `data_dir` alone if that is given, else in `$TFDS_DATA_DIR` and
    `~/tensorflow_datasets`, and downloads last. Adds to `notices` what the user must know.

    Raises NotFoundError if it is neither found nor downloaded, DataError for an unreadable folder
    and for a `data_dir` without the data set.
    """
    places = [("~/tensorflow_datasets", Path(os.path.expanduser("~/tensorflow_datasets")))]
    if data_dir is not None:
        places = [("--data-dir", Path(data_dir))]
    elif variable := os.environ.get("TFDS_DATA_DIR"):
        places.insert(0, ("$TFDS_DATA_DIR", Path(variable)))
    for label, root in places:
        if folder := _newest(root / name, label):
            return folder, f"{label} {name} {folder.name}"
        if label != "~/tensorflow_datasets":
            notices.append(f"{label} {root}: expected {name}/VERSION, received {_describe(root)}")
    if data_dir is not None:
        raise DataError(notices[-1])
    label, root = places[0] if os.access(places[0][1], os.W_OK) else places[-1]
    if _download(name, root, notices) and (folder := _newest(root / name, label)):
        return folder, f"downloaded {name} {folder.name}"
    raise NotFoundError(
        f"{name.upper()} not found: expected it in --data-dir, $TFDS_DATA_DIR, "
        f"~/tensorflow_datasets, or a download, received: {'; '.join(notices)}"
    )


def _newest(base: Path, label: str) -> Path | None:
    """BASE/VERSION of the highest version prepared, None if there is none.

    BASE/CONFIG/VERSION for a data set of several configurations of which one is there.
    """
    try:
        os.listdir(base)  # glob skips what it cannot read
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{label}: expected to read {base}, received: {error.strerror}") from None
    files = (*base.glob("*/dataset_info.json"), *base.glob("*/*/dataset_info.json"))
    found = [file.parent for file in files if re.fullmatch(r"\d+\.\d+\.\d+", file.parent.name)]
    configs = {version.parent for version in found}
    if base not in configs and len(configs) > 1:
        known = ", ".join(f"{base.name}/{config.name}" for config in sorted(configs))
        raise DataError(f"{label}: expected one of {known}; received {base.name}")
    versions = [one for one in found if base not in configs or one.parent == base]
    return max(versions, key=lambda one: [int(n) for n in one.name.split(".")], default=None)


def _describe(path: Path) -> str:
    if not path.is_dir():
        return "a file" if path.exists() else "nothing (it does not exist)"
    names = sorted(os.listdir(path)) if os.access(path, os.R_OK) else ["unreadable content"]
    return f"a folder with {', '.join(names[:4]) or 'nothing'}{', ...' * (len(names) > 4)}"


def _download(name: str, root: Path, notices: list[str]) -> bool:
    """Has TensorFlow Datasets prepare the data set in `root`; False, with a notice, if it fails.

    Both steps run in processes of their own: neither name look-ups nor the library's download can
    be limited in time from inside.
    """
    how = {"check": True, "stdin": subprocess.DEVNULL}
    python, url = [sys.executable, "-c"], SERVERS.get(name, GOOGLE)
    try:
        failure, seconds = "no network", PROBE_SECONDS
        subprocess.run([*python, PROBE, url], timeout=seconds, stderr=subprocess.DEVNULL, **how)
        failure, seconds = f"the download of {name} failed", DOWNLOAD_SECONDS
        subprocess.run([*python, PREPARE, name, str(root)], timeout=seconds, **how)
        return True
    except subprocess.SubprocessError as error:
        late = isinstance(error, subprocess.TimeoutExpired)
        notices.append(failure + f" (not finished after {seconds} s)" * late)
        return False


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[tuple]:
    """A prepared data set's builder, and arguments of its `as_dataset` to read in the files' order.

    Turns whatever TensorFlow Datasets raises inside into a DataError of one line.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow_datasets

    tensorflow_datasets.display_progress_bar(False)
    in_order = tensorflow_datasets.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    try:
        builder = tensorflow_datasets.builder_from_directory(folder)
        yield builder, {"shuffle_files": False, "read_config": in_order}
    except Exception as error:  # which kind depends on which byte is wrong
        reason = " ".join(str(getattr(error, "message", error)).split())[:200]
        raise DataError(f"expected a readable data set in {folder}, received: {reason}") from None


def decode(folder: Path) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
    """The train and test splits as `keras.datasets` has them, in the published order.

    Returns uint8 images (n, height, width) or (n, height, width, 3), and int32 labels (n,), of
    each. Raises DataError for damaged or unreadable files.
    """
    data = []
    with opened(folder) as (builder, in_order):
        for split in ("train", "test"):
            tensors = builder.as_dataset(split=split, batch_size=-1, **in_order)
            images, labels = tensors["image"].numpy(), tensors["label"].numpy().astype(np.int32)
            if "id" in tensors:
                numbers = tensors["id"].numpy()
            else:  # records are sorted by the MD5 of the split and their number in the publication
                md5 = [hashlib.md5(f"{split}{i}".encode()).digest() for i in range(len(labels))]
                numbers = sorted(range(len(labels)), key=md5.__getitem__)
            order = np.argsort(numbers)
            images = images[..., 0] if images.shape[-1] == 1 else images
            data.append((images[order], labels[order]))
    return tuple(data)
