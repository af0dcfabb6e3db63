"""Initial weights and what they do to a signal, against NumPy and theory."""

import keras
import numpy as np
import pytest

from recipes.depth import glorot_vs_he, glorot_vs_he_limits
from recipes.depth.glorot_vs_he import ARMS, Config, build_model

RNG = np.random.default_rng(0)


def weighted(model):
    return [layer for layer in model.layers if layer.weights]


@pytest.mark.parametrize("arm", [name for name in ARMS if not ARMS[name]["conv"]])
def test_depth_counts_layers_with_weights(arm):
    layers = weighted(build_model(Config(), ARMS[arm], 0))
    assert len(layers) == ARMS[arm]["depth"]
    assert [layer.kernel.shape for layer in layers[1:-1]] == [(96, 96)] * (len(layers) - 2)
    assert all(np.all(layer.bias.numpy() == 0) for layer in layers)


@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("Xavier", lambda n_in, n_out: 1 / n_in),
        ("He", lambda n_in, n_out: 2 / n_in),
        ("Glorot", lambda n_in, n_out: 2 / (n_in + n_out)),
        ("large", lambda n_in, n_out: 1),
    ],
)
def test_variances_are_the_papers(name, variance, conv):
    arm = {"initializer": name, "depth": 22, "conv": conv}
    for layer in weighted(build_model(Config(), arm, 0))[1:-1]:
        kernel = layer.kernel.numpy()
        n_in = np.prod(kernel.shape[:-1])
        n_out = n_in if conv else kernel.shape[-1]
        assert kernel.var() == pytest.approx(variance(n_in, n_out), rel=0.1)


def test_arms_of_one_seed_share_their_draws():
    xavier, he = (
        weighted(build_model(Config(), ARMS[f"{name} 22"], 7)) for name in ("Xavier", "He")
    )
    for one, other in zip(xavier, he, strict=True):
        np.testing.assert_allclose(one.kernel.numpy() * 2**0.5, other.kernel, rtol=1e-5)


def test_mirrored_borders_keep_the_signal_of_a_conv_net():
    """8 x 8 maps with zeros around them lose 16 % of their second moment a layer more than these.

    The geometric mean of so few channels lies under 1.
    """
    images = RNG.normal(size=(20, 32, 32, 3)).astype(np.float32)
    ends = []
    for seed in range(8):
        model = build_model(Config(width=32), ARMS["He 22, conv"], seed)
        maps = [layer.output for layer in weighted(model)[2:-1]]
        first, *_, last = (
            np.mean(np.square(one)) for one in keras.Model(model.inputs[0], maps)(images)
        )
        ends.append((last / first) ** (1 / (len(maps) - 1)))
    assert np.mean(ends) == pytest.approx(1, abs=0.1)


def test_the_penalty_is_half_the_decay():
    model = build_model(Config(weight_decay=5e-4), ARMS["He 22"], 0)
    squares = sum((layer.kernel.numpy().astype(np.float64) ** 2).sum() for layer in weighted(model))
    assert float(sum(model.losses)) == pytest.approx(2.5e-4 * squares, rel=1e-5)


def test_the_limits_start_from_the_same_nets():
    config, arm = glorot_vs_he_limits.Config(), glorot_vs_he_limits.ARMS["He, He's solver"]
    ours = weighted(glorot_vs_he_limits.build_model(config, arm, 3))
    theirs = weighted(build_model(Config(), ARMS["He 30"], 3))
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.kernel, other.kernel)


def test_normalized_layers_have_no_bias():
    arm = glorot_vs_he_limits.ARMS["He, BN"]
    model = glorot_vs_he_limits.build_model(glorot_vs_he_limits.Config(depth=4), arm, 0)
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.use_bias for layer in dense] == [False] * 3 + [True]


def test_arms_by_preset_and_data_set():
    """Dense ones where images are gray, convolutions where they have colors."""
    recipe = glorot_vs_he.RECIPE
    dense = [name for name in ARMS if not name.endswith(", conv")]
    of_the_paper = ["Xavier 22", "He 22", "Xavier 30", "He 30"]
    convolutions = [f"{name}, conv" for name in of_the_paper]
    assert list(ARMS) == [*dense, *convolutions]
    for preset in ("default", "paper"):
        assert recipe.arms_for(preset, "mnist") == recipe.arms_for(preset, "mnist5k") == dense
    assert recipe.arms_for("smoke", "mnist") == of_the_paper
    assert recipe.arms_for("default", "cifar10") == convolutions[:2]
    assert recipe.arms_for("paper", "cifar10") == convolutions


@pytest.mark.parametrize("preset", ["default", "paper"])
@pytest.mark.parametrize(
    ("name", "n"), [("mnist", 60_000), ("mnist5k", 3_500), ("cifar10", 50_000)]
)
def test_evaluations_divide_a_pass(name, n, preset):
    """Otherwise Keras cuts the epoch short in which the images end."""
    config = glorot_vs_he.RECIPE.configured(preset, name)
    assert -(-n // config.batch_size) % config.every == 0
