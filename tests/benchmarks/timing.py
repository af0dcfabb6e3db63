"""Ways to do the same work, timed in turn within one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

import keras

ROUNDS = 5


class Clock(keras.callbacks.Callback):
    """Notes when each epoch ends; the first epoch, which compiles, is not counted."""

    def __init__(self):
        super().__init__()
        self.ends = []

    def on_epoch_end(self, epoch, logs=None):
        self.ends.append(time.perf_counter())

    def epoch_seconds(self) -> float:
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def rounds(ways: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """The seconds that each way reports, over some rounds; each round begins with another way."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for first in range(ROUNDS):
        for i in range(len(ways)):
            name = list(ways)[(first + i) % len(ways)]
            found[name].append(ways[name]())
    return found


def best_of(operation: Callable[[], object], times: int = 30) -> float:
    """Seconds of the fastest of some calls: what the machine can do."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        operation()
        found.append(time.perf_counter() - began)
    return min(found)


def compare(
    work: str, unit: str, ways: Mapping[str, Callable[[], float]], scale: float, per_second=False
) -> str:
    """A Markdown table of the seconds that each way reports, times `scale`, over some rounds.

    Ratios to the first way are taken within a round, because the machine's speed drifts.
    With `per_second` the rate is shown, `scale` / seconds, and ratios are of rates.
    """
    found = {
        name: [scale / one if per_second else scale * one for one in seconds]
        for name, seconds in rounds(ways).items()
    }
    first = next(iter(found.values()))
    first_row = f"{'rate' if per_second else 'time'} over the first row's"
    rows = [f"| {work} | {unit} (min / median / max) | {first_row} |", "|---|---|---|"]
    for name, values in found.items():
        ratios = [value / base for value, base in zip(values, first, strict=True)]
        rows.append(f"| {name} | {spread(values)} | {spread(ratios)} |")
    return "\n".join(rows)


def spread(values: list[float]) -> str:
    """Minimum, median and maximum."""
    three = min(values), statistics.median(values), max(values)
    return " / ".join(f"{one:,.0f}" if one >= 1_000 else f"{one:.3g}" for one in three)
