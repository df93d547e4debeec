"""What evaluation looks at: cases on one common grid, produced lazily and looked at one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from genaug.errors import GenaugError, Reason
from genaug.volume import AnyArray, BoolArray, FloatArray

MODEL_SPACE_LIMIT = 10.0
"""Generators overshoot [-1, 1] a little; values beyond this are raw intensities that were never mapped."""


@dataclass(frozen=True, eq=False)
class CaseArrays:
    """One real or synthetic case in model space.

    Attributes:
        id: unique within its cohort.
        patient: whom it comes from; cases of one patient are resampled together and never split.
        image: (C, *S) float32 in [-1, 1], S having two or three axes, the same in every case of an evaluation.
        label: integer label map, shape S, or None.
        voxel_volume_mm3: volume (area in 2D) of one voxel, for label volumes.
    """

    id: str
    patient: str
    image: FloatArray
    label: AnyArray | None = None
    voxel_volume_mm3: float = 1.0


@dataclass(frozen=True, eq=False)
class PairArrays:
    """A translated image beside the real one of the same patient, in the unit of the modality (CT: HU).

    Attributes:
        id: unique within the evaluation.
        patient: pairs of one patient are resampled together.
        modality: "CT", "MR", ...: decides value range, body threshold and tissue classes.
        reference: the real image, (I, J) or (I, J, K).
        result: the translated image, same shape.
        label: label map of the reference, same shape, or None; adds the error within each label.
        result_label: label map of the result, same shape, or None; adds Dice for each label.
        scanned: where another image of the case shows something, same shape; nothing else is scored but the dice of
            label maps. None: everywhere.
    """

    id: str
    patient: str
    modality: str
    reference: FloatArray
    result: FloatArray
    label: AnyArray | None = None
    result_label: AnyArray | None = None
    scanned: BoolArray | None = None


CaseSource: TypeAlias = Callable[[], Iterable[CaseArrays]]
"""Called once for each pass over a cohort, so that no cohort has to fit into memory.

Where what it returns knows its length, progress is shown against it.
"""

PairSource: TypeAlias = Callable[[], Iterable[PairArrays]]


def checked_cases(cases: Iterable[CaseArrays], role: str, shape: tuple[int, ...] | None = None) -> Iterator[CaseArrays]:
    """The same `cases`, each examined as it passes.

    Args:
        cases: one pass over a source.
        role: "real", "synthetic", ..., named in errors.
        shape: the (C, *S) every image must have; None takes it from the first case.

    Raises:
        GenaugError: NOT_FINITE, GEOMETRY_MISMATCH, BAD_PARAMETER or BAD_JOB (an id twice), naming the case.
    """
    seen: set[str] = set()
    for case in cases:
        subject = f"{role} case {case.id}"
        if case.id in seen:
            raise GenaugError(
                Reason.BAD_JOB, subject, "the same id twice", "unique ids", "Rename or remove one of the two cases."
            )
        seen.add(case.id)
        shape = shape or case.image.shape
        _check_image(case, subject, shape)
        yield case


def _check_image(case: CaseArrays, subject: str, shape: tuple[int, ...]) -> None:
    if case.image.ndim not in (3, 4) or case.image.shape != shape:
        expected = f"shape {shape}" if len(shape) in (3, 4) else "a (C, I, J) or (C, I, J, K) image"
        raise GenaugError(
            Reason.GEOMETRY_MISMATCH,
            subject,
            f"an image of shape {case.image.shape}",
            expected,
            "Map every case of the evaluation onto one common grid first.",
        )
    if case.label is not None and case.label.shape != shape[1:]:
        raise GenaugError(
            Reason.GEOMETRY_MISMATCH,
            subject,
            f"a label map of shape {case.label.shape}",
            f"shape {shape[1:]}",
            "Resample the label map onto the image's grid with nearest neighbour.",
        )
    require_finite(case.image, subject)
    largest = float(np.abs(case.image).max())
    if largest > MODEL_SPACE_LIMIT:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            subject,
            f"values up to {largest:g}",
            "an image in model space, within [-1, 1]",
            "Map the image's intensities with the grid of the model before evaluating.",
        )


def require_finite(array: FloatArray, subject: str) -> None:
    """Raise NOT_FINITE with the number of voxels at fault."""
    wrong = int(array.size - np.count_nonzero(np.isfinite(array)))
    if wrong:
        raise GenaugError(
            Reason.NOT_FINITE,
            subject,
            f"{wrong} of {array.size} voxels NaN or infinite",
            "finite voxels",
            "Repair or leave out this case.",
        )
