"""README.md and docs/ agree with the recipes and their records."""

import dataclasses
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from common import source
from common.experiment import report, results
from tools import catalog, gpu_check

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_tables_are_fresh():
    assert catalog.with_tables(README) == README, "stale: run `make readme`"
    assert (ROOT / "docs" / "results.md").read_text() == catalog.results_page()


RECORDS = sorted((ROOT / "docs" / "results").glob("*.json"))


def test_records_are_of_recipes_there_are():
    assert RECORDS
    assert {json.loads(file.read_text())["recipe"] for file in RECORDS} <= set(catalog.recipes())


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: file.stem)
def test_a_record_is_of_todays_hyperparameters_and_findings(file):
    content = json.loads(file.read_text())
    recipe, dataset = catalog.load(content["recipe"]), content["dataset"]["name"]
    assert content["schema"] == results.SCHEMA
    assert file == catalog.record_file(content["recipe"], content["preset"], dataset)
    config = dataclasses.asdict(recipe.configured(content["preset"], dataset))
    assert content["config"] == {
        name: str(value) if isinstance(value, Path) else value for name, value in config.items()
    }
    assert set(content["arms"]) == set(recipe.arms_for(content["preset"], dataset))
    assert stored(content["findings"]) == stored(report.judged(recipe, content)["findings"])


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: file.stem)
def test_records_are_small_and_have_a_figure(file):
    assert file.stat().st_size < 200_000
    figure = ROOT / "docs" / "figures" / f"{file.stem}.png"
    assert 0 < figure.stat().st_size < 300_000


def stored(judged: list[dict]) -> list[dict]:
    """Findings as they come back from results.json, to nine digits: processors round
    differently."""
    return json.loads(results.encode(judged), parse_float=lambda text: f"{float(text):.9g}")


def test_the_total_counts_what_was_printed_and_run():
    compared = [f for file in RECORDS for f in catalog.printed(json.loads(file.read_text()))]
    agree = sum(finding["printed"]["agrees"] for finding in compared)
    total = f"Of {len(compared)} printed figures whose protocol was run, {agree} agree."
    assert total in README
    listed = README.partition("Printed figures that differ:")[2].partition("Findings not")[0]
    assert listed.count("\n- ") == len(compared) - agree


WORDS = """one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen twenty"""
NUMBERS = {"half an": 0.5, "half a": 0.5, "an": 1, "a": 1, "thirty": 30, "forty": 40}
NUMBERS |= {word: number for number, word in enumerate(WORDS.split(), start=1)}
SECONDS = {"second": 1, "minute": 60, "hour": 3600}
START = 10  # seconds that TensorFlow takes to start, which a record does not count


def in_seconds(said: str) -> tuple[float, float]:
    """ "three to four minutes on 2 cores" -> (180, 240); "more than an hour" has no end."""
    number = rf"(\d+|{'|'.join(NUMBERS)})"
    match = re.fullmatch(
        rf"(?:about |nearly )?(more than )?(?:{number} to )?{number} ({'|'.join(SECONDS)})s?"
        r"(?: on 2 cores)?(?:[,;] .*)?",
        said,
    )
    assert match, f"expected a time in words as in the other recipes, received: {said}"
    more, low, high, unit = match.groups()
    low, high = (
        SECONDS[unit] * (int(one) if one.isdigit() else NUMBERS[one]) for one in (low or high, high)
    )
    return low, math.inf if more else high


@pytest.mark.parametrize("name", catalog.recipes())
def test_a_recipe_takes_about_as_long_as_it_says(name):
    low, high = in_seconds(catalog.duration(name))
    for content in catalog.records(name)[:1]:
        if content["preset"] == "default":
            assert low / 3 <= content["seconds"] + START
            assert content["seconds"] <= 3 * high


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("about two minutes on 2 cores", (120, 120)),
        ("half a minute on 2 cores", (30, 30)),
        ("three to four minutes on 2 cores", (180, 240)),
        ("15 seconds on 2 cores, most of it TensorFlow's start", (15, 15)),
        ("three minutes on 2 cores; --paper more than an hour", (180, 180)),
        ("more than half an hour", (1800, math.inf)),
        ("a minute", (60, 60)),
    ],
)
def test_times_in_words(said, expected):
    assert in_seconds(said) == expected


@pytest.mark.parametrize("said", ["a few minutes", "minutes", "two days", "two minutes or so"])
def test_other_words_for_a_time_are_not_guessed(said):
    with pytest.raises(AssertionError, match="received: "):
        in_seconds(said)


def test_links_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_commands_in_the_pages_exist():
    makefile = (ROOT / "Makefile").read_text()
    text = "\n".join(page.read_text() for page in PAGES)
    typed = r"(?:`|^ *)make (?:VENV=\S+ )?([a-z0-9-]+)(?=[`\s])"
    commands = set(re.findall(typed, text, re.MULTILINE))
    assert {"regress", "copy-dropout", "recipe-overfitting", "test"} <= commands
    for command in commands:
        kind, _, name = command.partition("-")
        if not re.search(rf"^{command}:", makefile, re.MULTILINE):
            assert kind in ("recipe", "record", "workers", "copy", "notebook"), command
            assert f"{kind}-%:" in makefile
            assert name.replace("-", "_") in catalog.recipes(), command


def test_recorded_results_name_no_path_of_a_machine():
    for file in (ROOT / "docs" / "results").glob("*.json"):
        source = json.loads(file.read_text())["dataset"]["source"]
        assert not source.startswith("/"), file


def test_the_list_may_be_cut_short():
    """As by `make list | head -1`."""
    command = f"{sys.executable} -u -m tools.catalog list | head -1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Cost functions")
    assert done.stderr == ""


def test_rows_of_a_table_have_as_many_cells_as_its_head():
    """A bar within a cell, as in |dE/dw|, would end it."""
    for page in PAGES:
        cells = None
        for line in page.read_text().splitlines():
            found = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else None
            assert None in (cells, found) or found == cells, f"{page.name}: {line}"
            cells = found


def test_recipes_that_need_tensorflow_are_named():
    """Those on attacks all do."""
    named = set(re.findall(r"`([a-z-]+)`", (ROOT / "docs" / "gpu.md").read_text()))
    for name in catalog.recipes():
        needs = source.needs_tensorflow(catalog.path(name))
        if catalog.path(name).parent.name == "attack":
            assert needs
        elif needs:
            assert catalog.target(name) in named, name
        elif catalog.target(name) in named:
            assert name in gpu_check.RECIPES, name
