"""Annotations of hyperparameters: which examples they count, and the range of a number."""

import operator
import sys
import typing
from dataclasses import dataclass
from typing import Any, Literal

from common.system import UsageError

BOUNDS = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}


@dataclass(frozen=True)
class Examples:
    """Annotates a number of examples; those for validation are the last training examples."""

    of: Literal["train", "validation", "test"]


class Photographs:
    """Annotates the side (pixels) of the squares to which photographs are cut.

    A recipe that has such a hyperparameter takes any data set of photographs.
    """


def notes_of(config: Any) -> dict[str, tuple]:
    """What annotates each hyperparameter."""
    hints = typing.get_type_hints(type(config), include_extras=True)
    return {name: getattr(hint, "__metadata__", ()) for name, hint in hints.items()}


def check_numbers(config: Any) -> None:
    """Raises UsageError for a number that is not finite or not within its bounds.

    A number must be positive unless annotated-types' Ge, Gt, Le, Lt or Interval say otherwise.
    """
    for name, notes in notes_of(config).items():
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        said = [(key, getattr(note, key, None)) for note in notes for key in BOUNDS]
        limits = [(key, limit) for key, limit in said if limit is not None] or [("gt", 0)]
        within = all(getattr(operator, key)(value, limit) for key, limit in limits)
        if not (within and abs(value) <= sys.float_info.max):  # neither infinite nor NaN
            kind = "whole" if isinstance(value, int) else "finite"
            words = " and ".join(f"{BOUNDS[key]} {limit:g}" for key, limit in limits)
            raise UsageError(f"{flag(name)}: expected a {kind} number {words}, received {value}")


def flag(name: str) -> str:
    """How the command line calls a hyperparameter."""
    return f"--{name.replace('_', '-')}"
