"""Findings against SciPy's tests and closed forms."""

import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from common.experiment.findings import (
    Alike,
    Exact,
    Higher,
    Lower,
    Printed,
    judge,
    summarize,
)
from common.experiment.wording import measured_text, printed_text, verdict


class Measured:
    """Results of arms on seeds 0, 1, ...: {arm: values of "x"} or {arm: {metric: values}}."""

    def __init__(self, arms, dataset="mnist", seeds=None):
        self.arms = {k: v if isinstance(v, dict) else {"x": v} for k, v in arms.items()}
        self.dataset, self.given = dataset, seeds or {}

    def seeds(self, arm):
        return self.given.get(arm, list(range(len(next(iter(self.arms[arm].values()))))))

    def metric(self, metric, arm):
        if metric not in self.arms[arm]:
            raise ValueError(f"expected one of {', '.join(self.arms[arm])}, received {metric}")
        return np.array(self.arms[arm][metric], dtype=float)


A, B = [5.0, 6.0, 7.0, 9.0], [1.0, 3.0, 2.5, 5.5]
values = st.floats(0.1, 100)
samples = st.lists(values, min_size=3, max_size=8)
pairs = st.lists(st.tuples(values, values), min_size=3, max_size=8)


def judged(
    finding, why_not=None, presets=("default",), dataset="mnist", seeds=None, of_whole=None, **arms
):
    results = Measured(arms or {"a": A, "b": B}, dataset, seeds)
    return judge(finding, results, "mnist", presets, why_not, of_whole)


def arms_of(pairs):
    return dict(zip("ab", np.transpose(pairs), strict=True))


def spread(numbers):
    """Whether they differ by more than rounding, so that a t-test makes sense."""
    return np.std(numbers) > 1e-6 * (1 + np.max(np.abs(numbers)))


# ---- orderings


@given(pairs, st.floats(-20, 20))
def test_an_ordering_is_shown_where_the_one_sided_paired_t_test_finds_it(pairs, by):
    arms = arms_of(pairs)
    a, b = arms["a"], arms["b"]
    assume(spread(a - b))
    for finding, larger, smaller in ((Higher, a, b), (Lower, b, a)):
        entry = judged(finding("x", "a", "b", by=by), **arms)
        test = stats.ttest_rel(larger - by, smaller, alternative="greater")
        assume(abs(test.pvalue - 0.025) > 1e-9)
        assert entry["shown"] is bool(test.pvalue < 0.025)  # as large as half of the 5 %
        ends = stats.ttest_rel(larger, smaller).confidence_interval(0.95)
        assert entry["measured"]["ci95"] == pytest.approx([ends.low, ends.high], abs=1e-9)
        assert entry["measured"]["mean"] == pytest.approx(np.mean(larger - smaller), abs=1e-9)
        assert entry["measured"]["std"] == pytest.approx(np.std(a - b, ddof=1), rel=1e-6)


@given(pairs, st.floats(0, 3))
def test_a_ratio_is_judged_on_logarithms_beyond_the_larger_of_its_margin_and_one(pairs, by):
    arms = arms_of(pairs)
    a, b = np.log(arms["a"]), np.log(arms["b"])
    assume(spread(a - b))
    for finding, larger, smaller in ((Higher, a, b), (Lower, b, a)):
        entry = judged(finding("x", "a", "b", by=by, ratio=True), **arms)
        test = stats.ttest_rel(larger - math.log(max(by, 1)), smaller, alternative="greater")
        assume(abs(test.pvalue - 0.025) > 1e-9)
        assert entry["shown"] is bool(test.pvalue < 0.025)
        ends = stats.ttest_rel(larger, smaller).confidence_interval(0.95)
        assert entry["measured"]["ci95"] == pytest.approx(np.exp([ends.low, ends.high]), rel=1e-6)
        ratios = np.exp(larger - smaller)
        assert entry["measured"]["mean"] == pytest.approx(stats.gmean(ratios))
        assert entry["measured"]["std"] == pytest.approx(np.std(ratios, ddof=1), rel=1e-6)


@given(samples, st.floats(0, 100), st.floats(-5, 5))
def test_against_a_number_the_test_is_of_one_sample(sample, number, by):
    assume(spread(sample))
    for finding, alternative, limit in (
        (Lower, "less", number - by),
        (Higher, "greater", number + by),
    ):
        entry = judged(finding("x", "a", number, by=by), a=sample)
        test = stats.ttest_1samp(sample, limit, alternative=alternative)
        assume(abs(test.pvalue - 0.025) > 1e-9)
        assert entry["shown"] is bool(test.pvalue < 0.025)


