"""`make regress`: what it trains, what it compares, and what makes it fail."""

import copy
import dataclasses
import json
import math
import re

import pytest

from common import data
from common.experiment import grid, record
from common.experiment.findings import Exact
from recipes.cost import slowdown
from recipes.depth import vanishing_chain
from tools import catalog, copying, regress

SLOWDOWN, CHAIN = ("slowdown", "none"), ("vanishing_chain", "none")
# Its first finding speaks of ten layers.
SHORT = dataclasses.replace(
    vanishing_chain.RECIPE,
    seeds=3,
    on={"none": {"depth": 3, "chains": 50}},
    findings=vanishing_chain.RECIPE.findings[1:],
)


@pytest.fixture(autouse=True)
def no_records(monkeypatch, tmp_path):
    """The records of docs/ are not looked at unless a test sets some; the chain is short."""
    monkeypatch.setattr(vanishing_chain, "RECIPE", SHORT)
    monkeypatch.setattr(record, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(regress, "recorded", dict)


def run(tmp_path, *arguments) -> tuple[int, dict, str]:
    """-> exit code, rows of regress.json by recipe and data set, regress.md."""
    out = tmp_path / "regress"
    code = regress.main([*arguments, "--jobs", "1", "--out", str(out)])
    found = json.loads(out.with_suffix(".json").read_text())
    rows = {(row["recipe"], row["dataset"]): row for row in found["rows"]}
    return code, rows, out.with_suffix(".md").read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict:
    """What a whole run of the chain measures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "RECORDS", tmp_path_factory.mktemp("records"))
        patch.setattr(regress, "recorded", dict)
        patch.setattr(vanishing_chain, "RECIPE", SHORT)
        code, rows, _ = run(tmp_path_factory.mktemp("whole"), "vanishing-chain")
    assert code == 0
    return rows[CHAIN]["content"]


@pytest.fixture
def kept(whole, monkeypatch) -> dict:
    """The record of the chain, which a test may change."""
    kept = copy.deepcopy(whole)
    monkeypatch.setattr(regress, "recorded", lambda: {CHAIN: kept})
    return kept


def change(kept: dict, of) -> str:
    """Changes the numbers of the first metric of the first arm; -> "metric: arm"."""
    arm = next(iter(kept["arms"]))
    metric, values = next(iter(kept["arms"][arm]["metrics"].items()))
    kept["arms"][arm]["metrics"][metric] = [of(value) for value in values]
    return f"{metric}: {arm}"


# --- what is trained


def test_every_seed_is_trained_and_then_one_arm_repeats_it(tmp_path, capsys):
    code, rows, page = run(tmp_path, "vanishing-chain")
    assert code == 0
    assert list(rows) == [CHAIN]
    assert rows[CHAIN]["status"] == "shown"
    seeds = list(range(vanishing_chain.RECIPE.seeds))
    assert all(arm["seeds"] == seeds for arm in rows[CHAIN]["content"]["arms"].values())
    assert not any("history" in arm for arm in rows[CHAIN]["content"]["arms"].values())
    assert "| vanishing-chain | none | shown |" in page
    assert "1/1 vanishing-chain, none: shown" in capsys.readouterr().out
    # Trained again and compared with itself nothing moves, and one seed of one arm is enough.
    against = ["--against", f"{tmp_path}/regress.json"]
    quick, rows, page = run(tmp_path, "vanishing-chain", "--quick", "--fresh", *against)
    assert quick == 0
    assert rows[CHAIN]["record"]["identical"] is True
    assert "seed 0: unchanged to the bit" in rows[CHAIN]["sample"]
    assert "seed 0: unchanged to the bit" in page
    assert "Compared with regress.json" in page


def test_what_was_finished_is_not_trained_again(tmp_path, monkeypatch):
    trained, train = [], vanishing_chain.train

    def counted(config, arm, seed, data):
        trained.append(seed)
        return train(config, arm, seed, data)

    recipe = dataclasses.replace(vanishing_chain.RECIPE, train=counted)
    monkeypatch.setattr(vanishing_chain, "RECIPE", recipe)
    monkeypatch.setattr(type(recipe), "file", catalog.path("vanishing_chain"))
    monkeypatch.setattr(grid, "_identity", lambda *_: {})  # its function stands in this file
    runs = recipe.seeds * len(recipe.arms)
    for flags, expected in (([], runs), ([], runs), (["--fresh"], 2 * runs)):
        run(tmp_path, "vanishing-chain", *flags)
        assert len(trained) == expected


def test_numbers_that_do_not_differ_are_enough_for_quick(kept, tmp_path):
    change(kept, lambda value: value * (1 + 1e-9))
    code, rows, _ = run(tmp_path, "vanishing-chain", "--quick")
    assert code == 0
    assert rows[CHAIN]["status"] == "shown"
    assert "seed 0: unchanged (" in rows[CHAIN]["sample"]
    assert rows[CHAIN]["record"]["identical"] is False
    assert rows[CHAIN]["content"]["arms"] == kept["arms"]  # the record stands for all seeds


def test_a_record_of_other_hyperparameters_is_not_enough_for_quick(kept, tmp_path):
    kept["config"]["depth"] += 1
    code, rows, _ = run(tmp_path, "vanishing-chain", "--quick")
    assert code == 0
    assert rows[CHAIN]["sample"] == ""
    assert rows[CHAIN]["content"]["config"] != kept["config"]
    assert rows[CHAIN]["status"] == "shown"


def test_what_quick_leaves_out_is_reported(tmp_path):
    code, rows, page = run(tmp_path, "vanishing-chain", "--quick")
    assert code == 0
    assert rows[CHAIN]["status"] == "not judged"
    assert "not recorded, and --quick trains no whole recipe" in page


# --- what makes it fail


def test_a_metric_that_moved_fails_after_all_seeds_were_trained(kept, tmp_path):
    moved = change(kept, lambda value: 1e3 * (value + 1))
    code, rows, page = run(tmp_path, "vanishing-chain", "--quick")
    assert code == 1
    assert rows[CHAIN]["status"] == "MOVED"
    assert rows[CHAIN]["sample"] == ""
    assert [one["metric"] for one in rows[CHAIN]["record"]["moved"]] == [moved]
    assert "## vanishing-chain, none" in page
    row = page.replace("\\|", "|").splitlines()[-1]
    assert re.fullmatch(rf"\| {re.escape(moved)} \| [\d.]+ \| [\d.e-]+ \| -[\d.]+ \|", row)


def impossible(recipe) -> tuple:
    """Findings of a recipe of which the last is not shown."""
    first = recipe.findings[0]
    return (*recipe.findings, Exact(first.metric, first.arm, 1000.0, within=1.0))


def test_a_finding_that_is_not_shown_is_named_and_fails(tmp_path, monkeypatch):
    recipe = dataclasses.replace(SHORT, findings=impossible(SHORT))
    monkeypatch.setattr(vanishing_chain, "RECIPE", recipe)
    code, rows, page = run(tmp_path, "vanishing-chain")
    assert code == 1
    assert rows[CHAIN]["status"] == "NOT SHOWN"
    assert "expected 1000.0 within 1" in rows[CHAIN]["why"]
    named = page.partition("## vanishing-chain, none")[2]
    assert "expected 1000.0 within 1" in named
    assert "| NOT SHOWN |" in named


def test_quick_judges_the_record_by_the_findings_of_today(kept, tmp_path, monkeypatch):
    recipe = vanishing_chain.RECIPE
    recipe = dataclasses.replace(recipe, findings=impossible(recipe))
    monkeypatch.setattr(vanishing_chain, "RECIPE", recipe)
    code, rows, page = run(tmp_path, "vanishing-chain", "--quick")
    assert code == 1
    assert "seed 0: unchanged to the bit" in rows[CHAIN]["sample"]
    assert rows[CHAIN]["status"] == "NOT SHOWN"
    assert "| NOT SHOWN |" in page


def broken(config, arm, seed, data):
    raise ZeroDivisionError("on purpose")


def test_a_recipe_that_breaks_stops_no_other(tmp_path, monkeypatch):
    recipe = dataclasses.replace(slowdown.RECIPE, train=broken)
    monkeypatch.setattr(slowdown, "RECIPE", recipe)
    code, rows, page = run(tmp_path, "slowdown", "vanishing-chain")
    assert code == 1
    assert rows[SLOWDOWN]["status"] == "BROKEN"
    assert "ZeroDivisionError" in rows[SLOWDOWN]["why"]
    assert rows[CHAIN]["status"] == "shown"
    assert "ZeroDivisionError" in page


def test_a_process_that_dies_is_named(tmp_path, monkeypatch):
    lost = {SLOWDOWN: "3 workers died of it"}
    monkeypatch.setattr(regress.dispatch, "run", lambda *_, **__: (lost, 2))
    code, rows, page = run(tmp_path, "slowdown")
    assert code == 1
    assert {row["status"] for row in rows.values()} == {"BROKEN"}
    assert "3 workers died of it" in page


def test_a_refusal_is_broken_with_its_line(tmp_path, monkeypatch):
    def refuse(config, arm, seed, data):
        raise ValueError("expected more, received less")

    recipe = dataclasses.replace(slowdown.RECIPE, train=refuse)
    monkeypatch.setattr(slowdown, "RECIPE", recipe)
    monkeypatch.setattr(type(recipe), "file", catalog.path("slowdown"))
    monkeypatch.setattr(grid, "_identity", lambda *_: {})  # its function stands in this file
    code, rows, _ = run(tmp_path, "slowdown")
    assert code == 1
    assert rows[SLOWDOWN]["why"] == "slowdown: expected more, received less"


# --- copies


COPY = """
from types import SimpleNamespace
Config = lambda: None
ARMS = dict.fromkeys(NAMES)
def train(config, arm, seed, data):
    return SimpleNamespace(metrics={"output": 0.5 + OFF})
"""


@pytest.mark.parametrize(("off", "status"), [(0.0, "shown"), (1e-9, "shown"), (0.1, "MOVED")])
def test_the_copy_of_a_recipe_must_give_the_recorded_metrics(off, status, tmp_path, monkeypatch):
    source = COPY.replace("OFF", str(off)).replace("NAMES", str(list(slowdown.ARMS)))
    monkeypatch.setattr(regress.copying, "script", lambda name: {"slowdown.py": source})
    arms = {name: {"seeds": [0], "metrics": {"output": [0.5]}} for name in slowdown.ARMS}
    task = regress.Task("slowdown", "copy", {"arms": arms}, True, False, tmp_path)
    assert regress.measure(task).status == status


def test_the_copy_of_slowdown_gives_what_is_recorded(tmp_path, monkeypatch):
    """Trained for real, with stock Keras, for 5 of its 300 epochs."""
    short = dataclasses.replace(slowdown.RECIPE, on={"none": {"steps": 5}}, findings=())
    monkeypatch.setattr(slowdown, "RECIPE", short)
    kept = run(tmp_path / "record", "slowdown")[1][SLOWDOWN]["content"]
    script = copying.script("slowdown")["slowdown.py"].replace("steps: int = 300", "steps: int = 5")
    monkeypatch.setattr(copying, "script", lambda name: {"slowdown.py": script})
    monkeypatch.setattr(regress, "recorded", lambda: {SLOWDOWN: kept})
    code, rows, page = run(tmp_path, "slowdown", "--quick")
    assert code == 0
    assert rows["slowdown", "copy"]["status"] == "shown"
    assert rows["slowdown", "copy"]["why"].startswith("unchanged (")
    assert "| slowdown | copy | shown |" in page


def contents() -> dict:
    """A record for each recipe on its first data set."""
    names = {name: catalog.load(name).default_dataset for name in catalog.recipes()}
    arms = {"a": {"seeds": [0]}}
    return {
        (name, dataset): {"seconds": 60.0 * i, "arms": arms}
        for i, (name, dataset) in enumerate(names.items())
    }


@pytest.mark.parametrize(("quick", "copied"), [(False, regress.COPIES), (True, regress.COPIES[:1])])
def test_which_copies_are_trained(quick, copied, monkeypatch):
    def copies(*names) -> list:
        chosen = regress.Flags(recipes=names, quick=quick)
        return [task.recipe for task in regress.tasks(chosen, {}) if task.dataset == "copy"]

    assert copies() == []  # without a record there is nothing to compare with
    monkeypatch.setattr(regress, "recorded", contents)
    assert sorted(copies()) == sorted(copied)
    assert copies("vanishing-chain") == []


# --- what is reported


@pytest.fixture
def no_mnist(monkeypatch):
    load = data.load

    def absent(name, *arguments, **settings):
        if name == "mnist":
            raise data.DataError("expected mnist, received nothing")
        return load(name, *arguments, **settings)

    monkeypatch.setattr(data, "load", absent)


def test_a_data_set_that_is_missing_is_reported_and_the_others_are_judged(
    no_mnist, tmp_path, monkeypatch
):
    """Nor is a copy that needs it trained."""
    monkeypatch.setattr(regress, "recorded", contents)
    measured = []

    def shown(task):
        measured.append((task.recipe, task.dataset))
        return regress.Row(task.recipe, task.dataset, "shown")

    monkeypatch.setattr(regress, "_recipe", shown)
    monkeypatch.setattr(regress, "_copy", shown)
    code, rows, page = run(tmp_path, "overfitting", "slowdown")
    assert code == 0
    assert set(measured) == {("overfitting", "mnist5k"), SLOWDOWN, ("slowdown", "copy")}
    for dataset in ("mnist", "copy"):
        assert rows["overfitting", dataset]["status"] == "not judged"
        assert f"| overfitting | {dataset} | not judged |" in page
    assert rows["overfitting", "mnist"]["why"] == "expected mnist, received nothing"
    assert "expected mnist, received nothing" in page


def test_the_longest_come_first_and_all_are_there(monkeypatch):
    monkeypatch.setattr(regress, "recorded", contents)
    tasks = regress.tasks(regress.Flags(), contents())
    assert {task.recipe for task in tasks} == set(catalog.recipes())
    assert len({(task.recipe, task.dataset) for task in tasks}) == len(tasks)
    unknown = [t.reference is None or t.dataset == "copy" for t in tasks]
    assert sum(t.dataset == "copy" for t in tasks) == len(regress.COPIES)
    seconds = [
        math.inf if of_unknown_length else t.reference["seconds"]
        for t, of_unknown_length in zip(tasks, unknown, strict=True)
    ]
    assert seconds == sorted(seconds, reverse=True)


def test_what_is_recorded_is_read_from_the_documents(whole, tmp_path, monkeypatch):
    """That of the default preset, on every data set."""
    monkeypatch.undo()
    monkeypatch.setattr(catalog, "DOCS", tmp_path)
    assert regress.recorded() == {}
    (tmp_path / "results").mkdir()
    for preset, dataset in (("default", "none"), ("paper", "none"), ("default", "mnist5k")):
        content = {**whole, "preset": preset, "dataset": {"name": dataset}}
        name = f"vanishing_chain.{preset}.{dataset}.json"
        (tmp_path / "results" / name).write_text(json.dumps(content))
    found = regress.recorded()
    assert found.keys() == {CHAIN, ("vanishing_chain", "mnist5k")}
    assert found[CHAIN]["preset"] == "default"


def test_an_interruption_says_that_nothing_is_lost(tmp_path, monkeypatch, capsys):
    def interrupt(task):
        raise KeyboardInterrupt

    monkeypatch.setattr(regress, "_recipe", interrupt)
    assert regress.main(["slowdown", "--jobs", "1", "--out", str(tmp_path / "out")]) == 130
    assert "the same command goes on" in capsys.readouterr().out


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


def test_a_place_that_cannot_be_written_is_refused(capsys, tmp_path):
    (tmp_path / "file").touch()
    assert regress.main(["slowdown", "--out", str(tmp_path / "file" / "out")]) == 2
    received = capsys.readouterr().err
    assert received.count("\n") == 1
    assert "expected a folder to write in, received: Not a directory" in received
