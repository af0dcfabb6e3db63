"""Roughness and nearest images against closed forms and a plain search."""

import numpy as np
import pytest

from recipes.convolution.alexnet_features import nearest, roughness

RNG = np.random.default_rng(0)


def test_roughness_of_closed_forms():
    noise = RNG.normal(size=(200, 200, 3, 4))
    assert roughness(noise) == pytest.approx(1, abs=0.02)
    slope = np.broadcast_to(np.arange(5.0)[:, None, None, None], (5, 5, 1, 1))
    # Steps of 1 along one axis, none along the other; the variance of 0..4 is 2.
    assert roughness(slope) == pytest.approx((1 + 0) / 2 / (2 * 2))
    board = np.indices((6, 6)).sum(axis=0)[..., None, None] % 2 * 2.0 - 1
    assert roughness(board) == pytest.approx(4 / 2)
    assert roughness(7 * noise[:5, :5] + 3) == pytest.approx(roughness(noise[:5, :5]))


def test_the_nearest_are_those_of_a_plain_search():
    queries, among = RNG.normal(size=(7, 5)), RNG.normal(size=(40, 5))
    distances = np.linalg.norm(queries[:, None] - among[None], axis=2)
    np.testing.assert_array_equal(nearest(queries, among, 3), distances.argsort(axis=1)[:, :3])
