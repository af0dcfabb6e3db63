"""The published stack to the unit, its solver and its predictions against plain NumPy."""

import itertools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from common import checkpoint, data
from common.command import main
from common.experiment import Run
from common.layers import Crop, predict
from common.results import UsageError
from recipes import alexnet, alexnet_ablation
from recipes.alexnet import ARMS, RECIPE, Config, build_model, errors

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("variant", "parameters"), [("grouped", 60_965_224), ("single", 62_378_344)]
)
def test_the_published_nets_have_their_number_of_parameters(variant, parameters):
    net = build_model(variant, 1000, seed=0)
    assert net.count_params() == parameters
    pools = [one.output.shape[1:] for one in net.layers if "pooling" in one.name]
    assert pools == [(27, 27, 96), (13, 13, 256), (6, 6, 256)]


def test_weights_and_biases_begin_as_published():
    net = build_model("grouped", 1000, seed=0)
    weighted = [layer for layer in net.layers if layer.weights]
    for layer in weighted:
        kernel = layer.kernel.numpy()
        assert kernel.std() == pytest.approx(0.01, rel=0.02)
        assert abs(kernel.mean()) < 4 * 0.01 / np.sqrt(kernel.size)
    # Convolutions 2, 4 and 5 are two layers each, of half the maps.
    assert [float(layer.bias[0]) for layer in weighted] == [0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0]


def test_the_scaled_stack_keeps_the_gain_of_every_layer():
    """Deviation times the root of the inputs, which decides how the signal grows or fades."""
    nets = [build_model(variant, 10, seed=0) for variant in ("grouped", "cifar")]
    gains = [
        [
            layer.kernel.numpy().std() * np.sqrt(np.prod(layer.kernel.shape[:-1]))
            for layer in net.layers
            if layer.weights
        ]
        for net in nets
    ]
    np.testing.assert_allclose(gains[1], gains[0], rtol=0.1)


def test_an_unknown_variant_is_refused():
    with pytest.raises(UsageError, match="expected a variant of grouped, single, cifar; received"):
        build_model("double", 10, seed=0)


def pictures(n: int) -> data.Dataset:
    """Noise in place of CIFAR-10."""
    images = RNG.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    split = data.Split(images, np.arange(n, dtype=np.int32) % 10)
    return data.Dataset("cifar10", split, split, "noise", "")


def test_decay_is_the_papers(handed_to_fit):
    """v <- .9 v - .0005 rate w - rate gradient; w <- w + v, in float64 by hand."""
    rate, momentum, decay = 0.01, 0.9, 5e-4
    net, settings = handed_to_fit(alexnet, Run(Config(), 0, pictures(20)), ARMS["AlexNet"])
    penalties = [layer.kernel_regularizer for layer in net.layers[-1].layers if layer.weights]
    assert len(penalties) == 11  # as many as there are biases above
    assert all(one.get_config() == penalties[0].get_config() for one in penalties)
    x, y = RNG.normal(size=(8, 4)).astype(np.float32), RNG.normal(size=(8, 1)).astype(np.float32)
    dense = keras.layers.Dense(1, use_bias=False, kernel_regularizer=penalties[0])
    model = keras.Sequential([keras.Input((4,)), dense])
    model.compile(settings["optimizer"], "mse")
    w, v = model.get_weights()[0].astype(np.float64), 0
    for _ in range(5):
        model.fit(x, y, batch_size=8, verbose=0)
        v = momentum * v - decay * rate * w - rate * 2 * x.T @ (x @ w - y) / 8
        w = w + v
    np.testing.assert_allclose(model.get_weights()[0], w, rtol=1e-5)


def test_top_one_and_top_five_errors():
    probabilities = np.array([[0.1, 0.2, 0.3, 0.15, 0.05, 0.12, 0.08]] * 4)
    assert errors(probabilities, np.array([2, 1, 6, 4])) == (75, 50)  # ranks 1, 2, 6, 7