def test_a_ratio_to_a_number():
    entry = judged(Higher("x", "a", 2.0, ratio=True, by=2), a=[5.0, 6.0, 7.0])
    assert entry["measured"]["mean"] == pytest.approx(stats.gmean([2.5, 3.0, 3.5]))
    assert entry["shown"] is False
    assert judged(Higher("x", "a", 2.0, ratio=True), a=[5.0, 6.0, 7.0])["shown"] is True
    assert judged(Lower("x", "a", 20.0, ratio=True, by=2), a=[5.0, 6.0, 7.0])["shown"] is True
    assert judged(Lower("x", "a", 20.0, ratio=True, by=3), a=[5.0, 6.0, 7.0])["shown"] is False


@pytest.mark.parametrize(("by", "shown"), [(0, True), (2.5, True), (3.7, False), (100, False)])
def test_the_whole_interval_must_lie_beyond_the_margin(by, shown):
    entry = judged(Higher("x", "a", "b", by=by))
    assert entry["shown"] is shown
    assert (entry["measured"]["ci95"][0] > by) is shown
    assert judged(Lower("x", "b", "a", by=by))["shown"] is shown


def test_seeds_are_paired_even_if_they_vary_much():
    arms = {"a": [1.0, 50.0, 100.0, 150.0], "b": [1.5, 50.4, 100.6, 150.5]}
    assert judged(Lower("x", "a", "b"), **arms)["shown"] is True
    shuffled = arms | {"b": arms["b"][::-1]}
    assert judged(Lower("x", "a", "b"), **shuffled)["shown"] is False


def test_only_common_seeds_are_compared_each_with_its_own():
    arms = {"a": [7.0, 5.0, 6.0, 100.0], "b": [2.5, 3.0, 1.0]}
    seeds = {"a": [2, 0, 1, 9], "b": [2, 1, 0]}
    entry = judged(Higher("x", "a", "b"), seeds=seeds, **arms)
    assert entry["measured"] == summarize(np.array([4.0, 3.0, 4.5]))
    apart = judged(Higher("x", "a", "b"), seeds={"a": [6, 7, 8, 9], "b": [1, 2, 3]}, **arms)
    assert (apart["shown"], apart["measured"], apart["why"]) == (None, None, "no seed in common")


def test_another_metric_of_the_same_arm():
    arms = {"a": {"start": [1.0, 2.0, 3.0], "end": [2.0, 3.5, 4.0]}}
    assert judged(Higher("end", "a", than_metric="start"), **arms)["shown"] is True
    assert judged(Lower("end", "a", than_metric="start"), **arms)["shown"] is False
    alike = Alike("end", "a", to_metric="start", within=2)
    assert judged(alike, **arms)["measured"]["mean"] == pytest.approx(3.5 / 3)


def test_another_metric_of_another_arm():
    arms = {"a": {"x": [1.0, 2.0, 3.0]}, "b": {"x": [0.0] * 3, "y": [2.0, 3.1, 4.0]}}
    assert judged(Lower("x", "a", "b", than_metric="y"), **arms)["shown"] is True
    assert judged(Lower("x", "a", "b"), **arms)["shown"] is False


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("finding", [Higher("x", "a", "b"), Alike("x", "a", "b", within=100)])
def test_a_comparison_of_one_seed_or_two_is_not_judged(finding, seeds):
    entry = judged(finding, a=A[:seeds], b=B[:seeds])
    assert entry["shown"] is None
    assert "3 seeds" in entry["why"]
    assert entry["measured"]["n"] == seeds
    assert judged(finding, a=A[:3], b=B[:3])["shown"] is not None


def test_equal_differences_have_an_interval_of_length_zero():
    entry = judged(Higher("x", "a", "b", by=-1), a=[0.1] * 4, b=[0.1] * 4)
    assert entry["measured"] == {"mean": 0, "std": 0, "n": 4, "ci95": [0, 0]}
    assert entry["shown"] is True
    assert judged(Higher("x", "a", "b"), a=[0.1] * 4, b=[0.1] * 4)["shown"] is False
    assert judged(Higher("x", "a", "b", by=0.5), a=[2] * 3, b=[1] * 3)["shown"] is True


