"""Classes are picked, features frozen or trained further, on as many mini-batches in all arms."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from recipes.convolution import fine_tuning
from recipes.convolution.fine_tuning import ARMS, SIZES, Config, build_model, parts

RNG = np.random.default_rng(0)
SMALL = Config(side=35)
IMAGES = RNG.integers(0, 256, (5_100, 32, 32, 3), dtype=np.uint8)
DATA = (
    (IMAGES[:5_000], np.arange(5_000, dtype=np.int32) % 10),
    (IMAGES[5_000:], np.arange(100, dtype=np.int32) % 10),
)


def test_new_nets_have_weights_of_hes_size_and_no_bias():
    net = build_model(Config(), ARMS["new net"], 1)
    assert net.output_shape == (None, 1024)
    for weight in net.get_weights():
        if weight.ndim == 1:
            assert not weight.any()
        else:
            expected = np.sqrt(2 / np.prod(weight.shape[:-1]))
            assert weight.std() == pytest.approx(expected, rel=0.1)


def test_the_parts_of_a_net_are_together_the_whole():
    net = build_model(SMALL, ARMS["frozen"], 0)
    stem, rest = parts(net, SMALL)
    x = IMAGES[:3].astype(np.float32)
    enlarged = keras.layers.Resizing(35, 35, interpolation="bicubic")(x)
    np.testing.assert_allclose(rest(stem(x)), net(enlarged), rtol=1e-4, atol=1e-4)
    whole = stem.predict(IMAGES[:3], verbose=0)
    np.testing.assert_allclose(whole, stem(x), rtol=1e-4, atol=1e-3)
    assert [layer.name for layer in rest.layers if layer.name in ("fire7", "fire8")] == ["fire8"]


@pytest.mark.parametrize("cut", ["fire77", ""])
def test_a_layer_that_is_not_there_is_refused(cut):
    net = build_model(SMALL, ARMS["frozen"], 0)
    with pytest.raises(ValueError, match="--cut: expected a layer of SqueezeNet, received "):
        parts(net, Config(side=35, cut=cut))


@pytest.mark.parametrize("arm", list(ARMS))
def test_what_each_arm_trains(arm, monkeypatch):
    """From which weights, on what, for how many mini-batches and at which learning rate."""
    fits = []

    def spy(model, x, y, **settings):
        rate = float(model.optimizer.learning_rate)
        trained = [weight.path for weight in model.trainable_variables]
        begin = model.get_weights()
        fits.append(SimpleNamespace(x=x, y=y, rate=rate, trained=trained, begin=begin, **settings))
        model.set_weights([weight + 1 for weight in begin])
        return SimpleNamespace(history={"val_accuracy": [0.25, 0.75]})

    monkeypatch.setattr(fine_tuning, "fit", spy)
    outcome = fine_tuning.train(SMALL, ARMS[arm], 0, DATA)
    assert outcome.metrics == {f"test error from {size} images (%)": 25.0 for size in SIZES}
    drawn = np.random.default_rng(0).permutation(1_000)
    labels = np.tile([0, 1], 500)[drawn]  # of deer and horses, which alternate
    images = IMAGES[:5_000][np.isin(DATA[0][1], [4, 7])][drawn]
    stages = 2 if arm == "fine-tuned" else 1
    assert [len(one.x) for one in fits] == [size for size in SIZES for _ in range(stages)]
    for one in fits:
        steps = SMALL.steps_new if arm == "new net" else SMALL.steps
        assert one.epochs * len(one.x) / one.batch_size == steps
        assert one.validation_freq == one.epochs
        assert len(one.validation_data[0]) == len(one.validation_data[1]) == 20
        np.testing.assert_array_equal(one.y, labels[: len(one.y)])
    last = fits[stages - 1 :: stages]
    rates = {"new net": 0.01, "frozen": 0.001, "fine-tuned": 0.003}
    assert [one.rate for one in last] == pytest.approx([rates[arm]] * len(SIZES))
    trained = {"new net": 8, "frozen": 2, "fine-tuned": 2 + 12}  # a fire module has six arrays
    assert [len(one.trained) for one in last] == [trained[arm]] * len(SIZES)
    if arm == "new net":
        np.testing.assert_array_equal(fits[-1].x, images[:500])
    features = (32, 32, 3) if arm == "new net" else (512,)
    assert fits[0].x.shape[1:] == features
    if arm == "frozen":  # standardized by the features of the training images, and no others
        for one in fits:
            mean, variance = one.begin[:2]
            np.testing.assert_allclose(mean, one.x.mean(axis=0), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(variance, one.x.var(axis=0), rtol=1e-3, atol=1e-4)
    if arm == "fine-tuned":
        assert last[0].x.ndim == 4
        for first, second in zip(fits[::2], last, strict=True):
            assert first.rate == pytest.approx(0.001)
            np.testing.assert_array_equal(second.begin[-2], first.begin[-2] + 1)  # goes on there
    for one in last:  # each number of images begins with the same features
        n = len(one.begin) - (2 if arm == "new net" else 4)
        for mine, its in zip(one.begin[:n], last[0].begin[:n], strict=True):
            np.testing.assert_array_equal(mine, its)


def test_seeds_draw_their_own_images_and_sizes_are_nested(monkeypatch):
    drawn = {}

    def spy(model, x, y, **settings):
        drawn.setdefault(seed, []).append(x)
        return SimpleNamespace(history={"val_accuracy": [0.5]})

    monkeypatch.setattr(fine_tuning, "fit", spy)
    for seed in (0, 1):
        fine_tuning.train(SMALL, ARMS["new net"], seed, DATA)
    np.testing.assert_array_equal(drawn[0][0], drawn[0][-1][: SIZES[0]])
    assert not np.array_equal(drawn[0][0], drawn[1][0])


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--cut=fire77", "--cut: expected a layer of SqueezeNet"),
        ("--side=20", "--side: expected at least 31 pixels, received 20"),
        ("--weights=Squeeze", "--weights: expected SqueezeNet or a net of keras.applications"),
    ],
)
def test_bad_usage_is_refused_in_one_line(flag, said, cifar10, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        fine_tuning.main(fine_tuning.RECIPE, ["--smoke", "--out", str(tmp_path / "out"), flag])
    error = capsys.readouterr().err
    assert exit_.value.code == 2
    assert error.count("\n") == 1
    assert said in error
    assert not (tmp_path / "out").exists()
