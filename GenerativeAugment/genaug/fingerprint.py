"""Fingerprint: the statistics of a cohort that decide how to train on it and what a model may be asked for."""

from __future__ import annotations

import glob
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field

from genaug.cohort import Case, Cohort, Part
from genaug.dicom import visible_files
from genaug.errors import GenaugError, Reason
from genaug.progress import Reporter, Silent
from genaug.strict import Frozen
from genaug.volume import AnyArray, Volume, geometry_difference

PERCENTILES = (0.5, 5.0, 50.0, 95.0, 99.5)

_DETACHED = (".mhd", ".nhdr")
"""Headers whose voxels lie in a file beside them, as a rule of the same name."""

Pairing = Literal["single", "paired", "unpaired"]


class Spread(Frozen):
    """How a number varies over the cases."""

    minimum: float
    median: float
    maximum: float


class Channel(Frozen):
    """One channel over all cases that have it. Triples are along I, J, K.

    `intensity` maps a percentile ("0.5", "5", "50", "95", "99.5") of a case's voxels to its spread over the cases;
    `foreground_intensity` does so inside the label map, where there is one.
    """

    modality: str
    cases: int
    spacing_mm: tuple[Spread, Spread, Spread]
    size: tuple[Spread, Spread, Spread]
    extent_mm: tuple[Spread, Spread, Spread]
    orientations: dict[str, int] = Field(description="axis codes such as RAS to number of cases")
    voxel_types: dict[str, int]
    intensity: dict[str, Spread]
    foreground_intensity: dict[str, Spread] | None = None


class Label(Frozen):
    """One label value; all but `cases` is over the cases where it occurs.

    `share` is of the image's voxels. `place` is the centroid relative to the image, 0 to 1 from left to right,
    posterior to anterior and inferior to superior.
    """

    name: str
    cases: int
    volume_mm3: Spread
    share: Spread
    place: tuple[Spread, Spread, Spread]


class Covariate(Frozen):
    """A covariate: its range when all values are numbers, the counts of its values otherwise."""

    cases: int
    numbers: Spread | None = None
    values: dict[str, int] | None = None


class Fingerprint(Frozen):
    """What `fingerprint` reports.

    `dimension` is 2 when every image has one slice; `pairing` is "paired" when every case has every channel on one
    grid; `labelled` counts cases with a label map, `labelled_parts` those of each part; `foreground_share` is what part
    of such an image is labelled. `files_state` is that of the measured files, see the function.
    """

    schema_version: Literal[1] = 1
    name: str
    manifest_sha256: str
    files_state: str
    cases: int
    patients: int
    real: int
    synthetic: int
    parts: dict[str, int]
    labelled: int
    labelled_parts: dict[str, int]
    dimension: Literal[2, 3]
    pairing: Pairing
    channels: dict[str, Channel]
    labels: dict[int, Label]
    foreground_share: Spread | None = None
    covariates: dict[str, Covariate]


class _ChannelTally:
    """Numbers of one channel, a handful for each case."""

    def __init__(self) -> None:
        self.spacing: list[Sequence[float]] = []
        self.size: list[Sequence[float]] = []
        self.extent: list[Sequence[float]] = []
        self.orientations: Counter[str] = Counter()
        self.types: Counter[str] = Counter()
        self.intensity: list[npt.NDArray[np.float64]] = []
        self.foreground: list[npt.NDArray[np.float64]] = []

    def add(self, volume: Volume, foreground: AnyArray | None) -> None:
        self.spacing.append(volume.spacing)
        self.size.append(volume.shape)
        self.extent.append(volume.extent)
        self.orientations[orientation(volume.affine)] += 1
        self.types[volume.array.dtype.name] += 1
        self.intensity.append(np.percentile(volume.array, PERCENTILES))
        if foreground is not None and foreground.shape == volume.shape and foreground.any():
            self.foreground.append(np.percentile(volume.array[foreground], PERCENTILES))

    def result(self, modality: str) -> Channel:
        return Channel(
            modality=modality,
            cases=len(self.size),
            spacing_mm=_triple(self.spacing),
            size=_triple(self.size),
            extent_mm=_triple(self.extent),
            orientations=dict(self.orientations.most_common()),
            voxel_types=dict(self.types.most_common()),
            intensity=_percentiles(self.intensity),
            foreground_intensity=_percentiles(self.foreground) if self.foreground else None,
        )


