"""Each arm leaves out what it says and nothing else, and starts from the same weights."""

import numpy as np
import pytest

from common.ingredients.alexnet import LocalResponseNormalization
from recipes.convolution import alexnet_ablation
from recipes.convolution.alexnet_ablation import ARMS, Config

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
DATA = 2 * ((IMAGES, np.arange(20, dtype=np.int32) % 10),)


@pytest.mark.parametrize("arm", list(ARMS)[1:])
def test_a_net_without_a_part_starts_like_the_whole(arm, handed_to_fit):
    """As far as shapes allow: smaller pools leave more inputs to the first dense layer."""
    (whole, how), (without, its) = (
        handed_to_fit(alexnet_ablation, Config(n_train=20), ARMS[name], DATA, seed=3)
        for name in ("whole", arm)
    )
    pairs = list(zip(whole.trainable_weights, without.trainable_weights, strict=True))
    assert len(pairs) == 22
    other = [i for i, (one, others) in enumerate(pairs) if one.shape != others.shape]
    assert other == ([16] if arm == "no overlapping pools" else [])
    for i, (one, others) in enumerate(pairs):
        if i not in other:
            np.testing.assert_array_equal(one, others)
    assert how["batch_size"] == its["batch_size"] == 64
    assert how["epochs"] == its["epochs"] == how["validation_freq"]


@pytest.mark.parametrize("arm", list(ARMS))
def test_an_arm_leaves_out_what_it_says(arm, handed_to_fit):
    model, _ = handed_to_fit(alexnet_ablation, Config(n_train=20), ARMS[arm], DATA)
    crop, net = model.layers
    normalizations = sum(isinstance(one, LocalResponseNormalization) for one in net.layers)
    assert normalizations == (0 if arm == "no response normalization" else 2)
    pools = {one.pool_size for one in net.layers if "pooling" in one.name}
    assert pools == {(2, 2) if arm == "no overlapping pools" else (3, 3)}
    drops = {one.rate for one in net.layers if "dropout" in one.name}
    assert drops == {0.0 if arm == "no dropout" else 0.5}
    first = [np.array(model.layers[0](IMAGES[:4], training=True)) for _ in range(2)]
    assert np.array_equal(*first) == (arm == "no crops and mirrors")
    if arm == "no crops and mirrors":
        expected = IMAGES[:4] - IMAGES.mean(axis=0)
        np.testing.assert_allclose(first[0], expected, atol=1e-4)
    else:
        assert crop.margin == 4
        assert (crop.colors is None) == (arm == "no color shift")