@pytest.mark.parametrize("lost", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("arm", ["a", "b"])
@pytest.mark.parametrize(
    "finding",
    [
        Lower("x", "a", "b", by=-1e9),
        Higher("x", "a", "b", by=-1e9),
        Higher("x", "a", "b", ratio=True),
        Lower("x", "a", "b", ratio=True),
        Alike("x", "a", "b", within=1e9),
    ],
)
def test_what_is_not_a_number_shows_nothing(finding, arm, lost):
    for lacking in ([lost, *A[1:]], [lost] * 4):
        entry = judged(finding, **{"a": A, "b": B} | {arm: lacking})
        assert entry["shown"] is False
        assert f"no number for {lacking.count(lost)} of 4" in entry["why"]


@pytest.mark.parametrize("side", [0.0, -1.0])
@pytest.mark.parametrize("finding", [Lower, Higher])
def test_a_ratio_that_does_not_exist_is_not_shown(finding, side):
    for arms in ({"a": [side] * 3, "b": [2.0, 3.0, 4.0]}, {"a": [2.0, 3.0, 4.0], "b": [side] * 3}):
        assert judged(finding("x", "a", "b", ratio=True), **arms)["shown"] is False
    # -4 is lower than -2, though -4 / -2 is larger than 1
    both = {"a": [-4.0, -4.1, -4.2], "b": [-2.0, -2.1, -2.0]}
    assert judged(finding("x", "a", "b", ratio=True), **both)["shown"] is False


# ---- equivalence


@given(pairs, st.floats(0, 50))
def test_alike_is_two_one_sided_tests_at_5_percent(pairs, within):
    arms = arms_of(pairs)
    difference = arms["a"] - arms["b"]
    assume(spread(difference))
    above = stats.ttest_1samp(difference, -within, alternative="greater").pvalue
    below = stats.ttest_1samp(difference, within, alternative="less").pvalue
    assume(min(abs(above - 0.05), abs(below - 0.05)) > 1e-9)
    expected = bool(max(above, below) < 0.05)
    assert judged(Alike("x", "a", "b", within=within), **arms)["shown"] is expected


def test_alike_is_refuted_on_either_side():
    near = [0.1, -0.1, 0.05, -0.05]
    for shift, shown in ((0, True), (0.3, True), (5, False), (-5, False)):
        entry = judged(Alike("x", "a", "b", within=0.5), a=np.add(near, shift), b=[0.0] * 4)
        assert entry["shown"] is shown
        assert entry["measured"]["mean"] == pytest.approx(shift)


def test_alike_is_judged_by_the_90_percent_interval():
    sample = np.array([0.1, 0.2, 0.3, 0.4])
    ends = {level: stats.t.interval(level, 3, 0.25, stats.sem(sample))[1] for level in (0.9, 0.95)}
    between = (ends[0.9] + ends[0.95]) / 2
    assert judged(Alike("x", "a", 0.0, within=between), a=sample)["shown"] is True
    assert judged(Alike("x", "a", 0.0, within=0.99 * ends[0.9]), a=sample)["shown"] is False


def test_much_noise_is_no_equivalence():
    noisy = [-40.0, 40.0, 30.0, -30.0]
    assert judged(Alike("x", "a", "b", within=1), a=noisy, b=[0.0] * 4)["shown"] is False


def test_what_is_equal_is_alike_within_nothing():
    assert judged(Alike("x", "a", "b", within=0), a=A, b=A)["shown"] is True


# ---- identities


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=6), st.floats(-10, 10), st.floats(0, 5))
def test_every_seed_must_lie_within_the_tolerance(sample, value, within):
    entry = judged(Exact("x", "a", value, within=within), a=sample)
    outside = [abs(x - value) > within for x in sample]
    assert entry["shown"] is not any(outside)
    assert (entry["why"] is None) is entry["shown"]


def test_a_mean_within_the_tolerance_is_not_enough():
    entry = judged(Exact("x", "a", 1.0, within=0.1), a=[0.5, 1.5, 1.0])
    assert entry["measured"]["mean"] == 1.0
    assert entry["shown"] is False
    assert "2 of 3 seeds" in entry["why"]


def test_an_identity_needs_one_seed_only():
    assert judged(Exact("x", "a", 0.094, within=5e-4), a=[0.09396])["shown"] is True
    assert judged(Exact("x", "a", 0.094, within=5e-6), a=[0.09396])["shown"] is False
    assert judged(Exact("x", "a", 0.094, within=1), a=[math.nan])["shown"] is False


# ---- printed figures


def agreement(finding, **settings):
    entry = judged(finding, **settings)
    assert entry["shown"] is None
    return entry["printed"]["agrees"]


def printed(value, **settings):
    return Printed("x", "a", value, source="table 2", **{"decimals": 12, **settings})


@given(samples, values)
def test_a_printed_figure_agrees_unless_a_t_test_of_one_further_run_rejects_it(sample, value):
    assume(spread(sample))
    n = len(sample)
    t = (value - np.mean(sample)) / (np.std(sample, ddof=1) * math.sqrt(1 + 1 / n))
    p = 2 * stats.t.sf(abs(t), n - 1)
    assume(abs(p - 0.05) > 1e-6)
    assert agreement(printed(value), a=sample) is bool(p > 0.05)


