"""results.json: what it holds, read with care and written whole or not at all."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import math
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SCHEMA = 1


class UsageError(ValueError):
    """What the user asked for cannot be; the message is one line: expected ..., received ..."""


@dataclass(frozen=True)
class Results:
    """results.json with a view on its numbers. See README.md for the fields."""

    content: Mapping[str, Any]

    @property
    def config(self) -> Mapping[str, Any]:
        """The knobs by name."""
        return self.content["config"]

    @property
    def dataset(self) -> str:
        """The data set that was really used."""
        return self.content["dataset"]["name"]

    def titled(self, topic: str) -> str:
        """A figure's title: the topic, the data set and how many seeds were run."""
        seeds = max(len(arm["seeds"]) for arm in self.content["arms"].values())
        name = {"mnist": "MNIST", "cifar10": "CIFAR-10", "digits": "scikit-learn's digits"}
        dataset = name.get(self.dataset, self.dataset)
        return f"{topic} ({dataset}, {seeds} seed{'s' * (seeds > 1)})"

    def metric(self, name: str) -> np.ndarray:
        """`arm/metric` -> one value a seed, (seeds,).

        Raises KeyError for an arm that was not trained, ValueError for a metric that it has not.
        """
        arm, _, metric = name.partition("/")
        measured = self.content["arms"][arm]["metrics"]
        if metric not in measured:
            raise ValueError(f"expected one of {', '.join(measured)} of {arm}, received {metric}")
        return _array(measured[metric])

    def history(self, name: str) -> np.ndarray:
        """`arm/series` -> (seeds, epochs); a series cut short by early stopping ends in NaN."""
        arm, _, series = name.partition("/")
        seeds = self.content["arms"][arm]["history"][series]
        longest = max(len(values) for values in seeds)
        return _array([[*values, *[math.nan] * (longest - len(values))] for values in seeds])


def read_results(file: Path, recipe: str) -> Results:
    """Raises UsageError for a file that is missing, damaged, or not this recipe's results."""
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise UsageError(
            f"expected results in {file}, received nothing: run the recipe first"
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"expected results in {file}, received a damaged file ({error})") from None
    found = (
        (content.get("schema"), content.get("recipe"))
        if isinstance(content, dict)
        else (None, None)
    )
    if found != (SCHEMA, recipe):
        raise UsageError(
            f"expected schema {SCHEMA} of {recipe} in {file}, "
            f"received schema {found[0]} of {found[1]}"
        )
    return Results(content)


def write_whole(file: Path, content: bytes | Iterable[bytes]) -> None:
    """Writes the file, in one piece or several, whole or not at all: beside it, then renamed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.writelines([content] if isinstance(content, bytes) else content)
        os.chmod(temporary, 0o644)  # mkstemp's own 0600 would hide the file from other users
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def versions() -> dict[str, str]:
    """What the numbers may depend on."""
    found = {name: importlib.metadata.version(name) for name in ("tensorflow", "keras", "numpy")}
    return {"python": platform.python_version(), **found}


def hardware() -> str:
    """The processor and its cores, or the GPUs."""
    import tensorflow as tf  # takes seconds, and the rest of this module does without

    if gpus := tf.config.get_visible_devices("GPU"):
        names = [tf.config.experimental.get_device_details(gpu).get("device_name") for gpu in gpus]
        return ", ".join(str(name) for name in names)
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(
            (line.split(": ")[1] for line in lines if line.startswith("model name")), model
        )
    return f"{model.strip()}, {os.cpu_count()} cores"


def computes_in_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 numbers itself; elsewhere they are slower."""
    with contextlib.suppress(OSError):
        flags = Path("/proc/cpuinfo").read_text()
        return any(flag in flags for flag in ("amx_bf16", "avx512_bf16"))
    return False


def commit() -> str | None:
    """The commit of this repository, None outside one; `-dirty` if files of it differ, but for the
    documents, which a recorded run changes."""

    def git(*arguments: str) -> subprocess.CompletedProcess:
        here = Path(__file__).parent
        return subprocess.run(["git", *arguments], cwd=here, capture_output=True, text=True)

    with contextlib.suppress(OSError):
        head = git("rev-parse", "--short=12", "HEAD")
        if head.returncode == 0:
            documents = ":(exclude,top)docs", ":(exclude,top)README.md"
            differs = git("diff", "--quiet", "HEAD", "--", ":/", *documents).returncode
            return head.stdout.strip() + "-dirty" * bool(differs)
    return None


def short(value: float) -> float:
    """A float with no more digits than it has: float32 numbers stay exact and short."""
    return float(str(np.float32(value))) if np.float32(value) == value else float(value)


def encode(content: Any) -> bytes:
    """JSON knows neither NaN nor infinity: both become null."""

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
