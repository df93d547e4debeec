"""The report's pictures: what is drawn, in which planes and windows.

Every function returns a matplotlib figure; `panel.save` writes it. Volumes that are compared share one window, one
scale and one position, and every picture says over itself where it comes from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from genaug.volume import LABEL, Volume, require_same_grid
from matplotlib.figure import Figure

from demo.panel import LABEL_COLOURS, MASK_COLOUR, SIGNED, Cell, Footing, Heading, compose
from demo.planes import (
    Box,
    PlaneName,
    content,
    crop,
    cut_at,
    fullest,
    middle,
    nearest_voxel,
    shown_planes,
    to_ras,
    union,
)

Window = tuple[float, float]
Position = tuple[float, float, float]
"""In the patient: RAS, mm."""

NOISE_SHARE = 0.002
"""Of a plane's pixels: fewer bright ones are noise."""

BACKGROUND = 0.1
"""Of the window: what is darker all around is not shown, so that the patient fills the picture."""


@dataclass(frozen=True)
class Exhibit:
    """A volume to show.

    Attributes:
        volume: the image.
        origin: "SYNTHETIC", "REAL", or more words with one of them; stands over the picture.
        title: case id or model.
        label: its label map, drawn as outlines on a second copy.
        window: what is black and what is white; None chooses by `robust_window`.
    """

    volume: Volume
    origin: str
    title: str = ""
    label: Volume | None = None
    window: Window | None = None

    def __post_init__(self) -> None:
        if self.label is not None:
            require_same_grid(self.volume, self.label)

    @property
    def shown_window(self) -> Window:
        """The window it is drawn with."""
        return self.window or robust_window(self.volume)


def robust_window(*volumes: Volume, low: float = 0.5, high: float = 99.7) -> Window:
    """Black and white for several volumes that are to be compared: percentiles of all their voxels together.

    White is taken over the voxels above black, so that a large empty background does not wash out the rest.
    """
    values = np.concatenate([np.asarray(volume.array, dtype=np.float64).ravel() for volume in volumes])
    values = values[np.isfinite(values)]
    if not values.size:
        return 0.0, 1.0
    black = float(np.percentile(values, low))
    above = values[values > black]
    white = float(np.percentile(above, high)) if above.size else black + 1.0
    return black, white


def triplanar(
    *exhibits: Exhibit,
    label_names: Mapping[int, str] | None = None,
    position: Position | None = None,
    width: int = 1600,
) -> Figure:
    """Volumes side by side in their planes; below, where there are label maps, the same with outlines.

    Args:
        exhibits: what to show.
        label_names: label value to name, for the legend and to choose which labels are outlined; None outlines all.
        position: where the planes cross; None takes the middle of what is not empty.
        width: of the figure, in pixels.
    """
    colours = _colours(exhibits, label_names)
    plain, outlined = list[Cell](), list[Cell]()
    headings = []
    for exhibit, turned in zip(exhibits, _frame(exhibits)):
        cells, twins = _planes(exhibit, turned, colours, position)
        plain += cells
        outlined += twins
        headings.append(Heading(exhibit.title, exhibit.origin, len(cells)))
    rows = [plain, outlined] if colours else [plain]
    gap = headings[0].columns if len({heading.columns for heading in headings}) == 1 else 0
    return compose(rows, headings, Footing(_legend(colours, label_names)), width, gap_after=gap)


def contact_sheet(
    exhibits: Sequence[Exhibit],
    *,
    label_names: Mapping[int, str] | None = None,
    width: int = 1600,
) -> Figure:
    """One column a case: its planes below each other, then the first plane again with the label map's outlines."""
    colours = _colours(exhibits, label_names)
    columns = []
    for exhibit, turned in zip(exhibits, _frame(exhibits)):
        cells, twins = _planes(exhibit, turned, colours, None)
        columns.append(cells + (twins[:1] if colours else []))
    rows = [list(row) for row in zip(*columns)]
    headings = [Heading(exhibit.title, exhibit.origin) for exhibit in exhibits]
    return compose(rows, headings, Footing(_legend(colours, label_names)), width)


def lesion_panel(
    before: Volume,
    after: Volume,
    mask: Volume,
    *,
    planes: Sequence[PlaneName] = ("axial", "coronal"),
    window: Window | None = None,
    origins: tuple[str, str] = ("REAL", "SYNTHETIC LESION"),
    titles: tuple[str, str] = ("before", "after"),
    unit: str = "",
    width: int = 1600,
) -> Figure:
    """Before, after, after with the mask's outline, and the difference, where the mask is fullest.

    Raises:
        GenaugError: GEOMETRY_MISMATCH when the three do not share one grid.
    """
    for other in (after, mask):
        require_same_grid(before, other)
    shared = window or robust_window(before, after)
    difference = _difference(after, before)
    limit = _limit(difference)
    was, now, changed, lesion = _turned([before, after, difference, _binary(mask)], [shared, shared])
    voxel = fullest(lesion)
    rows = []
    for plane in planes:
        inside = cut_at(lesion, plane, voxel).pixels
        now_here = cut_at(now, plane, voxel)
        rows.append(
            [
                Cell(cut_at(was, plane, voxel), shared),
                Cell(now_here, shared),
                Cell(now_here, shared, inside, {1: MASK_COLOUR}),
                Cell(cut_at(changed, plane, voxel), (-limit, limit), colormap=SIGNED),
            ]
        )
    headings = [
        Heading(titles[0], origins[0]),
        Heading(titles[1], origins[1]),
        Heading("mask", origins[1]),
        Heading("after − before", "DIFFERENCE"),
    ]
    return compose(rows, headings, Footing({"lesion mask": MASK_COLOUR}, (limit, unit)), width)


