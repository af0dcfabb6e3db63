"""Notebooks: their cells, and those kept. That each one runs: tests/notebooks."""

import ast
import functools

import nbformat
import pytest

from tests.tools.test_copying import ALLOWED, check_kept, copied, imported
from tools import catalog, copying, notebooks, standalone

NAMES = catalog.recipes()


@functools.cache
def notebook(name: str) -> str:
    """The text of a recipe's notebook."""
    return copying.notebook(name)[f"{name}.ipynb"]


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_holds_the_recipe(name):
    read = nbformat.reads(notebook(name), as_version=4)
    nbformat.validate(read)
    headings = [cell.source for cell in read.cells if cell.cell_type == "markdown"]
    assert headings[0].startswith(f"# {catalog.headline(name)}\n")
    assert headings[1:6] == [f"## {one}" for one in list(copying.HEADINGS.values())[:5]]
    code = [cell.source for cell in code_cells(read)]
    assert [f"\n{cell}".count("\ndef train(") for cell in code[:6]] == [0, 0, 0, 0, 1, 0]
    whole = "\n".join(code)
    compile(whole, name, "exec")
    assert imported(whole) <= ALLOWED - {"sys"} | {"matplotlib"}
    assert "def main" not in whole
    check_kept(catalog.path(name).read_text(), f'""""""\n{whole}')


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_trains_what_the_notebook_does(name):
    """So what is seen of a notebook that runs holds for the copy."""
    copy = ast.parse(copied(name))
    main = next(node for node in copy.body if getattr(node, "name", "") == "main")
    cell = ast.parse(code_cells(nbformat.reads(notebook(name), as_version=4))[5].source)
    begin = next(i for i, node in enumerate(main.body) if ast.unparse(node).startswith("smoke ="))
    trains = [ast.unparse(node) for node in main.body[begin + 1 :]]
    assert ast.unparse(cell.body[0]) == "smoke = True"
    assert ast.unparse(cell.body[1]) == "results = {}"
    kept = "\n    results[name] = outcomes"
    assert [ast.unparse(node).replace(kept, "") for node in cell.body[2:]] == trains
    assert kept in ast.unparse(cell)


@pytest.mark.parametrize(
    ("call", "has"),
    [
        ("Outcome(metrics)", False),
        ("Outcome(metrics, pictures=shown)", False),
        ("Outcome(metrics, curves)", True),
        ("Outcome(metrics, curves={'cost': cost})", True),
        ("other(metrics, curves)", False),
    ],
)
def test_a_recipe_with_curves_is_told_by_its_outcome(call, has):
    assert standalone.has_curves(f"def train():\n    return {call}\n") is has


@pytest.mark.parametrize("file", sorted(notebooks.KEPT.glob("*.ipynb")), ids=lambda file: file.stem)
def test_a_notebook_that_is_kept_is_todays(file):
    assert file.stat().st_size < 300_000
    kept, today = nbformat.read(file, as_version=4), notebooks.read(file.stem)
    nbformat.validate(kept)
    sources = [notebooks.on_three_seeds(cell.source) for cell in today.cells]
    assert [cell.source for cell in kept.cells] == sources
    assert "smoke = False" in "".join(sources)
    assert "seeds = 3" in "".join(sources)
    assert "±" in code_cells(kept)[5].outputs[0].text


def test_an_error_in_a_cell_is_raised():
    broken = notebooks.read("overfitting")
    code_cells(broken)[1].source = "1 / 0"
    with pytest.raises(Exception, match="ZeroDivisionError"):
        notebooks.run([broken], {})


def test_a_notebook_sees_nothing_of_another():
    one, other = notebooks.read("overfitting"), notebooks.read("overfitting")
    for notebook, code in ((one, "left = 3"), (other, "'left' in globals()")):
        notebook.cells = [nbformat.v4.new_code_cell(code)]
    notebooks.run([one, other], {})
    assert other.cells[0].outputs[0].data["text/plain"] == "False"


@pytest.mark.parametrize(
    "arguments", [["--wrong"], ["one", "other"], ["--keep"], ["--keep", "nothing"]]
)
def test_bad_usage_is_one_line(arguments, capsys):
    assert notebooks.main(arguments) == 2
    said = capsys.readouterr()
    assert said.err.startswith("expected ")
    assert (said.err.count("\n"), said.out) == (1, "")


def test_a_notebook_that_was_edited_is_not_replaced(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(notebooks.catalog, "recipes", lambda: ["slowdown"])
    mine = tmp_path / "slowdown.ipynb"
    mine.write_text("mine")
    assert notebooks.main([str(tmp_path)]) == 2
    assert "FORCE=1 replaces it" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    assert notebooks.main([str(tmp_path), "--force"]) == 0
    assert nbformat.reads(mine.read_text(), as_version=4).cells


def test_a_notebook_is_run_on_verified_data_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "KEPT", tmp_path)
    monkeypatch.setattr(notebooks, "on_three_seeds", lambda cell: cell)  # its smoke preset
    assert notebooks.main(["--keep", "vanishing-chain"]) == 0
    kept = nbformat.read(tmp_path / "vanishing_chain.ipynb", as_version=4)
    assert "big weights" in code_cells(kept)[5].outputs[0].text
