"""The state of a training in a file, so that a run which was killed ends with the same bits.

A state is the values of variables (weights, the optimizer's, seed generators) and whatever
callbacks remember. Its file begins with a line of JSON, goes on with the bytes of the arrays, and
ends with a SHA-256 of all that. It is written whole, beside its predecessor; a torn file or a
flipped bit is detected, and the predecessor read instead.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
import types
import warnings
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from common.system import write_whole
from common.training import distribution

DIGEST_BYTES = 32  # of a SHA-256
SET_BY_KERAS = {"_model", "params"}  # attributes of every callback, set anew by each `fit`
SAVE_SECONDS = 5.0  # least time between two checkpoints
SAVE_SHARE = 0.04  # largest share of the time spent on checkpoints
EXAMPLES_HASHED = 100  # of a memory-mapped array, to tell it from others
MAX_EPOCHS = 2**31 - 1


class NotPlain(TypeError):
    """A value that is not made of numbers, text, arrays, lists and dicts."""


class Checkpoints:
    """The checkpoints of one `fit`; without a file it does nothing.

    Args:
        file: where the state is kept, or None.
        model: compiled and built.
        callbacks: whose state is kept if they name it (`remembers`) or have plain attributes only,
            as those of Keras have; else nothing is kept, and a training that is killed begins anew.
    """

    def __init__(self, file: Path | None, model: keras.Model, callbacks: Sequence):
        self.file, self.model, self.callbacks = file, model, callbacks
        self.variables = lasting(model)
        self.next = time.monotonic() + SAVE_SECONDS

    def restore(self) -> int:
        """The epoch to continue with; 0 if there is no checkpoint that all workers have."""
        if self.file is None:
            return 0
        values, state = read(self.file, self.variables)
        epoch = state["epoch"] if state else 0
        same = distribution.least([epoch, MAX_EPOCHS - epoch]) == [epoch, MAX_EPOCHS - epoch]
        if not same or not epoch:
            return 0
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)
        for callback, kept in zip(self.callbacks, state["callbacks"], strict=True):
            if getattr(callback, "monitor_op", 0) is None:
                callback._set_monitor_op()  # else the next epoch would turn min_delta's sign again
            for name, value in kept.items():
                setattr(callback, name, value)
        self.model.stop_training = state["stop"]
        return epoch

    def save(self, epoch: int) -> None:
        """Keeps the state before that epoch, unless a checkpoint was written just now."""
        began = time.monotonic()
        if self.file is None or began < self.next or not distribution.is_chief():
            return
        try:
            callbacks = [remembered(callback) for callback in self.callbacks]
        except NotPlain:
            self.file = None
            return
        stop = bool(self.model.stop_training)
        write(self.file, self.variables, {"epoch": epoch, "stop": stop, "callbacks": callbacks})
        seconds = time.monotonic() - began
        self.next = time.monotonic() + max(SAVE_SECONDS, seconds / SAVE_SHARE)


def lasting(model: keras.Model) -> list[keras.Variable]:
    """Weights, seed generators and the optimizer's variables; metrics begin anew every epoch."""
    passing = {id(variable) for variable in model.metrics_variables}
    every = {id(one): one for one in (*model.variables, *model.optimizer.variables)}
    return [variable for key, variable in every.items() if key not in passing]


def fingerprint(
    model: keras.Model, callbacks: Sequence, x: np.ndarray, y: np.ndarray, *details: Any
) -> str:
    """What a training begins with, in 16 hexadecimal digits: it names the checkpoint's file.

    The same program run again finds its own checkpoint, and another one finds nothing.
    """
    digest = hashlib.sha256()
    for variable in lasting(model):
        digest.update(variable.numpy().tobytes())
    hashed = x[:EXAMPLES_HASHED] if isinstance(x, np.memmap) else x
    about = [
        (x.shape, str(x.dtype), zlib.crc32(np.ascontiguousarray(hashed))),
        (y.shape, str(y.dtype), zlib.crc32(np.ascontiguousarray(y))),
        details,
        model.optimizer.get_config() | {"name": None},  # Keras numbers names within a process
        [type(callback).__name__ for callback in callbacks],
        [type(layer).__name__ for layer in model.layers],
        getattr(model.loss, "name", None) or getattr(model.loss, "__name__", str(model.loss)),
    ]
    digest.update(json.dumps(about, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


def write(file: Path, variables: Sequence[keras.Variable], state: Any) -> None:
    """Writes variables and a state of plain values; an older file becomes the previous one.

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
    """The variables' values and the state; (None, None) if there is no checkpoint.

    Warns of a damaged file, and takes the previous one.
    """
    for one in (file, previous(file)):
        if not one.exists():
            continue
        try:
            values, state = _parsed(one.read_bytes())
            if [value.shape for value in values] != [tuple(each.shape) for each in variables]:
                raise ValueError("other variables")
        except (OSError, ValueError, KeyError, TypeError) as error:
            warnings.warn(f"damaged checkpoint {one} ({error}): not used", stacklevel=2)
            continue
        return values, state
    return None, None


def previous(file: Path) -> Path:
    """Where the state before the last one is kept."""
    return file.with_suffix(".previous")


def remembered(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """The state of a callback: its attributes, or those that it names in `remembers`.

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
    """Whether it is a function without state: neither bound to an object nor a closure."""
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
    if hashlib.sha256(content[:-DIGEST_BYTES]).digest() != content[-DIGEST_BYTES:]:
        raise ValueError("wrong checksum")
    head, _, rest = content[:-DIGEST_BYTES].partition(b"\n")
    head, place, arrays = json.loads(head), 0, []
    for dtype, shape in head["arrays"]:
        one = np.frombuffer(rest, dtype, int(np.prod(shape)), place).reshape(shape)
        place += one.nbytes
        arrays.append(one.copy())
    return arrays[: head["variables"]], _decoded(head["state"], arrays)
