"""What a recipe claims, and whether its results say so. Pure arithmetic on metrics over seeds.

A metric is named `arm/metric`, for instance `dropout/test_error`; it has one value a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

LEAST_SEEDS = 3  # with two, the interval is 12.7 standard errors long to each side
Metric = Callable[[str], np.ndarray]  # "arm/metric" -> (seeds,)


@dataclass(frozen=True)
class Band:
    """The mean of a metric over seeds lies in [low, high].

    `bands` gives [low, high] by the preset and data set it was measured for: `"mnist"` at the
    default budget, `"mnist --paper"` under that flag. Elsewhere the claim is not judged.
    `published` is the figure in `source`, None where it is a regression band of our own.
    """

    name: str
    metric: str
    bands: Mapping[str, tuple[float, float]]
    source: str
    published: float | None = None
    kind = "band"

    def measure(self, metric: Metric) -> dict[str, Any]:
        """The mean over seeds, its deviation and interval."""
        return summarize(metric(self.metric))

    def verdict(self, measured: dict[str, Any], setting: str) -> dict[str, Any]:
        """`expected` and `holds`; no `expected`, but a `why`, where nothing is claimed."""
        if setting not in self.bands:
            return {"holds": None, "why": f"no band for {setting}"}
        low, high = self.bands[setting]
        return {"expected": f"{low:g} .. {high:g}", "holds": low <= measured["mean"] <= high}


@dataclass(frozen=True)
class Effect:
    """Metric `larger` exceeds metric `smaller` by more than `more_than`, paired over seeds.

    Holds if the whole 95 % confidence interval of the mean difference lies above `more_than`: the
    paired t-interval (that of `scipy.stats.ttest_rel`). With `ratio`, of larger / smaller instead,
    by the same interval on the logarithms; `mean` is then the geometric mean. `more_than` is one
    number for all data sets, or given by preset and data set as in `Band`.
    """

    name: str
    larger: str
    smaller: str
    source: str
    more_than: float | Mapping[str, float] = 0.0
    ratio: bool = False
    published: float | None = None
    kind = "effect"

    def measure(self, metric: Metric) -> dict[str, Any]:
        """The mean paired difference or ratio, its deviation and interval."""
        larger, smaller = metric(self.larger), metric(self.smaller)
        if not self.ratio:
            return summarize(larger - smaller)
        with np.errstate(all="ignore"):  # a ratio that does not exist fails the claim
            logs, ratios = summarize(np.log(larger / smaller)), summarize(larger / smaller)
            ends = [float(np.exp(end)) for end in logs["ci95"]]
            return ratios | {"mean": float(np.exp(logs["mean"])), "ci95": ends}

    def verdict(self, measured: dict[str, Any], setting: str) -> dict[str, Any]:
        """`expected` and `holds`; no `expected`, but a `why`, where nothing is claimed."""
        by_setting = isinstance(self.more_than, Mapping)
        more_than = self.more_than.get(setting) if by_setting else self.more_than
        if more_than is None:
            return {"holds": None, "why": f"not claimed for {setting}"}
        if measured["n"] < LEAST_SEEDS:
            why = f"a paired interval of use needs at least {LEAST_SEEDS} seeds"
            return {"holds": None, "why": why}
        return {"expected": f"> {more_than:g}", "holds": measured["ci95"][0] > more_than}


Claim = Band | Effect


def summarize(values: np.ndarray) -> dict[str, Any]:
    """Mean, standard deviation, n and the 95 % t-interval of the mean of values (n,).

    One value alone gives no interval: its ends are NaN. Equal values give one of length zero.
    """
    n = len(values)
    mean, std = float(np.mean(values)), float(np.std(values, ddof=1)) if n > 1 else 0.0
    if n < 2:
        interval = [float("nan")] * 2
    elif std == 0:
        interval = [mean, mean]
    else:
        interval = [float(end) for end in stats.t.interval(0.95, n - 1, mean, std / np.sqrt(n))]
    return {"mean": mean, "std": std, "n": n, "ci95": interval}


def judge(
    claim: Claim,
    metric: Metric,
    setting: str,
    why_not: str | None = None,
    published_applies: bool = True,
) -> dict[str, Any]:
    """One entry of `claims` in results.json.

    With `why_not` it is left unjudged for that reason; on another data set than the published one
    `published` is left out.
    """
    entry = {"name": claim.name, "kind": claim.kind, "source": claim.source}
    entry["published"] = claim.published if published_applies else None
    try:
        entry["measured"] = claim.measure(metric)
    except KeyError:  # an arm that is not trained in this setting
        return entry | {"holds": None, "why": f"not trained for {setting}"}
    entry |= claim.verdict(entry["measured"], setting)
    return entry | ({"holds": None, "why": why_not} if why_not is not None else {})


def describe(entry: Mapping[str, Any]) -> str:
    """What an entry of results.json measured: mean and deviation, or mean and 95 % interval."""
    if "measured" not in entry:
        return ""
    measured = entry["measured"]
    mean = _number(measured["mean"], ".4g")
    if measured["n"] == 1:
        return mean
    if entry["kind"] == "effect":
        low, high = (_number(end, ".4g") for end in measured["ci95"])
        return f"{mean} ({low} .. {high})"
    return f"{mean} ± {_number(measured['std'], '.2g')}"


def _number(value: float | None, digits: str) -> str:
    """A number in words; what is none (a diverged training's) is null in results.json."""
    return "none" if value is None or np.isnan(value) else format(value, digits)
