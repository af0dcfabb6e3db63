"""Pictures of one's own become digits as in MNIST, are attacked, or are refused in one line."""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from common.experiment import command
from recipes.attack import fgsm_picture
from recipes.attack.fgsm_picture import RECIPE, digit

RNG = np.random.default_rng(0)


def stroke(size=(90, 120), paper="white", ink="navy", mode="RGB") -> Image.Image:
    """A slanted one."""
    picture = Image.new(mode, size, paper)
    ImageDraw.Draw(picture).line([(50, 15), (40, 100)], fill=ink, width=9)
    return picture


def transparent() -> Image.Image:
    return stroke(paper=(0, 0, 0, 0), ink=(0, 0, 0, 255), mode="RGBA")


def deep() -> Image.Image:
    """16 bits."""
    gray = np.asarray(stroke().convert("L")).astype(np.uint16)
    return Image.fromarray(257 * gray)


@pytest.mark.parametrize(
    "drawn",
    [
        stroke(),
        stroke(paper="black", ink="white"),
        stroke(paper="#ddd", ink="#999"),
        transparent(),
        deep(),
    ],
    ids=["dark on white", "white on black", "faint", "transparent", "16 bits"],
)
def test_a_drawing_becomes_a_digit_as_in_mnist(drawn, tmp_path):
    """White on black, 20 pixels high, its center of mass in the middle."""
    drawn.save(tmp_path / "one.png")
    made = digit(tmp_path / "one.png")
    assert made.shape == (28, 28)
    assert made.dtype == np.float32
    assert made.min() == 0
    assert made.max() == 255
    rows, columns = np.nonzero(made)
    assert rows.max() - rows.min() == 19
    for places in (rows, columns):
        assert np.average(places, weights=made[rows, columns]) == pytest.approx(13.5, abs=0.6)
    assert made[0].max() == 0


def test_a_digit_of_mnist_stays_where_it_is(tmp_path):
    made = np.zeros((28, 28), np.uint8)
    made[4:24, 10:18] = RNG.integers(100, 256, (20, 8))
    made[4, 10], made[23, 17] = 255, 255
    Image.fromarray(made).save(tmp_path / "one.png")
    np.testing.assert_allclose(digit(tmp_path / "one.png"), made, atol=1)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("empty.png", "expected a drawing, received an even area"),
        ("text.png", "expected a PNG or JPEG, received: cannot identify"),
        ("cut.png", "expected a PNG or JPEG, received"),
        ("image.gif", "expected a PNG or JPEG, received: cannot identify"),
        ("missing.png", "expected a PNG or JPEG, received: No such file"),
        (".", "expected a PNG or JPEG, received: Is a directory"),
        (
            "huge.png",
            "expected a PNG or JPEG, received: Image size (200000000 pixels) exceeds limit",
        ),
    ],
)
def test_what_is_no_drawing_is_refused_in_one_line(name, expected, tmp_path, capsys):
    file = tmp_path / name
    match name:
        case "empty.png":
            Image.new("RGB", (50, 50), "white").save(file)
        case "text.png":
            file.write_text("not a picture")
        case "cut.png":
            stroke().save(file)
            file.write_bytes(file.read_bytes()[:200])
        case "image.gif":
            stroke().save(file)
        case "huge.png":
            Image.new("1", (20_000, 10_000)).save(file)
    out = tmp_path / "out"
    assert run(out, "--image", str(file)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--image" in said
    assert expected in said
    assert not out.exists()


@pytest.mark.parametrize("value", ["10", "-1", "three"])
def test_a_target_is_a_digit(value, tmp_path, capsys):
    assert run(tmp_path / "out", f"--target={value}") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "--target: expected" in said


def test_a_picture_of_ones_own_is_attacked(tmp_path):
    stroke().save(tmp_path / "my one.png")
    out = tmp_path / "out"
    assert run(out, "--image", str(tmp_path / "my one.png"), "--epsilon", ".3") == 0
    content = json.loads((out / "results.json").read_text())
    assert content["config"]["image"] == str(tmp_path / "my one.png")
    assert all(entry["shown"] is None for entry in content["findings"])
    with Image.open(out / "fgsm_picture.png") as figure:
        assert figure.size == (1600, 1000)
    pictures = np.load(out / "pictures.npz")
    before, after = pictures["conv net/before"], pictures["conv net/after"]
    np.testing.assert_allclose(before[0], digit(tmp_path / "my one.png"))
    assert 0 < np.abs(after - before).max() <= 76.5


@pytest.mark.parametrize("target", [None, 3])
def test_confidence_falls_in_the_class_seen_or_rises_in_the_target(target, monkeypatch):
    """Of an untrained net, by a step so small that the loss is linear."""
    monkeypatch.setattr(fgsm_picture, "fit", lambda *_, **how: None)
    x = RNG.integers(0, 256, (9, 28, 28), dtype=np.uint8)
    y = np.zeros(9, np.int32)
    config = fgsm_picture.Config(epsilon=0.001, target=target)
    outcome = fgsm_picture.train(config, fgsm_picture.ARMS["conv net"], 0, ((x, y), (x, y)))
    p, q = outcome.pictures["p before"], outcome.pictures["p after"]
    seen = (np.arange(fgsm_picture.SHOWN), p.argmax(axis=1))
    metrics = outcome.metrics
    assert metrics["confidence without attack (%)"] == pytest.approx(100 * p[seen].mean(), rel=1e-5)
    assert metrics["confidence under attack (%)"] == pytest.approx(100 * q[seen].mean(), rel=1e-5)
    assert np.all(q[seen] < p[seen] if target is None else q[:, target] > p[:, target])


def run(out, *flags) -> int:
    """Exit code of a short run on mnist5k."""
    return command.run(RECIPE, ["--smoke", "--dataset", "mnist5k", "--out", str(out), *flags])
