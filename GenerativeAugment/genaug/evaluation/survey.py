"""One pass over a cohort that keeps what the scores need and forgets the voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import length_hint

import numpy as np

from genaug.errors import GenaugError, Reason
from genaug.evaluation.arrays import CaseSource, checked_cases
from genaug.evaluation.copies import thumbnail
from genaug.evaluation.features import Extractor
from genaug.evaluation.kept_images import KeptImages
from genaug.evaluation.labels import label_volumes
from genaug.progress import Reporter
from genaug.volume import FloatArray

IMAGES_KEPT = 64
IMAGE_BYTES = 512 << 20
"""Images kept for MS-SSIM, whatever the size of the cohort: at most so many, and in a file of so many bytes."""

FEWEST_IMAGES = 8

_FIRST_ROWS = 64


@dataclass(frozen=True)
class Survey:
    """What is known of one cohort of n cases.

    Attributes:
        ids: id of each case.
        patients: patient of each case.
        features: name of the extractor → (n, d) float32, not standardised.
        thumbnails: (n, v) float32, see `copies.thumbnail`.
        volumes: (n, L) volume of each label in mm³, or None without label maps.
        images: a random sample of the images, each (C, *S), in a temporary file.
        image_patients: patient of each of those.
    """

    ids: list[str]
    patients: list[str]
    features: Mapping[str, FloatArray]
    thumbnails: FloatArray
    volumes: FloatArray | None
    images: Sequence[FloatArray]
    image_patients: list[str]


@dataclass(frozen=True)
class Plan:
    """What is to be kept of every cohort of one evaluation.

    Attributes:
        extractors: applied to each case.
        labels: values whose volumes are kept; empty where there are no label maps.
        shape: (C, *S) of every image.
        seed: chooses the images that are kept.
    """

    extractors: Sequence[Extractor]
    labels: Sequence[int]
    shape: tuple[int, ...]
    seed: int


def survey(source: CaseSource, role: str, plan: Plan, reporter: Reporter, keep_images: bool = False) -> Survey:
    """Look once at every case of `source`.

    Raises:
        GenaugError: EMPTY_COHORT; WRONG_LABELS when a label map is missing; and those of `checked_cases`.
    """
    ids: list[str] = []
    patients: list[str] = []
    features = {extractor.name: _Rows() for extractor in plan.extractors}
    thumbnails, volumes = _Rows(), _Rows()
    sample = _Sample(plan.shape, plan.seed, keep_images)
    cases = source()
    expected = length_hint(cases)
    for case in checked_cases(cases, role, plan.shape):
        if plan.labels and case.label is None:
            raise _missing_label(role, case.id)
        for extractor in plan.extractors:
            features[extractor.name].append(extractor(case))
        thumbnails.append(thumbnail(case.image))
        if plan.labels:
            volumes.append(label_volumes(case, plan.labels))
        sample.offer(case.image, case.patient)
        ids.append(case.id)
        patients.append(case.patient)
        reporter.progress(len(ids), max(expected, len(ids) + 1), f"{role} case {len(ids)}")
    if not ids:
        raise GenaugError(
            Reason.EMPTY_COHORT, f"{role} cases", "none", "at least one case", "Check the cohort and its filter."
        )
    return Survey(
        ids,
        patients,
        {name: rows.all() for name, rows in features.items()},
        thumbnails.all(),
        volumes.all() if plan.labels else None,
        sample.images,
        sample.patients,
    )


class _Rows:
    """Vectors of one length in one array, which doubles when it is full.

    As arrays of their own they would lie scattered between the large ones that come and go with every case, and keep
    the C library from using the room of those again: a process would grow by megabytes a case for nothing.
    """

    def __init__(self) -> None:
        self._rows: FloatArray | None = None
        self._count = 0

    def append(self, row: FloatArray) -> None:
        """Copy a vector behind the last."""
        if self._rows is None:
            self._rows = np.empty((_FIRST_ROWS, *row.shape), dtype=row.dtype)
        elif self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._count] = row
        self._count += 1

    def all(self) -> FloatArray:
        """(n, d)."""
        assert self._rows is not None  # a survey has at least one case
        return self._rows[: self._count].copy()


class _Sample:
    """A uniform sample of a stream of unknown length (Vitter 1985, algorithm R)."""

    def __init__(self, shape: tuple[int, ...], seed: int, keep: bool) -> None:
        size = 4 * int(np.prod(shape))
        self._limit = min(IMAGES_KEPT, max(FEWEST_IMAGES, IMAGE_BYTES // size)) if keep else 0
        self._rng = np.random.Generator(np.random.PCG64(seed))
        self._seen = 0
        self.images = KeptImages(shape)
        self.patients: list[str] = []

    def offer(self, image: FloatArray, patient: str) -> None:
        if self._limit == 0:
            return
        self._seen += 1
        if len(self.images) < self._limit:
            self.images.put(len(self.images), image)
            self.patients.append(patient)
            return
        place = int(self._rng.integers(self._seen))
        if place < self._limit:
            self.images.put(place, image)
            self.patients[place] = patient


def _missing_label(role: str, case_id: str) -> GenaugError:
    return GenaugError(
        Reason.WRONG_LABELS,
        f"{role} case {case_id}",
        "no label map",
        "a label map, as the real cases have",
        "Evaluate with an empty list of labels, or leave out the cases without a label map.",
    )
