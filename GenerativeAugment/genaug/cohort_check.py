"""Looking at every file of a cohort before a job starts, so that hours later nothing stops it."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from genaug.errors import GenaugError, Reason
from genaug.imageio import read_header
from genaug.progress import Reporter
from genaug.volume import LABEL, Volume, require_same_grid, require_told_modality

if TYPE_CHECKING:
    from genaug.cohort import Case, Cohort


def check(cohort: Cohort, read_voxels: bool, paired: bool, reporter: Reporter) -> None:
    """Raise one error for the first problem, which also counts the cases with further ones.

    Args:
        cohort: its files are read one case at a time.
        read_voxels: also look at every voxel: truncated files, NaN, label values without a name.
        paired: every case must have every channel, on one grid.
        reporter: told after every case.

    Raises:
        GenaugError: EMPTY_COHORT, UNPAIRED, MISSING_FILE, UNREADABLE_FILE, GEOMETRY_MISMATCH, NOT_FINITE, WRONG_LABELS.
    """
    if not cohort.cases:
        raise GenaugError(
            Reason.EMPTY_COHORT,
            cohort.root,
            f"no case in cohort '{cohort.name}'",
            "at least one case with an image",
            "Check the folder and the file name pattern.",
        )
    problems: list[GenaugError] = []
    for done, case in enumerate(cohort.cases, start=1):
        try:
            _check_case(cohort, case, read_voxels, paired)
        except GenaugError as problem:
            problems.append(problem)
        reporter.progress(done, len(cohort.cases), case.id)
    if not problems:
        return
    first, others = problems[0], len(problems) - 1
    found = first.found + (f" (and {others} more cases with problems)" if others else "")
    raise GenaugError(first.reason, first.subject, found, first.expected, first.remedy) from first


def require_told_channels(cohort: Cohort, told: Collection[str], remedy: str) -> None:
    """Raise WRONG_MODALITY for a channel that is taken for MR, because nobody said what it is, and looks like CT.

    Args:
        cohort: of every channel the first case is read, unless it is a DICOM series, whose header says it.
        told: channels whose modality the user has said.
        remedy: what to do, with {channel} where its name belongs.
    """
    for channel, modality in cohort.channels.items():
        if channel in told or modality != "MR":
            continue
        first = next((case for case in cohort.cases if channel in case.images), None)
        if first is not None and not first.images[channel].is_dir():
            require_told_modality(first.volume(channel), remedy.replace("{channel}", channel))


def _check_case(cohort: Cohort, case: Case, read_voxels: bool, paired: bool) -> None:
    _require_complete(cohort, case, paired)
    grids = [read_header(path).grid(cohort.channels[name], path) for name, path in case.images.items()]
    for grid in grids[1:] if paired else ():
        require_same_grid(grids[0], grid)
    if case.label is not None:
        require_same_grid(grids[0], read_header(case.label).grid(LABEL, case.label))
    if read_voxels:
        for channel in case.images:
            case.volume(channel)
        label = case.label_map()
        if label is not None:
            _require_named(cohort, label)


def _require_complete(cohort: Cohort, case: Case, paired: bool) -> None:
    missing = [channel for channel in cohort.channels if channel not in case.images]
    if not case.images or (paired and missing):
        label = " and a label map" if case.label is not None else ""
        raise GenaugError(
            Reason.UNPAIRED,
            case.id,
            f"images {', '.join(str(path) for path in case.images.values()) or 'none'}{label}, but no {missing[0]}",
            f"every case to have {', '.join(cohort.channels)}",
            "Add the missing file, or leave the case or the channel out.",
        )


def _require_named(cohort: Cohort, label: Volume) -> None:
    if not cohort.label_names:
        return
    unnamed = [int(value) for value in np.unique(label.array) if value and int(value) not in cohort.label_names]
    if unnamed:
        raise GenaugError(
            Reason.WRONG_LABELS,
            label.source or "label",
            f"label values {', '.join(map(str, unnamed[:10]))}",
            f"only 0 and {', '.join(map(str, sorted(cohort.label_names)))}",
            "Correct the label map, or name these labels in the cohort.",
        )
