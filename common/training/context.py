"""What whoever runs a recipe settles for every `fit` in it, without passing arguments.

`running` opens the context of one run: the seed that orders the examples, a folder for checkpoints,
and a callback that learns of progress. Outside of it a recipe is plain Keras.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from common.system import write_whole
from common.training import distribution

REPORT_SECONDS = 0.2  # between two reports of progress: some epochs last a millisecond

Report = Callable[[float], None]  # takes the share done, in [0, 1]


@dataclass
class Context:
    """One run of a recipe, as `fit` sees it."""

    seed: int  # orders the examples
    folder: Path | None = None  # of checkpoints; None: a training that is killed begins anew
    shared: Path | None = None  # of what the arms of this seed share; None: each makes its own
    report: Report = lambda share: None
    fits: int = 1  # expected calls of `fit`, to turn the progress of one into that of the run
    begun: int = field(default=0, init=False)  # calls of `fit` so far

    def progress(self, share: float) -> None:
        """Reports the share of the run that is done, from that of its current `fit`."""
        done = (self.begun - 1 + share) / max(self.fits, self.begun)
        self.report(min(done, 0.99))  # only whoever runs the recipe knows that it is finished


_CURRENT: ContextVar[Context | None] = ContextVar("context", default=None)


def current() -> Context | None:
    """The context of the run under way, None outside of one."""
    return _CURRENT.get()


@contextlib.contextmanager
def running(context: Context) -> Iterator[Context]:
    """Within it every `fit` and `once` belongs to this run."""
    token = _CURRENT.set(context)
    try:
        yield context
    finally:
        _CURRENT.reset(token)


class Progress(keras.callbacks.Callback):
    """Reports the share of a run that is done, after an epoch."""

    remembers = ()  # nothing that a resumed training would miss

    def __init__(self, run: Context):
        super().__init__()
        self._run, self._reported = run, time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Reports, unless it did so just now."""
        if time.monotonic() - self._reported > REPORT_SECONDS:
            self._reported = time.monotonic()
            self._run.progress((epoch + 1) / self.params["epochs"])


def once(name: str, make: Callable[[], Sequence[np.ndarray]]) -> list[np.ndarray]:
    """The arrays that `make` returns, made once for all arms of a seed that ask by this name.

    An arm in another process waits until they are there. `name` must tell apart everything that
    they depend on besides the hyperparameters and the seed.
    """
    context = current()
    if context is None or context.shared is None:
        return list(make())
    file = context.shared / f"{name.replace(' ', '-').replace('/', '-')}.{context.seed}.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if (
            not distribution.has_workers()
        ):  # who make it together, and could not wait for each other
            lock = stack.enter_context(file.with_suffix(".lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        readable = int(file.exists())
        if distribution.least([readable]) == [1]:
            with np.load(file, allow_pickle=False) as stored:
                arrays = [stored[f"array{i}"] for i in range(len(stored.files))]
        else:
            arrays = list(make())
            if distribution.is_chief():
                stream = io.BytesIO()
                np.savez(stream, **{f"array{i}": array for i, array in enumerate(arrays)})
                write_whole(file, stream.getvalue())
    keras.utils.set_random_seed(context.seed)  # an arm that made them goes on as one that did not
    return arrays