def test_the_prediction_interval_holds_95_of_100_further_runs():
    random, n = np.random.default_rng(0), 6
    held = []
    for _ in range(2_000):
        *sample, further = random.normal(3.0, 0.2, n + 1)
        held.append(agreement(printed(further), a=sample))
    assert 0.935 < np.mean(held) < 0.965


def test_the_interval_is_that_of_one_further_run_widened_by_half_a_unit():
    sample = np.array([1.0, 1.2, 1.5])
    half = stats.t.ppf(0.975, 2) * np.std(sample, ddof=1) * math.sqrt(4 / 3)
    mean = np.mean(sample)
    for decimals in (0, 1, 2, -1):
        entry = judged(printed(1.3, decimals=decimals), a=sample)
        widened = half + 0.5 * 10.0**-decimals
        assert entry["printed"]["interval"] == pytest.approx([mean - widened, mean + widened])


@pytest.mark.parametrize(
    ("value", "decimals", "agrees"),
    [
        (1.6, None, True),  # 1.55 .. 1.65
        (1.7, None, False),
        (1.6, 2, False),  # 1.60 means 1.595 .. 1.605
        (2, None, True),
        (2.0, None, False),
        (1.65, None, True),  # a tie, whatever the last bit
        (1.64, None, True),
        (1.66, None, False),
        (0, -1, True),
    ],
)
def test_rounding_is_forgiven_to_half_a_unit_of_the_last_digit(value, decimals, agrees):
    for n in (2, 3):  # equal values: the interval is that of the rounding alone
        assert agreement(printed(value, decimals=decimals), a=[1.645] * n) is agrees
    assert agreement(printed(value, decimals=decimals), a=[1.645]) is (agrees or None)


def test_one_run_gives_no_interval():
    entry = judged(printed(98.0, decimals=1), a=[97.0])
    assert entry["printed"] == {
        "value": 98.0,
        "decimals": 1,
        "source": "table 2",
        "agrees": None,
        "interval": None,
        "cause": "",
    }
    assert entry["why"] == "one run gives no interval"
    assert agreement(printed(98.0, decimals=1, std=3.0, n=5), a=[97.0]) is None


@given(samples, values, st.floats(0.01, 20), st.integers(2, 20))
def test_with_the_sources_own_deviation_the_test_is_welchs(sample, value, std, n):
    assume(spread(sample))
    finding = printed(value, std=std, n=n)
    test = stats.ttest_ind_from_stats(
        np.mean(sample), np.std(sample, ddof=1), len(sample), value, std, n, equal_var=False
    )
    assume(abs(test.pvalue - 0.05) > 1e-6)
    assert agreement(finding, a=sample) is bool(test.pvalue > 0.05)


def test_welchs_interval_in_numbers():
    sample, std, n = np.array([1.0, 1.2, 1.5]), 0.4, 2
    ours, theirs = np.var(sample, ddof=1) / 3, std**2 / n
    freedom = (ours + theirs) ** 2 / (ours**2 / 2 + theirs**2 / (n - 1))
    half = stats.t.ppf(0.975, freedom) * math.sqrt(ours + theirs) + 0.05
    entry = judged(printed(1.3, decimals=1, std=std, n=n), a=sample)
    mean = np.mean(sample)
    assert entry["printed"]["interval"] == pytest.approx([mean - half, mean + half])


def test_welchs_interval_is_widened_too_and_may_have_length_zero():
    assert agreement(printed(1.3, decimals=1, std=0.0, n=3), a=[1.26] * 3) is True
    assert agreement(printed(1.3, decimals=1, std=0.0, n=3), a=[1.2] * 3) is False
    assert agreement(printed(1.3, decimals=1, std=0.1, n=3), a=[1.2] * 3) is True


@given(pairs, st.floats(0.05, 20))
def test_a_printed_ratio_is_compared_on_logarithms(pairs, value):
    arms = arms_of(pairs)
    logs = np.log(arms["a"] / arms["b"])
    assume(spread(logs))
    n = len(logs)
    half = stats.t.ppf(0.975, n - 1) * np.std(logs, ddof=1) * math.sqrt(1 + 1 / n)
    entry = judged(printed(value, over="b"), **arms)
    expected = np.exp([np.mean(logs) - half, np.mean(logs) + half])
    assert entry["printed"]["interval"] == pytest.approx(expected, rel=1e-6, abs=1e-9)
    low, high = entry["printed"]["interval"]
    assert entry["printed"]["agrees"] is (low <= value <= high)
    assert entry["measured"]["mean"] == pytest.approx(stats.gmean(arms["a"] / arms["b"]))


