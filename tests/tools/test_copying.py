"""Copies: what a recipe's source becomes, and that it runs with nothing of this repository."""

import ast
import copy
import functools
import json
import os
import random
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ruff import find_ruff_bin

from common import source
from tools import catalog, copying, standalone

NAMES = catalog.recipes()
LINES = 220  # at most, ingredients aside: a file that is read at one sitting
ALLOWED = {"keras", "numpy", "scipy", "tensorflow", "PIL", *sys.stdlib_module_names}
RULES = "E,F,W,I,UP,B,SIM,C4,RUF,PLE,NPY"

# A recipe with all that a copy changes, and all that it must keep.
SOURCE = '''
"""Small nets learn.

Source: a book.

    make recipe-small-net          a minute on 2 cores
    make recipe-small-net ARGS="--paper"    hours
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge, Lt
from keras import layers

from common.experiment import Data, Examples, Outcome, Recipe, figures, main
from common.ingredients import losses
from common.ingredients.callbacks import Evaluate
from common.training import evaluate, fit, once

# epochs: sums are three times as many, öfter
EVERY = 2


@dataclass(frozen=True)
class Config:
    """Hyperparameters."""

    n_train: Annotated[int, Examples("train")] = 100  # training images
    drop: Annotated[float, Ge(0), Lt(1)] = 0.5  # "größer", in a comment
    epochs: int = 2  # passes over them


ARMS = {"plain": {"stop": False}, "stopped": {"stop": True}}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    initial = keras.initializers.HeNormal(seed=keras.random.SeedGenerator(seed))
    inputs = keras.Input((28, 28))
    x = layers.Dropout(config.drop, seed=seed)(layers.Flatten()(inputs))
    return keras.Model(inputs, layers.Dense(10, kernel_initializer=initial)(x))


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    (x_train, y_train), (x_test, y_test) = data
    model = build_model(config, arm, seed)

    def make():
        return [np.random.default_rng(seed).normal(size=w.shape) for w in model.get_weights()]

    model.set_weights(once("start", make))
    model.compile("sgd", losses.sigmoid_cross_entropy, metrics=["categorical_accuracy"])
    one_hot = keras.utils.to_categorical
    stopping = keras.callbacks.EarlyStopping("train_loss", patience=1, mode="min")
    history = fit(
        model,
        x_train[: config.n_train],
        one_hot(y_train[: config.n_train], 10),  # (n, 10)
        epochs=config.epochs,  # not more
        callbacks=[
            Evaluate("train", x_train[:50], one_hot(y_train[:50], 10)),
            *([stopping] if arm["stop"] else []),
        ],
    ).history
    measured = evaluate(model, x_test, one_hot(y_test, 10))
    metrics = {"test cost": measured["loss"], "train cost": history["train_loss"][-1]}
    return Outcome(metrics, {"cost": history["loss"]})


# ---- findings
FINDINGS = ()
'''.lstrip()


def described(**changed) -> SimpleNamespace:
    """What a copy needs to know of that recipe."""
    known = {"arms": ["plain", "stopped"], "default_dataset": "mnist", "on": {}, "seeds": 3}
    known |= {"smoke": {"n_train": 50}, "paper": {"n_train": 60_000}} | changed
    arms = known.pop("trained", known["arms"])
    return SimpleNamespace(**known, arms_for=lambda preset, dataset: list(arms))


def made(source: str = SOURCE, notebook: bool = False, **changed) -> str:
    """A copy of that recipe."""
    return standalone.one_file("small_net", described(**changed), source, notebook)


@functools.cache
def copied(name: str) -> str:
    """The copy of a recipe in this collection."""
    return copying.script(name)[f"{name}.py"]


