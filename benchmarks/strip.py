"""Samples of a method, not chosen: the first cases of a cohort, or what a translation made of the first one."""

from __future__ import annotations

import io
from pathlib import Path

from genaug.case import Case
from genaug.cohort import Cohort
from genaug.files import write_bytes
from matplotlib.figure import Figure
from PIL import Image

from demo.panel import png
from demo.pictures import Exhibit, contact_sheet, translation_panel

SHOWN = 6
WIDTH = 1000
"""Pixels. Every method has a picture in the repository, so they are small, and JPEG."""


def write_strip(path: Path, cohort: Cohort) -> Path:
    """Write the picture and return its path."""
    channel = next(iter(cohort.channels))
    # A column is too narrow for an id beside the badge; they are the first ones, in order.
    shown = [Exhibit(case.volume(channel), "SYNTHETIC", "", case.label_map()) for case in cohort.cases[:SHOWN]]
    return save_picture(contact_sheet(shown, label_names=cohort.label_names, width=WIDTH), path)


def write_translation(path: Path, made: Case, given: Case, source: str, channel: str) -> Path:
    """Write source, result, real target and their difference, and return the picture's path."""
    before = given.volume(source)
    flat = before.array.shape[2] == 1
    panel = translation_panel(
        before,
        made.volume(channel),
        given.volume(channel),
        planes=("axial",) if flat else ("axial", "sagittal"),
        # Over a picture of one small plane there is no room for both.
        titles=(source if flat else f"{source}, {given.id}", channel, channel),
        unit="HU" if made.modalities[channel] == "CT" else "",
        width=WIDTH,
    )
    return save_picture(panel, path)


def save_picture(figure: Figure, path: Path) -> Path:
    """Write the figure as JPEG and return its path."""
    with io.BytesIO() as written:
        Image.open(io.BytesIO(png(figure))).convert("RGB").save(written, "JPEG", quality=85)
        write_bytes(path, written.getbuffer())
    return path