def test_a_printed_difference_is_paired_by_seed():
    entry = judged(printed(3.5, decimals=1, minus="b"))
    difference = np.subtract(A, B)
    assert entry["measured"] == summarize(difference)
    assert entry["printed"]["agrees"] is True
    assert agreement(printed(-3.5, decimals=1, minus="b")) is False
    by_metric = {"a": {"x": A, "y": B}}
    assert judged(printed(3.5, minus="a", metric2="y"), **by_metric)["measured"] == summarize(
        difference
    )


@pytest.mark.parametrize("sample", [[math.nan], [1.0, math.nan], [1.0, 1.0, math.inf], [0.0, 1.0]])
def test_what_is_not_a_number_is_not_as_printed(sample):
    over = {"over": "b"} if 0.0 in sample else {}
    arms = {"a": sample, "b": [1.0] * len(sample)}
    entry = judged(Printed("x", "a", 1, source="s", decimals=-3, **over), **arms)
    assert entry["printed"]["agrees"] is False
    assert "no number" in entry["why"]


def test_by_how_much_a_printed_figure_differs_is_told():
    entry = judged(printed(9.9, decimals=1), a=[1.0, 1.1, 1.2])
    assert entry["printed"]["agrees"] is False
    assert "8.80 below" in entry["why"]
    assert "above" in judged(printed(0.1, decimals=1), a=[1.0, 1.1, 1.2])["why"]


@pytest.mark.parametrize(
    ("settings", "presets", "dataset", "why"),
    [
        ({}, ("default",), "mnist", None),
        ({}, ("default", "paper"), "mnist", None),
        ({"preset": "paper"}, ("default", "paper"), "mnist", None),
        ({"preset": "paper"}, ("paper",), "mnist", None),
        ({"dataset": "mnist5k"}, ("default",), "mnist5k", None),
        ({"dataset": ("mnist", "mnist5k")}, ("default",), "mnist5k", None),
        ({"preset": ("default", "paper")}, ("paper",), "mnist", None),
        ({"preset": "paper"}, ("default",), "mnist", "printed for mnist at the paper preset"),
        ({}, ("paper",), "mnist", "printed for mnist at the default preset"),
        ({}, (), "mnist", "printed for mnist at the default preset"),
        ({}, ("default",), "mnist5k", "printed for mnist at the default preset"),
        (
            {"dataset": "mnist5k"},
            ("default",),
            "mnist",
            "printed for mnist5k at the default preset",
        ),
    ],
)
def test_a_printed_figure_is_compared_where_it_belongs(settings, presets, dataset, why):
    entry = judged(printed(100.0, **settings), presets=presets, dataset=dataset)
    assert entry["why"] == why if why else entry["why"].startswith("measured ")
    assert entry["printed"]["agrees"] is (None if why else False)
    assert (entry["printed"]["interval"] is None) is bool(why)
    assert entry["printed"]["value"] == 100.0
    assert entry["measured"]["n"] == 4


@pytest.mark.parametrize(
    ("settings", "presets", "why"),
    [
        ({}, ("default",), None),
        ({}, ("default", "paper"), None),
        ({"preset": "paper"}, ("paper",), None),
        ({"dataset": ("mnist", "cifar10")}, ("default",), None),
        ({}, (), "printed for mnist at the default preset"),  # other hyperparameters there
        ({"preset": "paper"}, ("default",), "printed for mnist at the paper preset"),
        ({"dataset": "cifar10"}, ("default",), "printed for cifar10 at the default preset"),
    ],
)
def test_a_figure_printed_for_the_whole_is_compared_on_a_part_and_marked(settings, presets, why):
    """If hyperparameters, and with them the training images, are the printed ones."""
    finding = printed(6.5, **settings)
    entry = judged(finding, dataset="mnist5k", of_whole=("mnist", presets))
    assert entry["why"] == why
    assert entry["printed"]["agrees"] is (None if why else True)
    assert entry["printed"].get("images") == (None if why else "other test images")
    mark = ", tested on other images"
    assert entry["name"].endswith(mark) is (why is None)
    on_the_whole = judged(finding, presets=("default", "paper"))
    assert entry["name"].removesuffix(mark) == on_the_whole["name"]
    assert "images" not in on_the_whole["printed"]


def test_a_figure_printed_for_a_part_itself_has_no_mark():
    entry = judged(
        printed(6.5, dataset="mnist5k"), dataset="mnist5k", of_whole=("mnist", ("default",))
    )
    assert entry["printed"]["agrees"] is True
    assert "images" not in entry["printed"]


