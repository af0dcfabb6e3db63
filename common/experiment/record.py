"""Whether results are as recorded in docs/results: every metric of every arm, seed by seed."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from common.experiment.findings import standard_deviation
from common.experiment.results import encode

RECORDS = Path(__file__).parents[2] / "docs" / "results"
ROUNDING = 1e-5  # relative difference of two processors in a number that no seed changes
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
    compared = compare(now, json.loads(file.read_bytes()), whole)
    return {"file": f"docs/results/{file.name}"} | compared


def compare(now: Content, then: Content, whole: bool = True) -> dict[str, Any]:
    """What differs between two contents of results.json.

    `metrics`: how many both have, over all arms; `identical`: whether all are equal to the last bit
    on the seeds that both have; `moved`: [{`metric`: "metric: arm", `then` and `now`: means, `by`:
    difference of the means in standard deviations}], by infinity if one of them lacks it, largest
    first. Unless the `whole` was to be trained, arms that only `then` has are left out.
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
        "moved": [
            {
                "metric": ": ".join(key),
                "then": _mean(before.get(key)),
                "now": _mean(found.get(key)),
                "by": by[key],
            }
            for key in order
        ],
    }


def _mean(values: dict[int, float] | None) -> float | None:
    return float(np.mean(list(values.values()))) if values else None


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
    a, b = (np.array([x for x in side.values() if not math.isnan(x)]) for side in (now, then))
    if any(math.isnan(now[seed]) != math.isnan(then[seed]) for seed in now.keys() & then.keys()):
        return math.inf
    if len(a) == 0 or len(b) == 0:
        return 0.0 if len(a) == len(b) else math.inf
    stds = standard_deviation(a), standard_deviation(b)
    if stds == (0, 0):
        same = math.isclose(a[0], b[0], rel_tol=ROUNDING)
        return 0.0 if same else math.copysign(math.inf, a[0] - b[0])
    test = stats.ttest_ind_from_stats(np.mean(a), stds[0], len(a), np.mean(b), stds[1], len(b))
    by = float(test.statistic) * math.sqrt(1 / len(a) + 1 / len(b))
    return by if test.pvalue < 1 - LEVEL else 0.0


def describe(entry: Mapping[str, Any] | None) -> str:
    """`record` of results.json in one line."""
    if entry is None:
        return "no record for this setting"
    if moved := entry["moved"]:  # by null in JSON is infinity
        told = [
            f"{x['metric']} by {x['by']:+.1f} standard deviations"
            if x["by"] is not None and math.isfinite(x["by"])
            else f"{x['metric']}, which one side lacks or no seed ever changed"
            for x in moved
        ]
        return f"moved: {', '.join(told[:3] + [f'{len(told) - 3} more'] * (len(told) > 3))}"
    metrics = f"{entry['metrics']} metric{'s' * (entry['metrics'] != 1)}"
    if entry["identical"]:
        return f"unchanged to the bit ({metrics})"
    return f"unchanged ({metrics}, none differs at {100 * LEVEL:g} %)"
