"""Putting one case's files into an export."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from genaug.errors import GenaugError, Reason
from genaug.export.selection import Chosen
from genaug.imageio import image_suffix, read_header, read_volume, write_volume
from genaug.volume import LABEL, label_values, require_same_grid


def place_image(chosen: Chosen, channel: str, target: Path) -> None:
    """Write one channel. A file of the right format is copied byte for byte, any other is converted.

    Copied rather than hard-linked: whoever opens an exported image and saves it would otherwise change the original.

    Raises:
        GenaugError: MISSING_FILE, NO_PERMISSION, UNREADABLE_FILE, NOT_FINITE; GEOMETRY_MISMATCH between the channels.
    """
    source = chosen.case.images[channel]
    first = next(iter(chosen.case.images.values()))
    if source != first and not source.is_dir() and not first.is_dir():
        require_same_grid(read_header(first).grid(source=first), read_header(source).grid(source=source))
    if _copyable(source, target):
        _copy(source, target)
    else:
        write_volume(target, chosen.case.volume(channel), synthetic=chosen.synthetic)


def place_label(chosen: Chosen, target: Path) -> list[int]:
    """Write the label map and return the values in it.

    Raises:
        GenaugError: as `place_image`; WRONG_LABELS for voxels that are no label values; GEOMETRY_MISMATCH.
    """
    assert chosen.label is not None
    label = read_volume(chosen.label, LABEL)
    image = next(iter(chosen.case.images.values()))
    if not image.is_dir():
        require_same_grid(read_header(image).grid(source=image), label)
    if _copyable(chosen.label, target):
        _copy(chosen.label, target)
    else:
        write_volume(target, replace(label, modality=LABEL), synthetic=chosen.synthetic)
    return label_values(label.array)


def _copyable(source: Path, target: Path) -> bool:
    return not source.is_dir() and image_suffix(source) == image_suffix(target)


def _copy(source: Path, target: Path) -> None:
    # Asked beforehand, because afterwards a missing right looks the same for source and target.
    read_header(source)
    if not os.access(source, os.R_OK):
        raise GenaugError(
            Reason.NO_PERMISSION, source, "reading is not permitted", "a readable file", "Change the file's rights."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
