"""`make regress`: what it trains, what it compares, and what makes it fail."""

import copy
import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import data
from recipes import slowdown
from tools import catalog, regress

numbers = st.floats(-100, 100)


@given(st.lists(numbers, min_size=2, max_size=6), numbers, st.floats(0.1, 10))
def test_drift_is_the_mean_difference_in_deviations(then, moved, deviation):
    then = np.array(then)
    now = then + moved
    expected = np.mean(now - then) / deviation
    assert regress.drift(now, then, deviation) == pytest.approx(expected, abs=1e-9)
    one = regress.drift(now[:1], then, deviation)  # common seeds only
    assert one == pytest.approx((now - then)[0] / deviation, abs=1e-9)


def test_drift_where_there_is_nothing_to_measure_by():
    one, other, none = np.array([1.0]), np.array([2.0]), np.array([math.nan])
    assert regress.drift(one, one, math.nan) == 0
    assert math.isnan(regress.drift(one, other, math.nan))
    assert regress.drift(one, other, 0.0) == -math.inf
    assert regress.drift(none, one, 1.0) == math.inf
    assert regress.drift(none, none, 1.0) == 0


def content(config=None, key="k", **metrics) -> dict:
    arms = {"plain": {"seeds": [0, 1], "metrics": metrics}}
    return {"config": config or {"n": 1}, "key": key, "arms": arms}


def test_the_deviation_is_that_of_the_reference_else_of_the_record():
    now, then = content(error=[5.0]), content(error=[3.0])
    record = content(error=[1.0, 5.0])  # deviation 2.83
    assert regress.drifts(now, record, None) == {"plain/error": pytest.approx(4 / 8**0.5)}
    assert regress.drifts(now, then, record) == {"plain/error": pytest.approx(2 / 8**0.5)}
    assert math.isnan(regress.drifts(now, then, None)["plain/error"])
    assert regress.drifts(content(other=[1.0]), then, record) == {}


@pytest.mark.parametrize("all_arms", [False, True])
def test_when_one_seed_stands_for_all(all_arms):
    record, stands = content(error=[3.0, 4.0]), regress.enough
    repeated = stands(content(error=[3.0], key="other"), record, all_arms)
    assert repeated == ("all arms: the record to the bit" if all_arms else "")
    assert stands(content(error=[3.0]), record, all_arms).endswith(": the record to the bit")
    assert stands(content(error=[3.5]), record, all_arms).endswith("code, data and versions")
    assert not stands(content(error=[3.5], key="other"), record, all_arms)
    assert not stands(content(error=[3.0], config={"n": 2}), record, all_arms)


def test_without_a_record_claims_must_hold():
    judged = {**content(error=[1.0]), "claims": [{"holds": None}, {"holds": True}]}
    assert regress.enough(judged, None, True)
    assert not regress.enough({**judged, "claims": [{"holds": None}]}, None, True)


def run(tmp_path, *arguments) -> tuple[int, dict, str]:
    """-> exit code, rows of regress.json by recipe and data set, regress.md."""
    out = tmp_path / "regress"
    code = regress.main([*arguments, "--jobs", "1", "--out", str(out)])
    found = json.loads(out.with_suffix(".json").read_text())
    rows = {(row["recipe"], row["dataset"]): row for row in found["rows"]}
    return code, rows, out.with_suffix(".md").read_text()


CHAIN = ("vanishing_chain", "none")


def test_what_is_recorded_is_repeated(tmp_path, capsys):
    code, rows, page = run(tmp_path, "vanishing-chain")
    assert code == 0
    assert list(rows) == [CHAIN]
    assert rows[CHAIN]["status"] == "holds"
    assert rows[CHAIN]["content"]["arms"]["N(0, 1)"]["seeds"] == [0, 1, 2, 3, 4]
    assert "| vanishing-chain | none | holds | 6 of 6 | 5 |" in page
    assert "1/1 vanishing-chain on none: holds, 6 of 6 claims" in capsys.readouterr().out
    # Trained anew and compared with itself nothing has moved, and one seed is enough.
    against = ["--against", f"{tmp_path}/regress.json"]
    quick, rows, page = run(tmp_path, "vanishing-chain", "--quick", "--fresh", *against)
    assert quick == 0
    assert "| vanishing-chain | none | holds | 6 of 6 | 1 (one arm: the record to the bit)" in page
    assert set(rows[CHAIN]["drift"].values()) == {0.0}
    assert "Compared with regress.json" in page
    assert "Nothing moved" in page


