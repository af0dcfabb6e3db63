"""What a recipe hands over: its hyperparameters, arms, training, findings and figure."""

from __future__ import annotations

import math
import sys
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import annotated_types
import numpy as np
from matplotlib.figure import Figure

from common.data import Data
from common.experiment.findings import Finding
from common.experiment.results import Results
from common.system import UsageError

PRESETS = ("default", "smoke", "paper")


@dataclass(frozen=True)
class Outcome:
    """What one arm on one seed measured.

    Args:
        metrics: final numbers by name.
        curves: series by name, usually one number an epoch.
        pictures: arrays of any shape by name, for the figure; those of seed 0 are kept.
    """

    metrics: Mapping[str, float]
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Examples:
    """Annotates a hyperparameter that counts examples of the data set.

    `of` says which: training examples, those held out at their end, or test examples.
    """

    of: Literal["train", "validation", "test"]


class Photographs:
    """Annotates the side (pixels) of the squares to which photographs are cut.

    A recipe that has such a hyperparameter takes any data set of photographs.
    """


@dataclass(frozen=True)
class Recipe:
    """One technique: the variants compared, how to train one, and what was found.

    Args:
        config: the dataclass of the hyperparameters.
        arms: the variants by name, as data.
        train: (config, arm, seed, data) -> Outcome.
        findings: judged from the metrics of all seeds.
        plot: draws the figure from the results alone.
        smoke, paper: hyperparameters that these presets change.
        on: hyperparameters that change on a data set, by its name.
        datasets: names; the first one is the default. () for a recipe without data.
        seeds: number of seeds trained by default.
        applies: (arm, preset, dataset) -> whether the arm is trained there.
    """

    config: type
    arms: Mapping[str, Mapping[str, Any]]
    train: Callable[[Any, Mapping[str, Any], int, Data], Outcome]
    findings: Sequence[Finding]
    plot: Callable[[Results], Figure]
    smoke: Mapping[str, Any]
    paper: Mapping[str, Any] = field(default_factory=dict)
    on: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    datasets: tuple[str, ...] = ("mnist", "digits")
    seeds: int = 6
    applies: Callable[[Mapping[str, Any], str, str], bool] = lambda arm, preset, dataset: True

    @property
    def module(self) -> ModuleType:
        """The recipe's module; `__main__` where it was started as a program, or in a notebook."""
        return sys.modules[self.train.__module__]

    @property
    def file(self) -> Path:
        """Where the recipe stands."""
        return Path(self.module.__file__)

    @property
    def name(self) -> str:
        """The name by which it is called."""
        return self.file.stem

    @property
    def default_dataset(self) -> str:
        """The data set that is used unless another one is named."""
        return self.datasets[0] if self.datasets else "none"

    def configured(self, preset: str, dataset: str = "") -> Any:
        """The hyperparameters of a preset on a data set."""
        changed = {"default": {}, "smoke": self.smoke, "paper": self.paper}[preset]
        return self.config(**{**self.on.get(dataset, {}), **changed})

    def arms_for(self, preset: str, dataset: str) -> list[str]:
        """Names of the arms that are trained under a preset on a data set."""
        return [name for name, arm in self.arms.items() if self.applies(arm, preset, dataset)]

    def side(self, config: Any) -> int | None:
        """Side of the squares to which photographs are cut; None if it takes no photographs."""
        sides = [name for name, notes in notes_of(config).items() if Photographs in notes]
        return getattr(config, sides[0]) if sides else None


def notes_of(config: Any) -> dict[str, tuple]:
    """What annotates each hyperparameter."""
    hints = typing.get_type_hints(type(config), include_extras=True)
    return {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}


def check_numbers(config: Any) -> None:
    """Raises UsageError for a number that is not finite or not within its bounds.

    A number must be positive unless annotated-types' Ge, Gt, Le or Lt say otherwise.
    """
    for name, notes in notes_of(config).items():
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        bounds = [one for one in notes if isinstance(one, annotated_types.BaseMetadata)]
        bounds = bounds or [annotated_types.Gt(0)]
        within, words = zip(*(_bound(one, value) for one in bounds), strict=True)
        if not (all(within) and math.isfinite(value)):
            expected = f"a finite number {' and '.join(words)}"
            raise UsageError(f"{flag(name)}: expected {expected}, received {value}")


def _bound(bound: annotated_types.BaseMetadata, value: float) -> tuple[bool, str]:
    match bound:
        case annotated_types.Ge(ge):
            return value >= ge, f"of at least {ge:g}"
        case annotated_types.Gt(gt):
            return value > gt, f"above {gt:g}"
        case annotated_types.Le(le):
            return value <= le, f"of at most {le:g}"
        case annotated_types.Lt(lt):
            return value < lt, f"below {lt:g}"
    raise TypeError(f"expected Ge, Gt, Le or Lt, received {bound}")


def examples_used(config: Any, n_train: int, n_test: int) -> dict[str, int]:
    """Number of training, validation and test examples that a recipe uses of a data set.

    Zero stands for all. Raises UsageError where the hyperparameters ask for more than there are.
    """
    asked = {
        note.of: (name, getattr(config, name))
        for name, notes in notes_of(config).items()
        for note in notes
        if isinstance(note, Examples)
    }
    validation = asked.get("validation", ("", 0))[1]
    most = {"train": n_train - validation, "validation": n_train - 1, "test": n_test}
    for of, (name, count) in asked.items():
        if count > most[of]:
            raise UsageError(f"{flag(name)}: expected at most {most[of]}, received {count}")
    used = {of: count or most[of] for of, (_, count) in asked.items()}
    return {f"n_{of}": used.get(of, most[of] * (of != "validation")) for of in most}


def flag(name: str) -> str:
    """How the command line calls a hyperparameter."""
    return f"--{name.replace('_', '-')}"
