"""MNIST and CIFAR-10 in Keras's own files: recognized, verified, refused unless they are whole."""

import gzip
import io
import os
import pickle
import re
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from common.data import DataError, datasets, files, load, tfds
from common.experiment import command
from recipes.regularization.overfitting import RECIPE
from tests.data.test_datasets import assert_same, write_tfds


class Python2(pickle._Pickler):
    """Writes strings as Python 2 did, whose text was bytes."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012

    def save_string(self, text):
        content = text.encode("latin1") if isinstance(text, str) else text
        self.write(pickle.BINSTRING + struct.pack("<i", len(content)) + content)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_string


def old_pickle(content) -> bytes:
    """What Python 2 with NumPy 1 wrote of it."""
    stream = io.BytesIO()
    Python2(stream, protocol=2).dump(content)
    return stream.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def new_pickle(content) -> bytes:
    """What Python 3 with NumPy 2 writes of it for Python 2."""
    return pickle.dumps(content, protocol=2)


def write_npz(folder: Path, data, **changed) -> None:
    (x_train, y_train), (x_test, y_test) = data
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    np.savez(folder / "mnist.npz", **(arrays | changed))


def write_idx(folder: Path, data, separator="-", ending="") -> None:
    """Files as on MNIST's page: type, number of axes, big-endian sizes, bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, arrays in zip(("train", "t10k"), data, strict=True):
        for kind, array in zip(("images", "labels"), arrays, strict=True):
            sizes = np.array(array.shape, ">u4").tobytes()
            content = bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()
            file = folder / f"{split}-{kind}{separator}idx{array.ndim}-ubyte{ending}"
            file.write_bytes(gzip.compress(content, 1) if ending else content)


def write_batches(folder: Path, data, pickled=old_pickle) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (x, y), test = data
    parts = [*zip(np.split(x, 5), np.split(y, 5), strict=True), test]
    for name, (images, labels) in zip(files.BATCHES, parts, strict=True):
        rows = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
        content = {b"batch_label": name.encode(), b"labels": labels.tolist(), b"data": rows}
        (folder / name).write_bytes(pickled(content))


@pytest.fixture
def keras(tmp_path, monkeypatch) -> Path:
    """~/.keras/datasets of a user who has no other data and no network."""
    for name in ("TFDS_DATA_DIR", "KERAS_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(tfds, "download", lambda name, root: "no network")
    return tmp_path / ".keras" / "datasets"


@pytest.fixture
def small(keras, monkeypatch):
    """30 + 10 images that stand in for MNIST, in which the public checksum is that of these."""
    return stand_in(monkeypatch, "mnist", (28, 28), 30)


@pytest.fixture
def colored(keras, monkeypatch):
    """50 + 10 images that stand in for CIFAR-10."""
    return stand_in(monkeypatch, "cifar10", (32, 32, 3), 50)


def stand_in(monkeypatch, name, shape, n_train):
    rng = np.random.default_rng(0)
    data = tuple(
        (rng.integers(0, 256, (n, *shape), dtype=np.uint8), np.arange(n, dtype=np.int32) % 10)
        for n in (n_train, 10)
    )
    public = shape, datasets.content_checksum(data), "0123456789"
    monkeypatch.setitem(datasets.PUBLIC, name, public)
    return data


def assert_found(name, data, source, data_dir=None, notices=()):
    found = load(name, data_dir)
    assert_same(found, datasets.Dataset(name, data, source, datasets.checksum(data)))
    assert (found.name, found.source, found.notices) == (name, source, notices)


# --- the data sets themselves


def test_mnist_of_keras(mnist, keras):
    write_npz(keras, mnist.arrays)
    assert_found("mnist", mnist.arrays, "~/.keras/datasets mnist.npz")


@pytest.mark.parametrize(("separator", "ending"), [("-", ".gz"), (".", "")])
def test_mnist_of_its_authors(mnist, keras, separator, ending):
    write_idx(keras, mnist.arrays, separator, ending)
    source = f"~/.keras/datasets train-images{separator}idx3-ubyte{ending}"
    assert_found("mnist", mnist.arrays, source)


def test_cifar10_of_its_authors(cifar10, keras):
    write_batches(keras / "cifar-10-batches-py", cifar10.arrays)
    notices = tuple(one for one in cifar10.notices if "published order" in one)  # that of its copy
    source = "~/.keras/datasets cifar-10-batches-py"
    assert_found("cifar10", cifar10.arrays, source, notices=notices)


# --- where they are looked for


@pytest.mark.parametrize("pickled", [old_pickle, new_pickle])
@pytest.mark.parametrize(
    "folder", ["cifar-10-batches-py", "cifar-10-batches-py-target/cifar-10-batches-py"]
)
def test_both_folders_in_which_keras_unpacks_cifar10(colored, keras, folder, pickled):
    write_batches(keras / folder, colored, pickled)
    assert_found("cifar10", colored, f"~/.keras/datasets {Path(folder).parts[0]}")
    assert_found("cifar10", colored, "--data-dir data_batch_1", keras / folder)


def test_keras_home(small, keras, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "elsewhere"))
    write_npz(tmp_path / "elsewhere" / "datasets", small)
    assert_found("mnist", small, "$KERAS_HOME/datasets mnist.npz")


