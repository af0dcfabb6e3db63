"""Orders of examples against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.ingredients.orders import by_rank, in_passes

Y = np.random.default_rng(0).permutation(
    np.repeat(np.arange(10), [8, 12, 9, 11, 10, 10, 7, 13, 6, 14])
)
PERMUTED = ("shuffled", "shuffled once", "sorted", "one class a batch")


def rows(order, passes=3, seed=0, batch_size=20):
    return in_passes(order, Y, batch_size, passes, np.random.default_rng(seed))


@pytest.mark.parametrize("order", PERMUTED)
def test_a_pass_shows_each_example_once(order):
    for one in rows(order):
        np.testing.assert_array_equal(np.sort(one), np.arange(len(Y)))


@pytest.mark.parametrize("order", ["shuffled", "one class a batch", "equal classes"])
def test_passes_differ(order):
    first, second, third = rows(order)
    assert np.any(first != second)
    assert np.any(second != third)


@pytest.mark.parametrize("order", ["shuffled once", "sorted"])
def test_passes_repeat(order):
    first, second, third = rows(order)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)


def test_sorted_is_by_class_and_mixed_within_one():
    found = rows("sorted")[0]
    assert np.all(np.diff(Y[found]) >= 0)
    assert np.any(np.diff(found[Y[found] == 3]) < 0)
    assert np.any(np.diff(Y[rows("shuffled once")[0]]) < 0)


def test_a_batch_has_one_class_but_where_two_meet():
    classes = Y[rows("one class a batch", batch_size=5)].reshape(3, -1, 5)
    mixed = [[len(set(batch)) > 1 for batch in one] for one in classes]
    assert np.sum(mixed, axis=1).max() <= 9
    assert np.any(np.diff(classes[0, :, 0]) < 0)  # the batches are shuffled


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), tens=st.integers(1, 5))
def test_equal_classes_are_equal_in_each_batch(seed, tens):
    size = 10 * tens
    found = Y[rows("equal classes", passes=2, seed=seed, batch_size=size)]
    for one in found:
        for batch in one[: len(one) // size * size].reshape(-1, size):
            np.testing.assert_array_equal(np.bincount(batch, minlength=10), tens)


def test_equal_classes_begin_again_where_they_are_few():
    found = rows("equal classes")[0]
    few, many = found[Y[found] == 8], found[Y[found] == 9]  # 6 and 14 examples, 10 shown of each
    assert len(few) == len(many) == 10
    assert len(set(few)) == 6
    assert len(set(many)) == 10


@pytest.mark.parametrize("s", [1, 100, 1e8])
def test_the_probability_falls_geometrically_with_the_rank(s):
    losses = np.array([0.3, 2.0, 0.1, 5.0, 1.0])
    drawn = by_rank(losses, 200_000, s, np.random.default_rng(1))
    p = s ** (-np.arange(5) / 5)
    expected = np.empty(5)
    expected[[3, 1, 4, 0, 2]] = p / p.sum()  # the largest loss first
    np.testing.assert_allclose(np.bincount(drawn, minlength=5) / 200_000, expected, atol=0.005)
