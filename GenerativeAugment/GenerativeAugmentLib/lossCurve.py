"""The curves of a training, read from its folder and drawn into a picture."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import qt

from GenerativeAugmentLib.errors import _

SUFFIX = ".curves.csv"
MARGIN = 6
LINE_HEIGHT = 16
POINTS = 300
"""More would not be seen."""

COLORS = ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189), (140, 86, 75))

NETWORK = "network"
"""The player that makes cases; every other one is a critic of it."""

Curve = Sequence[tuple[float, float]]
"""Iteration and value."""


def newestCurves(folder: Path) -> Path | None:
    """The file of the stage that is being trained; None before the first."""
    files = [path for path in Path(folder).glob(f"*{SUFFIX}") if path.is_file()]
    return max(files, key=lambda path: path.stat().st_mtime_ns, default=None)


def readCurves(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Loss term to its curve; what is not finite or not a number is left out. OSError when it cannot be read."""
    curves: dict[str, list[tuple[float, float]]] = {}
    with Path(path).open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            iteration = _number(row.pop("iteration", None))
            for name, text in row.items():
                value = _number(text)
                if iteration is not None and value is not None:
                    curves.setdefault(name, []).append((iteration, value))
    return curves


def drawCurves(curves: Mapping[str, Curve], title: str, width: int, height: int) -> qt.QPixmap:
    """A picture of curves over one axis of iterations, each on a scale of its own.

    Loss terms differ by orders of magnitude, and what matters is whether each falls or settles; the last value of each
    stands beside its name.
    """
    picture = qt.QPixmap(width, height)
    picture.fill(qt.QColor(255, 255, 255))
    shown = {name: _thinned(curve) for name, curve in curves.items() if len(curve) > 1}
    legend = LINE_HEIGHT * (len(shown) + 1)
    painter = qt.QPainter()
    painter.begin(picture)
    try:
        painter.setPen(qt.QPen(qt.QColor(60, 60, 60)))
        painter.drawText(MARGIN, LINE_HEIGHT - 3, title)
        for number, (name, curve) in enumerate(shown.items()):
            painter.setPen(qt.QPen(qt.QColor(*COLORS[number % len(COLORS)])))
            painter.drawText(MARGIN, LINE_HEIGHT * (number + 2) - 3, f"{termTitle(name)}: {curves[name][-1][1]:.3g}")
            points = _placed(curve, MARGIN, legend + MARGIN, width - 2 * MARGIN, height - legend - 2 * MARGIN)
            for (x1, y1), (x2, y2) in itertools.pairwise(points):
                painter.drawLine(x1, y1, x2, y2)
    finally:
        painter.end()
    return picture


def termTitle(name: str) -> str:
    """What to call a term of a training, from its name in the file, such as "critic/adversarial"."""
    player, _mark, term = name.rpartition("/")
    titles = {
        "l1": _("absolute error (L1)"),
        "l2": _("squared error (L2)"),
        "ssim": _("structural dissimilarity (SSIM)"),
        "gradient_difference": _("difference of edges"),
        "cross_entropy": _("label map (cross entropy)"),
        "kl": _("distribution of codes (KL)"),
        "mmd": _("distribution of codes (MMD)"),
        "denoising": _("noise removal"),
        "r1": _("gradient penalty (R1)"),
        "kept": _("change outside the findings"),
    }
    title = titles.get(term, term.replace("_", " "))
    return title if player in ("", NETWORK) else f"{title} ({player.replace('_', ' ')})"


def _placed(curve: Curve, left: int, top: int, width: int, height: int) -> list[tuple[int, int]]:
    """Pixels of a curve in a rectangle, larger values higher."""
    values = [value for _iteration, value in curve]
    lowest, highest = min(values), max(values)
    first, last = curve[0][0], curve[-1][0]
    span, reach = (highest - lowest) or 1.0, (last - first) or 1.0
    return [
        (
            left + round((iteration - first) / reach * width),
            top + round((highest - value) / span * max(height, 1)),
        )
        for iteration, value in curve
    ]


def _thinned(curve: Curve) -> Curve:
    """At most POINTS points; means of neighbors, so that noise does not hide the course."""
    step = math.ceil(len(curve) / POINTS)
    groups = [curve[start : start + step] for start in range(0, len(curve), step)]
    return [(group[-1][0], sum(value for _iteration, value in group) / len(group)) for group in groups]


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
