"""What a recipe hands over: its numbers within their bounds, its examples counted, its presets."""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import pytest
from annotated_types import Ge, Gt, Interval, Le, Lt

from common.experiment import Examples, Outcome, Photographs, Recipe
from common.experiment.recipe import examples_used
from common.hyperparameters import check_numbers
from common.system import UsageError


@dataclass(frozen=True)
class Bounded:
    """A number under each kind of bound, at a value that is allowed."""

    positive: float = 1.0
    count: int = 1
    at_least: Annotated[float, Ge(0)] = 0.0
    above: Annotated[float, Gt(-1)] = 0.0
    at_most: Annotated[float, Le(0.5)] = 0.5
    below: Annotated[int, Lt(10)] = 9
    share: Annotated[float, Ge(0), Lt(1)] = 0.0
    interval: Annotated[float, Interval(gt=0, le=1)] = 1.0
    least_of_all: Annotated[int, Examples("train"), Ge(4)] = 4
    flag: bool = False
    name: str = "x"
    file: Path | None = None
    most: int | None = None


def test_numbers_within_their_bounds_are_accepted():
    check_numbers(Bounded())
    check_numbers(Bounded(positive=1e-30, at_least=1e30, at_most=-1e30, below=-5, share=0.999))
    check_numbers(Bounded(count=10**300, most=1, flag=True))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("positive", 0.0, "a finite number above 0"),
        ("positive", -1e-9, "a finite number above 0"),
        ("count", 0, "a whole number above 0"),
        ("count", -3, "a whole number above 0"),
        ("at_least", -0.1, "a finite number of at least 0"),
        ("above", -1.0, "a finite number above -1"),
        ("at_most", 0.6, "a finite number of at most 0.5"),
        ("below", 10, "a whole number below 10"),
        ("share", 1.0, "a finite number of at least 0 and below 1"),
        ("share", -0.5, "a finite number of at least 0 and below 1"),
        ("interval", 0.0, "a finite number above 0 and of at most 1"),
        ("interval", 1.5, "a finite number above 0 and of at most 1"),
        ("least_of_all", 3, "a whole number of at least 4"),
        ("most", 0, "a whole number above 0"),
    ],
)
def test_a_number_outside_its_bounds_is_refused(field, value, words):
    flag = f"--{field.replace('_', '-')}"
    expected = f"{flag}: expected {words}, received {value}"
    with pytest.raises(UsageError, match=re.escape(expected) + "$"):
        check_numbers(Bounded(**{field: value}))


@pytest.mark.parametrize(
    "value",
    [float("inf"), float("-inf"), float("nan"), 10**400],
    ids=["inf", "-inf", "nan", "huge"],
)
@pytest.mark.parametrize("field", ["positive", "count", "at_least", "above", "at_most", "share"])
def test_a_number_that_is_not_finite_is_refused(field, value):
    """Also an integer that no float holds, of which Python would say OverflowError."""
    with pytest.raises(UsageError, match=f"received {value}$"):
        check_numbers(Bounded(**{field: value}))


@dataclass(frozen=True)
class Counted:
    """As in a recipe that holds images out."""

    n_train: Annotated[int, Examples("train")] = 100
    n_validation: Annotated[int, Examples("validation")] = 20
    n_shown: Annotated[int, Examples("test"), Ge(5)] = 10
    batch_size: int = 10**6  # counts no examples of the data set


@dataclass(frozen=True)
class Everything:
    """Zero stands for all."""

    n_train: Annotated[int, Ge(0), Examples("train")] = 0
    n_test: Annotated[int, Ge(0), Examples("test")] = 0


@dataclass(frozen=True)
class Nothing:
    """Names no number of examples: all are used, and none are held out."""

    epochs: int = 1


DATA = SimpleNamespace(name="mnist5k", n_train=3500, n_test=1002)


