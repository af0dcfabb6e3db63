"""A recipe for one's own project: as a script or a notebook, with what it needs of `common`.

python -m tools.copying script NAME DEST [--force]
python -m tools.copying notebook NAME DEST [--force]

Both need nothing of this repository afterwards. Files that stand there already with another content
are not replaced without --force.
"""

from __future__ import annotations

import ast
import re
import shlex
import sys
from pathlib import Path

import jupytext

from common.dependence import imported
from common.results import UsageError, write_whole
from tools import catalog

ROOT = Path(__file__).parents[1]
REQUIREMENTS = "requirements-recipes.txt"  # a project has a requirements.txt of its own
STARTUP = "startup"  # what `import recipes` does here, a copy must do itself
BEGIN = f"from common.{STARTUP} import start_tensorflow\n\nstart_tensorflow()  # before all else\n"
# What modules are called where the name of the package is another.
PACKAGES = {
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "tensorflow_datasets": "tensorflow-datasets",
}
KERNEL = {"name": "python3", "language": "python", "display_name": "Python 3"}
RUN = """\
# %% [markdown]
# ## Run
# The flags are those of the command line; `--help` lists them. With `--smoke` it takes seconds and
# judges nothing, without it longer than said above: a notebook trains in one process.
# %%
from common.command import run

run(RECIPE, ["--smoke"]);
# %%
from IPython.display import Image

Image("results/{name}/{name}.png")
"""
HEADINGS = {
    "Config": "The knobs",
    "ARMS": "The variants compared",
    "build_model": "The net",
    "train": "Training one variant on one seed",
    "CLAIMS": "What is claimed",
    "plot": "The figure",
    "RECIPE": "All together",
}


def needed(source: str) -> list[Path]:
    """The files of `common` without which a recipe does not run."""
    reached, waiting = set(), imported(source) | {f"common.{STARTUP}"}
    while waiting:
        file = ROOT / (waiting.pop().replace(".", "/") + ".py")
        if file.parent.name == "common" and file.exists() and file not in reached:
            reached.add(file)
            waiting |= imported(file.read_text())
    return sorted([ROOT / "common" / "__init__.py", *reached])


def requirements(sources: list[str]) -> str:
    """The lines of requirements.txt for what these files import."""
    modules = {name.partition(".")[0] for source in sources for name in imported(source)}
    packages = {PACKAGES.get(name, name) for name in modules}
    if "tensorflow-datasets" in packages:
        packages.add("importlib_resources")  # which it imports and does not declare
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return "".join(f"{line}\n" for line in lines if re.split("[=<>]", line)[0] in packages)


def script(name: str) -> dict[str, str]:
    """The files of a copy by their names: NAME.py, what it needs of common/, its packages."""
    source = (ROOT / "recipes" / f"{name}.py").read_text()
    files = {f"{name}.py": standalone(name, source)}
    files |= {f"common/{file.name}": file.read_text() for file in needed(source)}
    return files | {REQUIREMENTS: requirements(list(files.values()))}


def notebook(name: str) -> dict[str, str]:
    """The same with NAME.ipynb in place of NAME.py."""
    files = script(name)
    made = jupytext.reads(cells(name, files[f"{name}.py"]), "py:percent")
    made.metadata["kernelspec"] = KERNEL
    for i, cell in enumerate(made.cells):
        cell["id"] = f"{name}-{i}"  # drawn by chance else, which makes each copy another file
    del files[f"{name}.py"]
    return {f"{name}.ipynb": jupytext.writes(made, "ipynb") + "\n"} | files


def standalone(name: str, source: str) -> str:
    """The recipe's code as a script outside this repository."""
    start = ast.parse(source).body[0].end_lineno
    lines = source.splitlines(keepends=True)
    text = "".join([*lines[:start], "\n", BEGIN, *lines[start:]])
    return re.sub(
        rf"make recipe-{catalog.target(name)}(?![-\w])( +ARGS=\"([^\"\n]*)\")?",
        lambda found: f"python {name}.py" + (f" {found[2]}" if found[2] else ""),
        text,
    )


def cells(name: str, source: str) -> str:
    """The code in the percent format: a cell for the imports, one for each definition."""
    docstring, *body = ast.parse(source).body
    lines = source.splitlines()
    parts = [
        "# %% [markdown]",
        *(f"# {line}".rstrip() for line in markdown(name, docstring.value.value)),
        "# %%",
        f'__file__ = "{name}.ipynb"  # names the results; a notebook does not know its own name',
        f"__doc__ = {docstring.value.value.splitlines()[0]!r}",
        "",
    ]
    end, open_cell = docstring.end_lineno, True
    for node in body[:-1]:  # the last one is `if __name__ == "__main__"`
        defines = isinstance(node, (ast.ClassDef, ast.FunctionDef))
        named = {part.id for part in ast.walk(node) if _is_assigned(part)}
        heading = HEADINGS.keys() & ({node.name} if defines else named)
        text = "\n".join(lines[end : node.end_lineno])
        for one in heading:
            parts += ["# %% [markdown]", f"# ## {HEADINGS[one]}"]
        if heading or defines or not open_cell:
            parts.append("# %%")
            text = text.strip("\n")
        parts.append(text)
        end, open_cell = node.end_lineno, not defines
    return "\n".join([*parts, RUN.format(name=name)])


def _is_assigned(part: ast.AST) -> bool:
    return isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)


def markdown(name: str, docstring: str) -> list[str]:
    """A docstring's lines with its first one as the title; of the command, the time it takes."""
    first, *rest = docstring.strip().splitlines()
    takes = f"Takes {catalog.duration(name)}."
    kept = [takes if line.startswith(f"    python {name}.py") else line for line in rest]
    return [f"# {first}", *kept]


def write(files: dict[str, str], folder: Path, force: bool) -> str:
    """Writes the files; -> what was wrong, and then nothing is written; empty if all is well."""
    try:
        there = [name for name in files if (folder / name).exists()]
        other = [name for name in there if (folder / name).read_bytes() != files[name].encode()]
        if other and not force:
            received = f"another {' and another '.join(other)}"
            return f"expected nothing in the way, received {received} (FORCE=1 replaces it)"
        for parent in {(folder / name).parent for name in files}:
            parent.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_whole(folder / name, text.encode())
    except OSError as error:
        return f"expected a folder to write in, received: {error.strerror} ({error.filename})"
    return ""


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    usage = "script|notebook NAME DEST [--force]"
    match arguments:
        case ["script" | "notebook" as kind, name, folder, *flags] if flags in ([], ["--force"]):
            pass
        case _:
            print(f"expected {usage}, received: {' '.join(arguments)}", file=sys.stderr)
            return 2
    try:
        name = catalog.find(name)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    if not folder:
        print("expected a folder, DEST=DIR, received none", file=sys.stderr)
        return 2
    files = script(name) if kind == "script" else notebook(name)
    if wrong := write(files, Path(folder).expanduser(), bool(flags)):
        print(f"{folder}: {wrong}", file=sys.stderr)
        return 2
    first, *rest = files
    opened, more = ("python", "") if kind == "script" else ("jupyter lab", " jupyterlab")
    print(f"{first}, {len(rest) - 1} files of common/ and {REQUIREMENTS} are in {folder}. To run:")
    print(f"    cd {shlex.quote(folder)}")
    print(f"    python -m pip install -r {REQUIREMENTS}{more}")
    print(f"    {opened} {first}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
