"""What a recipe hands over: its hyperparameters, arms, training, findings and figure."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from common.data import Data, Dataset
from common.experiment.findings import Finding
from common.experiment.results import Results
from common.hyperparameters import Examples, Photographs, flag, notes_of
from common.system import UsageError


@dataclass(frozen=True)
class Outcome:
    """What one arm on one seed measured."""

    metrics: Mapping[str, float]  # final numbers by name
    curves: Mapping[str, Sequence[float]] = field(default_factory=dict)  # usually one an epoch
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)  # of seed 0, for the figure


@dataclass(frozen=True)
class Recipe:
    """One technique: the variants compared, how to train one, and what was found."""

    config: type  # the dataclass of the hyperparameters
    arms: Mapping[str, Mapping[str, Any]]  # the variants by name, as data
    train: Callable[[Any, Mapping[str, Any], int, Data], Outcome]  # (config, arm, seed, data)
    findings: Sequence[Finding]  # judged from the metrics of all seeds
    plot: Callable[[Results], Figure]
    smoke: Mapping[str, Any]  # hyperparameters that this preset changes
    paper: Mapping[str, Any] = field(default_factory=dict)
    # hyperparameters that a data set changes; a preset overrides them
    on: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    datasets: tuple[str, ...] = ("mnist", "mnist5k")  # the first is the default; "none": no data
    seeds: int = 6  # trained by default
    # whether (arm, preset, dataset) is trained
    applies: Callable[[Mapping[str, Any], str, str], bool] = lambda arm, preset, dataset: True

    @property
    def module(self) -> ModuleType:
        """The recipe's module; `__main__` where it was started as a program."""
        return sys.modules[self.train.__module__]

    @property
    def file(self) -> Path:
        """The recipe's source file; raises AttributeError for one that a notebook defines."""
        return Path(self.module.__file__)

    @property
    def name(self) -> str:
        """The name by which it is called."""
        return self.file.stem

    @property
    def default_dataset(self) -> str:
        """The data set that is used unless another one is named."""
        return self.datasets[0]

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


def examples_used(config: Any, dataset: Dataset) -> dict[str, int]:
    """Numbers of training, validation and test examples used: n_train, n_validation, n_test.

    Zero training or test examples stand for all. Raises UsageError where the hyperparameters ask
    for more than there are.
    """
    annotated = [(name, note) for name, notes in notes_of(config).items() for note in notes]
    names = {note.of: name for name, note in annotated if isinstance(note, Examples)}
    held_out = getattr(config, names["validation"]) if "validation" in names else 0
    most = {"train": dataset.n_train - held_out, "validation": dataset.n_train - 1}
    most |= {"test": dataset.n_test}
    used = most | {"validation": 0}
    for of, name in sorted(names.items(), reverse=True):  # validation first: it limits training
        count = getattr(config, name)
        if count > most[of]:
            received = f"received {count} (running on {dataset.name})"
            raise UsageError(f"{flag(name)}: expected at most {most[of]}, {received}")
        used[of] = count or most[of]
    return {f"n_{of}": count for of, count in used.items()}