def test_prediction_averages_the_ten_parts():
    net = build_model("cifar", 10, seed=0)
    images = RNG.integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    mean = images.mean(axis=0)
    one, ten = predict(Crop(32, mean), net, images)
    plain = images.astype(np.float32) - mean.astype(np.float32)

    def probabilities(parts):
        return tf.nn.softmax(net(parts)).numpy()

    places = [(0, 0), (0, 8), (8, 0), (8, 8), (4, 4)]
    parts = [plain[:, i : i + 32, j : j + 32] for i, j in places]
    expected = np.mean([probabilities(p[:, :, ::s]) for p in parts for s in (1, -1)], axis=0)
    np.testing.assert_allclose(ten, expected, atol=1e-5)
    np.testing.assert_allclose(one, probabilities(parts[4]), atol=1e-5)
    np.testing.assert_allclose(ten.sum(axis=1), 1, rtol=1e-5)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of three classes of colourful pictures of several sizes."""
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


@pytest.mark.parametrize("variant", ["grouped", "single", "cifar"])
def test_every_stack_trains_on_a_folder_of_pictures(variant, photographs, tmp_path, monkeypatch):
    monkeypatch.setattr(alexnet, "DRAWS", 2)
    where = ["--dataset", "folder", "--data-dir", str(photographs), "--out", str(tmp_path)]
    knobs = ["--smoke", "--n-train", "8", "--n-test", "2", "--batch-size", "4", "--fresh"]
    assert run(*where, *knobs, "--variant", variant) == 0
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["dataset"]["name"] == "folder"
    assert (content["dataset"]["n_train"], content["dataset"]["n_test"]) == (8, 2)
    metrics = content["arms"]["AlexNet"]["metrics"]
    assert metrics["error"][0] in (0, 50, 100)  # of two pictures
    assert metrics["top5"] == metrics["ten_top5"] == [0]  # of three classes
    about = {"net": f"AlexNet {variant}", "classes": 3, "data": "folder"}
    mean, *weights = checkpoint.load(tmp_path / "AlexNet.0.npz", about)
    assert mean.shape == (*[RECIPE.side(Config(variant))] * 2, 3)
    assert all(np.isfinite(weight).all() for weight in weights)


def test_half_precision_trains(photographs, tmp_path):
    where = ["--dataset", "folder", "--data-dir", str(photographs), "--out", str(tmp_path)]
    knobs = ["--smoke", "--n-train", "8", "--batch-size", "4", "--precision", "mixed_bfloat16"]
    try:
        assert run(*where, *knobs) == 0
    finally:
        keras.config.set_dtype_policy("float32")
    assert json.loads((tmp_path / "results.json").read_text())["precision"] == "mixed_bfloat16"


def test_images_too_small_for_the_stack_are_refused(cifar10, tmp_path, capsys):
    code = run("--dataset=cifar10", "--variant=single", "--smoke", "--out", str(tmp_path / "out"))
    assert code == 2
    said = capsys.readouterr().err
    assert "--variant single: expected images of at least 227 x 227" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "folder"], "expected a folder of classes, received nothing"),
        (["--dataset", "folder", "--data-dir", "/absent"], "expected a folder of classes"),
        (["--dataset", "digits"], "expected cifar10, folder, or a name of TensorFlow Datasets"),
        (["--variant", "double"], "variant"),
    ],
)
def test_wrong_data_are_refused(arguments, message, tmp_path, capsys):
    assert run(*arguments, "--out", str(tmp_path / "out")) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_rate_falls_when_validation_stalls(photographs, tmp_path):
    """Random pixels cannot be told apart, so validation accuracy soon stalls."""
    where = ["--dataset", "folder", "--data-dir", str(photographs), "--out", str(tmp_path)]
    for schedule, start, factor in (("tenth", 0.01, 0.1), ("halve", 0.1, 0.5)):
        assert run(*where, "--epochs=6", "--n-train=8", "--schedule", schedule, "--fresh") in (0, 1)
        content = json.loads((tmp_path / "results.json").read_text())
        rates = content["arms"]["AlexNet"]["history"]["rate"][0]
        assert rates[0] == pytest.approx(start)
        ratios = {round(after / before, 6) for before, after in itertools.pairwise(rates)}
        assert ratios == {1, factor}


@pytest.mark.parametrize("arm", list(alexnet_ablation.ARMS)[1:])
def test_a_net_without_a_part_starts_like_the_whole(arm, handed_to_fit):
    """As far as shapes allow: smaller pools leave more inputs to the first dense layer."""
    run = Run(alexnet_ablation.Config(n_train=20), 3, pictures(20))
    (whole, how), (without, its) = (
        handed_to_fit(alexnet_ablation, run, alexnet_ablation.ARMS[name]) for name in ("whole", arm)
    )
    pairs = list(zip(whole.trainable_weights, without.trainable_weights, strict=True))
    assert len(pairs) == 22
    other = [i for i, (mine, others) in enumerate(pairs) if mine.shape != others.shape]
    assert other == ([16] if arm == "no overlapping pools" else [])
    for i, (mine, others) in enumerate(pairs):
        if i not in other:
            np.testing.assert_array_equal(mine, others)
    assert how["seed"] == its["seed"] == 3
