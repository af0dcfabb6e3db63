"""Each arm has the parts it says and no others, and starts from the same weights."""

import keras
import numpy as np
import pytest

from common.ingredients.alexnet import LocalResponseNormalization
from recipes.convolution import alexnet_ablation
from recipes.convolution.alexnet_ablation import ARMS, Config, applies

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
DATA = 2 * ((IMAGES, np.arange(20, dtype=np.int32) % 10),)
SMALLER_POOLS = "augmentation, pools 2 x 2"


@pytest.mark.parametrize("arm", list(ARMS)[1:])
def test_all_arms_start_alike(arm, handed_to_fit):
    """As far as shapes allow: smaller pools leave more inputs to the first dense layer."""
    (one, how), (other, its) = (
        handed_to_fit(alexnet_ablation, Config(n_train=20), ARMS[name], DATA, seed=3)
        for name in ("neither", arm)
    )
    pairs = list(zip(one.trainable_weights, other.trainable_weights, strict=True))
    assert len(pairs) == 22
    different = [i for i, (its_own, others) in enumerate(pairs) if its_own.shape != others.shape]
    assert different == ([16] if arm == SMALLER_POOLS else [])
    for i, (its_own, others) in enumerate(pairs):
        if i not in different:
            np.testing.assert_array_equal(its_own, others)
    assert how["batch_size"] == its["batch_size"] == 32
    assert how["epochs"] == its["epochs"] == 50
    assert how["validation_freq"] == its["validation_freq"] == 10


@pytest.mark.parametrize("arm", list(ARMS))
def test_an_arm_has_the_parts_it_says(arm, handed_to_fit):
    model, _ = handed_to_fit(alexnet_ablation, Config(n_train=20), ARMS[arm], DATA)
    *before, net = model.layers
    normalizations = sum(isinstance(one, LocalResponseNormalization) for one in net.layers)
    assert normalizations == (0 if arm == "augmentation, no LRN" else 2)
    pools = {one.pool_size for one in net.layers if "pooling" in one.name}
    assert pools == {(2, 2) if arm == SMALLER_POOLS else (3, 3)}
    drops = {one.rate for one in net.layers if "dropout" in one.name}
    assert drops == {0.5 if arm in ("dropout", "both") else 0.0}
    cropped = keras.Sequential(before)
    first, second = (np.array(cropped(IMAGES[:4], training=True)) for _ in range(2))
    assert first.shape == (4, 24, 24, 3)
    assert np.array_equal(first, second) == (arm in ("neither", "dropout"))
    if arm == "both":
        assert (before[0].size, before[0].margin) == (24, 0)
        assert before[0].colors is not None
    expected = (IMAGES[:4] - IMAGES.mean(axis=0))[:, 4:-4, 4:-4]  # all arms test at the center
    np.testing.assert_allclose(cropped(IMAGES[:4], training=False), expected, atol=1e-4)


def test_the_learning_rate_falls_in_the_last_fifth(handed_to_fit):
    """20 images in mini-batches of 8: three steps an epoch, 40 of 50 epochs at the full rate."""
    model, _ = handed_to_fit(
        alexnet_ablation, Config(n_train=20, batch_size=8), ARMS["neither"], DATA
    )
    schedule = model.optimizer._learning_rate
    assert [float(schedule(step)) for step in (0, 120, 121)] == pytest.approx(
        [0.005, 0.005, 0.0005]
    )


def test_the_default_leaves_the_long_arms_to_paper():
    default = [name for name, arm in ARMS.items() if applies(arm, "default", "cifar10")]
    assert default == ["neither", "dropout", "augmentation", "both"]
    assert all(applies(arm, "paper", "cifar10") for arm in ARMS.values())


@pytest.mark.parametrize("every", [3, 200])
def test_the_last_epoch_is_tested(every):
    with pytest.raises(ValueError, match=f"--every: expected a divisor .* received {every}"):
        Config(every=every)
