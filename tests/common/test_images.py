"""Folders of pictures and TensorFlow Datasets of any size, cut, cached, and refused if broken."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from common import images
from common.data import DataError

RNG = np.random.default_rng(0)
COLOURS = {"ant": (200, 30, 30), "bee": (30, 200, 30), "cow": (30, 30, 200)}


def picture(file, colour=(10, 20, 30), size=(50, 40)):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(file)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "keras-recipes"


@pytest.fixture
def folder(tmp_path):
    """Three classes of twenty pictures in one colour each, of several kinds and sizes."""
    root = tmp_path / "pictures"
    for name, colour in COLOURS.items():
        for i in range(20):
            ending = ("jpg", "png", "JPEG")[i % 3]
            picture(root / name / f"{i:02}.{ending}", colour, (50 + i, 40 + 3 * i))
    (root / "ant" / "notes.txt").write_text("not a picture")
    (root / ".hidden").mkdir()
    return root


def test_a_folder_becomes_arrays_with_every_tenth_picture_for_the_test(folder):
    found = images.load("folder", folder, 16)
    assert (len(found.train), len(found.test)) == (54, 6)
    assert found.train.images.shape == (54, 16, 16, 3)
    assert isinstance(found.train.images, np.memmap)
    for split in (found.train, found.test):
        assert sorted(set(split.labels)) == [0, 1, 2]
        means = split.images.mean(axis=(1, 2))
        expected = np.array(list(COLOURS.values()))[split.labels]
        np.testing.assert_allclose(means, expected, atol=3)  # JPEG is not exact
    assert str(folder) not in found.source
    # Mixed, so that whoever holds the last ones out holds all classes out.
    assert len(set(found.train.labels[-10:])) == 3


def test_folders_named_train_and_val_are_taken_for_what_they_are(folder, tmp_path):
    root = tmp_path / "split"
    root.mkdir()
    folder.rename(root / "train")
    for name in COLOURS:
        picture(root / "val" / name / "a.png")
    found = images.load("folder", root, 16)
    assert (len(found.train), len(found.test)) == (60, 3)
    picture(root / "val" / "dog" / "a.png")
    with pytest.raises(DataError, match="expected the classes of train, received dog"):
        images.load("folder", root, 16)


def test_a_square_is_the_middle_with_the_shorter_side_fitted(tmp_path):
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = RNG.integers(0, 256, (20, 20, 3))
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    np.testing.assert_array_equal(images.square(tmp_path / "wide.png", 20), pixels[:, 20:40])
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    grey = images.square((tmp_path / "grey.png").read_bytes(), 20)
    np.testing.assert_array_equal(grey, np.repeat(pixels[:, 20:40, :1], 3, axis=2))
    Image.fromarray(pixels).save(tmp_path / "tall.png")
    assert images.square(tmp_path / "tall.png", 7).shape == (7, 7, 3)


def test_the_cache_is_used_and_follows_the_files(folder, cache, monkeypatch):
    first = images.load("folder", folder, 16)
    monkeypatch.setattr(images, "square", None)  # nothing may be decoded again
    again = images.load("folder", folder, 16)
    assert again.sha256 == first.sha256
    np.testing.assert_array_equal(again.train.images, first.train.images)
    assert again.notices == ()
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent))
    picture(folder / "ant" / "new.png")
    more = images.load("folder", folder, 16)
    assert len(more.train) + len(more.test) == 61
    assert images.load("folder", folder, 8).train.images.shape[1:] == (8, 8, 3)


@pytest.mark.parametrize("how", ["flipped", "cut", "no json"])
def test_a_damaged_cache_is_named_and_made_anew(folder, cache, how):
    first = images.load("folder", folder, 16)
    sha256 = first.sha256
    del first
    (made,) = cache.iterdir()
    file = made / ("about.json" if how == "no json" else "train")
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes({"flipped": content, "cut": content[:-1], "no json": b"{"}[how])
    found = images.load("folder", folder, 16)
    assert found.sha256 == sha256
    assert "damaged cache" in found.notices[0]
    assert images.load("folder", folder, 16).notices == ()


def test_of_two_that_cut_the_same_pictures_the_later_takes_what_is_there(folder, monkeypatch):
    own, sooner = images.cut, []

    def cut(pictures, side):
        if not sooner:
            sooner.append(None)
            sooner[0] = images.load("folder", folder, side)  # as another process, meanwhile
        return own(pictures, side)

    monkeypatch.setattr(images, "cut", cut)
    later = images.load("folder", folder, 16)
    assert later.notices == ()
    assert later.sha256 == sooner[0].sha256
    np.testing.assert_array_equal(later.train.images, sooner[0].train.images)


def test_an_empty_test_part_is_refused(folder, tmp_path):
    root = tmp_path / "split"
    root.mkdir()
    folder.rename(root / "train")
    (root / "test" / "ant").mkdir(parents=True)
    with pytest.raises(DataError, match=r"test: expected pictures \(.*\), received none"):
        images.load("folder", root, 16)


def test_a_cache_too_large_to_verify_is_said_to_be(folder, monkeypatch):
    monkeypatch.setattr(images, "VERIFIED_BYTES", 1_000)
    assert "too large to be verified" in images.load("folder", folder, 16).notices[0]


def test_few_broken_pictures_are_left_out_and_named(folder):
    for i in range(60):
        picture(folder / "ant" / f"more{i}.png")
    (folder / "bee" / "05.JPEG").write_bytes(b"no picture")
    found = images.load("folder", folder, 16)
    assert len(found.train) + len(found.test) == 119
    assert found.notices == ("1 of 120 pictures are unreadable and left out: bee/05.JPEG",)
    assert images.load("folder", folder, 16).notices == found.notices  # from the cache too


def test_many_broken_pictures_are_refused(folder, cache):
    for name in ("bee/05.JPEG", "ant/03.jpg"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 3])
    with pytest.raises(DataError, match=r"at most 1 % unreadable .* received 2 of 60") as refused:
        images.load("folder", folder, 16)
    assert "ant/03.jpg" in str(refused.value)
    assert list(cache.iterdir()) == []  # nothing half made is left


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root: root / "absent", "expected a folder of classes, received"),
        (lambda root: None, "expected a folder of classes, received nothing"),
        (lambda root: root / "ant" / "00.jpg", "expected a folder of classes, received"),
        (lambda root: root / "ant", "expected at least two folders, one a class, received 0"),
    ],
)
def test_no_folder_of_classes_is_refused(folder, change, message):
    with pytest.raises(DataError, match=message):
        images.load("folder", change(folder), 16)


def test_an_empty_class_is_refused_by_name(folder):
    (folder / "emu").mkdir()
    with pytest.raises(DataError, match="in the class emu, received 0"):
        images.load("folder", folder, 16)


def test_a_full_disk_is_noticed_before_anything_is_read(folder, monkeypatch):
    usage = images.shutil.disk_usage(folder)
    full = usage._replace(free=1_000)
    monkeypatch.setattr(images.shutil, "disk_usage", lambda path: full)
    monkeypatch.setattr(images, "square", None)
    with pytest.raises(DataError, match=r"expected 0\.0 GB free for the pictures"):
        images.load("folder", folder, 16)


def test_order_does_not_depend_on_the_clock_or_the_machine(folder, cache):
    first = images.load("folder", folder, 16).sha256
    for file in folder.glob("*/*"):
        os.utime(file)
    assert images.load("folder", folder, 16).sha256 == first
    assert len(list(cache.iterdir())) == 2


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
    found = images.load("tiny_photos", records, 16)
    assert (len(found.train), len(found.test)) == (8, 4)
    np.testing.assert_array_equal(found.train.labels, [0, 1] * 4)
    np.testing.assert_array_equal(found.test.images[:, 0, 0, 0], [160, 180, 200, 220])
    assert found.name == "tiny_photos"
    assert found.source == "--data-dir tiny_photos 1.0.0"


def test_a_configuration_of_a_data_set_is_found_if_it_is_the_only_one(records):
    """As imagenette's, in NAME/CONFIG/VERSION."""
    first, second = (records / "tiny_photos" / name for name in ("small", "large"))
    first.mkdir()
    (records / "tiny_photos" / "1.0.0").rename(first / "1.0.0")
    assert len(images.load("tiny_photos", records, 16).train) == 8
    shutil.copytree(first, second)
    with pytest.raises(DataError, match="one of tiny_photos/large, tiny_photos/small; received"):
        images.load("tiny_photos", records, 16)
    assert len(images.load("tiny_photos/large", records, 16).train) == 8