def check_style(code: str) -> None:
    """That ruff would change nothing in it nor complain."""
    own = ["--isolated", "--no-cache", "--line-length=100", "--target-version=py311"]
    for command in (["check", f"--select={RULES}"], ["format", "--diff"]):
        words = [find_ruff_bin(), *command, *own, "-"]
        done = subprocess.run(words, input=code, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def imported(code: str) -> set[str]:
    """Packages that it imports, wherever."""
    return {name.partition(".")[0] for name in source.imported(code)}


def check_alone(code: str) -> None:
    """That a copy is well-formed, and needs nothing of ours."""
    compile(code, "copy", "exec")
    check_style(code)
    assert imported(code) <= ALLOWED
    assert not re.search(r"\bcommon[./]\w", code)
    assert "make recipe" not in code


# ---- one change at a time


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("fit(model, x, y)", "model.fit(x, y, verbose=0)"),
        ("a = fit(net, x, y, epochs=2).history", "a = net.fit(x, y, epochs=2, verbose=0).history"),
        ("fit(model, (x - m), y, epochs=2)", "model.fit((x - m), y, epochs=2, verbose=0)"),
        ("fit(model, x, y, verbose=2)", "model.fit(x, y, verbose=2)"),
        (
            "fit(model, x, y, validation_data=test)",
            "model.fit(x, y, validation_data=test, validation_batch_size=500, verbose=0)",
        ),
        ("fit(model, *data, **how)", "model.fit(*data, **how, verbose=0)"),
        ("fit(model, x=x)", "model.fit(x=x, verbose=0)"),
        (
            "evaluate(model, x, y)['loss']",
            "model.evaluate(x, y, return_dict=True, verbose=0)['loss']",
        ),
        (
            "fit(model, x, f(fit(b, evaluate(c, x, y), y)))",
            "model.fit(x, f(b.fit(c.evaluate(x, y, return_dict=True, verbose=0), y, verbose=0)), "
            "verbose=0)",
        ),
        ("n: Annotated[int, Ge(0), Lt(1)] = 3  # ü", "n: int = 3  # ü"),
        ("n: Annotated[int | None, Ge(0)] = 3", "n: int | None = 3"),
        ("n: dict[str, Annotated[Data, 1]]", "n: dict[str, tuple]"),
        ("'ü'; fit(model, 'ä', y)", "'ü'; model.fit('ä', y, verbose=0)"),
        ("model.fit(x, y); self.evaluate(x, y)", "model.fit(x, y); self.evaluate(x, y)"),
    ],
)
def test_a_call_or_a_type_in_stock_keras(before, after):
    assert ast.unparse(ast.parse(standalone.stock(before))) == ast.unparse(ast.parse(after))
    assert ("  # ü" in before) == ("  # ü" in standalone.stock(before))


def test_a_call_over_many_lines_keeps_its_layout_and_comments():
    before = """\
    history = fit(
        model,
        x[:3],  # three, at most
        y,
        callbacks=[one, *others],
        epochs=3,  # (not more)
    )
    """
    after = """\
    history = model.fit(
        x[:3],  # three, at most
        y,
        callbacks=[one, *others],
        epochs=3,  # (not more)
        verbose=0,
    )
    """
    before, after = map(textwrap.dedent, (before, after))
    defined = "model = x = y = one = others = 1\n"
    assert standalone.tidy("small", defined + standalone.stock(before)) == defined + after
    hugging = before.replace("epochs=3,", "epochs=3")  # no comma after the last argument
    assert standalone.tidy("small", defined + standalone.stock(hugging)) == defined + after


@pytest.mark.parametrize("call", ["fit()", "fit(model)", "fit(nets[0], x, y)", "fit(x=x, y=y)"])
def test_a_call_that_is_no_method_of_a_named_model_is_refused(call):
    with pytest.raises(ValueError, match=r"expected fit\(model, x, y, \.\.\.\), received"):
        standalone.stock(call)


def test_global_names_are_told_from_local_ones():
    code = """
        @decorated
        class One(Base):
            size: int = SIZE
            def method(self, noise, k=DEFAULT):
                logits = noise + call(self.attribute)
                return [logits + OFFSET for i in range(k)]
        """
    bound, used = standalone.names(textwrap.dedent(code))
    assert bound == {"One"}
    expected = {"decorated", "Base", "int", "SIZE", "DEFAULT", "call", "OFFSET", "range"}
    assert used == expected


