"""Folders of photographs and TensorFlow Datasets of any size: cut, cached, refused if broken."""

import os
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

from common.data import DataError, datasets, load, photographs

RNG = np.random.default_rng(0)
COLORS = {"ant": (200, 30, 30), "bee": (30, 200, 30), "cow": (30, 30, 200)}


def picture(file, color=(10, 20, 30), size=(50, 40)):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(file)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "keras-recipes"


@pytest.fixture
def folder(tmp_path):
    """Three classes of twenty pictures in one color each, of several kinds and sizes."""
    root = tmp_path / "pictures"
    for name, color in COLORS.items():
        for i in range(20):
            ending = ("jpg", "png", "JPEG")[i % 3]
            picture(root / name / f"{i:02}.{ending}", color, (50 + i, 40 + 3 * i))
    (root / "ant" / "notes.txt").write_text("not a picture")
    (root / ".hidden").mkdir()
    return root


def test_a_folder_becomes_arrays_with_every_tenth_photograph_for_the_test(folder):
    found = load("folder", folder, side=16)
    assert (found.n_train, found.n_test) == (54, 6)
    (x_train, y_train), _ = found.arrays
    assert x_train.shape == (54, 16, 16, 3)
    assert isinstance(x_train, np.memmap)
    for images, labels in found.arrays:
        assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
        assert sorted(set(labels)) == [0, 1, 2]
        expected = np.array(list(COLORS.values()))[labels]
        np.testing.assert_allclose(images.mean(axis=(1, 2)), expected, atol=3)  # JPEG is not exact
    assert found.source == "--data-dir"
    # Mixed, so that examples held out at the end are of all classes.
    assert len(set(y_train[-10:])) == 3


def test_folders_named_train_and_val_are_the_two_sets(folder, tmp_path):
    root = tmp_path / "split"
    root.mkdir()
    folder.rename(root / "train")
    for name in COLORS:
        picture(root / "val" / name / "a.png")
    found = load("folder", root, side=16)
    assert (found.n_train, found.n_test) == (60, 3)
    picture(root / "val" / "dog" / "a.png")
    with pytest.raises(DataError, match=r"received 4 classes, 4 test .* train on of dog"):
        load("folder", root, side=16)


def test_a_square_is_the_center_with_the_shorter_side_fitted(tmp_path):
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = RNG.integers(0, 256, (20, 20, 3))
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    np.testing.assert_array_equal(photographs.square(tmp_path / "wide.png", 20), pixels[:, 20:40])
    Image.fromarray(pixels[..., 0]).save(tmp_path / "gray.png")
    content = (tmp_path / "gray.png").read_bytes()
    gray = photographs.square(content, 20)
    np.testing.assert_array_equal(gray, np.repeat(pixels[:, 20:40, :1], 3, axis=2))
    gray = photographs.square(content, 20, "L")
    np.testing.assert_array_equal(gray, pixels[:, 20:40, 0])
    Image.fromarray(pixels).save(tmp_path / "tall.png")
    assert photographs.square(tmp_path / "tall.png", 7).shape == (7, 7, 3)


def test_the_cache_is_used_and_follows_the_files(folder, cache, monkeypatch):
    first = load("folder", folder, side=16)
    monkeypatch.setattr(photographs, "square", None)  # nothing may be decoded again
    again = load("folder", folder, side=16)
    assert again.sha256 == first.sha256
    np.testing.assert_array_equal(again.arrays[0][0], first.arrays[0][0])
    assert again.notices == ()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    picture(folder / "ant" / "new.png")
    more = load("folder", folder, side=16)
    assert more.n_train + more.n_test == 61
    assert load("folder", folder, side=8).arrays[0][0].shape[1:] == (8, 8, 3)