def test_a_data_set_that_is_not_there_is_refused(records):
    with pytest.raises(DataError, match="expected a folder that holds imagenette"):
        images.load("imagenette", records, 16)


def stroke(size=(90, 120), paper="white", ink="black", mode="RGB"):
    drawn = Image.new(mode, size, paper)
    middle = size[0] // 2
    for y in range(size[1] // 4, 3 * size[1] // 4):
        for x in range(middle - 4, middle + 5):
            drawn.putpixel((x, y), Image.new(mode, (1, 1), ink).getpixel((0, 0)))
    return drawn


@pytest.mark.parametrize(
    "drawn",
    [
        stroke(),
        stroke(paper="black", ink="white"),
        stroke(paper=(250, 240, 220), ink="navy"),
        stroke(mode="L", paper=200, ink=60),
        stroke(mode="RGBA", paper=(0, 0, 0, 0), ink=(0, 0, 0, 255)),  # black on nothing
        stroke(mode="I;16", paper=60_000, ink=300),
        stroke(size=(900, 1_200)).convert("P"),
    ],
    ids=["black on white", "white on black", "colours", "faint", "transparent", "16 bits", "large"],
)
def test_a_drawn_digit_becomes_as_in_mnist(drawn, tmp_path):
    """White on black, 20 pixels high, centred by mass, whatever paper and ink were."""
    drawn.save(tmp_path / "one.png")
    digit = images.digit(tmp_path / "one.png")
    assert digit.shape == (28, 28, 1)
    assert digit.dtype == np.uint8
    rows, columns = np.nonzero(digit[..., 0])
    assert (rows.min(), rows.max()) == (4, 23)
    assert np.mean(rows) == pytest.approx(13.5, abs=0.6)
    assert np.average(columns, weights=digit[rows, columns, 0]) == pytest.approx(13.5, abs=0.6)
    assert digit.max() == 255
    assert digit[0].max() == 0


def test_a_mnist_digit_stays_where_it_is(tmp_path):
    made = np.zeros((28, 28), np.uint8)
    made[4:24, 10:18] = RNG.integers(100, 256, (20, 8))
    made[4, 10], made[23, 17] = 255, 255
    Image.fromarray(made).save(tmp_path / "one.png")
    np.testing.assert_allclose(images.digit(tmp_path / "one.png")[..., 0], made, atol=1)


def test_what_is_no_drawing_of_a_digit_is_refused(tmp_path):
    Image.new("RGB", (50, 50), "white").save(tmp_path / "empty.png")
    (tmp_path / "text.png").write_text("not a picture")
    whole = tmp_path / "whole.png"
    stroke().save(whole)
    (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:200])
    Image.new("1", (7_100, 7_100)).save(tmp_path / "huge.png")
    Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
    for name, expected in {
        "empty.png": "expected something drawn on it",
        "text.png": "expected a PNG or JPEG",
        "cut.png": "expected a PNG or JPEG",
        "missing.png": "No such file",
        "huge.png": "at most 50 megapixels, received 50.4",
        "bomb.png": "expected",
    }.items():
        with pytest.raises(DataError, match=expected):
            images.digit(tmp_path / name)
