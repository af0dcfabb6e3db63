"""The arrows of the house point one way."""

import ast
from pathlib import Path

import pytest

from common.dependence import imported

ROOT = Path(__file__).parents[2]
ALLOWED = {
    "attacks": set(),
    "checkpoint": {"results"},
    "claims": set(),
    "data": set(),
    "dependence": set(),
    "figures": set(),
    "images": {"data"},
    "layers": set(),
    "losses": set(),
    "results": set(),
    "snapshot": {"results"},
    "startup": set(),
    "distribution": {"results"},
    "training": {"distribution", "snapshot"},
    "workers": set(),
    "experiment": {
        "checkpoint",
        "claims",
        "data",
        "dependence",
        "distribution",
        "figures",
        "images",
        "results",
        "training",
        "workers",
    },
    "command": {"claims", "data", "distribution", "experiment", "results", "workers"},
}


def imports(file: Path) -> set[str]:
    """Dotted names of everything that a file imports, wherever in it."""
    source = file.read_text()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative imports hide where they point"
    return imported(source)


def own(names: set[str], package: str) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith(f"{package}.")}


MODULES = sorted(path.stem for path in (ROOT / "common").glob("*.py") if path.stem != "__init__")
RECIPES = sorted(path for path in (ROOT / "recipes").glob("*.py") if path.stem != "__init__")


def test_every_module_has_its_place():
    assert set(MODULES) == set(ALLOWED)
    assert RECIPES


@pytest.mark.parametrize("module", MODULES)
def test_common_points_inwards(module):
    found = imports(ROOT / "common" / f"{module}.py")
    assert own(found, "common") <= ALLOWED[module]
    assert not own(found, "recipes")
    assert not {name for name in found if name.startswith(("recipes", "tools", "tests"))}


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_no_recipe_imports_another(recipe):
    found = imports(recipe)
    assert not {name for name in found if name.startswith(("recipes", "tools", "tests"))}
