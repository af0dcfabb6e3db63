"""Data honesty: the real thing is recognised, anything else is named or refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common import data

# --- a tiny data set in TensorFlow Datasets' own format, standing in for MNIST


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A folder with 30 + 10 images as `mnist`, in which the public checksum is that of these."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    rng = np.random.default_rng(0)
    splits = {
        name: data.Split(
            rng.integers(0, 256, (n, 28, 28, 1), dtype=np.uint8), np.arange(n, dtype=np.int32) % 10
        )
        for name, n in (("train", 30), ("test", 10))
    }
    root = tmp_path / "tfds"
    write_tfds(root / "mnist" / "3.0.1", splits)
    public = data.Public(
        30, 10, data.content_checksum(splits["train"], splits["test"]), tuple(range(10)), "http://x"
    )
    monkeypatch.setitem(data.PUBLIC, "mnist", public)
    return root


def write_tfds(folder: Path, splits: dict[str, data.Split]) -> None:
    """What `tfds` writes: records sorted by the MD5 of split name and number."""
    import hashlib

    folder.mkdir(parents=True)
    described = []
    for name, split in splits.items():
        file = folder / f"mnist-{name}.tfrecord-00000-of-00001"
        by_hash = sorted(
            range(len(split)), key=lambda i, name=name: hashlib.md5(f"{name}{i}".encode()).digest()
        )
        with tf.io.TFRecordWriter(str(file)) as writer:
            for i in by_hash:
                png = tf.io.encode_png(split.images[i]).numpy()
                features = {
                    "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png])),
                    "label": tf.train.Feature(
                        int64_list=tf.train.Int64List(value=[int(split.labels[i])])
                    ),
                }
                example = tf.train.Example(features=tf.train.Features(feature=features))
                writer.write(example.SerializeToString())
        described.append(
            {
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "name": name,
                "numBytes": str(file.stat().st_size),
                "shardLengths": [str(len(split))],
            }
        )
    info = {"fileFormat": "tfrecord", "name": "mnist", "splits": described, "version": "3.0.1"}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    prefix = "tensorflow_datasets.core.features"
    image = {"image": {"dtype": "uint8", "shape": {"dimensions": ["28", "28", "1"]}}}
    features = {
        "image": {**image, "pythonClassName": f"{prefix}.image_feature.Image"},
        "label": {
            "classLabel": {"numClasses": "10"},
            "pythonClassName": f"{prefix}.class_label_feature.ClassLabel",
        },
    }
    described = {
        "featuresDict": {"features": features},
        "pythonClassName": f"{prefix}.features_dict.FeaturesDict",
    }
    (folder / "features.json").write_text(json.dumps(described))


def cache_file(root: Path) -> Path:
    return next((root.parent / "cache" / "keras-recipes").glob("*.npz"))


def test_published_order_is_restored(tiny):
    found = data.load("mnist", tiny)
    np.testing.assert_array_equal(found.train.labels, np.arange(30) % 10)
    assert found.notices == ()
    assert found.source == "--data-dir mnist 3.0.1"


def test_cache_gives_the_same_arrays_and_checksum(tiny):
    first = data.load("mnist", tiny)
    assert cache_file(tiny).exists()
    second = data.load("mnist", tiny)
    assert first.sha256 == second.sha256
    np.testing.assert_array_equal(first.train.images, second.train.images)
    np.testing.assert_array_equal(first.test.labels, second.test.labels)


@pytest.mark.parametrize("where", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_flipped_byte_in_the_cache_is_named_and_mended(tiny, where):
    good = data.load("mnist", tiny)
    file = cache_file(tiny)
    content = bytearray(file.read_bytes())
    content[int(where * len(content))] ^= 0xFF
    file.write_bytes(content)
    again = data.load("mnist", tiny)
    for mended, split in ((again.train, good.train), (again.test, good.test)):
        np.testing.assert_array_equal(mended.images, split.images)
        np.testing.assert_array_equal(mended.labels, split.labels)
    assert f"damaged cache {file}" in again.notices[0]
    assert again.sha256 == good.sha256
    assert data.load("mnist", tiny).notices == ()


def test_flipped_pixel_in_the_cache_is_named(tiny):
    data.load("mnist", tiny)
    file = cache_file(tiny)
    content = bytearray(file.read_bytes())
    content[len(content) // 4] ^= 0xFF
    file.write_bytes(content)
    assert "damaged cache" in data.load("mnist", tiny).notices[0]


def test_truncated_cache_is_mended(tiny):
    data.load("mnist", tiny)
    file = cache_file(tiny)
    file.write_bytes(file.read_bytes()[:1000])
    assert "damaged cache" in data.load("mnist", tiny).notices[0]


def test_cache_that_cannot_be_written_is_said(tiny, monkeypatch):
    blocked = tiny.parent / "blocked"
    blocked.write_text("a file where the cache should go")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    found = data.load("mnist", tiny)
    assert len(found.train) == 30
    assert "every start decodes anew" in found.notices[0]


def test_truncated_tfrecord_is_refused(tiny):
    file = next(tiny.rglob("*train.tfrecord*"))
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(data.DataError, match="damaged or unreadable mnist"):
        data.load("mnist", tiny)


def test_flipped_byte_in_a_tfrecord_is_refused(tiny):
    file = next(tiny.rglob("*train.tfrecord*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(data.DataError, match="damaged or unreadable mnist"):
        data.load("mnist", tiny)


def test_missing_shard_is_refused(tiny):
    next(tiny.rglob("*test.tfrecord*")).unlink()
    with pytest.raises(data.DataError, match="damaged or unreadable mnist"):
        data.load("mnist", tiny)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_damaged_description_is_refused(tiny, name):
    next(tiny.rglob(name)).write_text('{"splits": 3')
    with pytest.raises(data.DataError, match="damaged or unreadable mnist"):
        data.load("mnist", tiny)


def test_other_images_under_the_name_are_refused(tiny, monkeypatch):
    public = data.PUBLIC["mnist"]
    other = data.Public(public.n_train, public.n_test, "0" * 64, public.labels, public.url)
    monkeypatch.setitem(data.PUBLIC, "mnist", other)
    with pytest.raises(data.DataError, match="expected the images of the public mnist"):
        data.load("mnist", tiny)


def test_wrong_counts_are_refused(tiny, monkeypatch):
    public = data.PUBLIC["mnist"]
    more = data.Public(31, public.n_test, public.content, public.labels, public.url)
    monkeypatch.setitem(data.PUBLIC, "mnist", more)
    with pytest.raises(data.DataError, match=r"expected 31 \+ 10 images"):
        data.load("mnist", tiny)


def test_another_order_is_said(tiny, monkeypatch):
    public = data.PUBLIC["mnist"]
    other = data.Public(public.n_train, public.n_test, public.content, (7, 7), public.url)
    monkeypatch.setitem(data.PUBLIC, "mnist", other)
    assert "not in the published order" in data.load("mnist", tiny).notices[0]


def test_highest_version_is_taken(tiny):
    shutil.copytree(tiny / "mnist" / "3.0.1", tiny / "mnist" / "3.0.0")
    (tiny / "mnist" / "incomplete.3.0.2").mkdir()
    assert data.load("mnist", tiny).source.endswith("3.0.1")


# --- where data is looked for


def offline(monkeypatch):
    monkeypatch.setattr(data, "PROBE_SECONDS", 2)


@pytest.mark.parametrize(
    ("make", "received"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.mkdir(), "an empty folder"),
        (lambda path: path.write_text(""), "a file"),
        (lambda path: (path / "cats").mkdir(parents=True), "a folder with cats"),
    ],
)
def test_data_dir_without_the_data_is_refused(tiny, make, received):
    other = tiny.parent / "other"
    make(other)
    with pytest.raises(data.DataError, match=f"--data-dir .*received .*{received}"):
        data.load("mnist", other, fallback="digits")


def test_unreadable_folder_is_refused(tiny, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(data.DataError, match=r"expected a readable folder.*Permission denied"):
        data.load("mnist", tiny)


def test_data_dir_comes_before_the_environment(tmp_path, monkeypatch):
    given, named = (tmp_path / name / "mnist" / "3.0.1" for name in ("given", "named"))
    for folder in (given, named):
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").touch()
    monkeypatch.setenv("TFDS_DATA_DIR", str(named.parents[1]))
    assert data.find("mnist", given.parents[1], []) == (given, "--data-dir mnist 3.0.1")
    assert data.find("mnist", None, []) == (named, "$TFDS_DATA_DIR mnist 3.0.1")
    with pytest.raises(data.DataError, match="--data-dir"):  # nothing stands in for it
        data.find("mnist", tmp_path, [])


def test_environment_comes_before_home(tiny, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tiny))
    assert data.load("mnist").source == "$TFDS_DATA_DIR mnist 3.0.1"
    monkeypatch.delenv("TFDS_DATA_DIR")
    home = tiny.parent / "home"
    home.mkdir()
    tiny.rename(home / "tensorflow_datasets")
    assert data.load("mnist").source == "~/tensorflow_datasets mnist 3.0.1"


def test_useless_environment_is_said(tiny, monkeypatch):
    home = tiny.parent / "home"
    home.mkdir()
    tiny.rename(home / "tensorflow_datasets")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tiny.parent / "nowhere"))
    assert "does not exist" in data.load("mnist").notices[0]


def test_no_network_and_no_data_falls_back_loudly(tiny, monkeypatch):
    offline(monkeypatch)
    shutil.rmtree(tiny)
    found = data.load("mnist", fallback="digits")
    assert found.name == "digits"
    assert any("NO MNIST TO BE HAD: RUNNING ON DIGITS" in notice for notice in found.notices)
    with pytest.raises(data.DataError, match="no mnist to be had"):
        data.load("mnist")


def test_a_network_that_hangs_is_given_up(tiny, monkeypatch):
    shutil.rmtree(tiny)
    monkeypatch.setattr(data, "PROBE_SECONDS", 0.2)
    stuck = [sys.executable, "-c", "import time; time.sleep(60)"]
    real = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda command, **how: real(stuck, **how))
    found = data.load("mnist", fallback="digits")
    assert found.name == "digits"
    assert "no network (no end after 0.2 s)" in found.notices


def test_a_download_is_used(tiny, monkeypatch):
    """With a network, the library's own download runs and its folder is found."""
    home = tiny.parent / "home"
    home.mkdir()

    def prepared(command, **how):
        if "download_and_prepare" in command[2]:
            shutil.copytree(tiny, command[-1])

    monkeypatch.setattr(subprocess, "run", prepared)
    found = data.load("mnist")
    assert found.source == "downloaded mnist 3.0.1"
    assert (home / "tensorflow_datasets" / "mnist").is_dir()


