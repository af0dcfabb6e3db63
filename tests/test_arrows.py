"""The arrows of the house point one way, and its rooms stay small."""

import ast
from pathlib import Path

import pytest

from common.source import imported
from tools import catalog

ROOT = Path(__file__).parents[1]
COMMON = ROOT / "common"
# What the files of a room may import of ours; within a room they may import each other.
ALLOWED = {
    "startup": set(),
    "system": set(),
    "source": set(),
    "hyperparameters": {"system"},
    "flags": {"system"},
    "dispatch": {"system"},  # without TensorFlow, which a process loads with its first run
    "early": {"flags", "hyperparameters", "system"},  # before TensorFlow starts
    "ingredients": set(),
    "data": {"system"},
    "training": {"startup", "system", "ingredients"},
    "experiment": {
        *("startup", "system", "source", "hyperparameters", "flags", "dispatch", "data"),
        "training",
    },
}
FILES = sorted(COMMON.rglob("*.py"))


def imports(file: Path) -> set[str]:
    """Dotted names of everything that a file imports, wherever in it."""
    source = file.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide where they point"
    return imported(source)


def room(file: Path) -> str:
    return file.relative_to(COMMON).parts[0].removesuffix(".py")


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(COMMON)))
def test_common_points_inwards(file):
    if file.parent == COMMON and file.stem == "__init__":
        assert not imports(file)
        return
    own = room(file)
    found = imports(file)
    reached = {name.split(".")[1] for name in found if name.startswith("common.")}
    assert reached - {own} <= ALLOWED[own]
    assert not {name for name in found if name.startswith(("recipes", "tools", "tests"))}


def test_training_takes_callbacks_alone_of_the_ingredients():
    found = {name for file in (COMMON / "training").glob("*.py") for name in imports(file)}
    of_ingredients = {name for name in found if name.startswith("common.ingredients")}
    assert of_ingredients == {
        "common.ingredients.callbacks",
        "common.ingredients.callbacks.Evaluate",
    }


@pytest.mark.parametrize("name", catalog.recipes())
def test_a_recipe_imports_no_other_and_no_machinery(name):
    source = catalog.path(name).read_text()
    found = imported(source)
    assert not {one for one in found if one.startswith(("recipes", "tools", "tests"))}
    own = {one for one in found if one.startswith("common.")}
    machinery = {
        one
        for one in own
        if one.startswith(("common.training.", "common.data", "common.system", "common.source"))
    }
    assert machinery <= {"common.training.fit", "common.training.once", "common.training.evaluate"}


def test_common_knows_no_recipe():
    """Neither by name nor by a hyperparameter of one."""
    for file in FILES:
        names = {
            part.value
            for part in ast.walk(ast.parse(file.read_text()))
            if isinstance(part, ast.Constant) and isinstance(part.value, str)
        }
        # An attack and a setting of optimizers are called as the recipes that show them.
        assert not names & (set(catalog.recipes()) - {"fgsm", "learning_rate"}), file


def lines(files: list[Path]) -> int:
    return sum(len(file.read_text().splitlines()) for file in files)


def test_files_are_short():
    assert all(lines([file]) <= 350 for file in FILES)
    sizes = [lines([catalog.path(name)]) for name in catalog.recipes()]
    assert max(sizes) <= 160
    assert sum(sizes) / len(sizes) <= 130
