"""Lesions to choose from: an index over annotated cases that reads a case only when one of its lesions is needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from genaug.errors import GenaugError, Reason
from genaug.lesions.carve import (
    CarveDraws,
    Component,
    LesionPatch,
    LesionReference,
    carve_component,
    components,
    draw_carve,
)
from genaug.lesions.parameters import BankSource, Range
from genaug.volume import Volume, require_same_grid

if TYPE_CHECKING:
    from genaug.cohort import Case, Cohort, Part

_SAME_MM = 0.5
"""A recorded lesion is found again within this distance of its centre."""


@dataclass(frozen=True)
class AnnotatedCase:
    """A case with lesions, read on demand.

    Attributes:
        case_id: its id.
        patient: whose it is.
        image: reads the image the lesions are carved from.
        label: reads its lesion map, on the same grid.
        derived_from: further patients whose images made it, for a synthetic case.
    """

    case_id: str
    patient: str
    image: Callable[[], Volume]
    label: Callable[[], Volume]
    derived_from: tuple[str, ...] = ()


class LesionBank:
    """The lesions of annotated cases.

    Building the index reads every label map once and no image; carved lesions are kept, as they are small.

    Args:
        cases: the annotated cases; ids must differ.
        value: label value of the lesions.
        other_lesions: further values that are no tissue to compare a lesion with.

    Raises:
        GenaugError: EMPTY_COHORT when no case has a lesion of that value.
    """

    def __init__(self, cases: Iterable[AnnotatedCase], value: int = 1, other_lesions: Collection[int] = ()) -> None:
        self._cases: dict[str, AnnotatedCase] = {}
        self._carved: dict[tuple[str, tuple[float, float, float]], LesionPatch] = {}
        self.value = value
        self.other_lesions = other_lesions
        self.lesions: list[LesionReference] = []
        for case in cases:
            if case.case_id in self._cases:
                raise ValueError(f"two cases are called {case.case_id!r}")
            self._cases[case.case_id] = case
            self.lesions += [c.reference for c in self._components(case)]
        if not self.lesions:
            raise GenaugError(
                Reason.EMPTY_COHORT,
                "lesion bank",
                f"no lesion of value {value} in {len(self._cases)} cases",
                "one annotated lesion or more",
                "Check the label value, or give cases whose label maps hold lesions.",
            )

    @classmethod
    def from_cohort(
        cls, cohort: Cohort, channel: str, value: int = 1, part: Part = "train", other_lesions: Collection[int] = ()
    ) -> LesionBank:
        """The lesions of a cohort's annotated cases that have `channel`.

        Only train patients give lesions unless told otherwise, so that nothing of a test patient reaches training. In a
        mixed cohort only real cases do; a cohort that is wholly synthetic, made by a lesion model, is taken as it is.

        Raises:
            GenaugError: EMPTY_COHORT.
        """
        cases = cohort.part(part)
        real = [case for case in cases if case.origin == "real"]
        return cls(
            (
                AnnotatedCase(
                    case.id,
                    case.patient,
                    partial(case.volume, channel),
                    partial(_label_of, case),
                    tuple(case.derived_from),
                )
                for case in real or cases
                if case.label is not None and channel in case.images
            ),
            value,
            other_lesions,
        )

    def draw(
        self, rng: np.random.Generator, source: BankSource, diameter_mm: Range, contrast: float | None
    ) -> CarveDraws:
        """Draw a lesion whose diameter lies in the range, and how it is cut.

        Raises:
            Unfit: FIELD_OF_VIEW when the drawn one's case does not show its surroundings.
            GenaugError: BAD_PARAMETER when the bank has none of that size.
        """
        fitting = [lesion for lesion in self.lesions if diameter_mm[0] <= lesion.diameter_mm <= diameter_mm[1]]
        if not fitting:
            sizes = sorted(lesion.diameter_mm for lesion in self.lesions)
            raise GenaugError(
                Reason.BAD_PARAMETER,
                "diameter_mm",
                f"no lesion of {diameter_mm[0]:g} to {diameter_mm[1]:g} mm in the bank",
                f"a range that meets those there are: {len(sizes)} lesions of {sizes[0]:.1f} to {sizes[-1]:.1f} mm",
                "Widen the range, or add annotated cases.",
            )
        lesion = fitting[int(rng.integers(len(fitting)))]
        return draw_carve(rng, self.patch(lesion), source.margin, source.mirror, contrast)

    def patch(self, lesion: LesionReference) -> LesionPatch:
        """Carve the lesion, found again by its case and centre.

        Raises:
            GenaugError: MISSING_FILE when the bank lacks the case; WRONG_LABELS when the case lacks the lesion.
        """
        key = lesion.case_id, lesion.centre_ras
        if key not in self._carved:
            case = self._cases.get(lesion.case_id)
            if case is None:
                raise GenaugError(
                    Reason.MISSING_FILE,
                    f"case {lesion.case_id}",
                    f"a bank of {len(self._cases)} other cases",
                    "the annotated case that this lesion was carved from",
                    "Give the cohort that was used when the lesion was inserted.",
                )
            image, label = case.image(), case.label()
            require_same_grid(image, label)
            self._carved[key] = carve_component(image, label, self._find(case, label, lesion), self.other_lesions)
        return self._carved[key]

    def _components(self, case: AnnotatedCase, label: Volume | None = None) -> list[Component]:
        return components(label or case.label(), self.value, case.case_id, case.patient, case.derived_from)

    def _find(self, case: AnnotatedCase, label: Volume, lesion: LesionReference) -> Component:
        found = self._components(case, label)
        distances = [np.linalg.norm(np.subtract(c.reference.centre_ras, lesion.centre_ras)) for c in found]
        nearest = int(np.argmin(distances)) if found else -1
        if nearest < 0 or distances[nearest] > _SAME_MM:
            raise GenaugError(
                Reason.WRONG_LABELS,
                f"case {lesion.case_id}",
                f"no lesion at ({', '.join(f'{v:.1f}' for v in lesion.centre_ras)}) mm RAS",
                f"the recorded lesion of {lesion.volume_mm3:.0f} mm3",
                "The annotation has changed since; give the label map that was used then.",
            )
        return found[nearest]


def _label_of(case: Case) -> Volume:
    label = case.label_map()
    if label is None:
        raise ValueError(f"case {case.id} has no label map")
    return label
