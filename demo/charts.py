"""Training curves for the report, once for a light and once for a dark page."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from genaug.errors import GenaugError, Reason
from genaug.volume import FloatArray
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

ITERATION = "iteration"
_COLUMNS, _DPI = 3, 150
_SMOOTH_FROM, _SMOOTH_SHARE = 20, 0.06
_LOG_FROM = 30.0
"""A panel whose positive values span more than this factor is drawn on a logarithmic axis."""

_THEMES = {
    False: {"page": "#ffffff", "ink": "#1b2430", "quiet": "#667085", "grid": "#e4e8ee"},
    True: {"page": "#14181e", "ink": "#f2f4f7", "quiet": "#9aa4b2", "grid": "#2a313b"},
}
_LINES = {
    False: ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8a6d00", "#4b5563"),
    True: ("#56B4E9", "#E69F00", "#2fc79b", "#CC79A7", "#F0E442", "#c5ccd6"),
}


def curves(files: Mapping[str, Path], *, dark: bool = False, width: float = 11.0) -> Figure:
    """Loss curves as small multiples, one panel a file.

    Args:
        files: panel title to a CSV with a column "iteration" and one column a loss term; empty fields are left out.
        dark: for a dark page.
        width: of the figure, in inches.

    Raises:
        GenaugError: MISSING_FILE, or UNREADABLE_FILE when a file has no such column or a field is not a number.
    """
    theme, columns = _THEMES[dark], min(_COLUMNS, max(1, len(files)))
    rows = -(-len(files) // columns)
    figure = Figure(figsize=(width, 2.9 * rows), dpi=_DPI, facecolor=theme["page"], layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (title, path) in zip(grid, files.items()):
        _panel(axes, title, read_curves(path), dark)
    for axes in grid[len(files) :]:
        axes.set_axis_off()
    return figure


def read_curves(path: Path) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Loss term to (iterations, values), in the file's order; rows without a value for a term are left out."""
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
    except FileNotFoundError as error:
        raise GenaugError(
            Reason.MISSING_FILE, path, "no such file", "a training's curves as CSV", "Check the path."
        ) from error
    names = [name for name in (rows[0] if rows else {}) if name != ITERATION]
    try:
        return {
            name: (
                np.array([float(row[ITERATION]) for row in rows if row[name]]),
                np.array([float(row[name]) for row in rows if row[name]]),
            )
            for name in names
        }
    except (KeyError, ValueError) as error:
        raise GenaugError(
            Reason.UNREADABLE_FILE,
            path,
            f"{type(error).__name__}: {error}",
            f'numbers, and a column "{ITERATION}"',
            "Train again, or restore the file the training wrote.",
        ) from error


def smoothed(values: FloatArray) -> FloatArray:
    """A running median over a sixteenth of the curve; short curves stay as they are."""
    if len(values) < _SMOOTH_FROM:
        return values
    half = max(1, round(len(values) * _SMOOTH_SHARE / 2))
    return np.array([np.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))])


def _panel(axes: Axes, title: str, terms: Mapping[str, tuple[FloatArray, FloatArray]], dark: bool) -> None:
    theme = _THEMES[dark]
    axes.set_facecolor(theme["page"])
    axes.set_title(title, loc="left", color=theme["ink"], fontsize=10, fontweight="bold")
    for colour, (name, (iterations, values)) in zip(_LINES[dark] * (1 + len(terms)), terms.items()):
        line = smoothed(values)
        if line is not values:
            axes.plot(iterations, values, color=colour, alpha=0.25, linewidth=0.7)
        axes.plot(iterations, line, color=colour, linewidth=1.6, label=name.replace("_", " "))
    drawn = np.concatenate([values for _, values in terms.values()]) if terms else np.zeros(0)
    if drawn.size and drawn.min() > 0 and drawn.max() / drawn.min() > _LOG_FROM:
        axes.set_yscale("log")
    axes.set_xlabel(ITERATION, color=theme["quiet"], fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(which="both", colors=theme["quiet"], labelsize=8, length=0)
    axes.grid(True, color=theme["grid"], linewidth=0.7)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)
    if len(terms) > 1:
        axes.legend(frameon=False, fontsize=8, labelcolor=theme["quiet"], loc="best")
    elif terms:
        axes.set_ylabel(next(iter(terms)).replace("_", " "), color=theme["quiet"], fontsize=8)