class _LabelTally:
    """Volume and place of every label value."""

    def __init__(self) -> None:
        self.volumes: dict[int, list[float]] = {}
        self.shares: dict[int, list[float]] = {}
        self.places: dict[int, list[Sequence[float]]] = {}
        self.foreground: list[float] = []

    def add(self, label: Volume) -> None:
        marked = np.flatnonzero(label.array)
        values, member, counts = np.unique(label.array.ravel()[marked], return_inverse=True, return_counts=True)
        voxel = float(abs(np.linalg.det(label.affine[:3, :3])))
        places = _places(marked, member, counts, label)
        for value, count, place in zip(values.tolist(), counts.tolist(), places.tolist(), strict=True):
            self.volumes.setdefault(value, []).append(count * voxel)
            self.shares.setdefault(value, []).append(count / label.array.size)
            self.places.setdefault(value, []).append(place)
        self.foreground.append(marked.size / label.array.size)

    def result(self, names: dict[int, str]) -> dict[int, Label]:
        return {
            value: Label(
                name=names.get(value, f"label {value}"),
                cases=len(self.volumes[value]),
                volume_mm3=spread(self.volumes[value]),
                share=spread(self.shares[value]),
                place=_triple(self.places[value]),
            )
            for value in sorted(self.volumes)
        }


def fingerprint(cohort: Cohort, reporter: Reporter | None = None) -> Fingerprint:
    """Read every case once, one at a time, and report its statistics; memory is that of one case.

    Percentiles are taken case by case, because MR intensities of different scanners share no scale.

    Raises:
        GenaugError: EMPTY_COHORT; UNPAIRED for a case without image; as `Case.volume` and `Case.label_map`.
    """
    _require_images(cohort)
    reporter = reporter or Silent()
    # Before the first file is read, so that one which changes meanwhile does not pass for measured.
    state = files_state(cohort)
    channels = {name: _ChannelTally() for name in cohort.channels}
    labels = _LabelTally()
    paired = len(cohort.channels) > 1
    for done, case in enumerate(cohort.cases, start=1):
        paired &= _tally(case, channels, labels, len(cohort.channels))
        reporter.progress(done, len(cohort.cases), case.id)
    used = {name: tally for name, tally in channels.items() if tally.size}
    parts = {part: cohort.part(part) for part in get_args(Part)}
    flat = all(min(size) == 1 for tally in used.values() for size in tally.size)
    return Fingerprint(
        name=cohort.name,
        manifest_sha256=cohort.sha256(),
        files_state=state,
        cases=len(cohort.cases),
        patients=len(cohort.patients),
        real=sum(case.origin == "real" for case in cohort.cases),
        synthetic=sum(case.origin == "synthetic" for case in cohort.cases),
        parts={part: len(cases) for part, cases in parts.items()},
        labelled=len(labels.foreground),
        labelled_parts={part: sum(case.label is not None for case in cases) for part, cases in parts.items()},
        dimension=2 if flat else 3,
        pairing="single" if len(cohort.channels) == 1 else "paired" if paired else "unpaired",
        channels={name: tally.result(cohort.channels[name]) for name, tally in used.items()},
        labels=labels.result(cohort.label_names),
        foreground_share=spread(labels.foreground) if labels.foreground else None,
        covariates=_covariates(cohort.cases),
    )


def files_state(cohort: Cohort) -> str:
    """SHA-256 over size and time of change of every file: another one says that the cohort must be measured anew.

    No voxel is read, and neither a moved folder nor a missing file is an error: what the file is wanted for says so.
    """
    digest = hashlib.sha256()
    for case in cohort.cases:
        roles = {**case.images, **({"label map": case.label} if case.label is not None else {})}
        for role, path in roles.items():
            for name, size, changed in _states(path):
                digest.update(f"{case.id}\0{role}\0{name}\0{size}\0{changed}\n".encode())
    return digest.hexdigest()


