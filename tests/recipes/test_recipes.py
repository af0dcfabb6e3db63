"""Every recipe, found by globbing: its shape, its findings and its hyperparameters."""

import ast
import dataclasses
import importlib
import inspect
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.experiment import command, findings
from common.experiment.results import Results
from common.hyperparameters import check_numbers
from common.system import UsageError
from tools import catalog

ROOT = Path(__file__).parents[2]
NAMES = catalog.recipes()
# What a reader who has read one recipe looks for in the next, in this order.
ORDER = ["Config", "ARMS", "build_model", "train", "FINDINGS", "plot", "RECIPE"]
RULE = "# ---- findings"


def run(name: str, *arguments: str) -> subprocess.CompletedProcess:
    """A recipe as a user starts it."""
    return subprocess.run(
        [sys.executable, "-m", catalog.module(name), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def module(name: str):
    return importlib.import_module(catalog.module(name))


def test_there_are_recipes():
    assert NAMES


def test_chapters_name_all_their_recipes():
    """In their docstrings, in the order in which they are read."""
    for chapter, names in catalog.chapters().items():
        about = catalog.docstring(ROOT / "recipes" / chapter / "__init__.py")
        assert names
        for name in names:
            assert f"`{name}`" in about, (chapter, name)
        assert f"`{chapter}`" in catalog.docstring(ROOT / "recipes" / "__init__.py")
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_reads_like_the_others(name):
    source = catalog.path(name).read_text()
    tree = ast.parse(source)
    defined = []
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names = [part for part in ast.walk(node.targets[0]) if isinstance(part, ast.Name)]
            defined += [(name.id, node.lineno) for name in names]
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.append((node.name, node.lineno))
    assert [one for one, _ in defined if one in ORDER] == ORDER
    lines = source.splitlines()
    assert lines.count(RULE) == 1
    rule = lines.index(RULE) + 1
    places = dict(defined)
    assert places["train"] < rule < places["FINDINGS"]
    docstring = ast.get_docstring(tree)
    assert "Source: " in docstring
    assert "Differs from the source: " in docstring
    assert catalog.duration(name)
    assert len(catalog.headline(name)) <= 100


@pytest.mark.parametrize("name", NAMES)
def test_build_model_and_train_have_one_signature(name):
    recipe = module(name)
    model, train = (inspect.signature(f) for f in (recipe.build_model, recipe.train))
    assert list(model.parameters) == ["config", "arm", "seed"]
    assert list(train.parameters) == ["config", "arm", "seed", "data"]
    assert model.return_annotation is not inspect.Signature.empty
    assert recipe.build_model.__doc__
    assert "->" in recipe.build_model.__doc__


@pytest.mark.parametrize("name", NAMES)
def test_hyperparameters_are_few_and_explained(name):
    recipe = module(name).RECIPE
    fields = dataclasses.fields(recipe.config)
    assert 0 < len(fields) < 10
    source = recipe.file.read_text().splitlines()
    for field in fields:
        line = next(line for line in source if line.strip().startswith(f"{field.name}: "))
        assert " # " in line, f"{field.name} lacks a comment"


@pytest.mark.parametrize("name", NAMES)
def test_findings_speak_of_arms_and_data_sets_there_are(name):
    recipe = module(name).RECIPE
    assert recipe.findings
    assert recipe.seeds >= 3 or recipe.datasets == ("none",)
    for finding in recipe.findings:
        named = [finding.arm, *(getattr(finding, n, None) for n in ("than", "to", "over", "minus"))]
        assert {one for one in named if isinstance(one, str)} <= set(recipe.arms)
        datasets = finding.dataset or ()
        datasets = {datasets} if isinstance(datasets, str) else set(datasets)
        assert datasets <= set(recipe.datasets)
        if isinstance(finding, findings.Printed):
            assert finding.source
            named = {finding.preset} if isinstance(finding.preset, str) else set(finding.preset)
            assert named <= {"default", "paper"}


@pytest.mark.parametrize("preset", ["default", "smoke", "paper"])
@pytest.mark.parametrize("name", NAMES)
def test_every_preset_makes_sense_on_every_data_set(name, preset):
    recipe = module(name).RECIPE
    for dataset in recipe.datasets:
        check_numbers(recipe.configured(preset, dataset))
        assert recipe.arms_for(preset, dataset), dataset


def numbers() -> list[tuple[str, str]]:
    return [
        (name, field.name)
        for name in NAMES
        for field in dataclasses.fields(module(name).RECIPE.config)
        if isinstance(field.default, (int, float))
    ]


@pytest.mark.parametrize(("name", "field"), numbers())
def test_nonsense_for_a_number_is_refused(name, field, tmp_path, capsys):
    flag = f"--{field.replace('_', '-')}"
    for value in (-0.001, math.nan, math.inf):
        config = module(name).RECIPE.config()
        object.__setattr__(config, field, value)
        with pytest.raises(UsageError, match=f"^{flag}: expected"):
            check_numbers(config)
    with pytest.raises(SystemExit) as exit_:
        command.main(module(name).RECIPE, [f"{flag}=-1", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert exit_.value.code == 2
    assert said.count("\n") == 1
    assert flag in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("dropout", "--drop-hidden=1"),
        ("dropout", "--max-norm=0"),
        ("l1_l2", "--bound=0"),
        ("early_stopping", "--patience=0"),
        ("augmentation", "--sigma=0"),
        ("augmentation", "--scale=1"),
        ("overfitting", "--n-train=70000"),
        ("more_data", "--n-validation=3500"),
        ("early_stopping", "--n-validation=2501"),
        ("batch_norm", "--every=20000"),
        ("glorot_vs_he", "--every=1821"),
        ("glorot_vs_he", "--momentum=1"),
        ("glorot_vs_he", "--kind=recurrent"),
        ("glorot_vs_he_limits", "--depth=0"),
        ("glorot_vs_he_limits", "--every=2000"),
        ("signal_propagation", "--tanh-width=0"),
    ],
)
def test_a_number_just_outside_its_range_is_refused(name, argument, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        command.main(
            module(name).RECIPE,
            ["--dataset", "mnist5k", "--jobs", "1", "--out", str(tmp_path / "out"), argument],
        )
    assert exit_.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "expected" in said.lower()
    assert "---" not in said
    assert not (tmp_path / "out").exists()


def test_the_same_command_gives_the_same_bits(tmp_path):
    """Whether runs share a process, or are spread over two."""
    contents = []
    for jobs in ("1", "2"):
        out = tmp_path / jobs
        done = run(
            "overfitting",
            "--dataset",
            "mnist5k",
            "--epochs",
            "3",
            "--seeds",
            "2",
            "--jobs",
            jobs,
            "--out",
            str(out),
        )
        assert done.returncode == 0, done.stderr
        contents.append(json.loads((out / "results.json").read_text()))
    one, two = ({**content, "seconds": None} for content in contents)
    assert one == two


def test_without_mnist_and_network_a_recipe_runs_on_mnist5k_and_says_so(tmp_path):
    """In its output, its results and its figure's title."""
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("TFDS_DATA_DIR", None)
    code = (
        "import recipes, sys; from common.data import tfds; tfds.PREPARE = '1 / 0'; "
        "from recipes.regularization.overfitting import RECIPE; "
        "from common.experiment import main; main(RECIPE, sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--smoke", "--out", str(tmp_path / "out")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "MNIST NOT FOUND: running on mnist5k, the first 3,500 training images" in done.stdout
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["dataset"]["name"] == "mnist5k"
    assert all((entry["printed"] or {}).get("agrees") is None for entry in content["findings"])
    title = module("overfitting").RECIPE.plot(Results(content)).get_suptitle()
    assert "mnist5k, part of MNIST" in title
