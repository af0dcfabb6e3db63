"""What is looked at inside AlexNet, against closed forms; checkpoints are used or refused."""

import json

import keras
import numpy as np
import pytest

from common import checkpoint
from common.command import main
from common.layers import small_alexnet
from recipes import alexnet, alexnet_features, alexnet_units, cuda_convnet, fine_tuning
from recipes.alexnet_features import nearest, responses, roughness
from recipes.alexnet_units import exciting, fitted, occluded, purity

RNG = np.random.default_rng(0)


def test_the_shared_stack_is_that_of_the_recipe_alexnet():
    one, other = small_alexnet(10, seed=3), alexnet.build_model("cifar", 10, seed=3)
    for mine, its in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, its)
    x = RNG.normal(size=(2, 32, 32, 3), scale=60).astype(np.float32)
    np.testing.assert_allclose(one(x), other(x), rtol=1e-5, atol=1e-5)


def test_roughness_of_closed_forms():
    noise = RNG.normal(size=(200, 200, 3, 4))
    assert roughness(noise) == pytest.approx(1, abs=0.02)
    slope = np.broadcast_to(np.arange(5.0)[:, None, None, None], (5, 5, 1, 1))
    # Steps of 1 along one axis, none along the other; the variance of 0..4 is 2.
    assert roughness(slope) == pytest.approx((1 + 0) / 2 / (2 * 2))
    board = np.indices((6, 6)).sum(axis=0)[..., None, None] % 2 * 2.0 - 1
    assert roughness(board) == pytest.approx(4 / 2)
    assert roughness(7 * noise[:5, :5] + 3) == pytest.approx(roughness(noise[:5, :5]))


def test_the_nearest_are_those_of_a_plain_search():
    queries, among = RNG.normal(size=(7, 5)), RNG.normal(size=(40, 5))
    distances = np.linalg.norm(queries[:, None] - among[None], axis=2)
    np.testing.assert_array_equal(nearest(queries, among, 3), distances.argsort(axis=1)[:, :3])


def test_responses_are_those_of_prediction():
    net = small_alexnet(10, seed=0)
    x = RNG.normal(size=(3, 32, 32, 3), scale=60).astype(np.float32)
    np.testing.assert_allclose(responses(net, net.layers[-1].name, x), net(x), rtol=1e-4, atol=1e-4)
    assert responses(net, "conv1", x).shape == (3, 32, 32, 32)


def test_purity_counts_the_commonest_class_among_the_strongest():
    labels = np.array([0] * 9 + [1] * 9 + [2] * 9)
    pure = np.where(labels == 1, 5.0, 0.0)
    mixed = np.zeros(27)
    mixed[[0, 1, 2, 3, 4, 9, 10, 11, 18]] = 1.0  # 5 of 0, 3 of 1, 1 of 2
    dead = np.zeros(27)
    assert purity(np.stack([pure, dead], axis=1), labels) == pytest.approx(100)
    assert purity(np.stack([pure, mixed], axis=1), labels) == pytest.approx((100 + 500 / 9) / 2)


def test_the_exciting_patch_is_where_its_pattern_is():
    """A unit of the first layer with one bright weight answers most at the brightest pixel."""
    net = small_alexnet(10, seed=0)
    kernel = np.zeros((5, 5, 3, 32), np.float32)
    kernel[2, 2, :, 4] = [1, 0, 0]
    net.get_layer(index=1).set_weights([kernel, np.zeros(32, np.float32)])
    x = RNG.uniform(-50, 50, (4, 32, 32, 3)).astype(np.float32)
    x[2, 10, 20] = [100, 7, 8]
    patch, gradient = exciting(net, "conv1", 4, x)
    # One pixel is seen, enlarged 32 times; the gradient there is 1 in red, 0 in green and blue.
    np.testing.assert_allclose(patch[16, 16], x[2, 10, 20] + alexnet_units.MIDDLE)
    np.testing.assert_allclose(gradient[16, 16], [255, 127.5, 127.5])
    np.testing.assert_array_equal(exciting(net, "conv1", 5, x)[0], 255)  # a dead unit


def test_a_patch_is_enlarged_on_white():
    large = fitted(np.zeros((5, 10, 3)))
    assert large.shape == (32, 32, 3)
    assert (large == 0).all(axis=2).sum() == 15 * 30


def test_hiding_matters_where_the_class_is():
    """A net that adds up the red of the left upper corner."""
    inputs = keras.Input((32, 32, 3))
    corner = inputs[:, :8, :8, 0]
    total = keras.ops.sum(corner, axis=(1, 2))[:, None]
    net = keras.Model(inputs, keras.ops.concatenate([total, keras.ops.zeros_like(total)], axis=1))
    image = np.ones((32, 32, 3), np.float32) / 32
    places = occluded(net, image, label=0, side=8)
    assert places.shape == (13, 13)
    assert places[0, 0] == pytest.approx(0.5)
    full = 1 / (1 + np.exp(-2))
    assert places[0, 1] == pytest.approx(1 / (1 + np.exp(-0.5)))  # two of eight columns are left
    np.testing.assert_allclose(places[4:], full, rtol=1e-5)


