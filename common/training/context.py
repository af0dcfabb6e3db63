"""Settings that a run gives to every `fit` of a recipe without passing arguments.

`running` opens the context of one run: the seed that orders the examples, a folder for checkpoints,
and a callback that learns of progress. Outside of it a recipe is plain Keras.
"""

import contextlib
import fcntl
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from common.system import file_stem
from common.training import distribution, resume

REPORT_SECONDS = 0.2  # between two reports of progress: some epochs last a millisecond


@dataclass
class Context:
    """One run of a recipe, as `fit` sees it."""

    seed: int  # orders the examples
    folder: Path | None = None  # of checkpoints; None: a training that is killed begins anew
    shared: Path | None = None  # of what the arms of this seed share; None: each makes its own
    report: Callable[[float], None] = lambda share: None  # takes the share done, in [0, 1]
    fits: int = 1  # expected calls of `fit`, to turn the progress of one into that of the run
    begun: int = field(default=0, init=False)  # calls of `fit` so far
    seen: Counter = field(default_factory=Counter, init=False)  # their fingerprints
    reported: float = field(default=0.0, init=False)  # seconds, on the clock of the last report

    def progress(self, share: float) -> None:
        """Reports the share of the run that is done, from that of its current `fit`."""
        if time.monotonic() - self.reported >= REPORT_SECONDS:
            self.reported = time.monotonic()
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


def once(name: str, make: Callable[[], Sequence[np.ndarray]]) -> list[np.ndarray]:
    """The arrays that `make` returns, made once for all arms of a seed that ask by this name.

    An arm in another process waits until they are there. `name` must tell apart everything that
    they depend on besides the hyperparameters and the seed.
    """
    run = current()
    if run is None or run.shared is None:
        return list(make())
    run.shared.mkdir(parents=True, exist_ok=True)
    file = run.shared / f"{file_stem(name)}.{run.seed}.state"
    with file.with_suffix(".lock").open("w") as lock:
        if not distribution.has_workers():  # who make it together, and must not wait for each other
            fcntl.flock(lock, fcntl.LOCK_EX)
        arrays = resume.read(file)
        if distribution.least([int(arrays is not None)]) == [0]:
            arrays = list(make())
            if distribution.is_chief():
                resume.write(file, arrays)
    keras.utils.set_random_seed(run.seed)  # arms that made them and arms that read them go on alike
    return arrays
