"""The state of a training in a file, so that a run which was killed ends with the same bits.

A state is the values of variables (weights, the optimizer's, seed generators) and whatever
callbacks remember, pickled, and a SHA-256 of that. It is written whole, beside its predecessor; a
torn file or a flipped bit is detected, and the predecessor read instead.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import time
import types
import warnings
import zlib
from collections.abc import Sequence
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
    stream = io.BytesIO()
    _PlainPickler(stream).dump(([variable.numpy() for variable in variables], state))
    content = stream.getvalue()
    for torn in file.parent.glob(f"{file.name}*.part"):  # by a process that was killed
        torn.unlink()
    if file.exists():
        os.replace(file, previous(file))
    write_whole(file, [content, hashlib.sha256(content).digest()])


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
            content = one.read_bytes()
            if hashlib.sha256(content[:-DIGEST_BYTES]).digest() != content[-DIGEST_BYTES:]:
                raise ValueError("wrong checksum")
            values, state = pickle.loads(content[:-DIGEST_BYTES])
            if [value.shape for value in values] != [tuple(each.shape) for each in variables]:
                raise ValueError("other variables")
        except (OSError, ValueError) as error:
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
    _PlainPickler(io.BytesIO()).dump(found)
    return found


def _is_mere_function(value: Any) -> bool:
    """Whether it is a function without state: neither bound to an object nor a closure."""
    if isinstance(value, types.BuiltinFunctionType):
        return isinstance(value.__self__, types.ModuleType | None)
    functions = types.FunctionType, type, np.ufunc
    return isinstance(value, functions) and not getattr(value, "__closure__", None)


class _PlainPickler(pickle.Pickler):
    """Refuses what is more than numbers, text and containers: a copy would lose its identity."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biuf":
            return NotImplemented  # NumPy's own way
        made_by_numpy = callable(value) and str(value.__module__).startswith("numpy")
        if isinstance(value, np.dtype) or made_by_numpy:
            return NotImplemented
        raise NotPlain(f"expected numbers, text, arrays and containers, received {type(value)}")
