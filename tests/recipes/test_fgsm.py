"""The attack recipes: their nets, what they measure, and pictures of the user's own."""

import keras
import numpy as np
import pytest
from PIL import Image, ImageDraw

from common import attacks
from common.command import main
from recipes import fgsm, fgsm_transfer

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("recipe", [fgsm, fgsm_transfer])
def test_the_maxout_units_are_the_largest_of_five_sums(recipe):
    net = recipe.build_model("maxout", seed=0)
    x = RNG.uniform(0, 1, (3, 28, 28, 1)).astype(np.float32)
    kernel, bias, kernel2, bias2, last, last_bias = (np.float64(w) for w in net.get_weights())
    hidden = (x.reshape(3, -1) @ kernel + bias).reshape(3, 240, 5).max(axis=2)
    hidden = (hidden @ kernel2 + bias2).reshape(3, 240, 5).max(axis=2)
    np.testing.assert_allclose(attacks.logits(net, x), hidden @ last + last_bias, atol=1e-4)


@pytest.mark.parametrize("name", [arm["net"] for arm in fgsm.ARMS.values()])
def test_nets_give_logits_and_repeat_by_seed(name):
    nets = [fgsm.build_model(name, seed) for seed in (0, 0, 1)]
    assert nets[0].output_shape == (None, 10)
    assert (len(nets[0].layers) == 3) == (name == "softmax")
    weights = [np.concatenate([w.ravel() for w in net.get_weights()]) for net in nets]
    np.testing.assert_array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


def test_the_cross_entropys_own_gradient_loses_the_answer_of_a_sure_net():
    """Where p_y rounds to 1 its own part, p_y - 1, is 0: the image moves the wrong way."""
    inputs = keras.Input((3,))
    net = keras.Model(inputs, keras.layers.Dense(2, use_bias=False)(inputs))
    x, y = np.array([[0.9, 0.9, 0.9]], np.float32), np.array([0])
    unsure = np.array([[1.0, 2.0], [1.0, -1.0], [3.0, 1.0]], np.float32)
    net.set_weights([unsure])
    own = fgsm.own_gradient(net, x, y, 0.1)
    np.testing.assert_allclose(own, attacks.fgsm(net, x, y, 0.1), atol=1e-6)
    net.set_weights([12 * unsure])  # p_1 is e^-32: p_0 rounds to 1
    right = attacks.fgsm(net, x, y, 0.1)
    np.testing.assert_allclose(right, [[1.0, 0.8, 0.8]], atol=1e-6)
    np.testing.assert_allclose(fgsm.own_gradient(net, x, y, 0.1), [[1.0, 0.8, 1.0]], atol=1e-6)


def test_agreement_counts_where_both_err():
    labels = np.array([0, 0, 0, 0])
    seen = {"a": np.array([1, 2, 0, 3]), "b": np.array([1, 1, 1, 0])}
    metrics = fgsm_transfer.compare(seen, "a", labels)
    assert metrics == {"on a": 75, "as a": 100, "on b": 75, "as b": 50}
    none = fgsm_transfer.compare({"a": labels, "b": seen["b"]}, "a", labels)
    assert none["as b"] == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a short run on digits, with the conv net."""
    out = tmp_path_factory.mktemp("fgsm")
    with pytest.raises(SystemExit) as exit_:
        main(
            fgsm.RECIPE,
            ["--smoke", "--dataset", "digits", "--epochs", "2", "--out", str(out)],
        )
    assert exit_.value.code == 0
    return out


@pytest.fixture
def drawing(tmp_path):
    file = tmp_path / "my seven.png"
    picture = Image.new("RGB", (90, 120), "white")
    ImageDraw.Draw(picture).line([(20, 20), (70, 20), (40, 100)], fill="navy", width=9)
    picture.save(file)
    return file


def attack(out, *flags) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(fgsm.RECIPE, ["--out", str(out), *flags])
    return exit_.value.code


def test_a_picture_of_ones_own_is_attacked(trained, drawing, capsys):
    before = (trained / "results.json").read_bytes()
    assert attack(trained, "--image", str(drawing), "--epsilon", ".3", "--target", "3") == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "white on black" in said.out
    with Image.open(trained / "my seven-fooled.png") as picture:
        assert picture.size == (1600, 1000)
    assert (trained / "results.json").read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--target", "10"], "--target: expected a finite number at least 0 and below 10"),
        (["--target", "-1"], "--target"),
        (["--epsilon", "-0.1"], "--epsilon: expected a finite number at least 0, received -0.1"),
        (["--epsilon", "nan"], "--epsilon"),
    ],
)
def test_what_cannot_be_attacked_is_refused(trained, drawing, capsys, flags, expected):
    there = sorted(trained.iterdir())
    assert attack(trained, "--image", str(drawing), *flags) == 2
    assert sorted(trained.iterdir()) == there
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert expected in said


def test_without_a_net_a_picture_or_a_picture_to_aim_at(trained, drawing, tmp_path, capsys):
    assert attack(tmp_path / "none", "--image", str(drawing)) == 2
    assert "run the recipe first" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    assert attack(trained, "--image", str(tmp_path / "missing.png")) == 2
    assert "No such file" in capsys.readouterr().err
    assert attack(trained, "--target", "3") == 2
    assert "expected with --image" in capsys.readouterr().err