def test_the_first_layers_gradient_is_its_kernel():
    """As a check on `exciting`: without anything before it a unit sees through its own weights."""
    net = small_alexnet(10, seed=0)
    x = RNG.normal(size=(2, 32, 32, 3), scale=60).astype(np.float32)
    x[:, :3], x[:, -3:], x[:, :, :3], x[:, :, -3:] = 0, 0, 0, 0  # the strongest is not cut off
    kernel = net.get_layer(index=1).kernel.numpy()[..., 0]
    _, gradient = exciting(net, "conv1", 0, x)
    seen = gradient[1:31, 1:31][3::6, 3::6]  # 5 x 5, enlarged six times
    np.testing.assert_allclose(seen, 127.5 * (1 + kernel / np.abs(kernel).max()), rtol=1e-4)


@pytest.mark.parametrize("recipe", [alexnet_features, alexnet_units])
def test_a_checkpoint_is_used_or_refused(recipe, cifar10, tmp_path, capsys):
    file, out = tmp_path / "net.npz", tmp_path / "out"
    net = small_alexnet(10, seed=5)
    about = {"net": "AlexNet cifar", "classes": 10, "data": "cifar10"}
    flags = ["--smoke", "--checkpoint", str(file), "--out", str(out)]

    def run() -> int:
        with pytest.raises(SystemExit) as exit_:
            main(recipe.RECIPE, flags)
        return exit_.value.code

    assert run() == 2
    assert "--checkpoint: expected a file, received" in capsys.readouterr().err
    checkpoint.save(file, [np.zeros((32, 32, 3)), *net.get_weights()], about | {"classes": 8})
    assert run() == 2
    said = capsys.readouterr().err
    assert "{'classes': 10}" in said
    assert "{'classes': 8}" in said
    assert said.count("\n") == 1
    assert not out.exists()
    checkpoint.save(file, [np.zeros((32, 32, 3)), *net.get_weights()], about)
    assert run() == 0
    if recipe is alexnet_features:
        metrics = json.loads((out / "results.json").read_text())["arms"]["AlexNet"]["metrics"]
        expected = roughness(net.get_layer(index=1).kernel.numpy())
        assert metrics["roughness"][0] == pytest.approx(expected)


def test_normalisation_within_a_map_is_its_formula():
    x = RNG.normal(size=(2, 5, 6, 3), scale=100).astype(np.float32)
    padded = np.pad(np.square(x.astype(np.float64)), ((0, 0), (1, 1), (1, 1), (0, 0)))
    total = sum(padded[:, i : i + 5, j : j + 6] for i in range(3) for j in range(3))
    expected = x / (1 + 0.01 / 9 * total) ** 0.75
    np.testing.assert_allclose(cuda_convnet.NormaliseWithinMap(0.01)(x), expected, rtol=1e-5)


def test_the_stages_are_the_published_ones():
    """100, 40, 10 and 10 passes over 40,000, then 50,000 images, to a hundredth."""
    config = cuda_convnet.RECIPE.knobs("paper")
    images = [
        stage[0] * config.length * config.every * config.batch_size for stage in cuda_convnet.STAGES
    ]
    published = [100 * 40_000, 40 * 50_000, 10 * 50_000, 10 * 50_000]
    np.testing.assert_allclose(images, published, rtol=0.01)
    assert [part for _, part in cuda_convnet.STAGES] == [1, 1, 0.1, 0.01]


def test_fine_tuning_picks_its_classes_and_freezes_what_it_says():
    labels = np.array([4, 0, 7, 7, 9, 4], np.int32)
    split = fine_tuning.Split(np.arange(6, dtype=np.uint8)[:, None, None, None], labels)
    two = fine_tuning.only(split, fine_tuning.NEW)
    np.testing.assert_array_equal(two.labels, [0, 1, 1, 0])
    np.testing.assert_array_equal(two.images.ravel(), [0, 2, 3, 5])
    weights = fine_tuning.build_model(8, seed=1).get_weights()
    frozen = fine_tuning.build_model(2, 2, weights, frozen=True)
    tuned = fine_tuning.build_model(2, 2, weights)
    assert len(frozen.trainable_variables) == 2
    assert len(tuned.trainable_variables) == len(weights)
    for mine, given in zip(tuned.get_weights()[:-2], weights[:-2], strict=True):
        np.testing.assert_array_equal(mine, given)
    assert tuned.output_shape == (None, 2)
    x = RNG.normal(size=(2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_array_equal(frozen(x, training=True), frozen(x, training=False))


def test_new_nets_have_weights_of_hes_size_and_no_bias():
    net = fine_tuning.build_model(8, seed=1)
    for weight in net.get_weights()[:-2]:
        if weight.ndim == 1:
            assert not weight.any()
        else:
            expected = np.sqrt(2 / np.prod(weight.shape[:-1]))
            assert weight.std() == pytest.approx(expected, rel=0.1)
