"""Every recipe, found by globbing: its shape, its claims and its knobs."""

import ast
import dataclasses
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from common.claims import Band, Effect
from common.command import check_knobs, main
from common.results import Results
from tools import catalog

ROOT = Path(__file__).parents[2]
NAMES = catalog.recipes()
# What a reader who has read one recipe looks for in the next, in this order.
ORDER = ["Config", "ARMS", "build_model", "train", "CLAIMS", "plot", "RECIPE"]


def run(name: str, *arguments: str) -> subprocess.CompletedProcess:
    """A recipe as a user starts it."""
    return subprocess.run(
        [sys.executable, "-m", f"recipes.{name}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def module(name: str):
    return importlib.import_module(f"recipes.{name}")


def test_there_are_recipes():
    assert NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_reads_like_the_others(name):
    source = (ROOT / "recipes" / f"{name}.py").read_text()
    tree = ast.parse(source)
    defined = []
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names = [part for part in ast.walk(node.targets[0]) if isinstance(part, ast.Name)]
            defined += [name.id for name in names]
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.append(node.name)
    assert [one for one in defined if one in ORDER] == ORDER
    docstring = ast.get_docstring(tree)
    assert "Source: " in docstring
    assert "Differs from the source: " in docstring
    assert catalog.duration(name)
    assert len(catalog.headline(name)) <= 100
    assert len(source.splitlines()) <= 230  # about 150 is the aim


@pytest.mark.parametrize("name", NAMES)
def test_knobs_are_few_and_explained(name):
    recipe = module(name).RECIPE
    knobs = dataclasses.fields(recipe.config)
    assert 0 < len(knobs) < 10
    source = recipe.file.read_text().splitlines()
    for knob in knobs:
        line = next(line for line in source if line.strip().startswith(f"{knob.name}: "))
        assert " # " in line, f"{knob.name} lacks a comment"


@pytest.mark.parametrize("name", NAMES)
def test_claims_speak_of_arms_and_data_sets_there_are(name):
    recipe = module(name).RECIPE
    assert recipe.claims
    settings = [*(recipe.datasets or ["none"])]
    settings += [f"{dataset} --paper" for dataset in settings]
    for claim in recipe.claims:
        metrics = [claim.metric] if isinstance(claim, Band) else [claim.larger, claim.smaller]
        assert all(metric.partition("/")[0] in recipe.arms for metric in metrics)
        assert claim.source
        if isinstance(claim, Band):
            assert set(claim.bands) <= set(settings)
            assert all(low <= high for low, high in claim.bands.values())
        else:
            assert isinstance(claim, Effect)


@pytest.mark.parametrize("preset", ["default", "smoke", "paper"])
@pytest.mark.parametrize("name", NAMES)
def test_every_preset_makes_sense_on_every_data_set(name, preset):
    recipe = module(name).RECIPE
    for dataset in recipe.datasets or ("none",):
        check_knobs(recipe.knobs(preset, dataset))
        assert recipe.arms_for(preset, dataset), dataset


def numeric_knobs() -> list[tuple[str, str]]:
    return [
        (name, knob.name)
        for name in NAMES
        for knob in dataclasses.fields(module(name).RECIPE.config)
        if isinstance(knob.default, (int, float))
    ]


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "much", "-0.001"])
@pytest.mark.parametrize(("name", "knob"), numeric_knobs())
def test_nonsense_for_a_knob_is_refused(name, knob, value, tmp_path, capsys):
    flag = f"--{knob.replace('_', '-')}"
    with pytest.raises(SystemExit) as exit_:
        main(module(name).RECIPE, [f"{flag}={value}", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().err
    assert exit_.value.code == 2
    assert said.count("\n") == 1
    assert flag in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("dropout", "--drop-hidden=1"),
        ("dropout", "--bound=0"),
        ("l1_l2", "--bound=0"),
        ("early_stopping", "--patience=0"),
        ("augmentation", "--sigma=0"),
        ("augmentation", "--scale=1"),
        ("overfitting", "--n-train=70000"),
        ("more_data", "--n-validation=1297"),
        ("early_stopping", "--n-validation=298"),
        ("batch_norm", "--every=70"),
        ("glorot_vs_he", "--every=450"),  # divides the steps on MNIST, not those on digits
        ("glorot_vs_he", "--every=70"),
        ("glorot_vs_he", "--momentum=1"),
        ("glorot_vs_he", "--arch=recurrent"),
        ("glorot_vs_he_limits", "--depth=0"),
        ("glorot_vs_he_limits", "--every=70"),
        ("signal_propagation", "--tanh-width=0"),
    ],
)
def test_a_knob_just_outside_its_range_is_refused(name, argument, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(
            module(name).RECIPE,
            ["--dataset", "digits", "--jobs", "1", "--out", str(tmp_path / "out"), argument],
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
            "digits",
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


def test_without_mnist_and_network_a_recipe_runs_on_digits_and_says_so(tmp_path):
    """In its output, its results and its figure's title."""
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment.pop("TFDS_DATA_DIR", None)
    code = (
        "import recipes, sys; from common import data; data.PROBE_SECONDS = 0.01; "
        "from recipes.overfitting import RECIPE; from common.command import main; "
        "main(RECIPE, sys.argv[1:])"
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
    assert "NO MNIST TO BE HAD: RUNNING ON DIGITS INSTEAD" in done.stdout
    content = json.loads((tmp_path / "out" / "results.json").read_text())
    assert content["dataset"]["name"] == "digits"
    assert all(claim["published"] is None for claim in content["claims"])
    title = module("overfitting").RECIPE.plot(Results(content)).get_suptitle()
    assert "scikit-learn's digits" in title
