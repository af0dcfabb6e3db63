"""What numbers depend on in a file of source; nothing is run for that."""

import ast

RULE = "\n# ---- findings\n"  # what stands below it in a recipe trains nothing


def imported(source: str) -> set[str]:
    """Dotted names of all that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def what_runs(source: str) -> str:
    """The code of a file without docstrings and comments; of a recipe, what its training needs.

    To edit a finding or a figure, or what is imported for them alone, is not to train again.
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
