"""results.json: what it holds, read with care and encoded."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common.system import UsageError

SCHEMA = 2
TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10", "digits": "scikit-learn's digits"}


@dataclass(frozen=True)
class Results:
    """A view on results.json, see README.md for its fields, and on the pictures beside it."""

    content: Mapping[str, Any]
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)  # by "arm/name"

    @property
    def config(self) -> Mapping[str, Any]:
        """The hyperparameters by name."""
        return self.content["config"]

    @property
    def dataset(self) -> str:
        """Name of the data set that was used."""
        return self.content["dataset"]["name"]

    @property
    def arms(self) -> list[str]:
        """Names of the arms that were trained."""
        return list(self.content["arms"])

    def titled(self, topic: str) -> str:
        """A figure's title: the topic, the data set and the number of seeds."""
        seeds = max(len(arm["seeds"]) for arm in self.content["arms"].values())
        dataset = "" if self.dataset == "none" else f"{TITLES.get(self.dataset, self.dataset)}, "
        return f"{topic} ({dataset}{seeds} seed{'s' * (seeds > 1)})"

    def seeds(self, arm: str) -> list[int]:
        """The seeds of an arm. Raises KeyError for an arm that was not trained."""
        return self.content["arms"][arm]["seeds"]

    def metric(self, metric: str, arm: str) -> np.ndarray:
        """One value a seed, (seeds,).

        Raises KeyError for an arm that was not trained, ValueError for a metric that it lacks.
        """
        measured = self.content["arms"][arm]["metrics"]
        if metric not in measured:
            raise ValueError(f"expected one of {', '.join(measured)} of {arm}, received {metric}")
        return _array(measured[metric])

    def curves(self, series: str, arm: str) -> np.ndarray:
        """(seeds, points); a series cut short, as by early stopping, ends in NaN."""
        found = self.content["arms"][arm]["history"][series]
        longest = max(len(values) for values in found)
        return _array([[*values, *[math.nan] * (longest - len(values))] for values in found])

    def picture(self, name: str, arm: str) -> np.ndarray:
        """An array that seed 0 kept for the figure."""
        return self.pictures[f"{arm}/{name}"]


def read_results(file: Path, recipe: str) -> Results:
    """Raises UsageError for a file that is missing, damaged, or not this recipe's results."""
    try:
        content = json.loads(file.read_bytes())
        stored = file.with_name("pictures.npz")
        pictures = dict(np.load(stored, allow_pickle=False)) if stored.exists() else {}
    except FileNotFoundError:
        raise UsageError(
            f"expected results in {file}, received nothing: run the recipe first"
        ) from None
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"expected results in {file}, received a damaged file ({error})") from None
    about = content if isinstance(content, dict) else {}
    found = about.get("schema"), about.get("recipe")
    if found != (SCHEMA, recipe):
        raise UsageError(
            f"expected schema {SCHEMA} of {recipe} in {file}, "
            f"received schema {found[0]} of {found[1]}"
        )
    return Results(content, pictures)


def short(value: float) -> float:
    """A float with no more digits than it has: float32 numbers stay exact and short."""
    with np.errstate(over="ignore"):
        return float(str(np.float32(value))) if np.float32(value) == value else float(value)


def encode(content: Any) -> bytes:
    """JSON, which knows neither NaN nor infinity: both become null."""

    def clean(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [clean(item) for item in value]
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return value

    return (json.dumps(clean(content), allow_nan=False) + "\n").encode()


def _array(values: Any) -> np.ndarray:
    """Numbers from JSON, null as NaN."""
    return np.array(values, dtype=float)
