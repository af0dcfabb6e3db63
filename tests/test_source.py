"""What numbers depend on in a file of source: what is edited trains again, what is not does not."""

import textwrap

import pytest

from common import source

CODE = '''
"""A recipe on nothing."""

import os
import numpy as np
from keras import layers, ops
from common.experiment.findings import Lower
from common.ingredients.losses import cost as loss

RATE, WIDTH = 1, 2
SLOPE: float = 0.1
ARMS = {"plain": {"deep": False}}


class Config:
    """Hyperparameters."""

    epochs: int = 3  # how long


def helper(x):
    """Says what it does."""

    def inner():
        return SLOPE

    return RATE * inner() * ops.sum(np.ones(x))


def train(config, arm, seed, data):
    # A comment.
    return helper(loss(config))


# ---- findings
FINDINGS = (Lower(np.pi),)


def plot(results):
    return os.name


RECIPE = (train, FINDINGS, plot)
'''


def test_what_is_imported_wherever_it_stands():
    code = """
    import os, numpy as np
    import common.training.fit
    from common.data import load as loaded, Dataset
    def late():
        from keras import ops
        import sys
    """
    assert source.imported(textwrap.dedent(code)) == {
        *("os", "numpy", "common.training.fit", "keras", "keras.ops", "sys"),
        *("common.data", "common.data.load", "common.data.Dataset"),
    }
    assert source.imported("x = 1") == set()


EDITS = {  # what is edited, what then stands there, whether the recipe trains again
    "docstring": ('"""A recipe on nothing."""', '"""Another."""', False),
    "docstring of a function": ('"""Says what it does."""', '"""Says it better."""', False),
    "docstring of Config": ('"""Hyperparameters."""', '"""Other words."""', False),
    "comment": ("# A comment.", "# A better comment.", False),
    "help of a flag": ("# how long", "# number of epochs", False),
    "layout": ("    return helper(loss(config))", "\n    return helper(\n  loss(config)\n)", False),
    "finding": ("Lower(np.pi)", "Lower(np.e)", False),
    "figure": ("return os.name", "return os.sep", False),
    "import for the figure": ("import os\n", "import posix as os\n", False),
    "train": ("helper(loss(config))", "helper(2 * loss(config))", True),
    "helper": ("RATE * inner()", "RATE + inner()", True),
    "function within": ("return SLOPE", "return -SLOPE", True),
    "constant": ("RATE, WIDTH = 1, 2", "RATE, WIDTH = 3, 2", True),
    "annotated constant": ("SLOPE: float = 0.1", "SLOPE: float = 0.2", True),
    "hyperparameter": ("epochs: int = 3", "epochs: int = 4", True),
    "arm": ('"deep": False', '"deep": True', True),
    "what a name stands for": ("losses import cost as", "losses import penalty as", True),
    "where a name comes from": ("import numpy as np", "import jax.numpy as np", True),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_is_trained_again_after_an_edit(edit):
    before, after, again = EDITS[edit]
    assert CODE.count(before) == 1
    edited = source.what_runs(CODE.replace(before, after))
    assert (edited != source.what_runs(CODE)) is again


def test_imports_that_only_findings_and_figure_need_train_nothing():
    edited = CODE.replace("import Lower", "import Higher, Lower").replace(
        "(Lower", "(Higher(1), Lower"
    )
    edited = edited.replace("import os\n", "import re\n").replace("os.name", "re.sub")
    assert source.what_runs(edited) == source.what_runs(CODE)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ('"""Words."""\nx = 1', '"""Other words."""\nx = 1  # why', True),
        ('def f():\n    """Words."""', "def f():\n    pass", True),
        ("x = 1", "x = 2", False),
        ("def f(): return 1", "def g(): return 1", False),
        ("import a", "import b", False),  # which another file may import from this one
        ('f("text")', 'f("other")', False),  # no docstring
        ('x = """Words."""', 'x = """Other words."""', False),
    ],
)
def test_what_runs_of_a_file(before, after, same):
    assert (source.what_runs(before) == source.what_runs(after)) is same
