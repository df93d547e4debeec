"""Putting one case's files into an export."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from genaug.export.selection import Chosen
from genaug.imageio import image_suffix, is_marked_synthetic, read_header, read_volume, write_volume
from genaug.volume import LABEL, Volume, label_values, require_same_grid


def place_case(chosen: Chosen, channels: Sequence[str], targets: Mapping[str, Path]) -> list[int]:
    """Write the files of a case and return the values in its label map; none without one.

    Each is read once, a DICOM series too, and all must lie on the grid of the first channel. A file of the right format
    is copied byte for byte, any other is converted, and so is a synthetic one whose header does not say so. Copied
    rather than hard-linked: whoever opens an exported image and saves it would otherwise change the original.

    Args:
        chosen: the case.
        channels: to write, at least one.
        targets: where each channel goes, and the "label" if the case has one.

    Raises:
        GenaugError: MISSING_FILE, NO_PERMISSION, UNREADABLE_FILE, NOT_FINITE; GEOMETRY_MISMATCH between the channels or
            with the label map; WRONG_LABELS for voxels that are no label values.
    """
    first = _place_image(chosen, channels[0], targets[channels[0]], None)
    for channel in channels[1:]:
        _place_image(chosen, channel, targets[channel], first)
    return _place_label(chosen, chosen.label, targets["label"], first) if chosen.label is not None else []


def _place_image(chosen: Chosen, channel: str, target: Path, first: Volume | None) -> Volume:
    """Write one channel that lies on the grid of the first one; its own grid, without voxels."""
    source = chosen.case.images[channel]
    copied = _copyable(chosen, source, target)
    # Read before it is copied: a missing right would look the same for source and target.
    image = read_header(source).grid(source=source) if copied else chosen.case.volume(channel)
    if first is not None:
        require_same_grid(first, image)
    if copied:
        _copy(source, target)
    else:
        write_volume(target, image, synthetic=chosen.synthetic)
    return replace(image, array=np.broadcast_to(np.zeros((), image.array.dtype), image.shape))


def _place_label(chosen: Chosen, source: Path, target: Path, first: Volume) -> list[int]:
    label = read_volume(source, LABEL)
    require_same_grid(first, label)
    if _copyable(chosen, source, target):
        _copy(source, target)
    else:
        write_volume(target, replace(label, modality=LABEL), synthetic=chosen.synthetic)
    return label_values(label.array)


def _copyable(chosen: Chosen, source: Path, target: Path) -> bool:
    """Whether the file may stay as it is: in the right format, and marked where it is synthetic."""
    if source.is_dir() or image_suffix(source) != image_suffix(target):
        return False
    return not chosen.synthetic or is_marked_synthetic(source)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
