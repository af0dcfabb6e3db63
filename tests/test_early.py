"""What is answered before Keras starts is what the recipe itself would answer."""

import dataclasses
import signal
import subprocess
import sys

import pytest

from common import early, flags
from common.experiment import command
from recipes.cost import slowdown
from tools import catalog


def process(name: str, *arguments: str) -> list[str]:
    return ["python", "-m", catalog.module(name), *arguments]


@pytest.fixture(autouse=True)
def interrupts():
    """What Ctrl-C does is as before once a test has ended. Shells let their `&` jobs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_what_imports_and_interrupts_what_runs(monkeypatch):
    early.answer(["python", "-m", "pytest"])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    early.answer(process("slowdown"))
    assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    seen = []
    monkeypatch.setattr(command, "run", lambda *_: seen.append(signal.getsignal(signal.SIGINT)))
    with pytest.raises(SystemExit):
        command.main(slowdown.RECIPE, [])
    assert seen == [signal.default_int_handler]


@pytest.fixture
def parsed(monkeypatch):
    """What `early` hands to the parser of flags."""
    handed = []
    parse = flags.parse_recipe

    def spy(*how):
        handed.append(how)
        return parse(*how)

    monkeypatch.setattr(early, "parse_recipe", spy)
    return handed


@pytest.mark.parametrize("name", catalog.recipes())
def test_the_hyperparameters_and_the_docstring_are_those_of_the_recipe(name, parsed):
    recipe, before = catalog.load(name), sys.modules[catalog.module(name)]
    early.answer(process(name))
    ((arguments, module, about, config),) = parsed
    assert (arguments, module) == ([], catalog.module(name))
    assert about.split() == recipe.module.__doc__.split()
    assert dataclasses.asdict(config) == dataclasses.asdict(recipe.configured("default"))
    assert sys.modules[module] is before


@pytest.mark.parametrize("name", ["alexnet", "batch_norm", "dropout", "fgsm_imagenet"])
def test_help_is_that_of_the_recipe(name, capsys):
    said = []
    for ask in (
        lambda: early.answer(process(name, "--help")),
        lambda: sys.exit(command.run(catalog.load(name), ["--help"])),
    ):
        with pytest.raises(SystemExit) as ended:
            ask()
        assert not ended.value.code
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "recipe options" in said[0]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--speed", "3"],
        ["--epochs", "ten"],
        ["--epochs", "0"],
        ["--seeds", "0"],
        ["--smoke", "--paper"],
        ["--smoke", "--epochs", "ten"],
        ["--drop-input", "1"],
        ["--precision", "float8"],
    ],
    ids=" ".join,
)
def test_what_is_refused_is_refused_in_the_same_line(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        early.answer(process("dropout", *arguments))
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert command.run(catalog.load("dropout"), arguments) == 2
    assert capsys.readouterr().err == said
    assert said.count("\n") == 1


@pytest.mark.parametrize("backend", ["theano", "mxnet"])
def test_a_backend_that_is_not_there_is_refused(backend, monkeypatch, capsys):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    with pytest.raises(SystemExit) as ended:
        early.answer(process("dropout"))
    assert ended.value.code == 2
    expected = "expected one of tensorflow, jax, torch that is installed"
    assert capsys.readouterr().err == f"dropout: KERAS_BACKEND: {expected}; received {backend}\n"


def test_what_must_hold_between_hyperparameters_is_left_to_a_preset(capsys):
    for preset in ([], ["--smoke"]):
        arguments = [*preset, "--steps", "7"]  # of `every`, which a preset may change
        refused = command.run(catalog.load("batch_norm"), ["--replot", *arguments]) == 2
        assert refused
        capsys.readouterr()
        if preset:
            early.answer(process("batch_norm", *arguments))
        else:
            with pytest.raises(SystemExit):
                early.answer(process("batch_norm", *arguments))


@pytest.mark.parametrize(
    "arguments",
    [
        ["python"],
        ["python", "-m"],
        ["python", "-m", "pytest", "--speed"],
        ["python", "-m", "recipes.cost.nothing", "--speed"],
        ["python", "recipes/cost/slowdown.py", "--speed"],
        ["python", "-m", "recipes.cost.slowdown", "--steps", "4"],
        ["python", "-m", "recipes.cost.slowdown", "--smoke", "--help"],
    ],
    ids=" ".join,
)
def test_the_rest_is_left_alone(arguments, capsys):
    assert early.answer(arguments) is None
    assert capsys.readouterr() == ("", "")


def test_keras_is_not_imported_for_it():
    code = f"""
import sys
sys.orig_argv = {process("dropout", "--speed")}
try:
    import recipes
except SystemExit as ended:
    print(ended.code, sorted({{"keras", "tensorflow", "numpy"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2 []\n"
