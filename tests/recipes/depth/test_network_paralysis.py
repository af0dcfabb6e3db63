"""The variances of a layer against sums written out, and the net by hand against Keras."""

import keras
import numpy as np
import pytest

from common import data
from common.training import context
from recipes.depth import network_paralysis
from recipes.depth.network_paralysis import ARMS, FORMULA, HIDDEN, RATIO, Config

ARRAYS = data.load("mnist5k").arrays
CONFIG = Config(images=20, nets=2)


def outcome(arm, config=CONFIG):
    with context.running(context.Context(0)):
        return network_paralysis.train(config, ARMS[arm], 3, ARRAYS)


def layers_of(arm, seed):
    """z of each hidden layer, and what enters it, as Keras computes them."""
    model = network_paralysis.build_model(CONFIG, ARMS[arm], seed)
    x = ARRAYS[1][0][:20]
    entering = [model.layers[2], *model.layers[3:-2]]
    inputs = keras.Model(model.inputs[0], [layer.output for layer in entering]).predict_on_batch(x)
    kernels = [layer.get_weights()[0] for layer in model.layers[3:-1]]
    return [(a @ kernel, a) for a, kernel in zip(inputs, kernels, strict=True)]


def test_between_images_and_between_units():
    z = np.array([[1.0, 2.0, 6.0], [3.0, 2.0, 4.0]])
    between_images = np.mean([1.0, 0.0, 1.0])
    between_units = np.var([2.0, 2.0, 5.0])
    np.testing.assert_allclose(network_paralysis.between(z), [between_images, between_units])


@pytest.mark.parametrize("arm", ARMS)
def test_ratios_are_those_of_the_nets(arm):
    found = outcome(arm).metrics
    nets = [layers_of(arm, seed) for seed in (6, 7)]  # two nets a seed
    for layer in range(HIDDEN):
        pairs = [net[layer] for net in nets]
        images, units = np.mean([network_paralysis.between(z) for z, _ in pairs], axis=0)
        assert found[RATIO[layer]] == pytest.approx(images / units, rel=1e-3)
        trace = np.mean([np.trace(np.cov(a.T, bias=True)) for _, a in pairs])
        mean = np.mean([np.sum(a.mean(axis=0) ** 2) for _, a in pairs])
        assert found[FORMULA[layer]] == pytest.approx(images / units / (trace / mean), rel=1e-3)


@pytest.mark.parametrize("variance", [0.01, 2.0])
def test_the_formula_is_the_expectation_over_normal_weights(variance):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(30, 8)) + rng.normal(size=8)
    found = np.mean(
        [network_paralysis.between(a @ rng.normal(0, variance**0.5, (8, 400))) for _ in range(400)],
        axis=0,
    )
    expected = np.trace(np.cov(a.T, bias=True)), np.sum(a.mean(axis=0) ** 2)
    np.testing.assert_allclose(found, np.multiply(variance, expected), rtol=0.02)


def test_pictures_are_three_images_and_four_layers():
    layers = outcome("N(0, .01)").pictures["layers"]
    assert layers.shape == (1 + HIDDEN, 3, 28, 28)
    np.testing.assert_allclose(layers[0], ARRAYS[1][0][:3] / ARRAYS[1][0][:3].max(), atol=1e-12)
    for layer in layers:
        assert layer.min() == 0
        assert layer.max() == 1


@pytest.mark.parametrize(("arm", "variance"), [("N(0, .01)", 0.01), ("N(0, 1 / n)", 1 / 784)])
def test_the_weights_have_their_variance(arm, variance):
    kernel = network_paralysis.build_model(CONFIG, ARMS[arm], 0).get_weights()[0]
    assert kernel.var() == pytest.approx(variance, rel=0.02)
