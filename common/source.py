"""What numbers depend on in a file of source; nothing is run for that."""

from __future__ import annotations

import ast


def imported(source: str) -> set[str]:
    """Dotted names of all that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
    return found


def defined(source: str) -> dict[str, ast.stmt]:
    """The top-level definitions and imports of a file by their names."""
    found: dict[str, ast.stmt] = {}
    for node in ast.parse(source).body:
        for one in node.names if isinstance(node, ast.Import | ast.ImportFrom) else []:
            alone = type(node)(**{**vars(node), "names": [one]})
            found[(one.asname or one.name).partition(".")[0]] = alone
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        names = [one.id for target in targets for one in ast.walk(target) if hasattr(one, "id")]
        found |= dict.fromkeys([*names, *([node.name] if hasattr(node, "name") else [])], node)
    return found


def reachable(source: str, names: set[str]) -> dict[str, ast.stmt]:
    """Those of the definitions that the names are or use, by their names."""
    known, reached, waiting = defined(source), {}, set(names)
    while waiting := waiting & known.keys() - reached.keys():
        name = waiting.pop()
        reached[name] = known[name]
        waiting |= {part.id for part in ast.walk(known[name]) if isinstance(part, ast.Name)}
    return reached


def what_trains(source: str) -> str:
    """The code of a recipe that its numbers depend on: `train` and what that uses.

    To edit a finding, a figure, a docstring or a comment is not to train again.
    """
    reached = reachable(source, {"Config", "ARMS", "train"})
    return "\n".join(_code(reached[name]) for name in sorted(reached))


def what_runs(source: str) -> str:
    """The code of a file without its docstrings and comments."""
    return _code(ast.parse(source))


def _code(tree: ast.AST) -> str:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
            body[0] = ast.Pass()
    return ast.dump(tree)