def test_a_download_that_fails_falls_back(tiny, monkeypatch):
    shutil.rmtree(tiny)

    def failing(command, **how):
        if "download_and_prepare" in command[2]:
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", failing)
    found = data.load("mnist", fallback="digits")
    assert "the download of mnist failed" in found.notices


def test_unknown_name_is_refused():
    with pytest.raises(data.DataError, match=r"expected one of .*mnist.*received: fashion"):
        data.load("fashion")


# --- the data sets themselves


def test_digits():
    found = data.load("digits")
    assert found.train.images.shape == (1297, 28, 28, 1)
    assert found.test.images.shape == (500, 28, 28, 1)
    assert found.train.images.dtype == np.uint8
    pixels = data.unit(found.train.images)
    assert pixels.min() == 0
    assert pixels.max() == 1
    assert np.bincount(found.train.labels).min() > 120
    assert data.load("digits").sha256 == found.sha256


def test_digits_keep_their_look():
    """Averaging the 28x28 image over its 8x8 cells gives scikit-learn's image back, nearly."""
    from sklearn.datasets import load_digits

    bundled, found = load_digits(), data.load("digits")
    np.testing.assert_array_equal(found.train.labels, bundled.target[:1297])
    np.testing.assert_array_equal(found.test.labels, bundled.target[1297:])
    original = bundled.images[0] / 16
    scaled = data.unit(found.train.images[0, :, :, 0])
    cells = scaled[:28, :28].reshape(4, 7, 4, 7).mean(axis=(1, 3))
    coarse = original.reshape(4, 2, 4, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(cells, coarse, atol=0.08)


def test_mnist_is_mnist(mnist):
    assert mnist.train.images.shape == (60_000, 28, 28, 1)
    assert mnist.test.images.shape == (10_000, 28, 28, 1)
    assert mnist.train.images.dtype == np.uint8
    assert mnist.train.labels.dtype == np.int32
    assert (mnist.train.images.min(), mnist.train.images.max()) == (0, 255)
    pixels = data.unit(mnist.train.images)
    assert pixels.dtype == np.float32
    assert (pixels.min(), pixels.max()) == (0, 1)
    assert pixels.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert pixels.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)
    histogram = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.train.labels).tolist() == histogram
    histogram = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(mnist.test.labels).tolist() == histogram
    assert mnist.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_cifar10_is_cifar10(cifar10):
    assert cifar10.train.images.shape == (50_000, 32, 32, 3)
    assert cifar10.test.images.shape == (10_000, 32, 32, 3)
    assert np.bincount(cifar10.train.labels).tolist() == [5000] * 10
    assert np.bincount(cifar10.test.labels).tolist() == [1000] * 10
    mean = cifar10.train.images.mean(axis=(0, 1, 2), dtype=np.float64) / 255
    assert mean == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)


def test_held_out_examples_are_the_last_and_in_neither_twice():
    train = data.load("digits").train
    rest, held = train.hold_out(297)
    np.testing.assert_array_equal(np.concatenate([rest.images, held.images]), train.images)
    np.testing.assert_array_equal(held.labels, train.labels[-297:])
    for n in (0, 1297, -5):
        with pytest.raises(data.DataError, match="expected to hold out 1 to 1296 images"):
            train.hold_out(n)


@pytest.mark.parametrize("n", [0, -1, 1298])
def test_more_images_than_there_are_is_refused(n):
    with pytest.raises(data.DataError, match=f"between 1 and 1297 images, received {n}"):
        data.load("digits").train.first(n)
