"""Each stage against the moments that it promises, on inputs of few and of many examples."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from common.ingredients.preprocessing import preprocess

RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(6, 6))
X = RNG.normal(size=(200, 6)) @ MIX + RNG.normal(size=6)
CENTERED = ("mean subtracted", "unit variance", "decorrelated", "whitened", "whitened, floor")


def covariance(x):
    return np.cov(x.T, bias=True)


def test_raw_is_left_alone():
    np.testing.assert_array_equal(preprocess("raw", X)(X), X)


@pytest.mark.parametrize("stage", CENTERED)
def test_the_mean_is_subtracted(stage):
    np.testing.assert_allclose(preprocess(stage, X)(X).mean(axis=0), 0, atol=1e-12)


def test_mean_subtracted_and_no_more():
    np.testing.assert_allclose(preprocess("mean subtracted", X)(X), X - X.mean(axis=0), atol=1e-12)


def test_unit_variance_is_that_of_each_input():
    expected = (X - X.mean(axis=0)) / X.std(axis=0)
    np.testing.assert_allclose(preprocess("unit variance", X)(X), expected, atol=1e-12)


def test_decorrelated_turns_the_axes_and_keeps_the_variances():
    change = preprocess("decorrelated", X)
    found = covariance(change(X))
    np.testing.assert_allclose(found, np.diag(np.diag(found)), atol=1e-10)
    np.testing.assert_allclose(np.diag(found), np.linalg.eigvalsh(covariance(X)), rtol=1e-10)
    np.testing.assert_allclose(pdist(change(X)), pdist(X), rtol=1e-10)


def test_whitened_has_the_identity_as_its_covariance():
    np.testing.assert_allclose(covariance(preprocess("whitened", X)(X)), np.eye(6), atol=1e-10)


def test_a_floor_is_the_mean_of_the_variances():
    variances = np.linalg.eigvalsh(covariance(X))
    found = covariance(preprocess("whitened, floor", X)(X))
    expected = np.diag(variances / (variances + variances.mean()))
    np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("stage", ["raw", *CENTERED])
def test_other_inputs_are_changed_by_the_same_statistics(stage):
    change, others = preprocess(stage, X), RNG.normal(size=(7, 6))
    one_by_one = [change(x[None])[0] for x in others]
    np.testing.assert_allclose(change(others), one_by_one, atol=1e-12)
    # Affine: it keeps means of two inputs.
    np.testing.assert_allclose(
        change((others[:3] + others[3:6]) / 2),
        (change(others[:3]) + change(others[3:6])) / 2,
        atol=1e-12,
    )


@pytest.mark.parametrize("stage", ["unit variance", "whitened", "whitened, floor"])
def test_what_does_not_vary_becomes_zero(stage):
    x = X.copy()
    x[:, 2] = 0.5
    found = preprocess(stage, x)(x)
    assert np.all(np.isfinite(found))
    assert np.sum(np.all(np.abs(found) < 1e-6, axis=0)) == 1


@settings(max_examples=25)
@given(n=st.integers(2, 20), seed=st.integers(0, 10_000))
def test_whitened_inputs_that_are_fewer_than_their_numbers_lie_equally_far_apart(n, seed):
    x = np.random.default_rng(seed).normal(size=(n, 30))
    distances = pdist(preprocess("whitened", x)(x))
    np.testing.assert_allclose(distances, np.sqrt(2 * n), rtol=1e-6)


def test_an_unknown_stage_is_refused():
    with pytest.raises(ValueError, match="expected one of the stages above, received white"):
        preprocess("white", np.eye(3))
