"""Results against their record: what counts as unchanged, as moved, and what the record keeps."""

import copy
import json
import math
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from common.experiment import record, report
from common.experiment.record import compare, describe, file_name
from common.experiment.results import encode
from tools.thinning import thinned

numbers = st.floats(-100, 100)


@dataclass(frozen=True)
class Config:
    epochs: int = 1


def content(seeds=None, **metrics) -> dict:
    """results.json of one arm, "plain"; metrics are given as lists over seeds 0, 1, ..."""
    longest = max((len(values) for values in metrics.values()), default=0)
    arm = {"seeds": seeds or list(range(longest)), "metrics": metrics, "history": {}}
    return {"arms": {"plain": arm}}


def moved(now, then, **settings) -> dict[str, float]:
    return {one["metric"]: one["by"] for one in compare(now, then, **settings)["moved"]}


# ---- equal to the bit


def test_what_repeats_the_record_is_identical():
    then = content(error=[1.0, 2.0, 3.0], cost=[0.1, math.nan, 0.3])
    assert compare(then, copy.deepcopy(then)) == {"metrics": 2, "identical": True, "moved": []}
    read = json.loads(encode(then))  # NaN became null
    assert read["arms"]["plain"]["metrics"]["cost"][1] is None
    for now, before in ((then, read), (read, then), (read, read)):
        assert compare(now, before) == {"metrics": 2, "identical": True, "moved": []}


def test_an_infinite_number_is_recorded_as_null_and_found_equal():
    now = content(error=[1.0, math.inf, 3.0])
    assert compare(now, json.loads(encode(now)))["identical"] is True


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_only_common_seeds_decide_whether_results_are_equal_to_the_bit(seeds):
    then = content(error=[1.0, 2.0, 3.0])
    now = content(error=[1.0, 2.0, 3.0, 1e9, -1e9][:seeds])
    assert compare(now, then) == {"metrics": 1, "identical": True, "moved": []}


def test_seeds_are_matched_by_their_number_not_by_their_place():
    then = content(error=[1.0, 2.0, 3.0], seeds=[0, 1, 2])
    assert compare(content(error=[3.0, 1.0], seeds=[2, 0]), then)["identical"] is True
    assert compare(content(error=[1.0, 2.0], seeds=[1, 2]), then)["identical"] is False


def test_without_a_common_seed_nothing_is_identical():
    then = content(error=[1.0, 2.0, 3.0])
    found = compare(content(error=[1.5, 2.5], seeds=[7, 8]), then)
    assert found == {"metrics": 1, "identical": False, "moved": []}
    assert list(moved(content(error=[100.0, 101.0], seeds=[7, 8]), then)) == ["error: plain"]


def test_one_bit_is_no_longer_identical_but_has_not_moved():
    then = content(error=[1.0, 2.0, 3.0])
    now = content(error=[1.0, 2.0, np.nextafter(3.0, 4)])
    assert compare(now, then) == {"metrics": 1, "identical": False, "moved": []}


def test_one_metric_of_several_that_differs_makes_all_not_identical():
    then = content(error=[1.0, 2.0, 3.0], cost=[1.0, 2.0, 3.0])
    now = content(error=[1.0, 2.0, 3.0], cost=[1.0, 2.0, 3.1])
    assert compare(now, then)["identical"] is False


# ---- the t-test


@given(
    st.lists(numbers, min_size=2, max_size=6),
    st.lists(numbers, min_size=2, max_size=6),
    st.floats(-400, 400),
)
def test_a_metric_moved_if_a_two_sample_t_test_at_99_9_percent_finds_it(now, then, shift):
    now = [x + shift for x in now]
    assume(now[: len(then)] != then[: len(now)])
    assume(np.std(now) + np.std(then) > 1e-6)
    test = stats.ttest_ind(now, then)
    assume(abs(test.pvalue - 0.001) > 1e-9)
    found = compare(content(error=now), content(error=then))
    assert found["metrics"] == 1
    if test.pvalue > 0.001:
        assert found["moved"] == []
    else:
        n, m = len(now), len(then)
        variance = ((n - 1) * np.var(now, ddof=1) + (m - 1) * np.var(then, ddof=1)) / (n + m - 2)
        by = (np.mean(now) - np.mean(then)) / math.sqrt(variance)
        means = {"then": pytest.approx(np.mean(then)), "now": pytest.approx(np.mean(now))}
        assert found["moved"] == [{"metric": "error: plain", **means, "by": pytest.approx(by)}]


