"""Findings in words: a name that tells what was measured, and the cells of tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

Entry = Mapping[str, Any]  # of `findings` in results.json, where NaN is None


def name(finding: Any, second: Any, means: Sequence[float], size: Sequence[float]) -> str:
    """The finding in one line with its numbers: "cost: a 8.60, b 10.36; lower by 1.76 (1 .. 2)".

    Args:
        second: (metric, arm) or a number with which it is compared, None for neither.
        means: of the one or two sides measured.
        size: mean and ends of the interval of their difference, or of the logarithm of their ratio.
    """
    kind, typed = type(finding).__name__.lower(), 0
    ratio = getattr(finding, "ratio", False) or getattr(finding, "over", None)
    size = np.exp(size).tolist() if ratio else size
    places = decimals(means) if ratio else max(decimals(means), decimals(size, 2))
    if kind in ("exact", "printed"):
        given = getattr(finding, "decimals", None)
        typed = max(0, _typed(finding.value) if given is None else given)
    if kind == "exact":
        typed = places = max(typed, digits(finding.within))
    first, *other = (text(mean, max(places, typed)) for mean in means)
    told = f"{finding.metric}: {finding.arm} {first}"
    if isinstance(second, tuple):
        same = second[0] == finding.metric
        told += f"{', ' if same else f'; {second[0]}: '}{second[1]} {other[0]}"
    elif second is not None:
        told += f", against {second:g}"
    places = decimals(size, 3) if ratio else places
    mean, low, high = (text(x, places) for x in size)
    interval = f"{'90 %: ' * (kind == 'alike')}{low} .. {high}"
    by = f"{mean} ({interval})" if math.isfinite(size[1]) else mean
    match kind:
        case "alike":
            return f"{told}; differ by {by}, within {finding.within:g}"
        case "exact":
            return f"{told}, expected {text(finding.value, typed)} within {finding.within:g}"
        case "printed":
            told += f"; {'ratio' if ratio else 'difference'} {mean}" if second else ""
            return f"{told}; printed {text(finding.value, typed)}"
    margin = f", expected more than {finding.by:g}" if finding.by else ""
    return f"{told}; {kind} by {'a factor of ' if ratio else ''}{by}{margin}"


def apart(mean: float, printed: float, low: float, high: float) -> str:
    """By how much a printed figure differs, and the interval in which it would agree."""
    places = decimals([low, high], 3)
    by, low, high = (text(x, places) for x in (abs(mean - printed), low, high))
    side = "above" if mean > printed else "below"
    return f"measured {by} {side} the printed figure, which would agree within {low} .. {high}"


def measured_text(entry: Entry) -> str:
    """Mean ± standard deviation, of a comparison mean (95 % interval); empty if not trained."""
    measured = entry["measured"]
    if not measured:
        return ""
    mean, std, ends = measured["mean"], measured["std"], measured["ci95"]
    if measured["n"] == 1:
        return text(mean, decimals([mean]))
    if entry["kind"] in ("lower", "higher", "alike"):
        mean, low, high = (text(x, decimals([mean, *ends])) for x in (mean, *ends))
        return f"{mean} ({low} .. {high})"
    places = decimals([std], 2) if std else decimals([mean])
    return f"{text(mean, places)} ± {text(std, places)}"


def printed_text(entry: Entry) -> str:
    """The printed figure; empty if there is none."""
    printed = entry["printed"]
    return text(printed["value"], max(0, min(printed["decimals"], 6))) if printed else ""


def verdict(entry: Entry) -> str:
    """What came of a finding, in words."""
    if entry["printed"]:
        words = {True: "as printed", False: "differs", None: "not judged"}
        return words[entry["printed"]["agrees"]]
    return {True: "shown", False: "NOT SHOWN", None: "not judged"}[entry["shown"]]


def digits(number: float) -> int:
    """Digits after the point with which a number is typed, negative for 1e20."""
    return -Decimal(str(number)).as_tuple().exponent


def _typed(value: float) -> int:
    """Digits after the point to show a value with; one computed to more than six is shortened."""
    return max(0, digits(value)) if digits(value) <= 6 else decimals([value])


def decimals(numbers: Sequence[float | None], significant: int = 4) -> int:
    """Digits after the point that show the largest number with so many significant digits.

    None at all where every number is whole.
    """
    sizes = [abs(x) for x in numbers if x is not None and math.isfinite(x)]
    if all(size == round(size) for size in sizes):
        return 0
    return max(0, significant - 1 - math.floor(math.log10(max(sizes))))


def text(number: float | None, places: int) -> str:
    """A number with this many decimals, or two significant digits; "none" if it is not finite."""
    if number is None or not math.isfinite(number):
        return "none"
    if abs(number) >= 1e9 or 0 < abs(number) < 1e-3:
        return f"{number:.4g}"
    if 0 < abs(number) < 10.0**-places:
        return f"{number:.2g}"
    return f"{number:.{places}f}" if number else "0"
