"""`make regress`: what it trains, what it compares, and what makes it fail."""

import copy
import dataclasses
import json
import math

import pytest

from common import data
from common.experiment import record
from common.experiment.findings import Higher
from recipes.cost import slowdown
from recipes.depth import vanishing_chain
from tools import catalog, regress

SLOWDOWN, CHAIN = ("slowdown", "none"), ("vanishing_chain", "none")


@pytest.fixture(autouse=True)
def no_records(monkeypatch, tmp_path):
    """The records of docs/ are not looked at unless a test sets some."""
    monkeypatch.setattr(record, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(regress, "recorded", dict)


def run(tmp_path, *arguments) -> tuple[int, dict, str]:
    """-> exit code, rows of regress.json by recipe and data set, regress.md."""
    out = tmp_path / "regress"
    code = regress.main([*arguments, "--jobs", "1", "--out", str(out)])
    found = json.loads(out.with_suffix(".json").read_text())
    rows = {(row["recipe"], row["dataset"]): row for row in found["rows"]}
    return code, rows, out.with_suffix(".md").read_text()


def test_every_seed_is_trained_and_then_one_arm_repeats_it(tmp_path, capsys):
    code, rows, page = run(tmp_path, "vanishing-chain")
    assert code == 0
    assert list(rows) == [CHAIN]
    assert rows[CHAIN]["status"] == "shown"
    seeds = list(range(vanishing_chain.RECIPE.seeds))
    assert all(arm["seeds"] == seeds for arm in rows[CHAIN]["content"]["arms"].values())
    assert "| vanishing-chain | none | shown |" in page
    assert "1/1 vanishing-chain, none: shown" in capsys.readouterr().out
    # Trained again and compared with itself nothing moves, and one seed of one arm is enough.
    against = ["--against", f"{tmp_path}/regress.json"]
    quick, rows, page = run(tmp_path, "vanishing-chain", "--quick", "--fresh", *against)
    assert quick == 0
    assert rows[CHAIN]["record"]["identical"] is True
    assert "seed 0: unchanged to the bit" in rows[CHAIN]["sample"]
    assert "Compared with regress.json" in page


def reference(tmp_path) -> dict:
    """What a whole run of the chain measures."""
    _, rows, _ = run(tmp_path, "vanishing-chain")
    return rows[CHAIN]["content"]


def test_a_metric_that_moved_fails_after_all_seeds_were_trained(tmp_path, monkeypatch):
    kept = copy.deepcopy(reference(tmp_path))
    arm = next(iter(kept["arms"]))
    metric, values = next(iter(kept["arms"][arm]["metrics"].items()))
    kept["arms"][arm]["metrics"][metric] = [1e3 * (value + 1) for value in values]
    monkeypatch.setattr(regress, "recorded", lambda: {CHAIN: kept})
    code, rows, page = run(tmp_path, "vanishing-chain", "--quick")
    assert code == 1
    assert rows[CHAIN]["status"] == "MOVED"
    assert rows[CHAIN]["sample"] == ""
    assert [moved["metric"] for moved in rows[CHAIN]["record"]["moved"]] == [f"{metric}: {arm}"]
    assert f"| {metric}: {arm} |".replace("||", "|") in page.replace("\\|", "|")


def test_a_finding_that_is_not_shown_is_named_and_fails(tmp_path, monkeypatch):
    wrong = Higher("output after 300 steps from (2, 2)", "cross-entropy", than="quadratic")
    findings = (wrong, *slowdown.RECIPE.findings[1:])
    recipe = dataclasses.replace(slowdown.RECIPE, findings=findings)
    monkeypatch.setattr(slowdown, "RECIPE", recipe)
    code, rows, page = run(tmp_path, "slowdown", "vanishing-chain")
    assert code == 1
    assert rows[SLOWDOWN]["status"] == "NOT SHOWN"
    assert rows[CHAIN]["status"] == "shown"
    assert "## slowdown, none" in page
    assert "| NOT SHOWN |" in page


def test_a_recipe_that_breaks_stops_no_other(tmp_path, monkeypatch):
    recipe = dataclasses.replace(slowdown.RECIPE, train=broken)
    monkeypatch.setattr(slowdown, "RECIPE", recipe)
    code, rows, page = run(tmp_path, "slowdown", "vanishing-chain")
    assert code == 1
    assert rows[SLOWDOWN]["status"] == "BROKEN"
    assert "ZeroDivisionError" in rows[SLOWDOWN]["why"]
    assert rows[CHAIN]["status"] == "shown"
    assert "ZeroDivisionError" in page


def broken(config, arm, seed, data):
    raise ZeroDivisionError("on purpose")


COPY = """
from types import SimpleNamespace
Config = ARMS = lambda: None
ARMS = {arm: arm for arm in ("quadratic", "cross-entropy, rate .005", "cross-entropy")}
def train(config, arm, seed, data):
    return SimpleNamespace(metrics={"output": 0.5 + OFF})
"""


@pytest.mark.parametrize(("off", "status"), [(0.0, "shown"), (1e-9, "shown"), (0.1, "MOVED")])
def test_the_copy_of_a_recipe_must_give_the_recorded_metrics(off, status, tmp_path, monkeypatch):
    source = COPY.replace("OFF", str(off))
    monkeypatch.setattr(regress.copying, "script", lambda name: {"slowdown.py": source})
    arms = {name: {"seeds": [0], "metrics": {"output": [0.5]}} for name in slowdown.ARMS}
    task = regress.Task("slowdown", "copy", {"arms": arms}, True, False, tmp_path)
    assert regress.measure(task).status == status


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
    assert "expected mnist, received nothing" in page


def test_what_quick_leaves_out_is_reported(tmp_path):
    code, rows, page = run(tmp_path, "vanishing-chain", "--quick")
    assert code == 0
    assert rows[CHAIN]["status"] == "not judged"
    assert "not recorded, and --quick trains no whole recipe" in page


def test_the_longest_come_first_and_all_are_there(monkeypatch):
    kept = {
        (name, "mnist"): {"seconds": 60.0 * i, "arms": {"a": {"seeds": [0]}}}
        for i, name in enumerate(catalog.recipes())
    }
    tasks = regress.tasks(regress.Flags(), kept)
    assert {task.recipe for task in tasks} == set(catalog.recipes())
    assert len({(task.recipe, task.dataset) for task in tasks}) == len(tasks)
    seconds = [math.inf if t.reference is None else t.reference["seconds"] for t in tasks]
    assert seconds == sorted(seconds, reverse=True)


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
    out = tmp_path / "folder"
    out.mkdir()
    assert regress.main([*arguments, "--out", str(out / "out")]) == 2
    received = capsys.readouterr().err
    assert received.count("\n") == 1
    assert said in received
    assert not list(out.iterdir())
