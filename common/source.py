"""What numbers depend on in a file of source; nothing is run for that."""

import ast
from pathlib import Path
from typing import Any

COMMON = Path(__file__).parent
RULE = "\n# ---- findings\n"  # what stands below it in a recipe trains nothing


def imported(source: str) -> set[str]:
    """Dotted names of all that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or "."  # from . import name
            found |= {module, *(f"{module}.{name.name}" for name in node.names)}
    return found


def what_runs(source: str) -> str:
    """The code of a file without docstrings and comments; of a recipe, what its training needs.

    Editing a finding, a figure, or an import that only they use does not change the result.
    """
    above, _, below = source.partition(RULE)
    tree = ast.parse(above)
    unused = _names(ast.parse(below)) - _names(tree)
    for node in ast.walk(tree):
        match node:
            case ast.Import() | ast.ImportFrom():
                node.names = [one for one in node.names if (one.asname or one.name) not in unused]
            case ast.Module() | ast.ClassDef() | ast.FunctionDef() if ast.get_docstring(node):
                node.body[0] = ast.Pass()
    tree.body = [node for node in tree.body if getattr(node, "names", True)]
    return ast.dump(tree)


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def of_training(file: Path) -> dict[str, Any]:
    """What runs when a recipe is trained: its own code and that of `common`."""
    files = {*ingredients(file), *COMMON.glob("training/*.py"), *COMMON.glob("data/*.py")}
    common = [what_runs(file.read_text()) for file in sorted(files)]
    return {"recipe": what_runs(file.read_text()), "common": common}


def ingredients(file: Path) -> set[Path]:
    """The files of `common.ingredients` that a recipe imports."""
    names = imported(file.read_text())
    used = [name.split(".")[2] for name in names if name.startswith("common.ingredients.")]
    return {COMMON / "ingredients" / f"{name}.py" for name in used}


def needs_tensorflow(file: Path) -> bool:
    """Whether a recipe asks TensorFlow itself for gradients, and trains on no other backend."""
    return any("tensorflow" in imported(one.read_text()) for one in (file, *ingredients(file)))
