"""Data sets as NumPy arrays: found, cached, and proved to be what they claim to be.

`load("mnist")` looks for the files that TensorFlow Datasets writes, in this order: the folder
given, `$TFDS_DATA_DIR`, `~/tensorflow_datasets`, and last a download into one of these. Decoding
takes seconds, so the arrays are cached (`$XDG_CACHE_HOME` or `~/.cache`, folder `keras-recipes`)
together with their checksum, which every later load verifies. Whatever the source, the images are
compared with the checksum of the public data set: a result never names data that it did not see.
The images stand in the order in which their authors published them, so that "the first 1,000"
are those of the literature, and not those of TensorFlow Datasets' own shuffling.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

PROBE_SECONDS = 8  # how long the network may take to answer before it counts as absent
DOWNLOAD_SECONDS = 900


class DataError(ValueError):
    """The data asked for cannot be had; the message is one line fit to be shown to a user."""


@dataclass(frozen=True)
class Public:
    """What is publicly known of a data set, to tell it from everything else."""

    n_train: int
    n_test: int
    content: str  # see `content_checksum`
    labels: tuple[int, ...]  # of the first training images, in the order its authors published
    url: str  # what a download asks for first


PUBLIC = {
    "mnist": Public(
        60_000,
        10_000,
        "f771933d03a86cc5f6899b91d168d95717c342a985562a4a2b5d8d2517a4cb24",
        (5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7, 2, 8, 6, 9),
        "https://storage.googleapis.com/cvdf-datasets/mnist/train-labels-idx1-ubyte.gz",
    ),
    "cifar10": Public(
        50_000,
        10_000,
        "f08f3fc8e9e44e051211a4e932c7b19cc739dedc35a38a2b568cc33faeffb522",
        (6, 9, 9, 4, 1, 1, 2, 7, 8, 3, 4, 7, 7, 2, 9, 9, 9, 3, 2, 6),
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    ),
}
ANY_URL = "https://storage.googleapis.com"  # asked for before other data sets
NAMES = (*PUBLIC, "digits", "none")


@dataclass(frozen=True)
class Split:
    """Images (n, height, width, channels), uint8 in 0..255, and labels (n,), int32 from 0."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, n: int) -> Split:
        """The first n examples. Raises DataError if there are fewer."""
        if not 0 < n <= len(self):
            raise DataError(f"expected between 1 and {len(self)} images, received {n}")
        return Split(self.images[:n], self.labels[:n])

    def hold_out(self, n: int) -> tuple[Split, Split]:
        """The examples without the last n, and those n. Raises DataError if that leaves none."""
        if not 0 < n < len(self):
            raise DataError(f"expected to hold out 1 to {len(self) - 1} images, received {n}")
        return Split(self.images[:-n], self.labels[:-n]), Split(self.images[-n:], self.labels[-n:])


@dataclass(frozen=True)
class Dataset:
    """A data set in memory.

    `source` says where it came from without naming a path of this machine; `sha256` is the checksum
    of the arrays in their order; `notices` are lines that its user must see.
    """

    name: str
    train: Split
    test: Split
    source: str
    sha256: str
    notices: tuple[str, ...] = ()


def cache_folder() -> Path:
    """Where decoded data are kept."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"))
    return root / "keras-recipes"


def unit(images: np.ndarray) -> np.ndarray:
    """uint8 images in 0..255 -> float32 in [0, 1], as `common.training` does in its step."""
    return images.astype(np.float32) / np.float32(255)


def load(name: str, data_dir: str | Path | None = None, fallback: str | None = None) -> Dataset:
    """Loads a data set by name.

    Args:
        name: `mnist`, `cifar10` (TensorFlow Datasets), `digits` (bundled with scikit-learn), or
            `none` for a recipe that needs no images.
        data_dir: the folder that holds NAME/VERSION/dataset_info.json. If given, only it is used.
        fallback: the data set to use where `name` is not to be had and `data_dir` is not given;
            the result then carries that name, and says so in its notices.

    Raises:
        DataError: unknown name, `data_dir` without the data set, damaged files, files that are not
            the public data set, or no data and no fallback.
    """
    if name == "digits":
        return _digits()
    if name == "none":
        empty = Split(np.zeros((0, 0, 0, 1), np.uint8), np.zeros(0, np.int32))
        return Dataset(name, empty, empty, "not needed", checksum((empty.images, empty.labels)))
    if name not in PUBLIC:
        raise DataError(f"expected one of the data sets {', '.join(NAMES)}; received: {name}")
    notices: list[str] = []
    folder, source = find(name, data_dir, notices)
    if folder is None:
        if fallback is None:
            reason = "; ".join([f"no {name} to be had", *notices])
            raise DataError(f"{reason}. Expected it in --data-dir, $TFDS_DATA_DIR or a download")
        notices.append(
            f"NO {name.upper()} TO BE HAD: RUNNING ON {fallback.upper()} INSTEAD. "
            f"Numbers published for {name} do not apply."
        )
        found = load(fallback)
        return Dataset(
            found.name, found.train, found.test, found.source, found.sha256, tuple(notices)
        )
    arrays, sha256 = _cached(name, folder, notices)
    train, test = Split(*arrays[:2]), Split(*arrays[2:])
    if not np.array_equal(train.labels[: len(PUBLIC[name].labels)], PUBLIC[name].labels):
        notices.append(
            f"this copy of {name} is complete but not in the published order: "
            "its first n images are not those of other users"
        )
    return Dataset(name, train, test, source, sha256, tuple(notices))


def checksum(arrays: tuple[np.ndarray, ...]) -> str:
    """SHA-256 of the arrays' bytes, shapes and types in their order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def content_checksum(train: Split, test: Split) -> str:
    """SHA-256 of the examples of both splits whatever their order.

    TensorFlow Datasets shuffles when it prepares a data set, so two faithful copies may differ in
    order; they hold the same examples if and only if this agrees.
    """
    digest = hashlib.sha256()
    for split in (train, test):
        examples = zip(split.images, split.labels, strict=True)
        for one in sorted(
            hashlib.sha256(image.tobytes() + bytes([label])).digest() for image, label in examples
        ):
            digest.update(one)
    return digest.hexdigest()


