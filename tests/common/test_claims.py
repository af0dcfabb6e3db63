"""Intervals and verdicts against SciPy and closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from common.claims import Band, Effect, describe, judge, summarize

METRICS = {
    "a/x": np.array([5.0, 6.0, 7.0, 9.0]),
    "b/x": np.array([1.0, 3.0, 2.5, 5.5]),
    "nan/x": np.array([3.0, 2.0, np.nan]),
    "same/x": np.array([4.0, 4.0, 4.0, 4.0]),
}


def metric(name):
    return METRICS[name]


def effect(larger="a/x", smaller="b/x", **settings):
    return Effect("an effect", larger, smaller, "source", **settings)


def band(low, high, name="a/x"):
    return Band("a band", name, {"mnist": (low, high)}, "source", 7.0)


def test_effect_interval_is_scipys_paired_t_test():
    measured = judge(effect(), metric, "mnist")["measured"]
    expected = stats.ttest_rel(METRICS["a/x"], METRICS["b/x"]).confidence_interval(0.95)
    assert measured["ci95"] == pytest.approx([expected.low, expected.high])
    assert measured["mean"] == pytest.approx(np.mean(METRICS["a/x"] - METRICS["b/x"]))
    assert measured["n"] == 4


def test_ratio_interval_is_that_of_the_logarithms():
    measured = judge(effect(ratio=True), metric, "mnist")["measured"]
    logs = np.log(METRICS["a/x"]), np.log(METRICS["b/x"])
    expected = stats.ttest_rel(*logs).confidence_interval(0.95)
    assert measured["ci95"] == pytest.approx(np.exp([expected.low, expected.high]))


@pytest.mark.parametrize(
    ("more_than", "holds"), [(0, True), (2.5, True), (3.7, False), (100, False)]
)
def test_effect_holds_if_the_whole_interval_lies_above(more_than, holds):
    verdict = judge(effect(more_than=more_than), metric, "mnist")
    assert verdict["holds"] is holds
    assert (verdict["measured"]["ci95"][0] > more_than) is holds


@pytest.mark.parametrize("seeds", [1, 2])
def test_effect_of_one_seed_or_two_is_not_judged(seeds):
    verdict = judge(effect(), lambda name: METRICS[name][:seeds], "mnist")
    assert verdict["holds"] is None
    assert "3 seeds" in verdict["why"]


def test_effect_with_a_missing_value_fails():
    assert judge(effect("nan/x", "nan/x"), metric, "mnist")["holds"] is False


def test_effect_without_spread_is_judged_by_its_value():
    verdict = judge(effect("same/x", "same/x", more_than=-1), metric, "mnist")
    assert verdict["measured"]["ci95"] == [0, 0]
    assert verdict["holds"] is True


def test_effect_is_judged_by_data_set_where_it_says_so():
    claimed = effect(more_than={"mnist": 0.0, "digits": 100.0})
    assert judge(claimed, metric, "mnist")["holds"] is True
    assert judge(claimed, metric, "digits")["holds"] is False
    elsewhere = judge(claimed, metric, "cifar10")
    assert elsewhere["holds"] is None
    assert "cifar10" in elsewhere["why"]


@pytest.mark.parametrize(
    ("low", "high", "holds"), [(6, 7, True), (6.75, 6.75, True), (0, 6.7, False), (7, 9, False)]
)
def test_band_holds_if_the_mean_lies_within(low, high, holds):
    assert judge(band(low, high), metric, "mnist")["holds"] is holds


def test_band_of_another_data_set_is_not_judged():
    verdict = judge(band(0, 100), metric, "digits", published_applies=False)
    assert verdict["holds"] is None
    assert verdict["published"] is None
    assert "digits" in verdict["why"]


def test_band_with_a_missing_value_fails():
    assert judge(band(-1e9, 1e9, "nan/x"), metric, "mnist")["holds"] is False


def test_a_reason_leaves_a_claim_unjudged():
    verdict = judge(band(0, 100), metric, "mnist", why_not="a smoke run shows nothing")
    assert verdict["holds"] is None
    assert verdict["why"] == "a smoke run shows nothing"
    assert verdict["published"] == 7.0


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_the_interval_holds_the_mean(values):
    measured = summarize(np.array(values))
    low, high = measured["ci95"]
    assert low <= measured["mean"] + 1e-6
    assert high >= measured["mean"] - 1e-6


@given(st.lists(st.floats(1, 100), min_size=2, max_size=20), st.floats(-50, 50))
def test_shifting_all_seeds_shifts_the_interval(values, shift):
    before, after = summarize(np.array(values)), summarize(np.array(values) + shift)
    expected = [end + shift for end in before["ci95"]]
    assert after["ci95"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seeds", [1, 4])
def test_what_overflowed_is_described_too(seeds):
    """NaN is null in results.json."""
    lost = {"mean": None, "std": None, "n": seeds, "ci95": [None, None]}
    assert "none" in describe({"kind": "band", "measured": lost})
    assert "none" in describe({"kind": "effect", "measured": lost | {"mean": float("nan")}})