def test_ingredients_come_with_what_they_use(tmp_path, monkeypatch):
    folder = tmp_path / "common" / "ingredients"
    folder.mkdir(parents=True)
    first = """
        \"\"\"First.\"\"\"
        import math
        import os
        # how large
        SIZE = 3  # not larger
        OTHER = 4
        def unused(): return OTHER
        def _helper(size): return math.sqrt(size)
        # is what a recipe asks for
        @str
        def asked(OTHER=2): return _helper(SIZE + OTHER)
        """
    (folder / "first.py").write_text(textwrap.dedent(first).lstrip())
    monkeypatch.setattr(standalone, "ROOT", tmp_path)
    recipe = standalone.Module(ours={"common.ingredients.first": {"asked"}})
    (first,) = standalone.ingredients(recipe)
    assert first.imports == ["import math", "import os"]
    assert [one.splitlines() for one in first.definitions] == [
        ["# how large", "SIZE = 3  # not larger"],
        ["def _helper(size): return math.sqrt(size)"],
        [
            "# is what a recipe asks for",
            "@str",
            "def asked(OTHER=2): return _helper(SIZE + OTHER)",
        ],
    ]


def test_once_is_made_once_per_seed_and_leaves_the_same_random_numbers():
    import keras

    names = {"keras": keras}
    exec(standalone.PROVIDED["once"], names)
    made, drawn = [], []

    def make():
        made.append(float(random.random()))
        return [np.array(made[-1])]

    for seed in (0, 1):
        names["SHARED"]["seed"] = seed
        for _ in range(3):
            assert names["once"]("start", make) == [np.array(made[-1])]
            drawn.append(random.random())
        names["once"]("another", lambda: [])
    assert len(made) == 2
    assert drawn[0] == drawn[1] == drawn[2] != drawn[3] == drawn[4]


# ---- the whole


def test_a_small_recipe_becomes_one_file():
    code = made()
    check_alone(code)
    assert code.startswith('"""Small nets learn.\n\nSource: a book.\n\n    python small_net.py  ')
    for kept in (
        "# epochs: sums are three times as many, öfter\nEVERY = 2",
        '    drop: float = 0.5  # "größer", in a comment',
        "def sigmoid_cross_entropy(",
        "class Evaluate(",
        'Evaluate("train", x_train[:50], one_hot(y_train[:50], 10)),',
        '*([stopping] if arm["stop"] else []),',
        "model.evaluate(x_test, one_hot(y_test, 10), return_dict=True, verbose=0)",
        "Config(n_train=50) if smoke else Config()",
        "seeds = 1 if smoke else 3",
        'SHARED["seed"] = seed',
        "for name, arm in ARMS.items():",
        "    python small_net.py            2 arms on 3 seeds\n",
        "    python small_net.py --smoke    seconds",
    ):
        assert kept in code, kept
    for gone in (
        "class Record",
        "FINDINGS",
        "Annotated",
        "annotated",
        "ARGS",
        "a minute",
        "figures",
    ):
        assert gone not in code, gone


def test_a_copy_is_the_same_in_every_process():
    """Also where sets of names have another order."""
    code = (
        "from tools import catalog, standalone as s; "
        "module = s.Module.read(s.stock(catalog.path('gradient_descent').read_text())); "
        "print([one.definitions for one in s.ingredients(module)])"
    )
    said = {
        subprocess.check_output(
            [sys.executable, "-c", code],
            cwd=copying.ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
        )
        for seed in "0123"
    }
    (definitions,) = said
    assert b"def noise_scale(" in definitions


def test_what_a_copy_runs_is_what_the_recipe_says():
    code = made(on={"mnist": {"epochs": 7}}, trained=["stopped"], smoke={"drop": 0.25})
    assert "Config(epochs=7, drop=0.25) if smoke else Config(epochs=7)" in code
    assert 'for name in ["stopped"]:' in code
    assert "train(config, ARMS[name], seed, data)" in code
    assert "    python small_net.py            1 arm on 3 seeds\n" in code
    assert "keras.datasets.cifar10" in made(default_dataset="cifar10")
    assert "data = None" in made(default_dataset="none")
    with pytest.raises(ValueError, match="small_net: expected a recipe on mnist or cifar10, rec"):
        made(default_dataset="mnist5k")
    stated = SOURCE.replace("Source: a book.", "Source: a book, by --paper.")
    assert "# --paper above: Config(n_train=60_000)\n" in made(stated)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("# ---- findings", "# findings", "expected the line '# ---- findings'"),
        ("EVERY = 2", "def sigmoid_cross_entropy(): pass", "two of sigmoid_cross_entropy"),
        ("EVERY = 2", "sys = 2", "two of sys"),
        ("epochs=config.epochs", "epochs=figures.EPOCHS", "F821 Undefined name `figures`"),
        ("import evaluate, fit", "import evaluate, fit as learn", "expected a name imported as it"),
        ("import losses", "import losses as costs", "expected a name imported as it is"),
        ("measured = eval", "losses = 3\n    measured = eval", "losses"),
    ],
)
def test_a_recipe_that_cannot_be_copied_is_refused(before, after, said):
    assert SOURCE.count(before) == 1
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        made(SOURCE.replace(before, after))


