"""Nets of bricks and Keras's nets take the same steps."""

import numpy as np
import pytest

from recipes.cost.bricks import ARMS, SAME, Config, build_model, train

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (30, 28, 28), dtype=np.uint8), RNG.integers(0, 10, 30)
DATA = ((IMAGES, LABELS), (IMAGES, LABELS))
CONFIG = Config(n_train=25, width=4, maps=2, batch_size=10, learning_rate=0.1)


@pytest.mark.parametrize("arm", list(ARMS))
def test_every_step_is_kerass(arm):
    outcome = train(CONFIG, ARMS[arm], 0, DATA)
    assert len(outcome.curves["cost"]) == len(outcome.curves[SAME]) == 3  # the last has 5 images
    assert 0 <= outcome.metrics[SAME] < 1e-12


def test_the_nets_have_one_hidden_layer_and_start_alike_for_one_seed():
    for arm, shapes in (
        ("square, tanh", [(784, 4), (4, 10)]),
        (list(ARMS)[-1], [(5, 5, 1, 2), (1152, 10)]),
    ):
        first, again = (build_model(CONFIG, ARMS[arm], 3).get_weights() for _ in range(2))
        assert [kernel.shape for kernel in first[::2]] == shapes
        for one, two in zip(first, again, strict=True):
            np.testing.assert_array_equal(one, two)


def test_the_error_is_that_of_the_trained_net():
    one_class = ((IMAGES, np.full(30, 7)), (IMAGES, np.full(30, 7)))
    config = Config(n_train=30, width=4, batch_size=5, learning_rate=0.5)
    assert train(config, ARMS["log_softmax, relu"], 0, one_class).metrics["test error (%)"] == 0
