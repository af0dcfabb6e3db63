"""The nearest against a plain search."""

import numpy as np

from common.ingredients.neighbors import nearest

RNG = np.random.default_rng(0)


def test_the_nearest_are_those_of_a_plain_search():
    queries, among = RNG.normal(size=(7, 5)), RNG.normal(size=(40, 5)) + 3
    distances = np.linalg.norm(queries[:, None] - among[None], axis=2)
    order = distances.argsort(axis=1)
    np.testing.assert_array_equal(nearest(queries, among), order[:, :6])
    np.testing.assert_array_equal(nearest(queries, among, 40), order)


def test_an_example_is_nearest_to_itself():
    among = RNG.normal(size=(40, 5))
    np.testing.assert_array_equal(nearest(among[9:12], among, 1), [[9], [10], [11]])
