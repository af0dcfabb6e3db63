"""What a recipe finds, whether its results show it, and how that is told.

A finding states an ordering, an equivalence, an identity or a printed figure; it is judged on the
data sets and at the presets that it names (None: all).
"""

import math
from collections.abc import Collection
from dataclasses import KW_ONLY, dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np
from scipy import stats

from common.experiment import wording
from common.experiment.results import Results

LEAST_SEEDS = 3  # with two, a 95 % interval extends 12.7 standard errors to each side
Names = str | tuple[str, ...] | None


@dataclass(frozen=True)
class Finding:
    """What is stated of `metric` of `arm`, on the data sets and at the presets that are named."""

    metric: str
    arm: str
    _: KW_ONLY
    dataset: Names = None
    preset: Names = None

    # Class attributes, not fields; kinds of findings that compare override them.
    ratio = False  # whether a ratio is judged, instead of a difference or a metric alone
    _other = None, None  # what is compared with: an arm or a number, and a metric

    @property
    def kind(self) -> str:
        """The name of its kind in results.json."""
        return type(self).__name__.lower()

    @property
    def second(self) -> tuple[str, str] | float | None:
        """What is compared with: (metric, arm), a number, or nothing."""
        other, metric = self._other
        named = isinstance(other, str) or metric
        return (metric or self.metric, other or self.arm) if named else other


@dataclass(frozen=True)
class Lower(Finding):
    """`metric` of `arm` is lower than that of `than`, by more than `by`, paired over seeds.

    `than` is an arm, a number, or None for `than_metric` of the same arm. With `ratio`,
    than / arm exceeds max(by, 1). Shown if the whole 95 % t-interval lies beyond the margin.
    """

    than: str | float | None = None
    by: float = 0.0
    ratio: bool = False
    than_metric: str | None = None
    source: str = ""
    _other = property(attrgetter("than", "than_metric"))


@dataclass(frozen=True)
class Higher(Lower):
    """`Lower` the other way round: with `ratio`, arm / than exceeds max(by, 1)."""


@dataclass(frozen=True)
class Alike(Finding):
    """`metric` of `arm` differs by at most `within` from that of `to`, paired over seeds.

    `to` is an arm, a number, or None for `to_metric` of the same arm. Shown by two one-sided
    t-tests at 5 % each: the 90 % interval lies within the margin.
    """

    to: str | float | None = None
    within: float = field(kw_only=True)
    to_metric: str | None = None
    source: str = ""
    _other = property(attrgetter("to", "to_metric"))


@dataclass(frozen=True)
class Exact(Finding):
    """`metric` of `arm` equals `value`, a closed form, up to `within` on each seed."""

    value: float
    within: float
    source: str = ""


@dataclass(frozen=True)
class Printed(Finding):
    """`metric` of `arm` as printed in `source`, or its ratio to or difference from another arm.

    Without `dataset` it belongs to the recipe's default one.
    """

    value: float
    source: str
    _: KW_ONLY
    preset: Names = "default"
    decimals: int | None = None  # printed digits after the point; None: as `value` is typed
    std: float | None = None  # the source's standard deviation ...
    n: int | None = None  # ... over so many runs
    over: str | None = None  # the figure is the ratio to this arm
    minus: str | None = None  # the figure is the difference from this arm
    metric2: str | None = None  # of that arm, if it is another
    cause: str = ""  # why it differs, if that was tested or follows from the protocol

    ratio = property(lambda self: self.over is not None)
    _other = property(lambda self: (self.over or self.minus, self.metric2))

    def __post_init__(self):
        if (self.over and self.minus) or (self.metric2 and not (self.over or self.minus)):
            raise ValueError("Printed: expected over or minus, and metric2 only with one of them")
        if (self.std is None) != (self.n is None) or (self.n and (self.n < 2 or self.over)):
            raise ValueError("Printed: expected std together with n of at least 2, without over")
        if self.decimals is None:
            object.__setattr__(self, "decimals", wording.digits(self.value))