@given(st.lists(numbers, min_size=2, max_size=8), st.floats(-300, 300))
def test_one_new_seed_is_compared_with_all_recorded_ones(then, now):
    std, n = np.std(then, ddof=1), len(then)
    assume(std > 1e-6)
    assume(now != then[0])
    by = (now - np.mean(then)) / std
    p = 2 * stats.t.sf(abs(by) / math.sqrt(1 + 1 / n), n - 1)
    assume(abs(p - 0.001) > 1e-9)
    found = moved(content(error=[now]), content(error=then))
    assert found == ({} if p > 0.001 else {"error: plain": pytest.approx(by)})


def test_chance_moves_one_metric_in_a_thousand():
    random = np.random.default_rng(0)
    samples = random.normal(size=(4_000, 9))
    now = content(**{f"m{i}": list(sample[:3]) for i, sample in enumerate(samples)})
    then = content(**{f"m{i}": list(sample[3:]) for i, sample in enumerate(samples)})
    assert 0 <= len(moved(now, then)) <= 14  # 4 expected


def test_a_metric_that_moved_is_told_with_its_sign_and_the_largest_first():
    then = content(error=[1.0, 2.0, 3.0], cost=[1.0, 2.0, 3.0], speed=[1.0, 2.0, 3.0])
    now = content(error=[101.0, 102.0, 103.0], cost=[-998.0, -999.0, -997.0], speed=[1.1, 2, 3])
    found = compare(now, then)
    assert found["metrics"] == 3
    assert found["identical"] is False
    assert [one["metric"] for one in found["moved"]] == ["cost: plain", "error: plain"]
    assert [one["by"] for one in found["moved"]] == pytest.approx([-1000, 100])


# ---- what cannot be measured in standard deviations


@pytest.mark.parametrize("seeds", [1, 3])
def test_what_never_differed_between_seeds_and_now_differs_moved_by_infinity(seeds):
    then = content(error=[0.1] * 3)
    assert moved(content(error=[0.2] * seeds), then) == {"error: plain": math.inf}
    assert moved(content(error=[0.0999] * seeds), then) == {"error: plain": -math.inf}
    assert moved(content(error=[0.1] * seeds), then) == {}
    elsewhere = content(error=[0.1] * seeds, seeds=list(range(10, 10 + seeds)))
    assert compare(elsewhere, then) == {"metrics": 1, "identical": False, "moved": []}


def test_one_seed_against_another_has_no_deviation():
    assert moved(content(error=[1.0]), content(error=[2.0])) == {"error: plain": -math.inf}
    assert moved(content(error=[2.0]), content(error=[2.0])) == {}


@pytest.mark.parametrize("lost", [math.nan, None, math.inf])
def test_a_number_that_only_one_of_them_has_moved_by_infinity(lost):
    full, lacking = content(error=[1.0, 2.0, 3.0]), content(error=[1.0, lost, 3.0])
    assert moved(lacking, full) == {"error: plain": math.inf}
    assert moved(full, lacking) == {"error: plain": math.inf}
    assert moved(content(error=[lost] * 3), full) == {"error: plain": math.inf}
    assert moved(content(error=[lost], seeds=[8]), full) == {"error: plain": math.inf}
    assert moved(content(error=[lost], seeds=[8]), content(error=[lost])) == {}


def test_where_both_lack_a_number_the_others_are_compared():
    then = content(error=[1.0, math.nan, 3.0, 2.0])
    assert moved(content(error=[1.1, math.nan, 3.0, 2.0]), then) == {}
    assert list(moved(content(error=[501.0, math.nan, 503.0, 502.0]), then)) == ["error: plain"]


# ---- metrics and arms that only one of them has


def two_arms() -> dict:
    one = content(error=[1.0, 2.0, 3.0], cost=[1.0, 2.0, 3.0])
    return {"arms": {"plain": one["arms"]["plain"], "dropout": copy.deepcopy(one["arms"]["plain"])}}


def test_a_metric_that_one_of_them_lacks_moved_by_infinity():
    full, lacking = two_arms(), two_arms()
    del lacking["arms"]["dropout"]["metrics"]["cost"]
    for now, then, means in (
        (full, lacking, {"then": None, "now": 2.0}),
        (lacking, full, {"then": 2.0, "now": None}),
    ):
        expected = [{"metric": "cost: dropout", **means, "by": math.inf}]
        assert compare(now, then) == {"metrics": 3, "identical": False, "moved": expected}
    # a recorded metric of an arm that was trained is missed, even if other arms were left out
    assert moved(lacking, full, whole=False) == {"cost: dropout": math.inf}


