"""Classes are picked, features are frozen or trained, and all arms take the same mini-batches."""

from types import SimpleNamespace

import numpy as np
import pytest

from recipes.convolution import fine_tuning
from recipes.convolution.fine_tuning import ARMS, EIGHT, SIZES, TWO, Config, build_model, only

RNG = np.random.default_rng(0)


def test_classes_are_picked_and_labeled_in_their_order():
    labels = np.array([4, 0, 7, 7, 9, 4], np.int32)
    x, y = only(TWO, np.arange(6), labels)
    np.testing.assert_array_equal(x, [0, 2, 3, 5])
    np.testing.assert_array_equal(y, [0, 1, 1, 0])
    x, y = only(EIGHT, np.arange(6), labels)
    np.testing.assert_array_equal(x, [1, 4])
    np.testing.assert_array_equal(y, [0, 7])
    assert sorted((*TWO, *EIGHT)) == list(range(10))


@pytest.mark.parametrize("arm", list(ARMS))
def test_arms_freeze_what_they_say(arm):
    net = build_model(Config(), ARMS[arm], 2)
    frozen = arm == "frozen"
    assert len(net.trainable_variables) == (2 if frozen else len(net.get_weights()))
    assert net.output_shape == (None, 2)
    net.layers[-1].set_weights([RNG.normal(size=(512, 2)), np.zeros(2)])
    x = 60 * RNG.normal(size=(2, 32, 32, 3)).astype(np.float32)
    assert not np.array_equal(net(x, training=True), net(x, training=False))  # dropout, in all


def test_new_nets_have_weights_of_hes_size_and_no_bias():
    net = build_model(Config(), ARMS["new net"] | {"classes": 8}, 1)
    assert net.output_shape == (None, 8)
    for weight in net.get_layer("features").get_weights():
        if weight.ndim == 1:
            assert not weight.any()
        else:
            expected = np.sqrt(2 / np.prod(weight.shape[:-1]))
            assert weight.std() == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("arm", list(ARMS))
def test_what_each_arm_trains(arm, monkeypatch):
    """From which weights, on what, for how many mini-batches and at which learning rate."""
    images = RNG.integers(0, 256, (5_000, 32, 32, 3), dtype=np.uint8)
    data = 2 * ((images, np.arange(5_000, dtype=np.int32) % 10),)
    fits, learned = [], []

    def spy(model, x, y, **settings):
        features = model.layers[-1].get_layer("features")
        begin = features.get_weights()
        rate = float(model.optimizer.learning_rate)
        fits.append(SimpleNamespace(begin=begin, x=x, y=y, rate=rate, **settings))
        if model.output_shape == (None, 8):
            features.set_weights([weight + 1 for weight in begin])
            learned.extend(features.get_weights())
        return SimpleNamespace(history={"val_accuracy": [0.75]})

    monkeypatch.setattr(fine_tuning, "fit", spy)
    config = Config(n_eight=3_000)
    outcome = fine_tuning.train(config, ARMS[arm], 0, data)
    assert outcome.metrics == {f"test error from {size} images (%)": 25.0 for size in SIZES}
    if ARMS[arm]["pretrained"]:
        eight = fits.pop(0)
        assert (len(eight.x), eight.epochs, eight.batch_size) == (3_000, 3, 64)
        assert set(eight.y) == set(range(8))
    else:
        learned.extend(fits[0].begin)
    assert [len(one.x) for one in fits] == list(SIZES)
    for one in fits:
        assert one.epochs * len(one.x) / one.batch_size == config.steps
        assert one.rate == pytest.approx(0.001 if arm == "fine-tuned" else 0.01)
        assert one.validation_freq == one.epochs
        assert len(one.validation_data[0]) == 1_000
        assert set(one.y) == {0, 1}
        for begin, weight in zip(one.begin, learned, strict=True):
            np.testing.assert_array_equal(begin, weight)


def test_more_images_than_there_are_of_eight_classes_are_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        fine_tuning.main(fine_tuning.RECIPE, ["--n-eight=40001", "--out", str(tmp_path / "out")])
    assert exit_.value.code == 2
    assert "--n-eight: expected" in capsys.readouterr().err
