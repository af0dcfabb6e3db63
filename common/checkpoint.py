"""Weights of a trained net in one file, with what they belong to; written whole or not at all."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.results import UsageError, write_whole


def save(file: Path, weights: Sequence[np.ndarray], about: Mapping[str, Any]) -> None:
    """Writes weights, and `about`, which says (in JSON's types) what net and data they are of."""
    stream = io.BytesIO()
    named = {f"weight{i}": array for i, array in enumerate(weights)}
    np.savez(stream, about=np.array(json.dumps(about, sort_keys=True)), **named)
    write_whole(file, stream.getvalue())


def load(file: Path, expected: Mapping[str, Any]) -> list[np.ndarray]:
    """The weights in a file that `save` wrote.

    Args:
        expected: what must be said in the file's `about`; what else that says does not matter.

    Raises:
        UsageError: no such file, a damaged one, or one about something else; it names both.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            about = json.loads(str(stored["about"]))
            weights = [stored[f"weight{i}"] for i in range(len(stored.files) - 1)]
    except FileNotFoundError:
        raise UsageError(f"expected a checkpoint in {file}, received nothing") from None
    # An .npy file is read as well, as an array, which is no context manager.
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"expected a checkpoint in {file}, received a damaged file ({error})"
        ) from None
    other = {name: about.get(name) for name in expected if about.get(name) != expected[name]}
    if other:
        wanted = {name: expected[name] for name in other}
        raise UsageError(f"{file}: expected a checkpoint of {wanted}, received one of {other}")
    return weights