def test_an_arm_that_one_of_them_lacks_moved_by_infinity():
    full, lacking = two_arms(), two_arms()
    del lacking["arms"]["dropout"]
    for now, then in ((full, lacking), (lacking, full)):
        assert moved(now, then) == {"cost: dropout": math.inf, "error: dropout": math.inf}
        assert compare(now, then)["identical"] is False


def test_arms_that_were_left_out_on_purpose_are_not_missed():
    full, lacking = two_arms(), two_arms()
    del lacking["arms"]["dropout"]
    assert compare(lacking, full, whole=False) == {"metrics": 2, "identical": True, "moved": []}
    new = moved(full, lacking, whole=False)  # an arm that was trained and never recorded is
    assert new == {"cost: dropout": math.inf, "error: dropout": math.inf}


# ---- in words


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (None, "no record for this setting"),
        ({"metrics": 24, "identical": True, "moved": []}, "unchanged to the bit (24 metrics)"),
        ({"metrics": 1, "identical": True, "moved": []}, "unchanged to the bit (1 metric)"),
        (
            {"metrics": 24, "identical": False, "moved": []},
            "unchanged (24 metrics, none differs at 99.9 %)",
        ),
        (
            {
                "metrics": 24,
                "identical": False,
                "moved": [
                    {"metric": "cost: plain", "by": None},
                    {"metric": "test error (%): dropout", "by": 4.12},
                    {"metric": "cost: dropout", "by": -3.0},
                ],
            },
            "moved: cost: plain, which one side lacks or no seed ever changed, "
            "test error (%): dropout by +4.1 standard deviations, "
            "cost: dropout by -3.0 standard deviations",
        ),
    ],
)
def test_the_record_in_one_line(entry, line):
    assert describe(entry) == line


def test_of_many_that_moved_three_are_named():
    then = content(**{f"m{i}": [1.0, 2.0] for i in range(5)})
    line = describe(compare(content(**{f"m{i}": [8.0, math.nan] for i in range(5)}), then))
    assert line.count("which one side lacks") == 3
    assert line.endswith(", 2 more")


# ---- files


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        (("dropout", "default", "mnist", "mnist"), "dropout.json"),
        (("dropout", "paper", "mnist", "mnist"), "dropout.paper.json"),
        (("dropout", "default", "mnist5k", "mnist"), "dropout.mnist5k.json"),
        (("dropout", "paper", "mnist5k", "mnist"), "dropout.paper.mnist5k.json"),
        (("fgsm", "default", "mnist5k", "mnist5k"), "fgsm.json"),
        (("slowdown", "default", "none", "none"), "slowdown.json"),
    ],
)
def test_each_setting_has_a_file(setting, name):
    assert file_name(*setting) == name


