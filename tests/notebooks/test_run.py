"""Every recipe's notebook runs with nothing of this repository: `make test-notebooks`."""

import re

import numpy as np
import pytest

from common.data import Data
from tests.tools.test_notebooks import code_cells
from tools import catalog, notebooks, standalone


def made(*shape: int) -> Data:
    """Images of ten classes that are easily told apart."""
    rng = np.random.default_rng(0)
    labels = np.resize(np.arange(10, dtype="int32"), 3_000)
    images = 20 * labels.reshape(-1, *[1] * len(shape)) + rng.integers(0, 50, (3_000, *shape))
    images = images.astype("uint8")
    return (images[:2_000], labels[:2_000]), (images[2_000:], labels[2_000:])


DATASETS = {"mnist": made(28, 28), "cifar10": made(32, 32, 3)}


@pytest.mark.parametrize("chapter", catalog.chapters())
def test_the_notebooks_of_a_chapter_run_alone(chapter):
    names = catalog.chapters()[chapter]
    run = [notebooks.read(name) for name in names]
    notebooks.run(run, DATASETS)
    for name, notebook in zip(names, run, strict=True):
        recipe, cells = catalog.load(name), code_cells(notebook)
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        assert not any(cell.outputs for cell in cells[:5])
        printed = "".join(one.text for one in cells[5].outputs if one.name == "stdout")
        for arm in recipe.arms_for("default", recipe.default_dataset):
            assert re.search(rf"^{re.escape(arm)} ", printed, re.M), f"{name}: {arm}"
        drawn = [output for cell in cells[6:] for output in cell.outputs]
        curves = standalone.has_curves(catalog.path(name).read_text())
        assert ["image/png" in output.data for output in drawn] == [True] * curves, name