@pytest.mark.parametrize(
    ("config", "used"),
    [
        (Counted(), (100, 20, 10)),
        (Counted(3480, 20, 1002), (3480, 20, 1002)),  # all there are
        (Counted(1, 1296), (1, 1296, 10)),
        (Everything(), (3500, 0, 1002)),
        (Everything(7, 8), (7, 0, 8)),
        (Nothing(), (3500, 0, 1002)),
    ],
)
def test_how_many_examples_are_used(config, used):
    expected = dict(zip(("n_train", "n_validation", "n_test"), used, strict=True))
    found = examples_used(config, DATA)
    assert found == expected
    assert list(found) == list(expected)  # as they stand in results.json


@pytest.mark.parametrize(
    ("config", "refused"),
    [
        (Counted(n_train=3481), "--n-train: expected at most 3480, received 3481"),
        (Counted(n_validation=3403), "--n-train: expected at most 97, received 100"),
        (Counted(n_validation=3500), "--n-validation: expected at most 3499, received 3500"),
        (Counted(n_validation=5000), "--n-validation: expected at most 3499, received 5000"),
        (Counted(n_shown=1003), "--n-shown: expected at most 1002, received 1003"),
        (Everything(n_train=3501), "--n-train: expected at most 3500, received 3501"),
    ],
)
def test_more_examples_than_there_are_is_refused(config, refused):
    with pytest.raises(UsageError, match=re.escape(f"{refused} (running on mnist5k)")):
        examples_used(config, DATA)


def test_a_recipe_without_data_uses_none():
    none = SimpleNamespace(name="none", n_train=0, n_test=0)
    assert examples_used(Nothing(), none) == {"n_train": 0, "n_validation": 0, "n_test": 0}


def train(config, arm, seed, data):
    return Outcome({"cost": 0.0})


@dataclass(frozen=True)
class Config:
    """Of a recipe on photographs."""

    epochs: int = 10
    side: Annotated[int, Photographs] = 32
    width: Annotated[int, Ge(4)] = 8


RECIPE = Recipe(
    Config,
    {"plain": {"deep": False}, "deep": {"deep": True}},
    train,
    (),
    lambda results: None,
    smoke={"epochs": 1},
    paper={"epochs": 100, "side": 224},
    on={"mnist5k": {"epochs": 5, "width": 4}},
    applies=lambda arm, preset, dataset: not arm["deep"] or (preset, dataset) == ("paper", "mnist"),
)


def test_a_recipe_is_called_like_its_file():
    assert RECIPE.name == "test_recipe"
    assert RECIPE.file == Path(__file__)
    assert RECIPE.module.RECIPE is RECIPE


def test_hyperparameters_of_presets_on_data_sets():
    assert RECIPE.configured("default") == RECIPE.configured("default", "mnist") == Config()
    assert RECIPE.configured("smoke") == Config(epochs=1)
    assert RECIPE.configured("paper", "mnist") == Config(epochs=100, side=224)
    assert RECIPE.configured("default", "mnist5k") == Config(epochs=5, width=4)
    assert RECIPE.configured("paper", "mnist5k") == Config(epochs=100, side=224, width=4)
    with pytest.raises(KeyError):
        RECIPE.configured("nonsense")


def test_which_arms_are_trained_where():
    assert RECIPE.arms_for("paper", "mnist") == ["plain", "deep"]
    assert RECIPE.arms_for("paper", "mnist5k") == ["plain"]
    assert RECIPE.arms_for("default", "mnist") == ["plain"]
    everywhere = Recipe(Config, RECIPE.arms, train, (), RECIPE.plot, smoke={})
    assert everywhere.arms_for("smoke", "mnist5k") == ["plain", "deep"]


def test_the_first_data_set_is_the_default():
    assert RECIPE.default_dataset == "mnist"
    assert dataclasses.replace(RECIPE, datasets=("cifar10",)).default_dataset == "cifar10"
    assert dataclasses.replace(RECIPE, datasets=("none",)).default_dataset == "none"


def test_the_side_to_which_photographs_are_cut():
    assert RECIPE.side(Config(side=64)) == 64
    assert RECIPE.side(Counted()) is None