def test_a_figure_that_is_not_judged_keeps_the_reason():
    finding = printed(6.5)
    how = {"dataset": "mnist5k", "of_whole": ("mnist", ("default",))}
    assert judged(finding, "a smoke run shows nothing", **how)["printed"]["agrees"] is None


def test_a_finding_stated_for_the_whole_is_not_judged_on_a_part():
    finding = Higher("x", "a", "b", dataset="mnist")
    entry = judged(finding, dataset="mnist5k", of_whole=("mnist", ("default",)))
    assert (entry["shown"], entry["why"]) == (None, "stated for mnist")


def test_a_printed_figure_without_data():
    results = Measured({"a": A}, "none")
    assert judge(printed(7.0), results, "none", ("default",))["printed"]["agrees"] is True
    entry = judge(printed(7.0, preset="paper"), results, "none", ("default",))
    assert entry["why"] == "printed at the paper preset"


@pytest.mark.parametrize(
    "settings",
    [
        {"over": "b", "minus": "b"},
        {"metric2": "y"},
        {"std": 1.0},
        {"n": 5},
        {"std": 1.0, "n": 1},
        {"std": 1.0, "n": 5, "over": "b"},
    ],
)
def test_a_printed_figure_with_contradictory_fields_is_refused(settings):
    with pytest.raises(ValueError, match="Printed: expected"):
        printed(1.0, **settings)


# ---- where and whether anything is judged


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"dataset": "mnist5k"}, "stated for mnist5k"),
        ({"dataset": ("mnist5k", "cifar10")}, "stated for mnist5k or cifar10"),
        ({"preset": "paper"}, "stated at the paper preset"),
        ({"dataset": "mnist", "preset": "paper"}, "stated for mnist at the paper preset"),
        ({"dataset": ("mnist5k", "mnist"), "preset": ("paper", "default")}, None),
        ({"dataset": "mnist"}, None),
        ({"preset": "default"}, None),
    ],
)
def test_a_finding_is_judged_where_it_is_stated(settings, why):
    for finding in (
        Higher("x", "a", "b", **settings),
        Alike("x", "a", "b", within=10, **settings),
        Exact("x", "a", 7, within=5, **settings),
    ):
        entry = judged(finding)
        assert (entry["shown"], entry["why"]) == (None if why else True, why)
        assert entry["measured"]["n"] == 4


@pytest.mark.parametrize(
    "finding",
    [Higher("x", "a", "b"), Alike("x", "a", "b", within=9), Exact("x", "a", 7, 1), printed(7.0)],
)
def test_a_reason_leaves_a_finding_unjudged(finding):
    entry = judged(finding, why_not="a smoke run shows nothing")
    assert entry["shown"] is None
    assert (entry["printed"] or {"agrees": None})["agrees"] is None
    assert entry["why"] == "a smoke run shows nothing"
    assert entry["measured"]["n"] == 4
    assert verdict(entry) == "not judged"
    absent = judged(finding, why_not="2 of 8 runs are missing", c=[1.0])
    assert (absent["measured"], absent["why"]) == (None, "2 of 8 runs are missing")


@pytest.mark.parametrize("missing", ["a", "b"])
def test_an_arm_that_is_not_trained_is_not_judged(missing):
    arms = {"a": A, "b": B}
    arms.pop(missing)
    entry = judged(Higher("x", "a", "b"), **arms)
    assert (entry["shown"], entry["measured"], entry["why"]) == (None, None, "not trained here")
    assert entry["name"] == "x: a none, b none; higher by none"
    assert measured_text(entry) == ""


def test_a_misspelled_metric_is_an_error_even_in_a_smoke_run():
    for finding in (Higher("y", "a", "b"), Lower("x", "a", "b", than_metric="y")):
        with pytest.raises(ValueError, match="received y"):
            judged(finding, why_not="a smoke run shows nothing")


@pytest.mark.parametrize(
    "finding", [Lower("x", "a"), Lower("x", "a", "a"), Alike("x", "a", within=1)]
)
def test_a_side_is_not_compared_with_itself(finding):
    with pytest.raises(ValueError, match="expected a second side"):
        judged(finding)


# ---- what stands in results.json, and in tables


def test_an_entry_has_the_fields_of_the_schema():
    fields = {"name", "kind", "source", "measured", "shown", "printed", "why"}
    findings = {
        "lower": Lower("x", "a", "b", source="here"),
        "higher": Higher("x", "a", "b", source="here"),
        "alike": Alike("x", "a", "b", within=1, source="here"),
        "exact": Exact("x", "a", 1.0, within=1, source="here"),
        "printed": Printed("x", "a", 1.0, "here"),
    }
    for kind, finding in findings.items():
        entry = judged(finding)
        assert set(entry) == fields
        assert (entry["kind"], entry["source"]) == (kind, "here")
        assert set(entry["measured"]) == {"mean", "std", "n", "ci95"}
        assert (entry["printed"] is not None) is (kind == "printed")
        assert json.loads(json.dumps(entry)) == entry  # nothing of NumPy in it


