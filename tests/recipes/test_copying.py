"""Every recipe, run here and as a copy with nothing of this repository on its path."""

import ast
import functools
import importlib
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from common import command, data
from common.results import Results
from tools import catalog, copying

NAMES = catalog.recipes()
# What a figure's title must say of the data set that was used.
TITLED = {"mnist": "MNIST", "cifar10": "CIFAR-10", "digits": "scikit-learn's digits", "none": ""}


def smoke(name: str, out: Path) -> dict:
    """A smoke run in this process -> results.json."""
    recipe = importlib.import_module(f"recipes.{name}").RECIPE
    assert command.run(recipe, ["--smoke", "--out", str(out)]) == 0
    return json.loads((out / "results.json").read_text())


def copied(name: str, project: Path) -> str:
    """The recipe as a copy in that folder -> its source."""
    assert copying.main(["script", catalog.target(name), str(project)]) == 0
    return (project / f"{name}.py").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_runs_alone(name, tmp_path, forks, monkeypatch):
    """In a folder with nothing of this repository, which is as good as a smoke run here."""
    recipe = importlib.import_module(f"recipes.{name}").RECIPE
    if recipe.datasets and "digits" not in recipe.datasets:
        try:
            data.load(recipe.datasets[0])
        except data.DataError as error:
            pytest.skip(str(error))
    source = copied(name, tmp_path)
    assert f"make recipe-{catalog.target(name)} " not in source
    monkeypatch.delenv("PYTHONPATH", raising=False)
    done = forks.run(f"{name}.py", "--smoke", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    content = json.loads((tmp_path / "results" / name / "results.json").read_text())
    assert content["recipe"] == name
    assert list(content["arms"]) == recipe.arms_for("smoke", content["dataset"]["name"])
    assert len(content["claims"]) == len(recipe.claims)
    assert all(claim["holds"] is None for claim in content["claims"])
    picture = tmp_path / "results" / name / f"{name}.png"
    assert struct.unpack(">II", picture.read_bytes()[16:24]) == (1600, 1000)
    drawn = picture.read_bytes()
    picture.unlink()
    assert command.run(recipe, ["--replot", "--out", str(picture.parent)]) == 0
    assert picture.read_bytes() == drawn
    title = recipe.plot(Results(content)).get_suptitle()
    assert TITLED[content["dataset"]["name"]] in title


def test_a_copy_measures_what_the_recipe_does(tmp_path):
    """Started as a user starts it, by an interpreter of its own."""
    copied("dropout", tmp_path)
    done = subprocess.run(
        [sys.executable, "dropout.py", "--smoke", "--out", "there"],
        cwd=tmp_path,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    here = smoke("dropout", tmp_path / "here")
    there = json.loads((tmp_path / "there" / "results.json").read_text())
    assert there["key"] == here["key"]
    assert there["arms"] == here["arms"]


def test_a_copy_has_no_more_of_common_than_it_needs():
    plain, attacked = copying.script("overfitting"), copying.script("fgsm")
    assert {"common/attacks.py", "common/layers.py"} & plain.keys() == set()
    assert "common/attacks.py" in attacked
    assert "pytest" not in plain[copying.REQUIREMENTS]
    assert "tensorflow==" in plain[copying.REQUIREMENTS]


def test_a_copys_requirements_are_all_that_it_imports():
    called = {"PIL": "pillow", "sklearn": "scikit-learn"}
    for name in NAMES:
        files = copying.script(name)
        lines = files.pop(copying.REQUIREMENTS).splitlines()
        listed = {re.split("[=<>]", line)[0] for line in lines}
        modules = set().union(*map(imported_packages, files.values()))
        foreign = modules - {"common", *sys.stdlib_module_names}
        assert {"keras", "numpy", "tensorflow", "PIL", "sklearn", "tensorflow_datasets"} <= foreign
        assert {called.get(one, one.replace("_", "-")) for one in foreign} <= listed, name


@functools.cache
def imported_packages(source: str) -> set[str]:
    """Of every import, wherever it stands, the package."""
    nodes = list(ast.walk(ast.parse(source)))
    names = [one.name for node in nodes if isinstance(node, ast.Import) for one in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


def test_what_stands_in_the_way_is_kept(tmp_path, capsys):
    assert copying.main(["script", "overfitting", str(tmp_path)]) == 0
    assert copying.main(["script", "slowdown-net", str(tmp_path)]) == 0  # shares common/
    assert copying.main(["notebook", "overfitting", str(tmp_path)]) == 0
    mine = tmp_path / "overfitting.py"
    mine.write_text("# edited\n")
    capsys.readouterr()
    assert copying.main(["script", "overfitting", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "another overfitting.py" in said
    assert mine.read_text() == "# edited\n"
    assert copying.main(["script", "overfitting", str(tmp_path), "--force"]) == 0
    assert mine.read_text() != "# edited\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["script", "overfitting", ""], "expected a folder"),
        (["script", "nonsense", "here"], "expected one of the recipes"),
        (["picture", "overfitting", "here"], "expected script|notebook"),
        (["script", "overfitting", "here", "--now"], "expected script|notebook"),
        (["notebook", "overfitting", "/dev/null"], "expected a folder to write in"),
    ],
)
def test_bad_usage_is_refused(arguments, said, capsys):
    assert copying.main(arguments) == 2
    received = capsys.readouterr().err
    assert received.count("\n") == 1
    assert said in received


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_holds_the_recipe_and_is_the_same_every_time(name):
    text = copying.notebook(name)[f"{name}.ipynb"]
    assert text == copying.notebook(name)[f"{name}.ipynb"]
    made = nbformat.reads(text, as_version=4)
    nbformat.validate(made)
    code = "\n".join(cell.source for cell in made.cells if cell.cell_type == "code")
    for heading in copying.HEADINGS.values():
        assert any(cell.source == f"## {heading}" for cell in made.cells), heading
    compile(code.replace(";\n", "\n"), name, "exec")
    assert "def train(" in code


def test_a_notebook_runs_and_measures_the_same(tmp_path):
    """And who edits a cell gets numbers of the edited code, not the kept ones."""
    assert copying.main(["notebook", "dropout", str(tmp_path)]) == 0
    made = nbformat.read(tmp_path / "dropout.ipynb", as_version=4)
    again = [cell.source for cell in made.cells if cell.source.startswith(("ARMS", "RECIPE"))]
    again[0] = again[0].replace('"plain": {"dropout": False', '"plain": {"dropout": True')
    again.append('run(RECIPE, ["--smoke", "--out", "edited"]);')
    made.cells += map(nbformat.v4.new_code_cell, again)
    NotebookClient(made, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    here = smoke("dropout", tmp_path / "here")
    there = json.loads((tmp_path / "results" / "dropout" / "results.json").read_text())
    changed = json.loads((tmp_path / "edited" / "results.json").read_text())
    assert there["arms"] == here["arms"]
    assert there["key"] == here["key"]
    assert changed["key"] != there["key"]
    assert changed["arms"]["plain"] != there["arms"]["plain"]
    shown = [output for cell in made.cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert not [output for output in shown if output.get("name") == "stderr"]