Answer = tuple[bool | None, list[float] | None, str | None]  # is it so, interval if printed, why


@np.errstate(all="ignore")  # a diverged run measures inf or NaN
def judge(
    finding: Finding,
    results: Results,
    default_dataset: str,
    presets: Collection[str],
    why_not: str | None = None,
    of_whole: tuple[str, Collection[str]] | None = None,
) -> dict[str, Any]:
    """One entry of `findings` in results.json; `measured` is None for an arm that is not trained.

    Args:
        presets: all whose hyperparameters on this data set are those of the results.
        why_not: a reason to leave the finding unjudged.
        of_whole: where this data set is part of another one, that one's name, and all presets
            whose hyperparameters there are those of the results. A figure printed for these was
            trained on the same images; it is compared too, and marked as tested on other images.

    Raises ValueError for a metric that the arm does not have, or a missing second side.
    """
    try:
        sides, values = _compared(finding, results)
        absent = None if len(values) else "no seed in common"
    except KeyError:
        sides, values, absent = [np.array([])] * 2, np.array([]), "not trained here"
    elsewhere = _elsewhere(finding, results.dataset, default_dataset, presets)
    on_others = False
    if elsewhere and of_whole and isinstance(finding, Printed):
        on_others = not _elsewhere(finding, of_whole[0], default_dataset, of_whole[1])
    why = why_not or absent or (None if on_others else elsewhere)
    answer, ends, why = (None, None, why) if why else _verdict(finding, values)
    printed = None
    if isinstance(finding, Printed):
        printed = {"value": finding.value, "decimals": finding.decimals, "source": finding.source}
        printed |= {"agrees": answer, "interval": ends, "cause": finding.cause}
        if on_others:
            printed["images"] = "other test images"
    size = _interval(values, 0.9 if isinstance(finding, Alike) else 0.95)
    means = [_geometric_mean(x) if finding.ratio else _interval(x)[0] for x in sides]
    name = wording.name(finding, means, size)
    return {
        "name": f"{name}, tested on other images" if on_others else name,
        "kind": finding.kind,
        "source": finding.source,
        "measured": None if absent else summarize(values, finding.ratio),
        "shown": None if printed else answer,
        "printed": printed,
        "why": why,
    }


@np.errstate(all="ignore")
def summarize(values: np.ndarray, logarithms: bool = False) -> dict[str, Any]:
    """Mean, standard deviation, n and the 95 % t-interval of the mean of values (n,).

    Its ends are NaN for a single value and equal for equal ones. Of `logarithms` of ratios: their
    geometric mean with its interval, and their standard deviation.
    """
    mean, *ends = np.exp(_interval(values)).tolist() if logarithms else _interval(values)
    std = standard_deviation(np.exp(values) if logarithms else values)
    return {"mean": mean, "std": std, "n": len(values), "ci95": ends}


def _interval(values: np.ndarray, level: float = 0.95, further: int = 0) -> list[float]:
    """Mean and ends of its t-interval; with `further` 1, of the interval for one more value."""
    n, std = len(values), standard_deviation(values)
    if n < 2 or std == 0:  # np.mean of equal values may round
        mean = float(values[0]) if n else math.nan
        return [mean, *[mean if n > 1 else math.nan] * 2]
    half = stats.t.ppf((1 + level) / 2, n - 1) * std * math.sqrt(further + 1 / n)
    return (np.mean(values) + np.array([0, -half, half])).tolist()


def _geometric_mean(values: np.ndarray) -> float:
    """Of values (n,): the ratio of two such means is that of the values, paired."""
    mean = _interval(values)[0]
    return math.exp(_interval(np.log(values))[0]) if len(set(values.tolist())) > 1 else mean


def standard_deviation(values: np.ndarray) -> float:
    """Of a sample (n,); exactly 0 for equal values and for a single one."""
    return float(np.std(values, ddof=1)) if len(set(values.tolist())) > 1 else 0.0


