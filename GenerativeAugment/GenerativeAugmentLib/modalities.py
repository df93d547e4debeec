"""What kind of images a channel holds: what the scene knows, what the channel is called, what the values look like.

NIfTI and NRRD do not say it. A CT that is taken for MR loses its Hounsfield units, so where nothing is known and the
values look like these, nobody guesses: the user says it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer

MODALITIES = ("MR", "CT", "PT")
"""What a user can choose from, as DICOM has it."""

AIR = -500.0
"""HU; what lies around a body, or in a lung, is below, and no image of another kind commonly is."""

PERCENTILE = 1.0

SAMPLES = 20_000


def isCalledCt(channel: str) -> bool:
    """Whether the name of a channel says CT; the command line reads names alike (`genaug.readers.options`)."""
    return "ct" in re.split(r"[^a-z]+", channel.lower())


def looksLikeHounsfield(volumeNode: Any) -> bool:
    """Whether the lowest values of a volume are those of air in CT; some voxels, evenly spread, are looked at."""
    if volumeNode.GetImageData() is None or volumeNode.GetImageData().GetPointData().GetScalars() is None:
        return False
    voxels = slicer.util.arrayFromVolume(volumeNode).reshape(-1)
    some = voxels[:: max(1, voxels.size // SAMPLES)]
    return some.size > 0 and float(np.percentile(some, PERCENTILE)) < AIR


def channelModality(channel: str, known: Sequence[str], hounsfield: Sequence[bool]) -> str:
    """The modality of a channel, "" for unknown: where the cases differ, or look like CT and nobody has said so.

    Args:
        channel: its name.
        known: what is known of its images, case by case; "" for nothing.
        hounsfield: for each case, whether its values look like Hounsfield units.
    """
    if any(known):
        likely = {likelyModality(channel, *one) for one in zip(known, hounsfield)}
        return likely.pop() if len(likely) == 1 else ""
    if isCalledCt(channel):
        return "CT"
    return "" if 2 * sum(hounsfield) > len(hounsfield) else "MR"


def likelyModality(channel: str, known: str, looksLikeCt: bool) -> str:
    """The modality of one image beside others that say theirs: what is known, else CT where name or values say so."""
    return known or ("CT" if looksLikeCt or isCalledCt(channel) else "MR")
