"""Figures for a lecture hall: large type, colors safe for color-blind readers."""

import contextlib
import io
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from common.experiment.results import Results

# Okabe & Ito's palette without its yellow, which a projector swallows.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GRAY = "#555555"
MARKER = 9  # size of the marks of published values

STYLE = {
    "font.size": 17,
    "axes.titlesize": 19,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "lines.linewidth": 2.5,
    "legend.edgecolor": "white",
    "legend.framealpha": 0.9,
    "legend.fontsize": 15,
    "figure.titlesize": 23,
    "axes.prop_cycle": matplotlib.cycler(color=COLORS),
}


def style() -> contextlib.AbstractContextManager:
    """Draw and save figures within this context: type and colors for a lecture hall."""
    return matplotlib.rc_context(STYLE)


def panels(title: str, rows: int, columns: int) -> tuple[Figure, np.ndarray]:
    """A figure of 1600 x 1000 pixels and its axes (rows, columns)."""
    figure = _figure(title)
    return figure, figure.subplots(rows, columns, squeeze=False)


def mosaic(title: str, layout: Sequence[str], solid: str = "") -> tuple[Figure, dict[str, Axes]]:
    """The same with panels of several sizes: each is a rectangle of one letter in the rows.

    Those of the letters in `solid` have three axes.
    """
    figure = _figure(title)
    how = {letter: {"projection": "3d"} for letter in solid}
    return figure, figure.subplot_mosaic([list(row) for row in layout], per_subplot_kw=how)


def _figure(title: str) -> Figure:
    figure = Figure(figsize=(16, 10), dpi=100, layout="constrained")
    figure.suptitle(title)
    return figure


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Names a panel and its axes; the axes' labels carry their units."""
    axes.set(title=title, xlabel=x, ylabel=y)


def legend(axes: Axes, marks: str | None = None) -> None:
    """Explains the lines, and what `marks` in their colors are."""
    if marks:
        points(axes, [], [], marks)
    axes.legend()


def curves(
    axes: Axes,
    results: Results,
    series: str,
    arms: Sequence[str] | Mapping[str, str] | None = None,
    every: int = 1,
    x: Sequence[float] | None = None,
    xlabel: str = "epoch",
    title: str = "",
    each_seed: bool = False,
) -> None:
    """A line for each arm: mean with a band of one standard deviation, or one line for each seed.

    `arms` are names, or map names to legend labels; None takes all that were trained. Point i is
    drawn at x[i], by default (i + 1) * every; `each_seed` ignores x. Raises KeyError for an arm
    without the series.
    """
    label(axes, title, xlabel, series)
    names = results.arms if arms is None else arms
    names = names if isinstance(names, Mapping) else {name: name for name in names}
    for color, (arm, name) in zip(itertools.cycle(COLORS), names.items(), strict=False):
        values = results.curves(series, arm)
        if each_seed:
            lines(axes, values, name, color, every)
        else:
            places = every * np.arange(1, values.shape[1] + 1) if x is None else np.asarray(x)
            curve(axes, values, name, color, places)


def curve(
    axes: Axes, series: np.ndarray, name: str, color: str = COLORS[0], x: np.ndarray | None = None
) -> None:
    """The mean of series (seeds, points) at x, with a band of one standard deviation around it.

    The band ends where the first of the runs ended.
    """
    x = np.arange(1, series.shape[1] + 1) if x is None else x
    mean = np.ma.masked_array(series, np.isnan(series)).mean(axis=0).filled(np.nan)
    axes.plot(x, mean, "-" if len(mean) > 1 else "o", color=color, label=name)
    if len(series) > 1:
        std = np.std(series, axis=0, ddof=1)
        axes.fill_between(x, mean - std, mean + std, color=color, alpha=0.2, linewidth=0)


def lines(axes: Axes, series: np.ndarray, name: str, color: str, every: int = 1) -> None:
    """A line per seed of series (seeds, points). Point i stands at (i + 1) * every."""
    x = every * np.arange(1, series.shape[1] + 1)
    how = "-" if len(x) > 1 else "o"
    axes.plot(x, series.T, how, color=color, label=[name] + ["_"] * (len(series) - 1))


def points(
    axes: Axes,
    x: list[float],
    y: list[float],
    name: str | None = None,
    color: str = GRAY,
    joined: bool = False,
) -> None:
    """Published values as marks, joined by a dashed line where they are points of one curve."""
    line = "--" if joined else ""
    how = {"marker": "o", "markersize": MARKER, "label": name}
    axes.plot(x, y, color=color, linestyle=line, linewidth=2, **how)


def grid(pictures: np.ndarray, columns: int) -> np.ndarray:
    """Pictures (n, H, W[, 3]) in [0, 1] in rows, the small ones enlarged, white lines between."""
    larger = max(1, 32 // pictures.shape[1])
    pictures = pictures.repeat(larger, axis=1).repeat(larger, axis=2)
    border = ((0, 0), (1, 1), (1, 1), *((0, 0),) * (pictures.ndim - 3))
    framed = np.pad(pictures, border, constant_values=1.0)
    missing = -len(framed) % columns
    framed = np.concatenate([framed, np.ones((missing, *framed.shape[1:]))])
    rows = framed.reshape(-1, columns, *framed.shape[1:])
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows])


def show(
    axes: Axes,
    pictures: np.ndarray,
    columns: int,
    title: str = "",
    said: Sequence[tuple[str, ...]] = (),
    **how: Any,
) -> None:
    """Pictures (n, H, W[, 3]) in [0, 1] in rows of so many columns, without axes; `how`: imshow.

    `said` holds the words to the left, and perhaps to the right, of each row.
    """
    axes.imshow(grid(pictures, columns), **{"cmap": "gray", "vmin": 0, "vmax": 1} | how)
    axes.set_title(title)
    axes.set_axis_off()
    for i, words in enumerate(said):
        for x, text, side in zip((-0.01, 1.01), words, ("right", "left"), strict=False):
            height = 1 - (i + 0.5) / len(said)
            axes.text(x, height, text, ha=side, va="center", transform=axes.transAxes)


def triptychs(
    axes: Axes,
    before: np.ndarray,
    after: np.ndarray,
    said: Sequence[tuple[str, str]],
    strength: float = 1.0,
) -> None:
    """Pictures (n, H, W[, 3]) in [0, 1] in rows: before, what is added, and after.

    The change is shown around gray, `strength` times as strong. `said` holds the words to the left
    and right of each row.
    """
    axes.set_axis_off()
    if len(before) == 0:
        return
    change = np.clip(0.5 + strength * (after - before) / 2, 0, 1)
    rows = np.stack([before, change, after], axis=1)
    show(axes, rows.reshape(-1, *before.shape[1:]), 3, said=said)


def png(figure: Figure) -> bytes:
    """The figure as the content of a PNG file, in 256 colors: a third of the size."""
    stream, small = io.BytesIO(), io.BytesIO()
    figure.savefig(stream, format="png")
    picture = Image.open(stream).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    picture.save(small, format="png", optimize=True)
    return small.getvalue()