@pytest.mark.parametrize("write", [write_npz, write_idx])
def test_data_dir(small, tmp_path, write):
    write(tmp_path / "given", small)
    (file, *_) = files.find("mnist", tmp_path / "given")
    assert_found("mnist", small, f"--data-dir {file.name}", tmp_path / "given")


def test_data_dir_alone_is_used(small, keras, tmp_path):
    write_npz(keras, small)
    with pytest.raises(DataError, match=r"^MNIST not found: --data-dir .*, received nothing"):
        load("mnist", tmp_path / "given")


def test_tensorflow_datasets_come_first(small, keras, tmp_path):
    write_npz(keras, small)
    write_tfds(tmp_path / "tensorflow_datasets" / "mnist" / "3.0.1", small)
    assert_found("mnist", small, "~/tensorflow_datasets mnist 3.0.1")


def test_one_file_of_four_is_not_enough(small, keras):
    write_idx(keras, small)
    (keras / "t10k-labels-idx1-ubyte").unlink()
    looked = "not in ~/tensorflow_datasets or ~/.keras/datasets, and no network"
    with pytest.raises(DataError, match=f"^MNIST not found: {looked} "):
        load("mnist")


def test_another_order_is_named(small, keras):
    (x, y), test = small
    write_npz(keras, ((x[::-1], y[::-1]), test))
    (notice,) = load("mnist").notices
    assert "not in the published order" in notice


# --- what is refused


def refused(capsys, data_dir: Path) -> str:
    """What a recipe says on that folder, in one line."""
    out = data_dir.parent / "out"
    arguments = ["--smoke", "--data-dir", str(data_dir), "--out", str(out)]
    assert command.run(RECIPE, arguments) == command.BAD_USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert not out.exists()
    return line.removeprefix("overfitting: ")


@pytest.mark.parametrize("write", [write_npz, write_idx])
def test_other_images_are_refused(small, keras, capsys, write):
    (x, y), test = small
    x[5, 3, 3] ^= 1
    write(keras, ((x, y), test))
    said = refused(capsys, keras)
    expected = r"expected the images of the public data set, received 30 \+ 10 others \(\w{12}\)$"
    assert re.search(expected, said)


def test_other_photographs_are_refused(colored, keras):
    (x, y), test = colored
    y[5] = 9
    write_batches(keras / "cifar-10-batches-py", ((x, y), test))
    with pytest.raises(DataError, match=r"public data set, received 50 \+ 10 others"):
        load("cifar10")


@pytest.mark.parametrize(
    ("changed", "received"),
    [
        ({"x_train": np.array([{}])}, "Object arrays cannot be loaded"),
        ({"y_train": np.arange(29)}, r"ValueError images and labels of shapes .*\(30, 28, 28\)"),
        ({"x_test": np.zeros((10, 28, 27))}, "cannot reshape"),
        ({"y_test": np.array(["one"])}, "invalid literal"),
    ],
)
def test_other_arrays_are_refused(small, keras, capsys, changed, received):
    write_npz(keras, small, **changed)
    said = refused(capsys, keras)
    assert re.search(rf"^expected images in \S+/mnist.npz, received: .*{received}", said)


