"""The early response normalization, and the lengths of the stages."""

from types import SimpleNamespace

import numpy as np
import pytest

from recipes.convolution import cuda_convnet
from recipes.convolution.cuda_convnet import ARMS, RECIPE, Config, build_model, normalize_within_map

RNG = np.random.default_rng(0)


def test_response_normalization_is_the_formula():
    x = RNG.normal(size=(2, 5, 6, 3)).astype(np.float32) * 100
    padded = np.pad(x.astype(np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    squares = sum(padded[:, i : i + 5, j : j + 6] ** 2 for i in range(3) for j in range(3))
    expected = x / (1 + 5e-5 / 9 * squares) ** 0.75
    np.testing.assert_allclose(normalize_within_map(x), expected, rtol=1e-4)


def test_the_net_has_the_parameters_of_the_layer_file():
    model = build_model(Config(), ARMS["cuda-convnet"], 0)
    kernels = [layer.kernel.shape for layer in model.layers if layer.weights]
    assert kernels == [(5, 5, 3, 32), (5, 5, 32, 32), (5, 5, 32, 64), (1024, 10)]
    assert model.output_shape == (None, 10)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [("default", [400, 200, 50, 50]), ("paper", [100 * 313, 40 * 391, 10 * 391, 10 * 391])],
)
def test_stages_are_whole_shares_of_the_published_ones(preset, expected, monkeypatch):
    """In mini-batches; the first one without the last 10,000 images."""
    seen = []

    def spy(model, x, y, **settings):
        epochs = settings["epochs"] - settings["initial_epoch"]
        seen.append((len(x), epochs * settings["steps_per_epoch"]))
        assert -(-len(x) // settings["batch_size"]) % settings["steps_per_epoch"] == 0
        return SimpleNamespace(history={"accuracy": [0.1]})

    monkeypatch.setattr(cuda_convnet, "fit", spy)
    monkeypatch.setattr(cuda_convnet, "evaluate", lambda *_: {"accuracy": 0.5})
    images = np.zeros((50_000, 32, 32, 3), np.uint8), np.zeros(50_000, np.int32)
    config = RECIPE.configured(preset, "cifar10")
    cuda_convnet.train(config, ARMS["cuda-convnet"], 0, (images, images))
    assert [n for n, _ in seen] == [40_000, 50_000, 50_000, 50_000]
    assert [steps for _, steps in seen] == expected