def translation_panel(
    source: Volume,
    result: Volume,
    reference: Volume | None = None,
    *,
    planes: Sequence[PlaneName] = ("axial", "sagittal"),
    source_window: Window | None = None,
    window: Window | None = None,
    titles: tuple[str, str, str] = ("input", "translated", "reference"),
    origins: tuple[str, str, str] = ("REAL", "SYNTHETIC", "REAL"),
    unit: str = "",
    position: Position | None = None,
    width: int = 1600,
) -> Figure:
    """Input, result, and, where there is one, the reference and how far the result is from it.

    Result and reference share one window; the input has its own, because it is another contrast.

    Raises:
        GenaugError: GEOMETRY_MISMATCH when they do not share one grid.
    """
    others = [result] if reference is None else [result, reference]
    for other in others:
        require_same_grid(source, other)
    shared = window or robust_window(*others)
    windows = [source_window or robust_window(source), *([shared] * len(others))]
    turned = _turned([source, *others], windows)
    headings = [Heading(title, origin) for title, origin, _ in zip(titles, origins, turned)]
    crossing = middle(turned[0]) if position is None else nearest_voxel(turned[0], position)
    rows = [[Cell(cut_at(v, plane, crossing), shades) for v, shades in zip(turned, windows)] for plane in planes]
    if reference is None:
        return compose(rows, headings, Footing(), width)
    difference = _difference(turned[1], turned[2])
    limit = _limit(difference)
    for row, plane in zip(rows, planes):
        row.append(Cell(cut_at(difference, plane, crossing), (-limit, limit), colormap=SIGNED))
    headings.append(Heading(f"{titles[1]} − {titles[2]}", "DIFFERENCE"))
    return compose(rows, headings, Footing(difference=(limit, unit)), width)


def _turned(volumes: Sequence[Volume], windows: Sequence[Window]) -> list[Volume]:
    """Volumes on one grid, turned to RAS and cropped to what the first ones show in their windows."""
    turned = [to_ras(volume) for volume in volumes]
    box = union([_content(volume, window) for volume, window in zip(turned, windows)])
    return [crop(volume, box) for volume in turned]


def _frame(exhibits: Sequence[Exhibit]) -> list[tuple[Volume, Volume | None]]:
    """Image and label map of each exhibit, turned and cropped: alike where all have one size, else each by itself."""
    images = [to_ras(exhibit.volume) for exhibit in exhibits]
    boxes = [_content(image, exhibit.shown_window) for image, exhibit in zip(images, exhibits)]
    if len({image.shape for image in images}) == 1:
        boxes = [union(boxes)] * len(boxes)
    labels = [None if exhibit.label is None else crop(to_ras(exhibit.label), b) for exhibit, b in zip(exhibits, boxes)]
    return [(crop(image, box), label) for image, box, label in zip(images, boxes, labels)]


def _content(volume: Volume, window: Window) -> Box:
    low, high = window
    return content(volume, low + BACKGROUND * (high - low), share=NOISE_SHARE)


def _planes(
    exhibit: Exhibit,
    turned: tuple[Volume, Volume | None],
    colours: Mapping[int, str],
    position: Position | None,
) -> tuple[list[Cell], list[Cell]]:
    """The planes of an exhibit, plain and outlined."""
    volume, label = turned
    crossing = middle(volume) if position is None else nearest_voxel(volume, position)
    window = exhibit.shown_window
    plain, outlined = list[Cell](), list[Cell]()
    for plane in shown_planes(volume):
        image = cut_at(volume, plane, crossing)
        contours = None if label is None else cut_at(label, plane, crossing).pixels
        plain.append(Cell(image, window))
        outlined.append(Cell(image, window, contours, colours))
    return plain, outlined


def _colours(exhibits: Sequence[Exhibit], names: Mapping[int, str] | None) -> dict[int, str]:
    """Label value to colour, the same in every exhibit; empty when nothing is labelled."""
    present = {int(v) for exhibit in exhibits if exhibit.label is not None for v in np.unique(exhibit.label.array)}
    chosen = sorted((present if names is None else present & set(names)) - {0})
    # Colours go by the value's place among the named ones, so that a label that is missing here shifts nothing.
    order = chosen if names is None else sorted(set(names) - {0})
    return {value: LABEL_COLOURS[order.index(value) % len(LABEL_COLOURS)] for value in chosen}


def _legend(colours: Mapping[int, str], names: Mapping[int, str] | None) -> dict[str, str]:
    return {(names or {}).get(value, f"label {value}"): colour for value, colour in colours.items()}


def _difference(minuend: Volume, subtrahend: Volume) -> Volume:
    difference = np.asarray(minuend.array, dtype=np.float64) - np.asarray(subtrahend.array, dtype=np.float64)
    return minuend.with_array(difference)


def _binary(mask: Volume) -> Volume:
    return Volume((mask.array > 0).astype(np.uint8), mask.affine, LABEL)


def _limit(difference: Volume) -> float:
    """End of the scale: of the voxels that differ at all, 99.5 % lie on it; 1 when none does."""
    size = np.abs(difference.array)
    size = size[np.isfinite(size) & (size > 0)]
    return float(np.percentile(size, 99.5)) if size.size else 1.0