# ---- all recipes


class Rewritten(ast.NodeTransformer):
    """A recipe's syntax tree as it should be in a copy, written without positions of text."""

    def __init__(self, files: set[str]):
        self._files = files

    def visit_Call(self, node):
        self.generic_visit(node)
        match node:
            case ast.Call(ast.Name("fit" | "evaluate" as method), [model, *rest], how):
                added = [ast.keyword("verbose", ast.Constant(0))]
                if method == "evaluate":
                    added.insert(0, ast.keyword("return_dict", ast.Constant(True)))
                given = {keyword.arg for keyword in how}
                if method == "fit" and "validation_data" in given:
                    added.insert(0, ast.keyword("validation_batch_size", ast.Constant(500)))
                added = [keyword for keyword in added if keyword.arg not in given]
                return ast.Call(ast.Attribute(model, method, ast.Load()), rest, how + added)
        return node

    def visit_Subscript(self, node):
        self.generic_visit(node)
        match node:
            case ast.Subscript(ast.Name("Annotated"), ast.Tuple([plain, *_])):
                return plain
        return node

    def visit_Attribute(self, node):
        match node:
            case ast.Attribute(ast.Name(file)) if file in self._files:
                return ast.Name(node.attr, ast.Load())
        return self.generic_visit(node)

    def visit_Name(self, node):
        return ast.Name("tuple" if node.id == "Data" else node.id, node.ctx)


def statements(code: str) -> list[ast.stmt]:
    """All at the top level but docstring and imports."""
    aside = (ast.Import, ast.ImportFrom)
    return [node for node in ast.parse(code).body[1:] if not isinstance(node, aside)]


def comments(code: str) -> list[str]:
    """Its lines' comments."""
    return [line.partition("  # ")[2] for line in code.splitlines() if "  # " in line]


def check_kept(recipe: str, code: str) -> None:
    """That every statement of a recipe is in the copy, changed as it should be and no other way.

    Not one callback, argument or field less.
    """
    above = recipe.partition(standalone.RULE)[0]
    files = {
        one.name
        for node in ast.parse(above).body
        if isinstance(node, ast.ImportFrom) and node.module == "common.ingredients"
        for one in node.names
    }
    there = [ast.unparse(node) for node in statements(code)]
    expected = [
        ast.unparse(Rewritten(files).visit(copy.deepcopy(node))) for node in statements(above)
    ]
    assert [node for node in there if node in expected] == expected
    remaining = comments(code)
    for comment in comments(above):
        assert comment in remaining
        remaining.remove(comment)


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_is_one_short_file_that_stands_alone_and_does_what_the_recipe_does(name):
    code = copied(name)
    check_alone(code)
    above = catalog.path(name).read_text().partition(standalone.RULE)[0]
    recipe = standalone.Module.read(standalone.stock(above))
    taken = "\n".join(one for used in standalone.ingredients(recipe) for one in used.definitions)
    assert len(code.splitlines()) - len(taken.splitlines()) <= LINES
    first = code.splitlines()[0]
    assert first == f'"""{catalog.headline(name)}'
    assert f"    python {name}.py --smoke" in code
    check_kept(catalog.path(name).read_text(), code)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('            *([stopping] if arm["stop"] else []),\n', ""),  # a callback is lost
        ("        epochs=config.epochs,  # not more\n", ""),
        ("        epochs=config.epochs,", "        epochs=config.epochs + 1,"),
        ("patience=1", "patience=2"),
        ("    drop: float = 0.5", "    drop: int = 0.5"),
        ("  # passes over them", ""),
        ('"stopped": {"stop": True}', '"stopped": {"stop": False}'),
    ],
)
def test_what_a_copy_loses_is_noticed(before, after):
    code = made()
    check_kept(SOURCE, code)
    assert before in code
    with pytest.raises(AssertionError):
        check_kept(SOURCE, code.replace(before, after))