def test_results_are_compared_with_the_file_of_their_setting(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RECORDS", tmp_path)
    now = content(error=[1.0, 2.0, 3.0])
    now |= {"recipe": "dropout", "preset": "paper", "dataset": {"name": "mnist5k"}}
    assert record.compare_with_file(now, "mnist") is None
    (tmp_path / "dropout.json").write_bytes(encode(content(error=[9.0, 9.0, 9.0])))
    assert record.compare_with_file(now, "mnist") is None
    (tmp_path / "dropout.paper.mnist5k.json").write_bytes(encode(now))
    same = {"metrics": 1, "identical": True, "moved": []}
    expected = {"file": "docs/results/dropout.paper.mnist5k.json"} | same
    assert record.compare_with_file(now, "mnist") == expected
    more = copy.deepcopy(now)
    more["arms"]["dropout"] = more["arms"]["plain"]
    (tmp_path / "dropout.paper.mnist5k.json").write_bytes(encode(more))
    assert len(record.compare_with_file(now, "mnist")["moved"]) == 1
    assert record.compare_with_file(now, "mnist", whole=False) == expected


@pytest.mark.parametrize("dataset", ["mnist", "mnist5k", "cifar10"])
@pytest.mark.parametrize("whole", [True, False])
def test_an_arm_that_vanished_moved_unless_arms_were_chosen(dataset, whole, tmp_path, monkeypatch):
    """As judged on every data set, those that are part of another one included."""
    monkeypatch.setattr(record, "RECORDS", tmp_path)
    recipe = SimpleNamespace(configured=lambda *_: Config(), findings=(), default_dataset=dataset)
    now = content(error=[1.0, 2.0, 3.0]) | {"config": {"epochs": 1}, "recipe": "dropout"}
    now |= {"preset": "default", "precision": "float32", "dataset": {"name": dataset}}
    then = copy.deepcopy(now)
    then["arms"]["dropout"] = then["arms"]["plain"]
    (tmp_path / "dropout.json").write_bytes(encode(then))
    moved = report.judged(recipe, now, whole=whole)["record"]["moved"]
    assert [one["metric"] for one in moved] == ["error: dropout"] * whole


def test_records_stand_in_the_documents():
    assert record.RECORDS.parts[-2:] == ("docs", "results")
    assert record.RECORDS.parent.is_dir()


# ---- thinned


def with_history(*lengths, seeds=2, scale=1.0) -> dict:
    found = content(error=[1.23456789] * seeds)
    random = np.random.default_rng(0)
    found["arms"]["plain"]["history"] = {
        f"cost {n}": [(scale * random.normal(size=n)).tolist() for _ in range(seeds)]
        for n in lengths
    }
    return found


def drawn(thin, series, arm="plain") -> list[tuple[list[int], list[float]]]:
    """x and y of each seed's curve."""
    found = thin["arms"][arm]
    lengths = found["history_length"][series]
    indices = [thin["history_index"][str(n)] for n in lengths]
    return list(zip(indices, found["history"][series], strict=True))


@given(st.lists(st.integers(0, 500), min_size=1, max_size=4), st.integers(2, 300))
def test_a_thinned_series_keeps_its_ends_and_five_digits(lengths, points):
    full = with_history(*lengths)
    before = copy.deepcopy(full)
    thin = thinned(full, points)
    assert full == before
    assert thin["arms"]["plain"]["metrics"] == full["arms"]["plain"]["metrics"]
    for n in lengths:
        series = full["arms"]["plain"]["history"][f"cost {n}"]
        for seed, (x, y) in zip(series, drawn(thin, f"cost {n}"), strict=True):
            assert len(x) == len(y) == min(n, points)
            assert y == [float(f"{seed[i]:.5g}") for i in x]
            assert x == sorted(set(x))
            assert (x[:1], x[-1:]) == ([0][:n], [n - 1][: min(n, 1)])
            if n > points:  # evenly, to a step
                assert max(np.diff(x)) - min(np.diff(x)) <= 1


def test_a_short_history_is_kept_whole():
    thin = thinned(with_history(30))
    assert [x for x, _ in drawn(thin, "cost 30")] == [list(range(30))] * 2


def test_series_of_seeds_that_stopped_early_keep_their_own_x():
    full = content(error=[1.0, 2.0])
    full["arms"]["plain"]["history"] = {"cost": [list(map(float, range(n))) for n in (1000, 300)]}
    for x, y in drawn(thinned(full), "cost"):
        assert y == x  # the value of each point is its epoch
        assert len(x) == 200


def test_a_missing_number_in_a_series_stays_missing():
    full = content(error=[1.0])
    full["arms"]["plain"]["history"] = {"cost": [[math.nan, 0.0, None, -1.234567]]}
    [(x, y)] = drawn(json.loads(encode(thinned(full))), "cost")
    assert (x, y) == ([0, 1, 2, 3], [None, 0.0, None, -1.2346])


@pytest.mark.parametrize("size", [200_000, 50_000, 10_000, 5_000])
def test_a_record_stays_under_its_size(size):
    full = with_history(300, 5_000, 4_000, seeds=6, scale=1e-7)
    assert len(encode(full)) > 1_000_000
    thin = thinned(full, size=size)
    assert len(encode(thin)) < size
    x, _ = drawn(thin, "cost 5000")[0]
    assert (x[0], x[-1]) == (0, 4_999)
    assert thin["arms"]["plain"]["metrics"] == full["arms"]["plain"]["metrics"]
    assert len(x) == 200 or len(encode(thinned(full, 2 * len(x) + 2, 10**9))) >= size


def test_a_record_is_not_thinned_again():
    """It is written anew when its findings are edited; its curves would lose their places."""
    thin = thinned(with_history(300), points=20)
    assert thinned(thin, points=20) == thin
    assert list(thin["history_index"]) == ["300"]


def test_metrics_are_recorded_whatever_their_size():
    thin = thinned(with_history(300), size=10)
    assert thin["arms"]["plain"]["history"] == {"cost 300": [[], []]}
    assert thin["arms"]["plain"]["metrics"] == {"error": [1.23456789] * 2}


def test_results_equal_their_thinned_record():
    full = with_history(5_000)
    assert compare(full, json.loads(encode(thinned(full))))["identical"] is True
