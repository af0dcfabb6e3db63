"""results.json: what it holds, read with care and encoded."""

import dataclasses
import io
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from common.system import UsageError, write_whole

SCHEMA = 2
PICTURES = "pictures.npz"  # beside results.json
TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10", "mnist5k": "mnist5k, part of MNIST"}


@dataclass(frozen=True)
class Results:
    """A view on results.json, see docs/regress.md for its fields, and on the pictures beside it."""

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
        seeds = max(len(self.seeds(arm)) for arm in self.arms)
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
        return np.array(measured[metric], dtype=float)  # null becomes NaN

    def curves(self, series: str, arm: str) -> np.ndarray:
        """(seeds, points); a series cut short, as by early stopping, ends in NaN."""
        found = self.content["arms"][arm]["history"][series]
        longest = max(len(values) for values in found)
        padded = [[*values, *[math.nan] * (longest - len(values))] for values in found]
        return np.array(padded, dtype=float)

    def picture(self, name: str, arm: str) -> np.ndarray:
        """An array that seed 0 kept for the figure."""
        return self.pictures[f"{arm}/{name}"]


def read_results(file: Path, recipe: str) -> Results:
    """Raises UsageError for a file that is missing, damaged, or not this recipe's results."""
    try:
        content, pictures = json.loads(file.read_bytes()), read_arrays(file.with_name(PICTURES))
        received = f"schema {content['schema']} of {content['recipe']}"
    except FileNotFoundError:
        reason = f"expected results in {file}, received nothing: run the recipe first"
        raise UsageError(reason) from None
    except Exception as error:  # which kind depends on which byte is wrong
        received = f"a damaged file ({error})"
    if received != f"schema {SCHEMA} of {recipe}":
        expected = f"schema {SCHEMA} of {recipe} in {file}"
        raise UsageError(f"expected {expected}, received {received}; --fresh replaces it")
    return Results(content, pictures)


def short(value: float) -> float:
    """A number with the digits of its precision: a float32 stays exact and short.

    A Python float is rounded to float32; NumPy's float64 and what float32 cannot hold are kept.
    """
    with np.errstate(over="ignore"):
        narrow = np.float32(value)
        return float(str(narrow)) if np.isfinite(narrow) and narrow == value else float(value)


def encode(content: Any) -> bytes:
    """JSON with paths as text; it knows neither NaN nor infinity, which become null."""
    text = json.dumps(content, default=os.fspath)
    clean = json.loads(text, parse_constant=lambda name: None)
    return (json.dumps(clean) + "\n").encode()


def settings(config: Any) -> dict[str, Any]:
    """Hyperparameters as they stand in results.json."""
    return json.loads(encode(dataclasses.asdict(config)))


def write_arrays(file: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes an .npz file, whole or not at all; raises OSError."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    write_whole(file, stream.getvalue())


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, none if it does not exist."""
    if not file.exists():
        return {}
    with np.load(file, allow_pickle=False) as arrays:
        return dict(arrays)