def test_a_missing_array_is_refused(small, keras, capsys):
    keras.mkdir(parents=True)
    np.savez(keras / "mnist.npz", x_train=small[0][0])
    assert "received: KeyError" in refused(capsys, keras)


DAMAGES = {
    "truncated": lambda content: content[:-9],
    "flipped": lambda content: content[:999] + bytes([content[999] ^ 0xFF]) + content[1000:],
    "empty": lambda content: b"",
    "pickled": lambda content: pickle.dumps("a text"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["mnist.npz", "t10k-images-idx3-ubyte.gz"])
def test_damaged_files_are_refused(small, keras, capsys, name, damage):
    write_npz(keras, small)
    if name != "mnist.npz":
        (keras / "mnist.npz").unlink()
        write_idx(keras, small, ending=".gz")
    (keras / name).write_bytes(DAMAGES[damage]((keras / name).read_bytes()))
    assert refused(capsys, keras).startswith(f"expected images in {keras}")


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_batches_are_refused(colored, keras, damage):
    write_batches(keras, colored)
    file = keras / "data_batch_3"
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with pytest.raises(DataError, match=r"expected .*images.* received") as error:
        load("cifar10", keras)
    assert "\n" not in str(error.value)


def test_a_folder_in_place_of_a_file_is_refused(keras, capsys):
    (keras / "mnist.npz").mkdir(parents=True)
    assert "received: IsADirectoryError" in refused(capsys, keras)


@pytest.mark.parametrize("write", [write_npz, write_idx])
def test_files_that_unpack_to_more_than_the_public_ones_are_refused(
    small, keras, capsys, monkeypatch, write
):
    """Whatever size they have themselves."""
    if write is write_npz:
        write_npz(keras, small)
        np.savez_compressed(keras / "mnist.npz", x_train=np.zeros((100_000, 28, 28), np.uint8))
    else:
        write_idx(keras, ((np.zeros((100_000, 28, 28)), np.zeros(100_000)), small[1]), ending=".gz")
    monkeypatch.setattr(files, "MOST_BYTES", 10_000_000)
    file = files.find("mnist", keras)[0]
    assert file.stat().st_size < 1_000_000
    assert "with more than 10000000 bytes" in refused(capsys, keras)


class Call:
    """Pickled as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("name", ["data", "labels"])
def test_an_array_that_a_pickle_only_announces_is_refused(colored, keras, name):
    """Its memory is not touched before."""
    write_batches(keras, colored)
    content = {b"data": colored[1][0], b"labels": [0]}
    content[name.encode()] = Call(np.ndarray, (2**30,), "u1")
    (keras / "data_batch_2").write_bytes(pickle.dumps(content))
    with pytest.raises(DataError, match=r"received: ValueError arrays with more than \d+ bytes$"):
        load("cifar10", keras)


@pytest.mark.parametrize("function", ["os.system", "builtins.exec", "subprocess.run"])
def test_a_pickle_runs_nothing(colored, keras, tmp_path, function):
    marker = tmp_path / "it ran"
    calls = {
        "os.system": (os.system, f"touch '{marker}'"),
        "builtins.exec": (exec, f"open({str(marker)!r}, 'w')"),
        "subprocess.run": (subprocess.run, ["touch", str(marker)]),
    }
    pickled = pickle.dumps({b"data": Call(*calls[function]), b"labels": [0]})
    pickle.loads(pickled)
    assert marker.exists()  # elsewhere it does run
    marker.unlink()
    write_batches(keras, colored)
    (keras / "data_batch_1").write_bytes(pickled)
    with pytest.raises(DataError, match=r"received: UnpicklingError \w+\.\w+ in a pickle$"):
        load("cifar10", keras)
    assert not marker.exists()


def test_a_folder_of_nearly_the_same_name_does_not_hide_a_file(tmp_path):
    names = ("train-images", "train-labels", "t10k-images", "t10k-labels")
    for name in names:
        kind = "idx3-ubyte" if "images" in name else "idx1-ubyte"
        (tmp_path / f"{name}-{kind}").mkdir()
        (tmp_path / f"{name}.{kind}").touch()
    found = files.find("mnist", tmp_path)
    assert len(found) == 4
    assert all(file.is_file() for file in found)