def test_exactly_what_a_user_reads():
    errors = {"plain": [10.3, 10.36, 10.42], "dropout": [8.5, 8.6, 8.7]}
    error = "test error (%)"
    arms = {arm: {error: numbers, "steps": [100, 101, 102]} for arm, numbers in errors.items()}

    def named(finding):
        return judge(finding, Measured(arms), "mnist", ("default",))["name"]

    assert named(Lower(error, "dropout", "plain")) == (
        "test error (%): dropout 8.60, plain 10.36; lower by 1.76 (1.66 .. 1.86)"
    )
    assert named(Higher(error, "plain", "dropout", by=0.5)) == (
        "test error (%): plain 10.36, dropout 8.60; higher by 1.76 (1.66 .. 1.86), "
        "expected more than 0.5"
    )
    assert named(Lower(error, "dropout", "plain", ratio=True, by=1.1)) == (
        "test error (%): dropout 8.60, plain 10.36; lower by a factor of 1.20 (1.19 .. 1.22), "
        "expected more than 1.1"
    )
    assert named(Lower(error, "dropout", 9.5)) == (
        "test error (%): dropout 8.600, against 9.5; lower by 0.900 (0.652 .. 1.148)"
    )
    assert named(Lower(error, "plain", "dropout")) == (
        "test error (%): plain 10.36, dropout 8.60; not lower: higher by 1.76 (1.66 .. 1.86)"
    )
    assert named(Higher(error, "dropout", "plain", by=0.5)) == (
        "test error (%): dropout 8.60, plain 10.36; not higher: lower by 1.76 (1.66 .. 1.86), "
        "expected higher by more than 0.5"
    )
    assert named(Higher(error, "dropout", "plain", ratio=True)) == (
        "test error (%): dropout 8.60, plain 10.36; "
        "not higher: lower by a factor of 1.20 (1.19 .. 1.22)"
    )
    assert named(Higher(error, "dropout", "plain", by=-2)) == (  # it need not be higher
        "test error (%): dropout 8.60, plain 10.36; lower by 1.76 (1.66 .. 1.86), "
        "expected less than 2"
    )
    assert named(Higher(error, "plain", "dropout", by=-2)) == (
        "test error (%): plain 10.36, dropout 8.60; higher by 1.76 (1.66 .. 1.86), "
        "expected not lower by 2"
    )
    assert named(Alike(error, "dropout", "plain", within=0.5)) == (
        "test error (%): dropout 8.60, plain 10.36; differ by -1.76 (90 %: -1.83 .. -1.69), "
        "within 0.5"
    )
    assert named(Higher("steps", "plain", than_metric=error)) == (
        "steps: plain 101.0; test error (%): plain 10.4; higher by 90.6 (88.3 .. 93.0)"
    )
    assert named(Exact("steps", "plain", 101, within=1)) == (
        "steps: plain 101, expected 101 within 1"
    )
    assert named(Printed(error, "plain", 1.6, "s", decimals=2)) == (
        "test error (%): plain 10.36; printed 1.60"
    )
    assert named(Printed(error, "plain", 1.6, "s", minus="dropout")) == (
        "test error (%): plain 10.36, dropout 8.60; difference 1.76; printed 1.6"
    )
    assert named(Printed(error, "plain", 1.2, "s", over="dropout")) == (
        "test error (%): plain 10.36, dropout 8.60; ratio 1.20; printed 1.2"
    )


