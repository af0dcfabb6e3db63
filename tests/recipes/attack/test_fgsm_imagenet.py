"""What the attack measures, by hand in float64; pictures of every kind, or one line."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from common.experiment import command
from common.ingredients.pictures import read_picture, squares
from recipes.attack import fgsm_imagenet
from recipes.attack.fgsm_imagenet import ARMS, BESIDE, LEAST, MOST, RECIPE, STEP, Config, pictures

RNG = np.random.default_rng(0)
PAINTED = RNG.integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.fixture
def linear(monkeypatch) -> tuple[np.ndarray, np.ndarray]:
    """A net of 5 x 5 pixels and 1,000 classes that is linear; its weights and biases."""
    inputs = keras.Input((5, 5, 3))
    dense = keras.layers.Dense(1000)
    net = keras.Model(inputs, dense(keras.layers.Flatten()(inputs)))
    weights = [RNG.normal(size=(75, 1000), scale=0.003), np.zeros(1000)]
    net.set_weights(weights)
    monkeypatch.setattr(fgsm_imagenet, "pretrained", lambda name, side: net)
    return tuple(weights)


def softmax(z: np.ndarray) -> np.ndarray:
    powers = np.exp(z - z.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def test_what_is_measured_is_what_numpy_measures(linear):
    """Of 50 pictures, which are more than are attacked at once."""
    weights, biases = linear
    images = RNG.integers(20, 236, (50, 5, 5, 3), dtype=np.uint8)
    config = Config(side=5, n_pictures=50, epsilon=0.01)
    outcome = fgsm_imagenet.train(config, ARMS["ImageNet net"], 3, (None, (images, None)))
    order = np.random.default_rng(3).permutation(50)
    x = images[order].reshape(50, 75).astype(float)
    p = softmax(x @ weights + biases)
    answers = p.argmax(axis=1)
    rows = np.arange(50)
    others = np.where(np.eye(1000)[answers] > 0, -np.inf, x @ weights + biases)
    signs = np.sign((softmax(others) @ weights.T) - weights.T[answers])
    after = softmax((x + 2.55 * signs) @ weights + biases)
    least = np.full(50, np.inf)
    for size in reversed(np.arange(STEP, MOST + STEP, STEP)):
        changed = ((x + size * signs) @ weights + biases).argmax(axis=1) != answers
        least[changed] = size
    curves = outcome.curves
    without, under = (curves[f"confidence {how} attack (%)"] for how in ("without", "under"))
    np.testing.assert_allclose(without, 100 * p[rows, answers], rtol=1e-3)
    np.testing.assert_allclose(under, 100 * after[rows, answers], rtol=1e-3)
    np.testing.assert_array_equal(
        curves["answers changed under attack (%)"], 100 * (after.argmax(axis=1) != answers)
    )
    assert np.isfinite(least).sum() > 10
    np.testing.assert_allclose(curves[LEAST], least, atol=STEP)  # float32 may decide a tie else
    assert outcome.metrics[LEAST] == pytest.approx(np.median(curves[LEAST]))
    assert outcome.metrics["confidence under attack (%)"] == pytest.approx(under.mean())
    np.testing.assert_allclose(outcome.pictures["after"].reshape(-1, 75), (x + 2.55 * signs)[:3])
    np.testing.assert_array_equal(np.unique(outcome.pictures["change"]), [0, 255])
    assert np.all(curves["confidence under noise (%)"] > under)


def test_more_pictures_than_there_are_or_two_sources_are_refused(linear):
    data = None, (np.zeros((9, 5, 5, 3), np.uint8), None)
    with pytest.raises(ValueError, match=r"--n-pictures: expected at most 9, received 10"):
        pictures(Config(n_pictures=10), 0, data)
    with pytest.raises(ValueError, match="expected --image or --dataset, received both"):
        pictures(Config(image=BESIDE / "coffee.png"), 0, data)


def test_the_net_names_the_photographs_and_is_misled(tmp_path):
    """Names of classes, photographs and net belong together: by hand nobody else checks them."""
    assert run(tmp_path / "out") == 0
    names = (BESIDE / "classes.txt").read_text().splitlines()
    assert len(names) == len(set(names)) == 1_000
    found = np.load(tmp_path / "out" / "pictures.npz")
    before, after = (found[f"ImageNet net/p {one}"] for one in ("before", "after"))
    assert [names[i] for i in before.argmax(axis=1)] == ["espresso", "Egyptian cat"]
    assert before.max(axis=1) == pytest.approx([0.976, 0.366], abs=0.005)
    assert [names[i] for i in after.argmax(axis=1)] == ["consomme", "tiger cat"]
    changed = found["ImageNet net/after"] - found["ImageNet net/before"]
    assert np.abs(changed).max() <= 1.785
    with Image.open(tmp_path / "out" / "fgsm_imagenet.png") as figure:
        assert figure.size == (1600, 1000)


def test_without_its_folder_a_copy_takes_the_photographs_of_scikit_learn(tmp_path, monkeypatch):
    monkeypatch.setattr(fgsm_imagenet, "BESIDE", tmp_path)
    assert [one.size for one in pictures(Config(), 0, None)] == [(640, 427)] * 2


# ---- pictures of one's own


def animated(file, kind):
    frames = [Image.new("RGB", (30, 30), color) for color in ("red", "blue")]
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])


def deep() -> Image.Image:
    """16 bits of gray."""
    return Image.fromarray((PAINTED[..., 0].astype(np.uint16) << 8) + 7)


READ = {
    "one.jpg": lambda file: Image.fromarray(PAINTED).save(file, quality=100, subsampling=0),
    "cmyk.jpg": lambda file: Image.fromarray(PAINTED).convert("CMYK").save(file, quality=100),
    "gray.png": lambda file: Image.fromarray(PAINTED[..., 0]).save(file),
    "16 bits.png": lambda file: deep().save(file),
    "palette.png": lambda file: Image.fromarray(PAINTED).quantize(64).save(file),
    "one.png": lambda file: Image.fromarray(PAINTED).save(file),
    "bits.png": lambda file: Image.fromarray(PAINTED[..., 0] > 99).save(file),
    "named.txt": lambda file: Image.fromarray(PAINTED).save(file, "PNG"),
}


@pytest.mark.parametrize("name", READ)
def test_pictures_of_every_kind_are_read(name, tmp_path):
    READ[name](tmp_path / name)
    read = read_picture(tmp_path / name)
    assert (read.mode, read.size) == ("RGB", (60, 40))
    gray = name in ("gray.png", "16 bits.png", "bits.png")
    expected = np.repeat(PAINTED[..., :1], 3, axis=2) if gray else PAINTED
    if name == "bits.png":
        expected = 255 * (expected > 99)
    inexact = {"one.jpg": 8, "cmyk.jpg": 30, "palette.png": 30}.get(name, 0)
    assert np.abs(np.asarray(read, int) - expected).mean() <= inexact


@pytest.mark.parametrize("mode", ["RGBA", "LA", "palette", "color"])
def test_what_is_transparent_is_white(mode, tmp_path):
    file = tmp_path / "one.png"
    match mode:
        case "palette":
            two = Image.new("P", (4, 4), 0)
            two.putpalette([0, 0, 0, 9, 9, 9])
            two.save(file, transparency=0)
        case "color":
            Image.new("RGB", (4, 4), (1, 2, 3)).save(file, transparency=(1, 2, 3))
        case _:
            Image.new("RGBA", (4, 4), (0, 0, 0, 0)).convert(mode).save(file)
    assert np.asarray(read_picture(file)).min() == 255


def test_a_photograph_is_turned_as_its_camera_was(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    Image.fromarray(PAINTED).save(tmp_path / "turned.png", exif=exif)
    turned = np.asarray(read_picture(tmp_path / "turned.png"))
    np.testing.assert_array_equal(turned, np.rot90(PAINTED, -1))


def test_of_an_animated_png_the_first_picture_is_read(tmp_path):
    animated(tmp_path / "two.png", "PNG")
    assert np.asarray(read_picture(tmp_path / "two.png")).reshape(-1, 3).max(axis=0).tolist() == [
        255,
        0,
        0,
    ]


def test_squares_keep_the_middle_and_what_has_the_size():
    small = Image.fromarray(PAINTED[:, :40])
    np.testing.assert_array_equal(squares([small], 40)[0], PAINTED[:, :40])
    wide = np.zeros((20, 60, 3), np.uint8)
    wide[:, 20:40] = 200
    one, single = squares([Image.fromarray(wide), Image.new("RGB", (1, 1), (9, 8, 7))], 10)
    assert one.dtype == np.float32
    np.testing.assert_array_equal(one[:, 2:-2], np.full((10, 6, 3), 200))
    assert one.min() > 180
    np.testing.assert_array_equal(single, np.full((10, 10, 3), [9, 8, 7]))


def bomb(file) -> None:
    """200 million pixels in 25 kB."""
    Image.new("1", (20_000, 10_000)).save(file)


def cut(file) -> None:
    kind = "JPEG" if file.suffix == ".jpg" else "PNG"
    Image.fromarray(PAINTED).resize((300, 300)).save(file, kind)
    file.write_bytes(file.read_bytes()[:2_000])


REFUSED = {
    "text.png": (lambda file: file.write_text("not a picture"), "cannot identify"),
    "empty.png": (lambda file: file.write_bytes(b""), "cannot identify"),
    "cut.png": (cut, ""),
    "cut.jpg": (cut, "truncated"),
    "two.gif": (lambda file: animated(file, "GIF"), "cannot identify"),
    "two.webp": (lambda file: animated(file, "WEBP"), "cannot identify"),
    "two.jpg": (lambda file: animated(file, "GIF"), "cannot identify"),
    "missing.png": (lambda file: None, "No such file"),
    "folder.png": (lambda file: file.mkdir(), "Is a directory"),
    "bomb.png": (bomb, "exceeds limit"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_in_one_line(name, tmp_path, capsys):
    make, said = REFUSED[name]
    make(tmp_path / name)
    assert run(tmp_path / "out", "--image", str(tmp_path / name)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"{name}: expected a PNG or JPEG, received: " in error
    assert said in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--weights", "SqueezeNet2"), "--weights: expected SqueezeNet or a net of keras.app"),
        (("--epsilon", "1.5"), "--epsilon: expected"),
        (("--side", "10"), "--side: expected at least"),
        (("--dataset", "mnist"), "--dataset: expected none or cifar10, folder"),
    ],
)
def test_bad_usage_is_refused_in_one_line(flags, said, tmp_path, capsys):
    assert run(tmp_path / "out", *flags) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert not (tmp_path / "out").exists()


def test_a_picture_of_ones_own_is_attacked(linear, tmp_path):
    Image.fromarray(PAINTED).save(tmp_path / "my one.png")
    assert run(tmp_path / "out", "--image", str(tmp_path / "my one.png"), "--side", "5") == 0
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["config"]["image"] == str(tmp_path / "my one.png")
    before = np.load(tmp_path / "out" / "pictures.npz")["ImageNet net/before"]
    np.testing.assert_array_equal(before, squares([Image.fromarray(PAINTED)], 5))


def test_photographs_of_a_folder_are_attacked(linear, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i in range(30):
            Image.fromarray(PAINTED).save(tmp_path / "in" / name / f"{i}.png")
    flags = "--dataset", "folder", "--data-dir", str(tmp_path / "in"), "--side", "5"
    assert run(tmp_path / "out", *flags, "--n-pictures", "4") == 0
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["dataset"]["name"] == "folder"
    assert len(content["arms"]["ImageNet net"]["history"][LEAST][0]) == 4


def run(out, *flags) -> int:
    return command.run(RECIPE, ["--smoke", "--out", str(out), *flags])
