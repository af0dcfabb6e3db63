"""Recipes as notebooks: one for each, and a few with what they printed and drew.

python -m tools.notebooks [DIR] [--force]   one for each recipe, to be run, into DIR (notebooks/)
python -m tools.notebooks --keep NAME...    those named, run on three seeds, into docs/notebooks/
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import nbformat
import numpy as np
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from common import data
from common.system import UsageError, write_whole
from tools import catalog, copying

KEPT = catalog.DOCS / "notebooks"
THREE_SEEDS = "seeds = 3"
TIMEOUT = 7_200  # seconds for a cell
# What `keras.datasets` gives in a kernel, which sees nothing of this repository.
BEFORE = """
%reset -f
import importlib.util, keras, numpy as np
assert not any(importlib.util.find_spec(one) for one in ("common", "recipes", "tools", "tests"))
keras.utils.clear_session()
for name in {names}:
    kept = [np.load(f"{{name}}_{{i}}.npy") for i in range(4)]
    getattr(keras.datasets, name).load_data = lambda kept=kept: (kept[:2], kept[2:])
"""


def read(name: str) -> nbformat.NotebookNode:
    """The notebook of a recipe."""
    return nbformat.reads(copying.notebook(name)[f"{name}.ipynb"], as_version=4)


def run(notebooks: list[nbformat.NotebookNode], datasets: Mapping[str, data.Data]) -> None:
    """Runs notebooks one after the other in one kernel, and puts the outputs into their cells.

    Args:
        notebooks: what is run, each in a namespace of its own.
        datasets: what `keras.datasets` gives, by name.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raises an error.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, arrays in datasets.items():
            for i, array in enumerate(part for pair in arrays for part in pair):
                np.save(Path(folder, f"{name}_{i}.npy"), array)
        before = BEFORE.format(names=list(datasets))
        cells = [cell for one in notebooks for cell in (new_code_cell(before), *one.cells)]
        client = NotebookClient(
            new_notebook(cells=cells, metadata={"kernelspec": copying.KERNEL}),
            timeout=TIMEOUT,
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        client.execute()
    for one in notebooks:
        for number, cell in enumerate((c for c in one.cells if c.cell_type == "code"), start=1):
            cell.execution_count = number


def on_three_seeds(cell: str) -> str:
    """A cell's text, for the default budget on three seeds."""
    if not cell.startswith("smoke = True"):
        return cell
    cell = re.sub(r"^smoke = True\b.*", "smoke = False", cell)
    cell, found = re.subn(r"\bseeds = 1 if smoke else \d+", THREE_SEEDS, cell)
    if found != 1:
        raise ValueError(f"expected the number of seeds once, received {cell}")
    return cell


def keep(name: str) -> None:
    """Runs the notebook of a recipe at its default budget on three seeds, and keeps it in docs/."""
    dataset, notebook = catalog.load(name).default_dataset, read(name)
    for cell in notebook.cells:
        cell.source = on_three_seeds(cell.source)
    run([notebook], {} if dataset == "none" else {dataset: data.load(dataset).arrays})
    write_whole(KEPT / f"{name}.ipynb", f"{nbformat.writes(notebook)}\n".encode())


def write_all(folder: Path, force: bool) -> None:
    """A notebook for each recipe, into a folder."""
    files = {}
    for name in catalog.recipes():
        files |= copying.notebook(name)
    copying.write(files, folder, force)
    print(f"{folder}: {len(files)} notebooks")


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    words = [word for word in arguments if word != "--force"]
    try:
        if words[:1] == ["--keep"] and words[1:]:
            for name in map(catalog.find, words[1:]):
                keep(name)
                print(f"{name}: kept")
        elif len(words) < 2 and not any(word.startswith("-") for word in words):
            write_all(Path(*words or ["notebooks"]).expanduser(), "--force" in arguments)
        else:
            raise UsageError(
                f"expected one folder or --keep NAME..., received: {' '.join(arguments)}"
            )
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