@pytest.mark.parametrize("how", ["flipped", "cut", "no json", "label"])
def test_a_damaged_cache_is_named_and_made_again(folder, cache, how):
    sha256 = load("folder", folder, side=16).sha256
    (file,) = cache.glob("*.json" if how in ("no json", "label") else "*.pixels")
    content = bytearray(file.read_bytes())
    if how == "flipped":
        content[100] ^= 1
    elif how == "cut":
        del content[-1]
    elif how == "no json":
        content = b"{"
    else:
        content = content.replace(b"[1, ", b"[2, ") if b"[1, " in content else content[::-1]
    file.write_bytes(content)
    found = load("folder", folder, side=16)
    assert found.sha256 == sha256
    assert "damaged cache" in found.notices[0]
    assert load("folder", folder, side=16).notices == ()


def test_of_two_that_cut_the_same_photographs_both_get_them(folder, monkeypatch):
    own, lock, sooner = photographs.square, threading.Lock(), []

    def square(content, side, mode):
        with lock:
            if not sooner:
                monkeypatch.setattr(photographs, "square", own)
                sooner.append(load("folder", folder, side=side))  # as another process, meanwhile
        return own(content, side, mode)

    monkeypatch.setattr(photographs, "square", square)
    later = load("folder", folder, side=16)
    assert later.notices == ()
    assert later.sha256 == sooner[0].sha256
    np.testing.assert_array_equal(later.arrays[0][0], sooner[0].arrays[0][0])


def test_an_empty_test_folder_is_refused(folder, tmp_path):
    root = tmp_path / "split"
    root.mkdir()
    folder.rename(root / "train")
    (root / "test" / "ant").mkdir(parents=True)
    with pytest.raises(DataError, match=r"and test photographs; received 3 classes, 0 test"):
        load("folder", root, side=16)


def test_a_cache_too_large_to_verify_is_taken_by_its_size(folder, cache, monkeypatch):
    monkeypatch.setattr(datasets, "VERIFIED_BYTES", 1_000)
    monkeypatch.setattr(datasets, "checksum", lambda data: "as it was when written")
    load("folder", folder, side=16)
    monkeypatch.setattr(datasets, "checksum", None)  # nothing may be read whole
    assert load("folder", folder, side=16).notices == ()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    (file,) = cache.glob("*.pixels")
    file.write_bytes(file.read_bytes()[:-1])
    assert "damaged cache" in load("folder", folder, side=16).notices[0]


def test_unreadable_photographs_are_refused_by_name(folder, cache):
    for name in ("bee/05.JPEG", "ant/03.jpg"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 3])
    expected = r"all readable; received 52 \+ 6, and 2 unreadable: "
    for _ in range(2):  # the second time too
        with pytest.raises(DataError, match=expected) as error:
            load("folder", folder, side=16)
        assert "ant/03.jpg" in str(error.value)
        assert "bee/05.JPEG" in str(error.value)
    assert list(cache.iterdir()) == []


def test_nothing_half_made_is_left(folder, cache, monkeypatch):
    monkeypatch.setattr(photographs, "square", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load("folder", folder, side=16)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: root / "absent", "expected a folder of classes, received"),
        (lambda root: None, "expected a folder of classes, received none"),
        (lambda root: root / "ant" / "00.jpg", "expected a folder of classes, received"),
        (
            lambda root: root / "ant",
            "expected a folder for each of .* two classes.* received 0 classes",
        ),
    ],
)
def test_no_folder_of_classes_is_refused(folder, change, message):
    with pytest.raises(DataError, match=message):
        load("folder", change(folder), side=16)


def test_a_class_without_training_photographs_is_refused_by_name(folder, monkeypatch):
    (folder / "emu").mkdir()
    (folder / "emu" / "picture.webp").touch()
    (folder / "emu" / "._hidden.jpg").touch()  # as macOS leaves them
    monkeypatch.setattr(photographs, "square", None)  # before anything is read
    with pytest.raises(DataError, match=r"received 4 classes, .*none to train on of emu$"):
        load("folder", folder, side=16)