def _compared(finding: Finding, results: Results) -> tuple[list[np.ndarray], np.ndarray]:
    """One or two sides over their common seeds, and what is judged, (n,) each.

    That is the one side, the difference, or the logarithm of the ratio, finite if both are > 0.
    """
    first, second = (finding.metric, finding.arm), finding.second
    if second == first or (second is None and isinstance(finding, Lower | Alike)):
        raise ValueError(f"expected a second side, received {finding.metric}: {finding.arm} alone")
    sides = [first, second] if isinstance(second, tuple) else [first]
    found = [dict(zip(results.seeds(a), results.metric(m, a), strict=True)) for m, a in sides]
    seeds = sorted(set.intersection(*map(set, found)))
    arrays = [np.array([values[seed] for seed in seeds], dtype=float) for values in found]
    if second is None:
        return arrays, arrays[0]
    pair = arrays if len(arrays) == 2 else [*arrays, np.full(len(seeds), second)]
    if finding.ratio:
        pair = [np.log(side) for side in pair]
    return arrays, pair[1] - pair[0] if type(finding) is Lower else pair[0] - pair[1]


def _elsewhere(finding: Finding, dataset: str, default: str, presets: Collection) -> str | None:
    """Where the finding is judged instead; None if it is judged here."""
    printed = isinstance(finding, Printed)
    named, at = ((x,) if isinstance(x, str) else x or () for x in (finding.dataset, finding.preset))
    named = named or (default,) * (printed and default != "none")
    if (not named or dataset in named) and (not at or set(at) & set(presets)):
        return None
    where = [f"for {' or '.join(named)}"] * bool(named)
    where += [f"at the {' or '.join(at)} preset"] * bool(at)
    return " ".join(["printed" if printed else "stated", *where])


def _verdict(finding: Finding, values: np.ndarray) -> Answer:
    n, lost = len(values), int(np.sum(~np.isfinite(values)))
    if n < LEAST_SEEDS and isinstance(finding, Lower | Alike):
        return None, None, f"expected at least {LEAST_SEEDS} seeds, received {n}"
    if lost:
        return False, None, f"no number for {lost} of {n} seeds"
    if isinstance(finding, Printed):
        return _agreement(finding, values)
    if isinstance(finding, Exact):
        outside = int(np.sum(np.abs(values - finding.value) > finding.within))
        return not outside, None, f"{outside} of {n} seeds outside" if outside else None
    if isinstance(finding, Alike):
        _, low, high = _interval(values, 0.9)
        return bool(-finding.within <= low and high <= finding.within), None, None
    margin = math.log(max(finding.by, 1)) if finding.ratio else finding.by
    return bool(_interval(values)[1] > margin), None, None


def _agreement(finding: Printed, values: np.ndarray) -> Answer:
    """Whether the printed figure lies in the 95 % prediction interval for one further run.

    With the source's standard deviation, in that of the difference of the means (Welch). Either is
    widened by half a unit of the last printed digit.
    """
    n, printed = len(values), finding.value
    half = 0.5 * 10.0**-finding.decimals + 1e-12 * abs(printed)  # a tie is not lost to rounding
    mean, low, high = _interval(values, further=1)
    if finding.n and n > 1:
        ours, theirs = np.square(standard_deviation(values)) / n, finding.std**2 / finding.n
        share = ours / (ours + theirs) if ours + theirs else 1
        freedom = 1 / (share**2 / (n - 1) + (1 - share) ** 2 / (finding.n - 1))
        welch = float(stats.t.ppf(0.975, freedom)) * math.sqrt(ours + theirs)
        low, high = mean - welch, mean + welch
    if finding.over:
        mean, low, high = np.exp([mean, low, high]).tolist()
    if n == 1:
        agrees = abs(mean - printed) <= half or None
        return agrees, None, None if agrees else "one run gives no interval"
    low, high = low - half, high + half
    agrees = bool(low <= printed <= high)
    return agrees, [low, high], None if agrees else wording.apart(mean, printed, low, high)
