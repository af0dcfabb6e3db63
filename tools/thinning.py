"""Results made small enough for docs/results."""

from typing import Any

import numpy as np

from common.experiment.record import Content
from common.experiment.results import encode


def thinned(content: Content, points: int = 200, size: int = 200_000) -> dict[str, Any]:
    """results.json for the record, in fewer than `size` bytes unless its metrics alone take more.

    Each series of `history` keeps at most `points` numbers to five significant digits, the ends
    among them; fewer, and none in the end, if it would take too many bytes. `history_length` of an
    arm holds the original lengths, {series: [n per seed]}, `history_index` the indices kept of n
    points, {"n": [...]}. A record, which is thin, stays as it is: it would lose these.
    """
    if "history_index" in content:
        return dict(content)
    while len(encode(thin := _thin(content, points))) >= size and points:
        points = max(2, points // 2) if points > 2 else 0
    return thin


def _thin(content: Content, points: int) -> dict[str, Any]:
    arms, kept = {}, {}

    def short(series: list) -> list:
        n = len(series)
        kept[n] = np.linspace(0, n - 1, min(n, points)).round().astype(int).tolist()
        return [series[i] and float(f"{series[i]:.5g}") for i in kept[n]]  # null stays null

    for name, arm in content["arms"].items():
        history = {key: [short(one) for one in seeds] for key, seeds in arm["history"].items()}
        lengths = {key: [len(one) for one in seeds] for key, seeds in arm["history"].items()}
        arms[name] = {**arm, "history": history, "history_length": lengths}
    return {**content, "arms": arms, "history_index": {str(n): kept[n] for n in sorted(kept)}}
