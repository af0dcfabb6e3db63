"""What is trained, validated and measured; photographs of any size and number of classes."""

import itertools
import json

import keras
import numpy as np
import pytest
from PIL import Image

from common.experiment import main
from recipes.convolution import alexnet
from recipes.convolution.alexnet import ARMS, PUBLISHED, RECIPE, Config, build_model

RNG = np.random.default_rng(0)


def noise(n: int):
    """Random images in place of CIFAR-10, which no net can tell apart."""
    images = RNG.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    labels = RNG.integers(0, 10, n).astype(np.int32)
    return (images, labels), (images[:5], labels[:5])


@pytest.mark.parametrize(("variant", "groups"), [("grouped", 2), ("single", 1)])
def test_variants_are_the_published_nets(variant, groups, monkeypatch):
    """Whose parameters are counted in the test of the ingredient."""
    monkeypatch.setattr(alexnet, "alexnet", lambda classes, seed, **how: (classes, how))
    classes, how = build_model(Config(variant, side=256), {"classes": 1000}, 0)
    assert classes == 1000
    assert how.get("groups", 2) == groups  # two are the default
    assert how.items() >= PUBLISHED.items()


def test_the_last_tenth_of_the_training_images_validates(handed_to_fit):
    data = noise(50)
    for n_train, used in ((0, 50), (30, 30)):
        model, given = handed_to_fit(alexnet, Config(n_train=n_train), ARMS["AlexNet"], data)
        train, held_out = used - used // 10, used // 10
        np.testing.assert_array_equal(given["x"], data[0][0][:train])
        np.testing.assert_array_equal(given["y"], data[0][1][:train])
        np.testing.assert_array_equal(given["validation_data"][0], data[0][0][train:used])
        assert len(given["validation_data"][1]) == held_out
        crop = model.layers[0]
        np.testing.assert_allclose(crop.mean, given["x"].mean(axis=0), rtol=1e-6)
        assert (crop.size, crop.margin) == (32, 4)
        assert model.output_shape == (None, 10)


def test_mapped_photographs_stay_mapped(handed_to_fit, tmp_path):
    """ImageNet does not fit into memory."""
    images = np.memmap(tmp_path / "images", np.uint8, "w+", shape=(20, 40, 40, 3))
    images[:] = RNG.integers(0, 256, images.shape)
    labels = np.arange(20, dtype=np.int32) % 3
    data = (images, labels), (images[:4], labels[:4])
    model, given = handed_to_fit(alexnet, Config(), ARMS["AlexNet"], data)
    assert isinstance(given["x"], np.memmap)
    assert isinstance(given["validation_data"][0], np.memmap)
    assert model.layers[0].margin == 0
    assert model.output_shape == (None, 3)


def test_top_one_and_top_five_errors(monkeypatch):
    """A net that has become NaN is right about nothing."""
    known = np.array([[0.1, 0.2, 0.3, 0.15, 0.05, 0.12, 0.08]] * 4, np.float32)
    monkeypatch.setattr(alexnet, "predict_crops", lambda *_: (known, np.full_like(known, np.nan)))
    images = RNG.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    data = noise(20)[0], (images, np.array([2, 1, 6, 4], np.int32))  # ranks 1, 2, 6, 7
    metrics = alexnet.train(Config(epochs=1), ARMS["AlexNet"], 0, data).metrics
    found = [metrics[f"{kind} error, center crop (%)"] for kind in ("test", "top-5")]
    lost = [metrics[f"{kind} error, ten crops (%)"] for kind in ("test", "top-5")]
    assert (found, lost) == ([75, 50], [100, 100])


@pytest.mark.parametrize(
    ("schedule", "start", "factor"), [("tenth", 0.01, 0.1), ("halve", 0.1, 0.5)]
)
def test_the_learning_rate_falls_when_validation_stalls(schedule, start, factor):
    config = Config(schedule=schedule, epochs=5, batch_size=18)
    curves = alexnet.train(config, ARMS["AlexNet"], 0, noise(20)).curves
    rates = curves["learning rate"]
    assert rates[0] == pytest.approx(start)
    ratios = {round(after / before, 6) for before, after in itertools.pairwise(rates)}
    assert ratios <= {1, factor}
    assert factor in ratios


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of three classes of colorful pictures of several sizes."""
    root = tmp_path_factory.mktemp("photographs")
    for name in ("ant", "bee", "cow"):
        (root / name).mkdir()
        for i in range(20):
            pixels = RNG.integers(0, 256, (260 + i, 300, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(RECIPE, list(arguments))
    return exit_.value.code


@pytest.mark.parametrize(("variant", "side"), [("cifar", 40), ("grouped", 256)])
def test_every_stack_trains_on_a_folder_of_photographs(
    variant, side, photographs, tmp_path, monkeypatch
):
    monkeypatch.setattr(alexnet, "SHOWN", 2)
    where = ["--dataset", "folder", "--data-dir", str(photographs), "--out", str(tmp_path)]
    flags = ["--smoke", "--n-train", "8", "--n-test", "2", "--batch-size", "4"]
    assert run(*where, *flags, "--variant", variant, "--side", str(side)) == 0
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["dataset"]["name"] == "folder"
    assert (content["dataset"]["n_train"], content["dataset"]["n_test"]) == (8, 2)
    metrics = content["arms"]["AlexNet"]["metrics"]
    assert metrics["test error, ten crops (%)"][0] in (0, 50, 100)  # of two photographs
    assert metrics["top-5 error, ten crops (%)"] == [0]  # of three classes
    assert metrics["top-5 error, center crop (%)"] == [0]
    assert (tmp_path / "alexnet.png").exists()


def test_half_precision_trains(photographs, tmp_path):
    where = ["--dataset", "folder", "--data-dir", str(photographs), "--out", str(tmp_path)]
    flags = ["--smoke", "--n-train", "8", "--n-test", "2", "--precision", "mixed_bfloat16"]
    try:
        assert run(*where, *flags) == 0
    finally:
        keras.config.set_dtype_policy("float32")
    assert json.loads((tmp_path / "results.json").read_text())["precision"] == "mixed_bfloat16"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "folder"], "--data-dir: expected a folder of classes"),
        (["--dataset", "folder", "--data-dir", "/absent"], "expected a folder of classes"),
        (["--dataset", "mnist5k"], "expected cifar10, folder, or a name of TensorFlow Datasets"),
        (["--variant", "double"], "--variant: expected one of cifar, single, grouped"),
        (["--variant", "single"], "--side: expected at least 227 for --variant single"),
        (["--side", "31"], "--side: expected at least 32 for --variant cifar, received 31"),
        (["--n-train", "1"], "--n-train: expected 0 or at least 2, received 1"),
    ],
)
def test_wrong_input_is_refused(arguments, message, tmp_path, capsys):
    assert run(*arguments, "--out", str(tmp_path / "out")) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_images_too_small_for_the_published_net_are_refused(cifar10, tmp_path, capsys):
    where = ["--dataset", "cifar10", "--smoke", "--out", str(tmp_path / "out")]
    assert run(*where, "--variant", "single", "--side", "227") == 2
    said = capsys.readouterr().err
    assert "expected images of at least 227 x 227 with their margin, received 32 x 32" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()
