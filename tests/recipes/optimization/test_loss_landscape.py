"""Two deep nets that differ in their skip connections, and what is measured around them."""

import keras
import numpy as np
import pytest

from recipes.optimization import loss_landscape
from recipes.optimization.loss_landscape import ARMS, RAW, SKIP, WIDTH, Config, build_model, train

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (40, 28, 28), dtype=np.uint8)
DATA = ((IMAGES, RNG.integers(0, 10, 40)), (IMAGES, RNG.integers(0, 10, 40)))


@pytest.mark.parametrize(("arm", "dense"), [("plain", 20), (SKIP, 20), ("small batch", 4)])
def test_depth_counts_dense_layers(arm, dense):
    model = build_model(Config(), ARMS[arm], 0)
    found = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert len(found) == dense


def test_a_block_adds_its_branch_to_what_enters_only_with_a_skip_connection():
    """With branches of 0 the skip connections hand on what enters; without them nothing is left."""
    for arm in ("plain", SKIP):
        model = build_model(Config(), ARMS[arm], 0)
        first, *blocks, last = (one for one in model.layers if isinstance(one, keras.layers.Dense))
        for layer in blocks[1::2]:
            layer.kernel.assign(layer.kernel * 0)
        pixels = IMAGES.reshape(40, 784) / 255
        entering = (
            np.maximum(pixels @ first.kernel.numpy(), 0) if arm == SKIP else np.zeros((40, 32))
        )
        np.testing.assert_allclose(model(IMAGES), entering @ last.kernel.numpy(), atol=1e-4)


def test_weights_have_hes_variance_and_skipped_branches_start_small():
    for arm, scale in (("plain", 2.0), (SKIP, 2 / 10**2)):
        weights = build_model(Config(), ARMS[arm], 0).get_weights()[::2]
        assert np.var(weights[0]) == pytest.approx(2 / 784, rel=0.05)
        assert np.var(weights[1:-1:2]) == pytest.approx(2 / 32, rel=0.1)
        assert np.var(weights[2:-1:2]) == pytest.approx(scale / 32, rel=0.1)


def test_the_penalty_is_half_the_decay_times_the_squares_of_kernels(handed_to_fit):
    model, how = handed_to_fit(loss_landscape, Config(n_train=20), ARMS["large batch"], DATA)
    kernels = [weight for weight in model.get_weights() if weight.ndim == 2]
    expected = 5e-4 / 2 * sum(np.sum(one.astype(float) ** 2) for one in kernels)
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)
    assert how["batch_size"] == 500
    assert model.optimizer.momentum == 0.9


def test_the_rescaled_net_is_the_same_function_and_looks_narrower():
    config = Config(n_train=20, n_measured=15, epochs=1, points=7, directions=2)
    outcome = train(config, ARMS["large batch"], 0, DATA)
    metrics = outcome.metrics
    assert metrics[f"{WIDTH}, rescaled over before"] == pytest.approx(1, abs=1e-4)
    assert 0 < metrics[f"{RAW}, rescaled over before"] < 0.7
    # The middle of the surface is the trained net.
    assert outcome.pictures["training cost"].shape == (7, 7)
    assert outcome.pictures["training cost"][3, 3] == pytest.approx(metrics["cost"], rel=1e-5)
    assert outcome.pictures["test cost"][3, 3] != pytest.approx(metrics["cost"], rel=1e-3)
