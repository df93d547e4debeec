"""Drawing planes side by side at one scale, with what makes a medical picture readable.

matplotlib's object-oriented interface on the Agg canvas: no global state, no window, the same pixels everywhere.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from genaug.files import writing
from genaug.volume import AnyArray
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from demo.planes import Plane

# Okabe and Ito's palette, which colour-blind readers can tell apart, those first that are bright enough on black.
LABEL_COLOURS = ("#56B4E9", "#E69F00", "#009E73", "#F0E442", "#CC79A7", "#D55E00", "#0072B2")
MASK_COLOUR = "#F0E442"
SYNTHETIC = "SYNTHETIC"
"""An origin that contains this word is drawn on amber, any other in an outline."""

SIGNED = LinearSegmentedColormap.from_list("signed", ["#9ad8ff", "#2f8fd6", "#000000", "#d9780f", "#ffd89a"])
"""Differences: blue below, black for none, orange above; the two are told apart in every colour blindness."""

_PAGE, _INK, _QUIET, _AMBER = "#0b0d10", "#f2f4f7", "#9aa4b2", "#ffb000"
_SCALE_BAR_MM = 20.0
_HEADER, _FOOTER, _MARGIN, _DPI = 44.0, 46.0, 12.0, 100
_TITLE, _SMALLEST_TITLE = 17, 11
"""Pixels."""


@dataclass(frozen=True)
class Cell:
    """One plane and how it is drawn. `window` is what is black and what is white."""

    plane: Plane
    window: tuple[float, float]
    contours: AnyArray | None = None
    colours: Mapping[int, str] = field(default_factory=dict)
    colormap: str | Colormap = "gray"


@dataclass(frozen=True)
class Heading:
    """A title over some columns, with where the picture under it comes from."""

    text: str
    origin: str
    columns: int = 1


@dataclass(frozen=True)
class Footing:
    """What stands under the planes: names of the contours' colours, and the range of a difference."""

    legend: Mapping[str, str] = field(default_factory=dict)
    difference: tuple[float, str] | None = None
    """Largest absolute difference on the scale, and its unit."""


def compose(
    rows: Sequence[Sequence[Cell]], headings: Sequence[Heading], footing: Footing, width: int, gap_after: int = 0
) -> Figure:
    """Draw rows of cells at one scale in mm, each centred in its row and column.

    Args:
        rows: cells; all rows of one length.
        headings: over the columns, from left to right; their `columns` add up to a row's length.
        footing: what stands below.
        width: of the figure, in pixels.
        gap_after: a wide gap follows every so many columns; 0 for none.
    """
    columns = len(rows[0])
    widths = [max(row[c].plane.size_mm[1] for row in rows) for c in range(columns)]
    heights = [max(cell.plane.size_mm[0] for cell in row) for row in rows]
    gaps = [3 * _MARGIN if gap_after and c and c % gap_after == 0 else _MARGIN * 0.5 for c in range(columns)]
    scale = (width - 2 * _MARGIN - sum(gaps[1:])) / sum(widths)
    height = _HEADER + _FOOTER + sum(heights) * scale + _MARGIN * 0.5 * (len(rows) - 1)
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=_PAGE)
    FigureCanvasAgg(figure)

    lefts = [_MARGIN + sum(widths[:c]) * scale + sum(gaps[1 : c + 1]) for c in range(columns)]
    top = _HEADER
    for row, row_height in zip(rows, heights):
        for cell, left, column in zip(row, lefts, widths):
            cell_height, cell_width = (size * scale for size in cell.plane.size_mm)
            x = left + (column * scale - cell_width) / 2
            y = top + (row_height * scale - cell_height) / 2
            axes = _axes(figure, x, y, cell_width, cell_height)
            _draw(axes, cell, min(cell_width, cell_height))
        top += row_height * scale + _MARGIN * 0.5
    _draw_headings(figure, headings, [*lefts, width - _MARGIN])
    _draw_footing(figure, footing, scale, top - _MARGIN * 0.5)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", facecolor=figure.get_facecolor(), pil_kwargs={"optimize": True})
    return stream.getvalue()


def save(figure: Figure, path: Path) -> Path:
    """Write the figure as PNG, atomically; returns `path`."""
    with writing(path) as temporary:
        temporary.write_bytes(png(figure))
    return path


def _axes(figure: Figure, x: float, y: float, width: float, height: float) -> Axes:
    """Axes without decoration at a place in pixels, y downwards from the figure's top."""
    figure_width, figure_height = figure.get_size_inches() * figure.dpi
    box = (x / figure_width, 1 - (y + height) / figure_height, width / figure_width, height / figure_height)
    axes = figure.add_axes(box)
    axes.set_axis_off()
    return axes