def test_files_of_ingredients_hold_nothing_that_a_copy_would_lose():
    for file in (copying.ROOT / "common" / "ingredients").glob("*.py"):
        for node in statements(file.read_text()):
            kinds = ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign
            assert isinstance(node, kinds), f"{file.name}: line {node.lineno}"


# ---- copies run

# Runs copies one after the other in a process that sees nothing of this repository.
DRIVER = """
import contextlib, importlib.util, io, json, runpy, sys, traceback
import keras, numpy as np

assert not any(importlib.util.find_spec(one) for one in ("common", "recipes", "tools", "tests"))


def loader(*shape):
    def load_data():
        rng = np.random.default_rng(0)
        labels = np.resize(np.arange(10, dtype=np.uint8), 3_000)
        images = (20 * labels.reshape(-1, *[1] * len(shape)) + rng.integers(0, 50, (3_000, *shape)))
        if len(shape) == 3:
            labels = labels[:, None]
        images = images.astype(np.uint8)
        return (images[:2_000], labels[:2_000]), (images[2_000:], labels[2_000:])

    return load_data


keras.datasets.mnist.load_data = loader(28, 28)
keras.datasets.cifar10.load_data = loader(32, 32, 3)
said = {}
for file, *arguments in json.loads(sys.argv[1]):
    sys.argv, code, out, err = [file, *arguments], 0, io.StringIO(), io.StringIO()
    keras.utils.clear_session()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            runpy.run_path(file, run_name="__main__")
        except SystemExit as exit_:
            code = exit_.code
        except BaseException:
            traceback.print_exc()
            code = 1
    said[" ".join(sys.argv)] = code, out.getvalue(), err.getvalue()
json.dump(said, open("said.json", "w"))
"""


