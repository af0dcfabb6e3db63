"""What numbers depend on in a file of source: what is edited trains again, what is not does not."""

import ast
import textwrap

import pytest

from common import source
from tools import catalog

CODE = '''
"""A recipe on nothing."""

import os
import numpy as np
from keras import layers, ops
from common.ingredients.losses import cost as loss

RATE, WIDTH = 1, 2
SLOPE: float = 0.1
UNUSED = 5
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


def judge():
    return UNUSED


FINDINGS = (judge(),)


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


def test_what_is_defined_at_the_top_level():
    found = source.defined(CODE)
    assert set(found) == {
        *("os", "np", "layers", "ops", "loss"),
        *("RATE", "WIDTH", "SLOPE", "UNUSED", "ARMS", "FINDINGS", "RECIPE"),
        *("Config", "helper", "train", "judge", "plot"),
    }
    assert found["RATE"] is found["WIDTH"]
    assert isinstance(found["helper"], ast.FunctionDef)
    assert ast.unparse(found["loss"]) == "from common.ingredients.losses import cost as loss"
    assert ast.unparse(found["ops"]) == "from keras import ops"
    assert set(source.defined("import os.path\na.b = c[d] = 1\ne, (f, *g) = x")) >= set("efg")
    assert set(source.defined("import os.path")) == {"os"}


def test_what_definitions_reach():
    reached = source.reachable(CODE, {"train"})
    assert set(reached) == {"train", "helper", "RATE", "WIDTH", "SLOPE", "ops", "np", "loss"}
    assert set(source.reachable(CODE, {"plot"})) == {"plot", "os"}
    assert source.reachable(CODE, {"nothing"}) == {}


def test_definitions_that_reach_each_other_end():
    code = "def a(): return b()\ndef b(): return a()"
    assert set(source.reachable(code, {"a"})) == {"a", "b"}


EDITS = {  # what is edited, what then stands there, whether the recipe trains again
    "docstring": ('"""A recipe on nothing."""', '"""Another."""', False),
    "docstring of a function": ('"""Says what it does."""', '"""Says it better."""', False),
    "docstring of Config": ('"""Hyperparameters."""', '"""Other words."""', False),
    "comment": ("# A comment.", "# A better comment.", False),
    "help of a flag": ("# how long", "# number of epochs", False),
    "layout": ("    return helper(loss(config))", "\n    return helper(\n  loss(config)\n)", False),
    "finding": ("FINDINGS = (judge(),)", "FINDINGS = ()", False),
    "helper of a finding": ("return UNUSED", "return 2 * UNUSED", False),
    "constant that train does not use": ("UNUSED = 5", "UNUSED = 6", False),
    "figure": ("return os.name", "return os.sep", False),
    "import for the figure": ("import os\n", "import os, sys\n", False),
    "import beside others": ("import layers, ops", "import layers, losses, ops", False),
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
    edited = source.what_trains(CODE.replace(before, after))
    assert (edited != source.what_trains(CODE)) is again


def test_the_order_of_definitions_decides_nothing():
    a, b = "def train(): return helper()\n", "def helper(): return 1\n"
    assert source.what_trains(a + b) == source.what_trains(b + a)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ('"""Words."""\nx = 1', '"""Other words."""\nx = 1  # why', True),
        ('def f():\n    """Words."""', "def f():\n    pass", True),
        ("x = 1", "x = 2", False),
        ("def f(): return 1", "def g(): return 1", False),
        ("import a", "import b", False),
        ('f("text")', 'f("other")', False),  # no docstring
        ('x = """Words."""', 'x = """Other words."""', False),
    ],
)
def test_what_runs_of_a_file(before, after, same):
    assert (source.what_runs(before) == source.what_runs(after)) is same


@pytest.mark.parametrize("name", catalog.recipes())
def test_nothing_in_a_recipe_is_overlooked(name):
    """Names are bound once, by statements that `defined` knows: else an edit could be missed."""
    above = catalog.path(name).read_text().partition("\n# ---- findings\n")[0]
    bound = []
    for node in ast.parse(above).body:
        match node:
            case ast.Expr(value=ast.Constant(value=str())):
                continue
            case ast.Import() | ast.ImportFrom():
                bound += [(one.asname or one.name).partition(".")[0] for one in node.names]
            case ast.FunctionDef() | ast.ClassDef():
                bound.append(node.name)
            case ast.Assign(targets=targets):
                parts = [part for target in targets for part in ast.walk(target)]
                assert not any(isinstance(one, ast.Subscript | ast.Attribute) for one in parts)
                bound += [part.id for part in parts if isinstance(part, ast.Name)]
            case ast.AnnAssign(target=ast.Name(id=one)):
                bound.append(one)
            case _:
                raise AssertionError(f"line {node.lineno} is not understood")
    assert len(bound) == len(set(bound))
    assert set(bound) == set(source.defined(above))