def test_a_full_disk_is_refused_in_one_line(folder, cache, monkeypatch):
    def full(file, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(photographs, "write_whole", full)
    with pytest.raises(DataError, match=r"expected to write in .*received: .*No space left"):
        load("folder", folder, side=16)


def test_order_does_not_depend_on_the_clock_or_the_machine(folder, cache):
    first = load("folder", folder, side=16).sha256
    for file in folder.glob("*/*"):
        os.utime(file)
    assert load("folder", folder, side=16).sha256 == first
    assert len(list(cache.glob("*.json"))) == 2


@pytest.fixture
def records(tmp_path):
    """A tiny data set as TensorFlow Datasets writes it."""
    tfds = pytest.importorskip("tensorflow_datasets")
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(num_classes=2),
        }
    )
    pixels = [np.full((30, 40 + i, 3), 20 * i, np.uint8) for i in range(12)]
    import tensorflow as tf

    def split(numbers):
        def examples():
            for i in numbers:
                yield {"image": pixels[i], "label": i % 2}

        signature = {
            "image": tf.TensorSpec((None, None, 3), tf.uint8),
            "label": tf.TensorSpec((), tf.int64),
        }
        return tf.data.Dataset.from_generator(examples, output_signature=signature)

    tfds.display_progress_bar(False)
    tfds.dataset_builders.store_as_tfds_dataset(
        name="tiny_photos",
        version="1.0.0",
        features=features,
        split_datasets={"train": split(range(8)), "validation": split(range(8, 12))},
        data_dir=str(tmp_path / "tfds"),
        disable_shuffling=True,
    )
    return tmp_path / "tfds"


def test_any_data_set_of_tensorflow_datasets_with_images_and_labels(records):
    found = load("tiny_photos", records, side=16)
    assert (found.n_train, found.n_test) == (8, 4)
    (_, y_train), (x_test, _) = found.arrays
    np.testing.assert_array_equal(y_train, [0, 1] * 4)
    np.testing.assert_array_equal(x_test[:, 0, 0, 0], [160, 180, 200, 220])
    assert found.name == "tiny_photos"
    assert found.source == "--data-dir tiny_photos 1.0.0"


def test_a_configuration_of_a_data_set_is_found_if_it_is_the_only_one(records):
    """As imagenette's, in NAME/CONFIG/VERSION."""
    first, second = (records / "tiny_photos" / name for name in ("small", "large"))
    first.mkdir()
    (records / "tiny_photos" / "1.0.0").rename(first / "1.0.0")
    assert load("tiny_photos", records, side=16).n_train == 8
    shutil.copytree(first, second)
    with pytest.raises(DataError, match="one of tiny_photos/large, tiny_photos/small; received"):
        load("tiny_photos", records, side=16)
    assert load("tiny_photos/large", records, side=16).n_train == 8


def test_a_data_set_that_is_not_there_is_refused(records):
    with pytest.raises(DataError, match=r"--data-dir .*: expected imagenette/VERSION, received"):
        load("imagenette", records, side=16)


def test_a_data_set_without_a_test_set_is_refused(records, monkeypatch):
    info = next(records.rglob("dataset_info.json"))
    info.write_text(info.read_text().replace('"validation"', '"unlabeled"'))
    with pytest.raises(DataError, match=r"in train and validation or test, received: .*unlabeled"):
        load("tiny_photos", records, side=16)


def test_a_damaged_record_is_refused_in_one_line(records, cache):
    file = next(records.rglob("*train*tfrecord*"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(
        DataError, match=r"expected a readable data set in .*tiny_photos"
    ) as refused:
        load("tiny_photos", records, side=16)
    assert "\n" not in str(refused.value)
    assert list(cache.iterdir()) == []


def test_a_named_data_set_is_itself_whatever_the_side():
    assert load("mnist5k", side=16).arrays[0][0].shape == (3500, 28, 28)


def test_a_photograph_stands_as_its_camera_marks_it(tmp_path):
    """A marked file has the pixels of one that was turned."""
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 200  # the upper half is bright
    marks = Image.Exif()
    marks[0x0112] = 6  # the camera was turned: the left edge is the top
    Image.fromarray(pixels).save(tmp_path / "marked.png", exif=marks)
    upright = photographs.square(tmp_path / "marked.png", 8)
    np.testing.assert_array_equal(upright, np.rot90(pixels, -1))