def alone(folder: Path, *commands: list[str]) -> list[list]:
    """Exit code, stdout and stderr of each command: a copy in the folder, and its arguments."""
    (folder / "driver.py").write_text(DRIVER)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-P", "driver.py", json.dumps(commands)],
        cwd=folder,
        env=kept,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return list(json.loads((folder / "said.json").read_text()).values())


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> list[list]:
    """Of the small recipe's copy: a smoke run, bad usage, the whole."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "small_net.py").write_text(made())
    commands = ["small_net.py", "--smoke"], ["small_net.py", "--paper"], ["small_net.py"]
    return alone(folder, *commands)


def test_a_copy_prints_each_arm_and_metric(answers):
    code, out, err = answers[0]
    assert (code, err) == (0, ""), err
    rows = [line.split(maxsplit=2) for line in out.splitlines()]
    metrics = "test cost", "train cost"
    assert [(arm, metric) for arm, _, metric in rows] == [
        (arm, metric) for arm in ("plain", "stopped") for metric in metrics
    ]
    assert rows[0][1] == rows[2][1]  # nothing has stopped by then: arms of a seed are alike


def test_a_copy_refuses_other_arguments_in_one_line(answers):
    assert answers[1] == [2, "", "expected --smoke or nothing, received --paper\n"]


def test_a_copy_trains_every_seed_and_prints_their_mean(answers):
    code, out, err = answers[2]
    assert (code, err) == (0, ""), err
    for line in out.splitlines():
        mean, std = line.split("±")
        assert float(mean.split()[-1]) > 0
        assert float(std.split()[0]) > 0  # seeds differ


def test_copies_run_alone(tmp_path):
    """The first of each chapter; all others train what their notebooks do, which are run too."""
    names = [names[0] for names in catalog.chapters().values()]
    for name in names:
        (tmp_path / f"{name}.py").write_text(copied(name))
    answers = alone(tmp_path, *([f"{name}.py", "--smoke"] for name in names))
    for name, (code, out, err) in zip(names, answers, strict=True):
        assert code == 0, f"{name}: {err}"
        assert {line.split()[0] for line in out.splitlines()} == {
            arm.split()[0] for arm in catalog.load(name).arms_for("default", "mnist")
        }


# ---- full copies


@pytest.mark.parametrize("name", NAMES)
def test_a_full_copy_is_closed_and_no_larger_than_needed(name):
    files = copying.full(name)
    packages = files.pop(copying.REQUIREMENTS)
    assert files.pop("common/data/mnist5k.txt").count("\n") == 46  # which its module opens
    for file, text in files.items():
        compile(text, file, "exec")
        for module in source.imported(text):
            if module.partition(".")[0] == "common":
                found = {f"{module.replace('.', '/')}{end}" for end in (".py", "/__init__.py")}
                parent = module.rpartition(".")[0].replace(".", "/")
                found |= {f"{parent}.py", f"{parent}/__init__.py"}  # of a name that it defines
                assert found & files.keys(), f"{file}: {module}"
    assert {"common/__init__.py", "common/startup.py", "common/training/__init__.py"} <= set(files)
    used = {file.split("/")[-1] for file in files if "/ingredients/" in file}
    code = catalog.path(name).read_text() + "".join(files.values())
    assert all(f"ingredients.{Path(file).stem}" in code for file in used - {"__init__.py"}), used
    assert "pytest" not in packages
    assert "tensorflow==" in packages
    assert "keras==" in packages
    assert f"make recipe-{catalog.target(name)} " not in files[f"{name}.py"]


def test_a_full_copy_has_the_same_bits(tmp_path):
    assert copying.main(["script", "dropout", str(tmp_path), "--full"]) == 0
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    commands = (
        (copying.ROOT, ["-m", catalog.module("dropout")], tmp_path / "here"),
        (tmp_path, ["dropout.py"], tmp_path / "there"),
    )
    for folder, program, out in commands:
        words = [sys.executable, *program, "--smoke", "--out", str(out)]
        done = subprocess.run(words, cwd=folder, env=kept, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    here, there = (json.loads((out / "results.json").read_text()) for _, _, out in commands)
    assert there["arms"] == here["arms"]


# ---- the command


def test_what_stands_in_the_way_is_kept(tmp_path, capsys):
    assert copying.main(["script", "dropout", str(tmp_path)]) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["dropout.py"]
    assert copying.main(["script", "dropout", str(tmp_path)]) == 0  # the same once more
    assert copying.main(["notebook", "dropout", str(tmp_path)]) == 0
    mine = tmp_path / "dropout.py"
    mine.write_text("# edited\n")
    capsys.readouterr()
    assert copying.main(["script", "dropout", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "received another dropout.py" in said
    assert mine.read_text() == "# edited\n"
    assert copying.main(["script", "dropout", str(tmp_path), "--force"]) == 0
    assert mine.read_text() == copied("dropout")


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("fgsm_imagenet", " pillow ndf scikit-learn"),
        ("imagenet_features", " pillow ndf scikit-learn"),
        ("fine_tuning", " ndf"),
        ("dropout", ""),
    ],
)
def test_the_packages_that_a_copy_needs_are_named(name, more, tmp_path, capsys):
    """Those that it imports and those whose files it opens."""
    assert copying.main(["script", name, str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert f"    python -m pip install keras tensorflow{more}\n" in said
    assert copying.main(["notebook", name, str(tmp_path)]) == 0
    said = capsys.readouterr().out.partition("pip install keras tensorflow")[2].partition("\n")[0]
    assert {*said.split()} - {"matplotlib", "jupyterlab"} == {*more.split()}
    listed = copying.full(name)[copying.REQUIREMENTS]
    assert ("\nndf==" in listed) == ("ndf" in more)


def test_nothing_is_written_if_one_of_many_files_is_in_the_way(tmp_path):
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "startup.py").write_text("# mine\n")
    assert copying.main(["script", "dropout", str(tmp_path), "--full"]) == 2
    assert [file.name for file in tmp_path.rglob("*.py")] == ["startup.py"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["script", "dropout", ""], "expected a folder"),
        (["script", "nonsense", "here"], "expected one of the recipes"),
        (["picture", "dropout", "here"], "expected script"),
        (["script", "dropout", "here", "--now"], "expected script"),
        (["notebook", "dropout", "here", "--full"], "expected script"),
        (["script", "dropout"], "expected script"),
        (["notebook", "dropout", "/dev/null"], "expected a folder to write in"),
    ],
)
def test_bad_usage_is_refused(arguments, said, capsys):
    assert copying.main(arguments) == 2
    received = capsys.readouterr().err
    assert received.count("\n") == 1
    assert said in received