def test_a_metric_that_moved_is_shown_and_all_seeds_are_trained(tmp_path, monkeypatch):
    record = copy.deepcopy(catalog.recorded("vanishing_chain"))
    record["key"] = "another"
    arm = next(iter(record["arms"]))
    metric, values = next(iter(record["arms"][arm]["metrics"].items()))
    moved = float(np.std(values, ddof=1)) * 3
    record["arms"][arm]["metrics"][metric] = [value - moved for value in values]
    monkeypatch.setattr(regress, "recorded", lambda: {CHAIN: record})
    code, rows, page = run(tmp_path, "vanishing-chain", "--quick")
    assert code == 0  # a drift alone fails nothing
    assert rows[CHAIN]["alone"] == ""
    worst = rows[CHAIN]["drift"][f"{arm}/{metric}"]
    assert worst == pytest.approx(3, rel=0.01)
    assert "| vanishing-chain | none | " in page.partition("## Drift")[2]


def test_a_claim_that_fails_is_named_and_measured(tmp_path, monkeypatch):
    claim = slowdown.RECIPE.claims[0]
    wrong = dataclasses.replace(claim, bands={"none": (2, 3)}, published=None)
    recipe = dataclasses.replace(slowdown.RECIPE, claims=(wrong, *slowdown.RECIPE.claims[1:]))
    monkeypatch.setattr(slowdown, "RECIPE", recipe)
    code, rows, page = run(tmp_path, "slowdown", "vanishing-chain", "--quick")
    assert code == 1
    assert rows["slowdown", "none"]["status"] == "FAILS"
    assert rows["slowdown", "none"]["why"] == claim.name
    assert rows[CHAIN]["status"] == "holds"
    assert f"| {claim.name} |  | 0.09396 | 2 .. 3 |" in page


def test_a_recipe_that_breaks_stops_no_other(tmp_path, monkeypatch):
    recipe = dataclasses.replace(slowdown.RECIPE, train=broken)
    monkeypatch.setattr(slowdown, "RECIPE", recipe)
    code, rows, page = run(tmp_path, "slowdown", "vanishing-chain", "--quick")
    assert code == 1
    assert rows["slowdown", "none"]["status"] == "BROKEN"
    assert "ZeroDivisionError" in rows["slowdown", "none"]["why"]
    assert rows[CHAIN]["status"] == "holds"
    assert "ZeroDivisionError" in page


def broken(run, arm):
    raise ZeroDivisionError("on purpose")


def test_a_data_set_that_is_missing_is_reported(tmp_path, monkeypatch):
    load = data.load

    def absent(name, *arguments, **settings):
        if name == "mnist":
            raise data.DataError("expected mnist, received nothing")
        return load(name, *arguments, **settings)

    monkeypatch.setattr(data, "load", absent)
    code, rows, page = run(tmp_path, "batch-norm-folding", "--quick")
    assert code == 0
    assert rows["batch_norm_folding", "mnist"]["status"] == "not judged"
    assert rows["batch_norm_folding", "digits"]["status"] == "holds"
    assert "- batch-norm-folding on mnist: expected mnist, received nothing" in page


def test_what_quick_leaves_out_is_reported(tmp_path, mnist):
    code, rows, page = run(tmp_path, "batch-norm-folding", "--quick")
    assert code == 0
    assert rows["batch_norm_folding", "mnist"]["status"] == "holds"
    assert rows["batch_norm_folding", "digits"]["status"] == "not judged"
    why = "--quick judges the first data set that is there"
    assert f"- batch-norm-folding on digits: {why}" in page.partition("## Not judged")[2]


def test_the_longest_come_first_and_all_are_there():
    tasks = regress.tasks(regress.Flags(), {})
    assert {task.recipe for task in tasks} == set(catalog.recipes())
    assert len({(task.recipe, task.dataset) for task in tasks}) == len(tasks)
    records = (catalog.recorded(task.recipe) for task in tasks)
    seconds = [math.inf if record is None else record["seconds"] for record in records]
    assert seconds == sorted(seconds, reverse=True)
    assert (tasks[-1].recipe, tasks[-1].dataset) == CHAIN


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "expected one of the recipes"),
        (["--jobs", "0"], "--jobs: expected a number of at least 1, received 0"),
        (["--against", "README.md"], "expected regress.json, received README.md: a damaged"),
        (["--against", "nowhere"], "expected regress.json, received nowhere: No such file"),
        (["--quickly"], "--quickly"),
    ],
)
def test_bad_usage_is_refused(arguments, said, capsys, tmp_path):
    assert regress.main([*arguments, "--out", str(tmp_path / "out")]) == 2
    received = capsys.readouterr().err
    assert received.count("\n") == 1
    assert said in received
    assert not list(tmp_path.iterdir())