def orientation(affine: npt.NDArray[np.float64]) -> str:
    """The nearest anatomical direction of each voxel axis, such as "RAS" or "PSR", every direction used once."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    remaining, codes = np.abs(axes), ["", "", ""]
    for _ in range(3):
        row, column = np.unravel_index(int(remaining.argmax()), (3, 3))
        codes[column] = ("LR", "PA", "IS")[row][int(axes[row, column] > 0)]
        remaining[row, :] = remaining[:, column] = -1
    return "".join(codes)


def spread(values: Iterable[float]) -> Spread:
    """Minimum, median and maximum of at least one number."""
    array = np.fromiter(values, dtype=np.float64)
    return Spread(minimum=float(array.min()), median=float(np.median(array)), maximum=float(array.max()))


def _tally(case: Case, channels: dict[str, _ChannelTally], labels: _LabelTally, expected: int) -> bool:
    """Count one case; whether it has all channels on one grid."""
    label = case.label_map()
    foreground = label.array > 0 if label is not None else None
    if label is not None:
        labels.add(label)
    first: Volume | None = None
    together = len(case.images) == expected
    for channel in case.images:
        volume = case.volume(channel)
        channels[channel].add(volume, foreground)
        together &= first is None or geometry_difference(first, volume) == ""
        # Only the grid of the first is needed, not its voxels.
        first = first or Volume(np.broadcast_to(np.zeros(()), volume.shape), volume.affine)
    return together


def _states(path: Path) -> Iterator[tuple[str, int, int]]:
    """Name, bytes and nanoseconds of the file, of all files of a DICOM series, of a header and its voxels."""
    try:
        files = [path]
        if path.is_dir():
            files = visible_files(path)
        elif path.suffix.lower() in _DETACHED:
            files = sorted(path.parent.glob(f"{glob.escape(path.stem)}.*"))
        for file in files:
            status = file.stat()
            yield file.name, status.st_size, status.st_mtime_ns
    except OSError:
        yield "missing", 0, 0


def _places(
    marked: npt.NDArray[np.intp], member: npt.NDArray[np.intp], counts: npt.NDArray[np.intp], label: Volume
) -> npt.NDArray[np.float64]:
    """(labels, 3) centroids as `Label.place` gives them; voxel `marked[n]` belongs to label number `member[n]`."""
    places = np.empty((len(counts), 3))
    coordinates = np.unravel_index(marked, label.shape)
    for axis, code in enumerate(orientation(label.affine)):
        centre = (np.bincount(member, coordinates[axis], len(counts)) / counts + 0.5) / label.shape[axis]
        row = next(row for row, pair in enumerate(("LR", "PA", "IS")) if code in pair)
        places[:, row] = centre if code in "RAS" else 1 - centre
    return places


def _require_images(cohort: Cohort) -> None:
    if not cohort.cases:
        raise GenaugError(
            Reason.EMPTY_COHORT, cohort.root, f"no case in '{cohort.name}'", "at least one case", "Check the folder."
        )
    for case in cohort.cases:
        if not case.images:
            raise GenaugError(Reason.UNPAIRED, case.id, "no image", "at least one image", "Add it or drop the case.")


def _triple(rows: list[Sequence[float]]) -> tuple[Spread, Spread, Spread]:
    x, y, z = zip(*rows, strict=True)
    return spread(x), spread(y), spread(z)


def _percentiles(rows: list[npt.NDArray[np.float64]]) -> dict[str, Spread]:
    return {f"{name:g}": spread(column) for name, column in zip(PERCENTILES, np.array(rows).T, strict=True)}


def _covariates(cases: list[Case]) -> dict[str, Covariate]:
    found: dict[str, list[float | str]] = {}
    for case in cases:
        for name, value in case.covariates.items():
            found.setdefault(name, []).append(value)
    return {name: _covariate(values) for name, values in sorted(found.items())}


def _covariate(values: list[float | str]) -> Covariate:
    numbers = [value for value in values if not isinstance(value, str)]
    if len(numbers) == len(values):
        return Covariate(cases=len(values), numbers=spread(numbers))
    return Covariate(cases=len(values), values=dict(Counter(map(str, values)).most_common()))
