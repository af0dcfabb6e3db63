"""Checkpoints, with which a training that was killed resumes and ends with the same bits.

A state is the values of variables (weights, the optimizer's, seed generators) and whatever
callbacks remember. It is pickled behind its SHA-256, and written whole: a damaged file is detected.
"""

import contextlib
import hashlib
import json
import pickle
import time
import types
import warnings
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from common.system import write_whole
from common.training import distribution

DIGEST_BYTES = 32  # of a SHA-256
# Keras sets these attributes itself, and would flip the sign of a restored min_delta again.
SET_ANEW = {"_model", "params", "min_delta"}
SAVE_SECONDS = 5.0  # least time between two checkpoints
SAVE_SHARE = 0.04  # largest share of the time spent on checkpoints
EXAMPLES_HASHED = 100  # of a memory-mapped array, to tell it from others
PLAIN = types.NoneType, bool, int, float, str, bytes, np.generic, np.ndarray, np.dtype


class Checkpoints:
    """The checkpoints of one `fit` in a folder; without one it does nothing.

    The state of callbacks is kept if they name it (`remembers`) or have plain attributes only, as
    those of Keras have; else nothing is kept, and a training that is killed begins anew. `about`
    tells this training from others in the folder: arrays and details, as for `fingerprint`. Those
    that it cannot tell apart are numbered: `seen` counts them within a run.
    """

    def __init__(
        self,
        folder: Path | None,
        model: keras.Model,
        callbacks: Sequence,
        seen: Counter,
        *about: Any,
    ):
        self.model, self.callbacks = model, callbacks
        # Weights, seed generators, the optimizer's variables; metrics begin anew every epoch.
        passing = {id(variable) for variable in model.metrics_variables}
        every = (*model.variables, *model.optimizer.variables)
        self.variables = [variable for variable in every if id(variable) not in passing]
        self.file = None
        if folder:
            found = self.fingerprint(*about)
            self.file = folder / f"{found}.{seen[found]}.state"
            seen[found] += 1
        self.next = time.monotonic() + SAVE_SECONDS

    def fingerprint(self, arrays: Sequence[np.ndarray], details: Any) -> str:
        """What the training begins with, in 16 hexadecimal digits.

        The same program run again finds its own checkpoint, and another one finds nothing.
        """
        loss = self.model.loss
        about = [
            details,
            self.model.optimizer.get_config() | {"name": None},  # Keras numbers names in a process
            [type(one).__name__ for one in (*self.callbacks, *self.model.layers)],
            getattr(loss, "name", None) or getattr(loss, "__name__", str(loss)),
        ]
        for array in (*arrays, *(variable.numpy() for variable in self.variables)):
            hashed = array[:EXAMPLES_HASHED] if isinstance(array, np.memmap) else array
            about.append((array.shape, str(array.dtype), zlib.crc32(np.ascontiguousarray(hashed))))
        return hashlib.sha256(json.dumps(about, default=str).encode()).hexdigest()[:16]

    def restore(self) -> int:
        """The epoch to continue with; 0 if there is no checkpoint that all workers have."""
        state = read(self.file) if self.file else None
        epoch = state["epoch"] if state else 0
        if not distribution.alike(epoch) or not state:
            return 0
        for variable, value in zip(self.variables, state["variables"], strict=True):
            variable.assign(value)
        for callback, kept in zip(self.callbacks, state["callbacks"], strict=True):
            vars(callback).update(kept)
        self.model.stop_training = state["stop"]
        return epoch

    def save(self, epoch: int) -> None:
        """Keeps the state before that epoch, unless a checkpoint was written just now."""
        began = time.monotonic()
        if self.file is None or began < self.next or not distribution.is_chief():
            return
        state = {
            "epoch": epoch,
            "stop": bool(self.model.stop_training),
            "variables": [variable.numpy() for variable in self.variables],
            "callbacks": [remembered(callback) for callback in self.callbacks],
        }
        if None in state["callbacks"]:
            self.file = None
            return
        with contextlib.suppress(FileNotFoundError):  # where another process trains the same run
            write(self.file, state)
        seconds = time.monotonic() - began
        self.next = time.monotonic() + max(SAVE_SECONDS, seconds / SAVE_SHARE)


def write(file: Path, state: Any) -> None:
    """Writes a state of plain values; raises OSError."""
    content = pickle.dumps(state)
    for torn in file.parent.glob(f"{file.name}*.part"):  # by a process that was killed
        torn.unlink(missing_ok=True)
    write_whole(file, [hashlib.sha256(content).digest(), content])


def read(file: Path) -> Any:
    """The state that was written, None if there is none; warns of a damaged file."""
    if not file.exists():
        return None
    written = file.read_bytes()
    digest, content = written[:DIGEST_BYTES], written[DIGEST_BYTES:]
    if hashlib.sha256(content).digest() == digest:
        return pickle.loads(content)
    warnings.warn(f"damaged checkpoint {file}: the training begins anew", stacklevel=2)
    return None


def remembered(callback: keras.callbacks.Callback) -> dict[str, Any] | None:
    """The state of a callback: its attributes, or those that it names in `remembers`.

    None if one holds more than plain values, such as a closure: a copy would lose its identity.
    """
    names = getattr(callback, "remembers", vars(callback).keys() - SET_ANEW)
    found = {name: getattr(callback, name) for name in names}
    found = {name: value for name, value in found.items() if not _is_mere_function(value)}
    return found if all(map(_is_plain, found.values())) else None


def _is_mere_function(value: Any) -> bool:
    """Whether it is a function without state: neither bound to an object nor a closure."""
    state = getattr(value, "__closure__", None) or getattr(value, "__self__", None)
    functions = types.FunctionType, types.BuiltinFunctionType, type, np.ufunc
    return isinstance(value, functions) and isinstance(state, types.ModuleType | None)


def _is_plain(value: Any) -> bool:
    """Whether it consists of numbers, text, arrays and containers only."""
    if type(value) is dict:
        value = list(value.items())
    if type(value) in (list, tuple, set):
        return all(map(_is_plain, value))
    return isinstance(value, PLAIN) and not getattr(value, "dtype", np.dtype(int)).hasobject
