"""README.md and docs/ tell what the recipes and their recorded results say."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    recipe = __import__(f"recipes.{name}", fromlist=["RECIPE"]).RECIPE
    assert content["dataset"]["name"] == (*recipe.datasets, "none")[0]
    assert [claim["name"] for claim in content["claims"]] == [c.name for c in recipe.claims]
    assert (ROOT / "docs" / "figures" / f"{name}.png").stat().st_size < 300_000


@pytest.mark.parametrize(
    "file", sorted((ROOT / "docs" / "results").glob("*-paper.json")), ids=lambda file: file.stem
)
def test_recorded_paper_runs_are_of_recipes_there_are(file):
    name = file.stem.removesuffix("-paper")
    assert name in catalog.recipes()
    assert catalog.recorded(name, paper=True)["preset"] == "paper"
    assert (ROOT / "docs" / "figures" / f"{file.stem}.png").stat().st_size < 300_000


def test_links_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_commands_in_the_pages_exist():
    makefile = (ROOT / "Makefile").read_text()
    text = "\n".join(page.read_text() for page in PAGES)
    commands = set(re.findall(r"make (?:VENV=\S+ )?([a-z-]+)(?=[`\s])", text))
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