def _digits() -> Dataset:
    """scikit-learn's 1,797 handwritten digits, 8x8 in 0..16, scaled to 28x28 in 0..255.

    The file lists them writer by writer; the last 500, by other writers, are the test set.
    """
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    bundled = load_digits()
    images = zoom(bundled.images, (1, 3.5, 3.5), order=1, mode="nearest", grid_mode=True)
    images = np.round(images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bundled.target.astype(np.int32)
    arrays = (images[:-500], labels[:-500], images[-500:], labels[-500:])
    train, test = Split(*arrays[:2]), Split(*arrays[2:])
    return Dataset("digits", train, test, "scikit-learn", checksum(arrays))


def find(
    name: str, data_dir: str | Path | None, notices: list[str]
) -> tuple[Path | None, str | None]:
    """The folder NAME/VERSION of a data set of TensorFlow Datasets, and where it was found.

    Looks in `data_dir` alone if that is given, else in the usual places, and downloads at last;
    (None, None) if all that fails. Adds to `notices` what a user must know.

    Raises DataError for a folder that cannot be read, or a `data_dir` without the data set.
    """
    if data_dir is not None:
        folder = _version_folder(Path(data_dir), name, "--data-dir")
        if folder is None:
            raise DataError(
                f"--data-dir {data_dir}: expected a folder that holds "
                f"{name}/VERSION/dataset_info.json, received {_describe(Path(data_dir))}"
            )
        return folder, f"--data-dir {name} {folder.name}"
    home = Path(os.path.expanduser("~/tensorflow_datasets"))
    places = [("~/tensorflow_datasets", home)]
    if from_environment := os.environ.get("TFDS_DATA_DIR"):
        places.insert(0, ("$TFDS_DATA_DIR", Path(from_environment)))
    for label, root in places:
        if folder := _version_folder(root, name, label):
            return folder, f"{label} {name} {folder.name}"
        if label.startswith("$"):
            notices.append(f"{label}: expected {name} in it, received {_describe(root)}")
    label, root = places[0] if os.access(places[0][1], os.W_OK) else places[-1]
    if _download(name, root, notices) and (folder := _version_folder(root, name, label)):
        return folder, f"downloaded {name} {folder.name}"
    return None, None


def _version_folder(root: Path, name: str, label: str) -> Path | None:
    """ROOT/NAME/VERSION of the highest version there, None if there is none.

    ROOT/NAME/CONFIG/VERSION for a data set that comes in several configurations, if one is there.
    """
    try:
        if not (children := _folders(root / name)):
            return None
        versions = [child for child in children if _is_version(child)]
        configs = [child for child in children if any(map(_is_version, _folders(child)))]
    except OSError as error:
        raise DataError(
            f"{label}: expected a readable folder {root / name}, received: {error.strerror}"
        ) from None
    if not versions and len(configs) > 1:
        known = ", ".join(f"{name}/{config.name}" for config in sorted(configs))
        raise DataError(f"{label}: expected one of {known}; received {name}")
    if not versions and configs:
        return _version_folder(root / name, configs[0].name, label)
    return max(
        versions, key=lambda child: [int(part) for part in child.name.split(".")], default=None
    )


def _folders(folder: Path) -> list[Path]:
    """The folders in one, none where it is not there. Raises OSError for an unreadable one."""
    try:
        return [child for child in folder.iterdir() if child.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_version(folder: Path) -> bool:
    """Whether TensorFlow Datasets prepared a data set there."""
    named = re.fullmatch(r"\d+\.\d+\.\d+", folder.name)
    return bool(named) and (folder / "dataset_info.json").is_file()


def _describe(path: Path) -> str:
    if not path.exists():
        return "nothing (it does not exist)"
    if not path.is_dir():
        return "a file"
    try:
        children = sorted(child.name for child in path.iterdir())
    except OSError as error:
        return f"an unreadable folder ({error.strerror})"
    return (
        f"a folder with {', '.join(children[:4])}{' ...' * (len(children) > 4)}"
        if children
        else "an empty folder"
    )


def _cached(name: str, folder: Path, notices: list[str]) -> tuple[tuple[np.ndarray, ...], str]:
    """The arrays of the data set in `folder` and their checksum, through the cache.

    The cache is keyed on the names, sizes and times of the files, so it never outlives them.
    """
    stats = [
        (file.name, file.stat().st_size, file.stat().st_mtime_ns)
        for file in sorted(folder.iterdir())
    ]
    key = hashlib.sha256(repr(stats).encode()).hexdigest()[:12]
    file = cache_folder() / f"{name}-{folder.name}-{key}.npz"
    if file.exists():
        try:
            return _read_cache(file)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            notices.append(f"damaged cache {file} ({error}): decoded anew")
    arrays = _decode(name, folder)
    sha256 = checksum(arrays)
    try:
        _write_cache(file, arrays, sha256)
    except OSError as error:
        notices.append(f"no cache in {file.parent} ({error.strerror}): every start decodes anew")
    return arrays, sha256


def _read_cache(file: Path) -> tuple[tuple[np.ndarray, ...], str]:
    with np.load(file, allow_pickle=False) as stored:
        arrays = tuple(stored[f"array{i}"] for i in range(4))
        expected = str(stored["sha256"])
    if (received := checksum(arrays)) != expected:
        raise ValueError(f"expected checksum {expected[:12]}, received {received[:12]}")
    return arrays, expected


def _write_cache(file: Path, arrays: tuple[np.ndarray, ...], sha256: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            named = {f"array{i}": array for i, array in enumerate(arrays)}
            np.savez(stream, sha256=np.array(sha256), **named)
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _decode(name: str, folder: Path) -> tuple[np.ndarray, ...]:
    """Reads the TFRecords in their order and compares them with the public data set."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow_datasets as tfds

    tfds.display_progress_bar(False)
    arrays: list[np.ndarray] = []
    try:
        builder = tfds.builder_from_directory(folder)
        for split in ("train", "test"):
            in_order = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
            tensors = builder.as_dataset(
                split=split, batch_size=-1, shuffle_files=False, read_config=in_order
            )
            images, labels = tensors["image"].numpy(), tensors["label"].numpy().astype(np.int32)
            published = _published_order(split, len(labels), tensors.get("id"))
            arrays += [images[published], labels[published]]
    except Exception as error:  # of what kind, depends on which byte is wrong
        reason = " ".join(str(getattr(error, "message", error)).split())[:200]
        raise DataError(f"damaged or unreadable {name} in {folder}: {reason}") from None
    public = PUBLIC[name]
    train, test = Split(*arrays[:2]), Split(*arrays[2:])
    if (len(train), len(test)) != (public.n_train, public.n_test):
        raise DataError(
            f"{folder}: expected {public.n_train} + {public.n_test} images of {name}, "
            f"received {len(train)} + {len(test)}"
        )
    if (received := content_checksum(train, test)) != public.content:
        raise DataError(
            f"{folder}: expected the images of the public {name} (checksum "
            f"{public.content[:12]}), received others ({received[:12]})"
        )
    return tuple(arrays)


def _published_order(split: str, n: int, ids: tf.Tensor | None) -> np.ndarray:
    """Where the records of a split stand in the file, in the order the authors published them.

    TensorFlow Datasets sorts the records by the MD5 of the split's name and their key, which is
    their number in the original files; CIFAR-10's records carry that number as an id as well.
    """
    if ids is not None:
        return np.argsort(ids.numpy())
    key = [hashlib.md5(f"{split}{number}".encode()).digest() for number in range(n)]
    order = np.empty(n, dtype=np.int64)
    order[sorted(range(n), key=key.__getitem__)] = np.arange(n)
    return order


def _download(name: str, root: Path, notices: list[str]) -> bool:
    """Has TensorFlow Datasets prepare the data set under `root`; False, with a notice, if not.

    Both steps run in processes of their own, because neither name look-ups nor the library's own
    download can be bounded in time from inside.
    """
    probe = """
import sys, urllib.error, urllib.request
try:
    urllib.request.urlopen(urllib.request.Request(sys.argv[1], method="HEAD"))
except urllib.error.HTTPError:
    pass  # somebody answered
"""
    prepare = """
import sys, tensorflow_datasets as tfds
try:
    builder = tfds.builder(sys.argv[1], data_dir=sys.argv[2], try_gcs=False)
    builder.download_and_prepare()
except Exception as error:
    sys.exit(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")
"""
    steps = [
        (
            "no network",
            probe,
            [PUBLIC[name].url if name in PUBLIC else ANY_URL],
            PROBE_SECONDS,
            subprocess.DEVNULL,
        ),
        (f"the download of {name} failed", prepare, [name, str(root)], DOWNLOAD_SECONDS, None),
    ]
    for failure, code, arguments, seconds, stderr in steps:
        try:
            subprocess.run(
                [sys.executable, "-c", code, *arguments],
                timeout=seconds,
                check=True,
                stderr=stderr,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            notices.append(f"{failure} (no end after {seconds} s)")
            return False
        except subprocess.CalledProcessError:
            notices.append(failure)
            return False
    return True
