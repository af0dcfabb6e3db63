"""README.md and docs/ tell what the recipes and their recorded results say."""

import dataclasses
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest

from common import experiment, results
from tools import catalog

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_tables_are_fresh():
    assert catalog.with_tables(README) == README, "stale: run `make readme`"
    assert (ROOT / "docs" / "results.md").read_text() == catalog.results_page()


@pytest.mark.parametrize("name", catalog.recipes())
def test_every_recipe_is_recorded(name):
    content = catalog.recorded(name)
    assert content is not None, f"run `make record-{catalog.target(name)}`"
    assert content["preset"] == "default"
    recipe = catalog.load(name)
    assert content["dataset"]["name"] == (*recipe.datasets, "none")[0]
    assert (ROOT / "docs" / "figures" / f"{name}.png").stat().st_size < 300_000


@pytest.mark.parametrize("name", catalog.recipes())
def test_a_record_is_of_todays_knobs_and_claims(name):
    recipe, content = catalog.load(name), catalog.recorded(name)
    knobs = dataclasses.asdict(recipe.knobs("default", content["dataset"]["name"]))
    assert content["config"] == {
        knob: str(value) if isinstance(value, Path) else value for knob, value in knobs.items()
    }
    assert stored(content["claims"]) == stored(experiment.judge(recipe, content))


def stored(judged: list[dict]) -> list[dict]:
    """Claims as they come back from results.json, to nine digits: processors round differently."""
    return json.loads(results.encode(judged), parse_float=lambda text: f"{float(text):.9g}")


@pytest.mark.parametrize(
    "file", sorted((ROOT / "docs" / "results").glob("*-paper.json")), ids=lambda file: file.stem
)
def test_recorded_paper_runs_are_of_recipes_there_are(file):
    name = file.stem.removesuffix("-paper")
    assert name in catalog.recipes()
    content = catalog.recorded(name, paper=True)
    assert content["preset"] == "paper"
    judged = experiment.judge(catalog.load(name), content)
    assert stored(content["claims"]) == stored(judged)
    assert (ROOT / "docs" / "figures" / f"{file.stem}.png").stat().st_size < 300_000


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
    seconds = catalog.recorded(name)["seconds"]
    assert low / 3 <= seconds + START
    assert seconds <= 3 * high


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
        if kind in ("recipe", "record", "cluster", "copy", "notebook"):
            assert f"{kind}-%:" in makefile
            assert name.replace("-", "_") in catalog.recipes(), command
        else:
            assert re.search(rf"^{command}:", makefile, re.MULTILINE), command


def test_recorded_results_name_no_path_of_a_machine():
    for file in (ROOT / "docs" / "results").glob("*.json"):
        source = json.loads(file.read_text())["dataset"]["source"]
        assert not source.startswith("/"), file


def test_the_list_may_be_cut_short():
    """As by `make list | head -1`."""
    command = f"{sys.executable} -u -m tools.catalog list | head -1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("recipe-")
    assert done.stderr == ""


def test_rows_of_a_table_have_as_many_cells_as_its_head():
    """A bar within a cell, as in |dE/dw|, would end it."""
    for page in PAGES:
        cells = None
        for line in page.read_text().splitlines():
            found = len(re.findall(r"(?<!\\)\|", line)) if line.startswith("|") else None
            assert None in (cells, found) or found == cells, f"{page.name}: {line}"
            cells = found
