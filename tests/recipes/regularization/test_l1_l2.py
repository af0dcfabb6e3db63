"""Penalties and bounds against their formulas."""

import keras
import numpy as np
import pytest

from common.ingredients.losses import sigmoid_cross_entropy
from common.training import fit
from recipes.regularization.l1_l2 import ARMS, Config, build_model

RNG = np.random.default_rng(0)
CONFIG = Config(n_train=40, l1=0.3, l2=0.7, max_norm=1.5)
IMAGES = RNG.integers(0, 256, (40, 28, 28), dtype=np.uint8)
IMAGES[:, :6] = 0  # black rows, as MNIST has them
TARGETS = np.eye(10, dtype=np.float32)[RNG.integers(0, 10, 40)]


def dense(model):
    return [layer for layer in model.layers if layer.weights]


@pytest.mark.parametrize("arm", ARMS)
def test_the_penalty_is_lambda_over_n_on_kernels_only(arm):
    model = build_model(CONFIG, ARMS[arm], seed=0)
    kernels = [layer.kernel.numpy().astype(np.float64) for layer in dense(model)]
    l1, l2 = ARMS[arm]["l1"] * 0.3, ARMS[arm]["l2"] * 0.7
    squares = sum((kernel**2).sum() for kernel in kernels)
    sizes = sum(np.abs(kernel).sum() for kernel in kernels)
    expected = l2 / (2 * 40) * squares + l1 / 40 * sizes
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)
    assert all(layer.bias_regularizer is None for layer in dense(model))


@pytest.mark.parametrize("arm", ["L2", "L1", "both"])
def test_weights_without_a_gradient_from_data_shrink_as_the_book_says(arm):
    """One step is w - rate / n * (l2 w + l1 sign(w)) for weights from pixels that are black."""
    model = build_model(CONFIG, ARMS[arm], seed=0)
    model.compile(keras.optimizers.SGD(0.5), sigmoid_cross_entropy)
    before = dense(model)[0].kernel.numpy()
    model.train_on_batch(IMAGES[:10].astype(np.float32), TARGETS[:10])
    l1, l2 = ARMS[arm]["l1"] * 0.3, ARMS[arm]["l2"] * 0.7
    penalty = 0.5 / 40 * (l2 * before + l1 * np.sign(before))
    black = IMAGES.max(axis=0).ravel() == 0
    after = dense(model)[0].kernel.numpy()
    np.testing.assert_allclose(after[black], (before - penalty)[black], atol=1e-6)
    assert np.abs(penalty[black]).max() > 1e-4


def test_max_norm_holds_after_every_step():
    """One step an epoch, so that the norms can be looked at after each."""
    model, norms = build_model(CONFIG, ARMS["max-norm"], seed=0), []

    def look(epoch, logs):
        norms.append([np.linalg.norm(layer.kernel.numpy(), axis=0) for layer in dense(model)])

    model.compile(keras.optimizers.SGD(5.0), sigmoid_cross_entropy)
    look = keras.callbacks.LambdaCallback(on_epoch_end=look)
    fit(model, IMAGES, TARGETS, batch_size=40, epochs=8, verbose=0, callbacks=[look])
    assert len(norms) == 8
    for hidden, output in norms:
        assert hidden.shape == (30,)
        assert hidden.max() <= 1.5 * (1 + 1e-6)
        assert output.max() <= 1.5 * (1 + 1e-6)
    assert hidden.max() > 1.4


def test_all_arms_start_alike():
    starts = [build_model(CONFIG, arm, seed=3).get_weights() for arm in ARMS.values()]
    for other in starts[1:]:
        for a, b in zip(starts[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
