"""Whether results are as recorded in docs/results: every metric of every arm, seed by seed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from common.experiment.results import encode

RECORDS = Path(__file__).parents[2] / "docs" / "results"
ROUNDING = 1e-5  # relative; by less a number that never varies differs between processors
LEVEL = 0.999  # of the two-sample t-test; at 95 %, one metric in 20 would move by chance
Content = Mapping[str, Any]  # of results.json


def file_name(recipe: str, preset: str, dataset: str, default_dataset: str) -> str:
    """NAME[.PRESET][.DATASET].json, without what is the default."""
    named = [preset] * (preset != "default") + [dataset] * (dataset != default_dataset)
    return ".".join([recipe, *named, "json"])


def compare_with_file(now: Content, default_dataset: str, whole: bool = True) -> dict | None:
    """`record` of results.json: `compare` with the file in docs/results; None if there is none."""
    setting = now["recipe"], now["preset"], now["dataset"]["name"]
    file = RECORDS / file_name(*setting, default_dataset)
    if not file.exists():
        return None
    return {"file": f"docs/results/{file.name}"} | compare(
        now, json.loads(file.read_bytes()), whole
    )


def compare(now: Content, then: Content, whole: bool = True) -> dict[str, Any]:
    """What differs between two contents of results.json.

    Args:
        whole: whether all arms were to be trained; else arms that only `then` has are left out.

    Returns:
        `metrics`: how many both have, over all arms; `identical`: whether all are equal to the last
        bit on the seeds that both have; `moved`: [{`metric`: "metric: arm", `by`: difference of the
        means in standard deviations}], by infinity if one of them lacks it, largest first.
    """
    found, before = _metrics(now), _metrics(then)
    if not whole:
        before = {key: values for key, values in before.items() if key[1] in now["arms"]}
    both = found.keys() & before.keys()
    by = dict.fromkeys(found.keys() ^ before.keys(), math.inf)
    by |= {key: _moved(found[key], before[key]) for key in both}
    order = sorted((key for key in by if by[key]), key=lambda key: (-abs(by[key]), key))
    return {
        "metrics": len(both),
        "identical": all(key in both and _same(found[key], before[key]) for key in by),
        "moved": [{"metric": f"{metric}: {arm}", "by": by[metric, arm]} for metric, arm in order],
    }


def _metrics(content: Content) -> dict[tuple[str, str], dict[int, float]]:
    """(metric, arm) -> number by seed, NaN for whatever is null in JSON."""
    return {
        (metric, arm): dict(zip(measured["seeds"], np.array(values, dtype=float), strict=True))
        for arm, measured in content["arms"].items()
        for metric, values in json.loads(encode(measured["metrics"])).items()
    }


def _same(now: dict[int, float], then: dict[int, float]) -> bool:
    """Whether all numbers are equal on the common seeds, of which there is at least one."""
    pairs = [(now[seed], then[seed]) for seed in now.keys() & then.keys()]
    return bool(pairs) and np.array_equal(*np.transpose(pairs), equal_nan=True)


def _moved(now: dict[int, float], then: dict[int, float]) -> float:
    """Difference of the means in pooled standard deviations; 0 if no t-test at 99.9 % finds it.

    Infinite where a number exists on one side only, and where seeds never differed and now do.
    """
    if _same(now, then):
        return 0.0
    if any(math.isnan(now[seed]) != math.isnan(then[seed]) for seed in now.keys() & then.keys()):
        return math.inf
    a, b = (np.array([x for x in side.values() if not math.isnan(x)]) for side in (now, then))
    if not (len(a) and len(b)):
        return math.inf if len(a) or len(b) else 0.0
    # Shifted by its first number, an array of equal ones has exactly that mean and no deviation.
    means = [x[0] + np.mean(x - x[0]) for x in (a, b)]
    squares = np.sum((a - means[0]) ** 2) + np.sum((b - means[1]) ** 2)
    difference, freedom = float(means[0] - means[1]), len(a) + len(b) - 2
    if difference == 0 or squares == 0:
        same = math.isclose(*means, rel_tol=ROUNDING)
        return 0.0 if same else math.copysign(math.inf, difference)
    by = difference / math.sqrt(squares / freedom)
    t = by / math.sqrt(1 / len(a) + 1 / len(b))
    return by if abs(t) > stats.t.ppf((1 + LEVEL) / 2, freedom) else 0.0


def describe(entry: Mapping[str, Any] | None) -> str:
    """`record` of results.json in one line."""
    if entry is None:
        return "no record for this setting"
    if moved := entry["moved"]:  # by null in JSON is infinity
        told = [f"{x['metric']} by {x['by'] or math.inf:+.1f} standard deviations" for x in moved]
        return f"moved: {', '.join(told[:3] + [f'{len(told) - 3} more'] * (len(told) > 3))}"
    metrics = f"{entry['metrics']} metric{'s' * (entry['metrics'] != 1)}"
    if entry["identical"]:
        return f"unchanged to the bit ({metrics})"
    return f"unchanged ({metrics}, none differs at {100 * LEVEL:g} %)"


def thinned(content: Content, points: int = 200, size: int = 200_000) -> dict[str, Any]:
    """results.json for the record, in fewer than `size` bytes unless its metrics alone take more.

    Each series of `history` keeps at most `points` numbers to five significant digits, the first
    and the last among them; fewer, and none in the end, if it would take too many bytes. Where they
    stood: `history_length` of an arm holds the original number of points n, {series: [n per seed]},
    and `history_index` the indices kept of n points, {"n": [...]}.
    """
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
