"""The state of a training in a file, so that who goes on from it ends with the same bits.

A state is the values of variables (weights, the optimizer's, seed generators) and whatever
callbacks remember. Its file begins with a line of JSON, goes on with the bytes of the arrays, and
ends with a SHA-256 of all that. It is written whole, beside its predecessor; a file that is torn or
has a flipped bit is noticed, and the predecessor read instead.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import types
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from common.results import write_whole

DIGEST = 32  # bytes of a SHA-256
SET_BY_KERAS = {"_model", "params"}  # attributes of every callback, made anew by each `fit`


class NotPlain(TypeError):
    """A value that is not made of numbers, text, arrays, lists and dicts."""


def write(file: Path, variables: Sequence[keras.Variable], state: Any) -> None:
    """Writes variables and a state of plain values; the file that was there becomes the previous.

    Raises NotPlain for a state that cannot be written, OSError.
    """
    arrays = [variable.numpy() for variable in variables]
    tree = _encoded(state, arrays)
    head = {
        "state": tree,
        "variables": len(variables),
        "arrays": [(array.dtype.str, array.shape) for array in arrays],
    }

    def content() -> Iterator[bytes]:
        digest = hashlib.sha256()
        pieces = (array.tobytes() for array in arrays)
        for piece in itertools.chain([json.dumps(head).encode() + b"\n"], pieces):
            digest.update(piece)
            yield piece
        yield digest.digest()

    for torn in file.parent.glob(f"{file.name}*.part"):  # by a process that was killed
        torn.unlink()
    if file.exists():
        os.replace(file, previous(file))
    write_whole(file, content())


def read(
    file: Path, variables: Sequence[keras.Variable]
) -> tuple[list[np.ndarray], Any] | tuple[None, None]:
    """The variables' values and the state; (None, None) if there is nothing to go on from.

    Warns of a damaged file, and takes the previous one.
    """
    for one in (file, previous(file)):
        if not one.exists():
            continue
        try:
            values, state = _parsed(one.read_bytes())
            if [value.shape for value in values] != [tuple(each.shape) for each in variables]:
                raise ValueError("it has other variables")
        except (OSError, ValueError, KeyError, TypeError) as error:
            warnings.warn(f"damaged checkpoint {one} ({error}): not used", stacklevel=2)
            continue
        return values, state
    return None, None


def previous(file: Path) -> Path:
    """Where the state before the last one is kept."""
    return file.with_suffix(".previous")


def remembered(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """What a callback must not forget: its attributes, or those that it names in `remembers`.

    Raises NotPlain if one of them cannot be written, as a function's closure cannot.
    """
    names = getattr(callback, "remembers", None)
    if names is None:
        names = [
            name
            for name, value in vars(callback).items()
            if name not in SET_BY_KERAS and not _is_mere_function(value)
        ]
    found = {name: getattr(callback, name) for name in names}
    _encoded(found, [])
    return found


def _is_mere_function(value: Any) -> bool:
    """A function that remembers nothing: neither bound to an object nor a closure."""
    if isinstance(value, types.BuiltinFunctionType):
        return isinstance(value.__self__, types.ModuleType | None)
    functions = types.FunctionType, type, np.ufunc
    return isinstance(value, functions) and not getattr(value, "__closure__", None)


def _encoded(value: Any, arrays: list[np.ndarray]) -> Any:
    """The value in JSON's types; arrays go into the list, and their number stands for them."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if type(value) is float:
        return value
    if isinstance(value, (np.ndarray, np.generic)) and np.asarray(value).dtype.kind in "biuf":
        arrays.append(np.asarray(value))
        return {"scalar" if isinstance(value, np.generic) else "array": len(arrays) - 1}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [_encoded(one, arrays) for one in value]}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _encoded(one, arrays) for key, one in value.items()}}
    raise NotPlain(f"expected numbers, text, arrays, lists or dicts, received {type(value)}")


def _decoded(tree: Any, arrays: list[np.ndarray]) -> Any:
    if not isinstance(tree, dict):
        return tree
    ((kind, value),) = tree.items()
    if kind == "dict":
        return {key: _decoded(one, arrays) for key, one in value.items()}
    if kind in ("list", "tuple"):
        parts = [_decoded(one, arrays) for one in value]
        return parts if kind == "list" else tuple(parts)
    return arrays[value][()] if kind == "scalar" else arrays[value]


def _parsed(content: bytes) -> tuple[list[np.ndarray], Any]:
    """The values of the variables, and the state. Raises ValueError for a damaged file."""
    if hashlib.sha256(content[:-DIGEST]).digest() != content[-DIGEST:]:
        raise ValueError("its checksum is wrong")
    head, _, rest = content[:-DIGEST].partition(b"\n")
    head, place, arrays = json.loads(head), 0, []
    for dtype, shape in head["arrays"]:
        one = np.frombuffer(rest, dtype, int(np.prod(shape)), place).reshape(shape)
        place += one.nbytes
        arrays.append(one.copy())
    return arrays[: head["variables"]], _decoded(head["state"], arrays)
