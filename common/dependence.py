"""What a file of source depends on, and what numbers depend on in it; nothing is run for that."""

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


def what_trains(source: str) -> str:
    """The code of a recipe that its numbers depend on: `train` and what that uses.

    To edit a claim, a figure, a docstring or a comment is not to train anew.
    """
    defined: dict[str, ast.stmt] = {}
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AnnAssign) else targets
        names = [part.id for target in targets for part in ast.walk(target) if hasattr(part, "id")]
        defined |= dict.fromkeys([*names, *([node.name] if hasattr(node, "name") else [])], node)
    reached, waiting = set(), {"Config", "ARMS", "train"} & defined.keys()
    while waiting:
        name = waiting.pop()
        reached.add(name)
        used = {part.id for part in ast.walk(defined[name]) if isinstance(part, ast.Name)}
        waiting |= (used & defined.keys()) - reached
    return "\n".join(_code(defined[name]) for name in sorted(reached))


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