def _draw(axes: Axes, cell: Cell, pixels: float) -> None:
    plane, (low, high) = cell.plane, cell.window
    height, width = plane.size_mm
    axes.imshow(
        np.asarray(plane.pixels, dtype=np.float64),
        cmap=cell.colormap,
        vmin=low,
        vmax=high,
        extent=(0, width, height, 0),
        aspect="auto",  # the axes already have the plane's shape in mm
        interpolation="bilinear",
    )
    if cell.contours is not None:
        _draw_contours(axes, cell)
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    left, right, up, down = plane.letters
    places = ((0.03, 0.5, left), (0.97, 0.5, right), (0.5, 0.965, up), (0.5, 0.035, down))
    for x, y, letter in places:
        axes.text(
            x,
            y,
            letter,
            transform=axes.transAxes,
            color=_INK,
            alpha=0.85,
            fontsize=_points(float(np.clip(pixels / 14, 11, 17))),
            ha="center",
            va="center",
            path_effects=[withStroke(linewidth=2.5, foreground="black")],
        )


def _draw_contours(axes: Axes, cell: Cell) -> None:
    assert cell.contours is not None
    height, width = cell.plane.pixel_mm
    # The smallest last: of two labels that meet, such as a ventricle and what is around it, one line hides the other.
    for label in sorted(cell.colours, key=lambda label: -np.count_nonzero(cell.contours == label)):
        # A border of zeros closes the outline of what reaches the edge of the image.
        inside = np.pad(cell.contours == label, 1).astype(np.float64)
        if inside.any():
            y = (np.arange(inside.shape[0]) - 0.5) * height
            x = (np.arange(inside.shape[1]) - 0.5) * width
            axes.contour(x, y, inside, levels=[0.5], colors=[cell.colours[label]], linewidths=1.1)


def _draw_headings(figure: Figure, headings: Sequence[Heading], edges: Sequence[float]) -> None:
    figure_width, figure_height = figure.get_size_inches() * figure.dpi
    middle = 1 - _HEADER * 0.5 / figure_height
    first = 0
    titles = list[tuple[Text, float]]()
    for heading in headings:
        left = edges[first]
        first += heading.columns
        synthetic = SYNTHETIC in heading.origin
        tag = figure.text(
            (left + 7) / figure_width,
            middle,
            heading.origin,
            color="black" if synthetic else _INK,
            fontsize=_points(15),
            fontweight="bold",
            va="center",
            bbox={
                "boxstyle": "round,pad=0.3",
                "facecolor": _AMBER if synthetic else "none",
                "edgecolor": _AMBER if synthetic else _QUIET,
                "linewidth": 1.0,
            },
        )
        start = tag.get_window_extent().x1 + 18
        title = figure.text(start / figure_width, middle, heading.text, color=_INK, va="center")
        if heading.text:
            titles.append((title, edges[first] - _MARGIN - start))
    _fit(titles)


def _fit(titles: Sequence[tuple[Text, float]]) -> None:
    """Write all titles in one size in which each keeps to its room, in pixels; what never does loses its front."""
    for size in range(_TITLE, _SMALLEST_TITLE - 1, -1):
        for title, _ in titles:
            title.set_fontsize(_points(size))
        if all(title.get_window_extent().width <= room for title, room in titles):
            return
    for title, room in titles:
        # Ids of one cohort differ at their ends.
        words = title.get_text()
        while words and title.get_window_extent().width > room:
            words = words[1:]
            title.set_text(f"…{words}")


def _draw_footing(figure: Figure, footing: Footing, scale: float, top: float) -> None:
    width, _ = figure.get_size_inches() * figure.dpi
    axes = _axes(figure, 0, top, width, _FOOTER)
    axes.set_xlim(0, width)
    axes.set_ylim(_FOOTER, 0)
    middle, x = _FOOTER * 0.52, _MARGIN + 4
    axes.plot([x, x + _SCALE_BAR_MM * scale], [middle, middle], color=_INK, linewidth=2.4, solid_capstyle="butt")
    x = _text(axes, x + _SCALE_BAR_MM * scale + 8, middle, f"{_SCALE_BAR_MM:g} mm", _QUIET) + 26
    for name, colour in footing.legend.items():
        axes.plot([x, x + 20], [middle, middle], color=colour, linewidth=2.4, solid_capstyle="butt")
        x = _text(axes, x + 27, middle, name, _QUIET) + 22
    if footing.difference is not None:
        limit, unit = footing.difference
        x = _text(axes, x + 6, middle, f"difference  −{limit:.3g}", _QUIET) + 8
        gradient = np.linspace(-1, 1, 256)[None]
        axes.imshow(gradient, cmap=SIGNED, extent=(x, x + 120, middle + 7, middle - 7), aspect="auto")
        axes.add_patch(Rectangle((x, middle - 7), 120, 14, fill=False, edgecolor=_QUIET, linewidth=0.6))
        axes.set_xlim(0, width)
        axes.set_ylim(_FOOTER, 0)
        _text(axes, x + 128, middle, f"+{limit:.3g} {unit}".rstrip(), _QUIET)


def _text(axes: Axes, x: float, y: float, words: str, colour: str) -> float:
    """Write and return where the text ends, in pixels."""
    text = axes.text(x, y, words, color=colour, fontsize=_points(15), va="center")
    return float(text.get_window_extent().x1)


def _points(pixels: float) -> float:
    return pixels * 72 / _DPI
