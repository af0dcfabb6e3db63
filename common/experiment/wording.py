"""Findings in words: a name that tells what was measured, and the cells of tables."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

OPPOSITE = {"lower": "higher", "higher": "lower"}
SCIENTIFIC = -1  # in place of a number of digits after the point
HUGE = 1e9
NEGLIGIBLE = 1e-6  # of what the interval spans
Entry = Mapping[str, Any]  # of `findings` in results.json, where NaN is None


def name(finding: Any, means: Sequence[float], size: Sequence[float]) -> str:
    """The finding in one line with its numbers: "cost: a 8.60, b 10.36; lower by 1.76 (1 .. 2)".

    `means` are those of the one or two sides measured, geometric ones if their ratio is judged;
    `size` has the mean and the ends of the interval of their difference, or of the logarithm of
    their ratio.
    """
    kind, ratio, second, typed = finding.kind, finding.ratio, finding.second, 0
    tolerant = kind in OPPOSITE and finding.by < 0  # "higher" by more than a negative number
    is_reversed = kind in OPPOSITE and size[0] < 0
    if is_reversed:
        size = [-size[0], -size[2], -size[1]]
    size = np.exp(size).tolist() if ratio else size
    if not ratio and abs(size[0]) < NEGLIGIBLE * abs(size[1]):  # the means are equal as decimals
        size = [0.0, *size[1:]]
    places = _places(means) if ratio else max(_places(means), _places(size, 2))
    by, low, high = (_text(x, _places(size, 3) if ratio else places) for x in size)
    if kind == "exact":
        typed = places = max(_typed(finding.value), digits(finding.within))
    elif kind == "printed":
        typed = _typed(finding.value, finding.decimals)
    first, *other = (_text(mean, max(places, typed)) for mean in means)
    told = f"{finding.metric}: {finding.arm} {first}"
    if isinstance(second, tuple):
        metric = "," if second[0] == finding.metric else f"; {second[0]}:"
        told += f"{metric} {second[1]} {other[0]}"
    elif second is not None:
        told += f", against {second:g}"
    if kind == "exact":
        return f"{told}, expected {_text(finding.value, typed)} within {finding.within:g}"
    if kind == "printed":
        told += f"; {'ratio' if ratio else 'difference'} {by}" if second else ""
        return f"{told}; printed {_text(finding.value, typed)}"
    if math.isfinite(size[1]):
        by += f" ({'90 %: ' * (kind == 'alike')}{low} .. {high})"
    if kind == "alike":
        return f"{told}; differ by {by}, within {finding.within:g}"
    if tolerant:
        how, most = kind, f"not {OPPOSITE[kind]} by"
        if is_reversed:
            how, most = OPPOSITE[kind], "less than"
        return f"{told}; {how} by {by}, expected {most} {-finding.by:g}"
    how = f"not {kind}: {OPPOSITE[kind]}" if is_reversed else kind
    more = f"{kind} by more than" if is_reversed else "more than"
    expected = f", expected {more} {finding.by:g}" if finding.by else ""
    return f"{told}; {how} by {'a factor of ' * ratio}{by}{expected}"


def apart(mean: float, printed: float, low: float, high: float) -> str:
    """By how much a printed figure differs, and the interval in which it would agree."""
    places = _places([low, high], 3)
    by, low, high = (_text(x, places) for x in (abs(mean - printed), low, high))
    side = "above" if mean > printed else "below"
    return f"measured {by} {side} the printed figure, which would agree within {low} .. {high}"


def measured_text(entry: Entry) -> str:
    """Mean ± standard deviation, of a comparison mean (95 % interval); empty if not trained."""
    measured = entry["measured"]
    if not measured:
        return ""
    mean, std, ends = measured["mean"], measured["std"], measured["ci95"]
    if measured["n"] == 1:
        return _text(mean, _places([mean]))
    if entry["kind"] in ("lower", "higher", "alike"):
        mean, low, high = (_text(x, _places([mean, *ends])) for x in (mean, *ends))
        return f"{mean} ({low} .. {high})"
    places = _places([std], 2) if std else _places([mean])
    return f"{_text(mean, places)} ± {_text(std, places)}"


def printed_text(entry: Entry) -> str:
    """The printed figure; empty if there is none."""
    if not (printed := entry["printed"]):
        return ""
    return _text(printed["value"], _typed(printed["value"], printed["decimals"]))


def verdict(entry: Entry) -> str:
    """What came of a finding, in words."""
    if printed := entry["printed"]:
        return {True: "as printed", False: "differs", None: "not judged"}[printed["agrees"]]
    return {True: "shown", False: "NOT SHOWN", None: "not judged"}[entry["shown"]]


def digits(number: float) -> int:
    """Digits after the point with which a number is typed, negative for 1e20."""
    return -Decimal(str(number)).as_tuple().exponent


def _typed(value: float, decimals: int | None = None) -> int:
    """Digits after the point of a typed value; one computed to more than six is shortened."""
    decimals = digits(value) if decimals is None else decimals
    return max(0, decimals) if decimals <= 6 else _places([value])


def _places(numbers: Sequence[float | None], significant: int = 4) -> int:
    """Digits after the point that show the largest number with so many significant digits.

    None at all where every number is whole, and scientific notation for the huge.
    """
    sizes = [abs(x) for x in numbers if x is not None and math.isfinite(x)]
    if max(sizes, default=0) >= HUGE:
        return SCIENTIFIC
    if all(size == round(size) for size in sizes):
        return 0
    return max(0, significant - 1 - math.floor(math.log10(max(sizes))))


def _text(number: float | None, places: int) -> str:
    """A number with this many decimals, or two significant digits; "none" if it is not finite."""
    if number is None or not math.isfinite(number):
        return "none"
    if places == SCIENTIFIC or abs(number) >= HUGE or 0 < abs(number) < 1e-3:
        return f"{number:.4g}"
    if 0 < abs(number) < 10.0**-places:
        return f"{number:.2g}"
    return f"{number:.{places}f}" if number else "0"