@pytest.mark.parametrize(
    ("finding", "sample", "name"),
    [
        (
            Exact("x", "a", 0.0940, within=5e-4),
            [0.09396],
            "a 0.0940, expected 0.0940 within 0.0005",
        ),
        (Exact("x", "a", 0, within=1e-7), [3e-8] * 3, "a 3e-08, expected 0 within 1e-07"),
        (printed(7e-4 / 2.2e-6, decimals=None), [310.0, 311.5], "a 310.8; printed 318.2"),
        (printed(60_000, decimals=-3), [59_000.0, 61_000.5], "a 60000; printed 60000"),
        (printed(82, decimals=None), [82.37], "a 82.37; printed 82"),
        (printed(0.5, decimals=2), [math.nan], "a none; printed 0.50"),
        (printed(0.5, decimals=2), [math.inf, 1.0], "a none; printed 0.50"),
        (
            Exact("x", "a", 60_965_224, within=0),
            [60_965_224],
            "a 60965224, expected 60965224 within 0",
        ),
        (Lower("x", "a", 15), [12] * 3, "a 12, against 15; lower by 3 (3 .. 3)"),
        (Exact("x", "a", 0, within=0.01), [0.004], "a 0.004, expected 0 within 0.01"),
        (Exact("x", "a", 3, within=1), [3.2e20], "a 3.2e+20, expected 3 within 1"),
        (Higher("x", "a", 1), [4e3, 5e3, 6e3], "a 5000, against 1; higher by 4999 (2515 .. 7483)"),
        (
            Higher("x", "a", 1000, ratio=True),
            [4e3, 5e3, 6e3],
            "a 4932, against 1000; higher by a factor of 4.93 (2.98 .. 8.17)",
        ),
        (
            Alike("x", "a", 97.2, within=0.5),
            [97.21, 97.22, 97.23],
            "a 97.220, against 97.2; differ by 0.020 (90 %: 0.003 .. 0.037), within 0.5",
        ),
        (
            Alike("x", "a", 0.9, within=0.5),
            [0.8, 0.9, 1.00000001],
            "a 0.9000, against 0.9; differ by 0 (90 %: -0.1686 .. 0.1686), within 0.5",
        ),
        (
            Lower("x", "a", 30.0),
            [10.0, 29.0, 50.0],
            "a 29.67, against 30; lower by 0.33 (-49.37 .. 50.04)",
        ),
    ],
)
def test_numbers_have_sensible_digits(finding, sample, name):
    assert judged(finding, a=sample)["name"] == f"x: {name}"


@pytest.mark.parametrize(
    ("kind", "measured", "text"),
    [
        (
            "lower",
            {"mean": 1.76, "std": 0.3, "n": 4, "ci95": [1.357, 2.173]},
            "1.760 (1.357 .. 2.173)",
        ),
        ("alike", {"mean": 0.0, "std": 0.0, "n": 4, "ci95": [0.0, 0.0]}, "0 (0 .. 0)"),
        ("printed", {"mean": 8.6, "std": 0.213, "n": 4, "ci95": [8, 9]}, "8.60 ± 0.21"),
        ("exact", {"mean": 0.0939612, "std": 0.0, "n": 4, "ci95": [0, 0]}, "0.09396 ± 0"),
        ("higher", {"mean": 1.76, "std": 0.0, "n": 1, "ci95": [None, None]}, "1.760"),
        ("printed", {"mean": None, "std": None, "n": 4, "ci95": [None, None]}, "none ± none"),
        ("lower", {"mean": None, "std": None, "n": 4, "ci95": [None, None]}, "none (none .. none)"),
        ("lower", {"mean": math.nan, "std": 0.0, "n": 1, "ci95": [math.nan] * 2}, "none"),
    ],
)
def test_what_was_measured_in_a_table(kind, measured, text):
    assert measured_text({"kind": kind, "measured": measured}) == text


@pytest.mark.parametrize(
    ("shown", "agrees", "words"),
    [
        (True, "", "shown"),
        (False, "", "NOT SHOWN"),
        (None, "", "not judged"),
        (None, True, "as printed"),
        (None, False, "differs"),
        (None, None, "not judged"),
    ],
)
def test_a_verdict_in_words(shown, agrees, words):
    printed = None if agrees == "" else {"value": 82.27, "decimals": 2, "agrees": agrees}
    entry = {"shown": shown, "printed": printed}
    assert verdict(entry) == words
    assert printed_text(entry) == ("82.27" if printed else "")


# ---- arithmetic


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20))
def test_the_interval_holds_the_mean(sample):
    measured = summarize(np.array(sample))
    low, high = measured["ci95"]
    assert low <= measured["mean"] <= high
    assert measured["n"] == len(sample)


@given(samples, st.floats(-50, 50))
def test_shifting_all_seeds_shifts_the_interval(sample, shift):
    before, after = summarize(np.array(sample)), summarize(np.array(sample) + shift)
    expected = [end + shift for end in before["ci95"]]
    assert after["ci95"] == pytest.approx(expected, abs=1e-6)


def test_a_single_value_has_no_interval():
    measured = summarize(np.array([3.0]))
    assert (measured["mean"], measured["std"], measured["n"]) == (3.0, 0.0, 1)
    assert np.isnan(measured["ci95"]).all()


def test_equal_values_have_one_of_length_zero():
    sample = np.array([0.1] * 3)
    assert np.mean(sample) != 0.1  # rounded
    assert summarize(sample) == {"mean": 0.1, "std": 0.0, "n": 3, "ci95": [0.1, 0.1]}
