"""Translation without learning: one HU value per tissue of the source image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from genaug.case import Case, write_case
from genaug.cohort import Cohort
from genaug.evaluation.masks import body_mask
from genaug.progress import Reporter
from genaug.record import Record
from genaug.volume import Volume

CLASSES = 4
"""Intensity classes inside the body, of equal size; outside is air."""


def translate_by_constants(cohort: Cohort, source: str, target: str, output: Path, reporter: Reporter) -> Cohort:
    """Give every voxel of the test cases the mean target value that its tissue class has in the training cases."""
    training = cohort.part("train")
    values = np.mean([_means(case, source, target) for case in training], axis=0)
    cases: list[Case] = []
    tests = cohort.part("test")
    for done, case in enumerate(tests):
        volume = case.volume(source)
        array = np.rint(values[_classes(volume)]).astype(np.int16)
        record = Record(
            case_id=f"constant-{case.id}",
            kind="translate",
            seed=0,
            parameters={"values": values.tolist()},
            parents=[case.id],
            patients=[case.patient, *[other.patient for other in training]],
        )
        result: Volume = replace(volume, array=array, modality=cohort.channels[target])
        cases.append(write_case(output, record.case_id, case.patient, {target: result}, None, record))
        reporter.progress(done + 1, len(tests), case.id)
    made = Cohort(name="constant per tissue", root=output, channels={target: cohort.channels[target]}, cases=cases)
    made.write(output)
    return made


def _means(case: Case, source: str, target: str) -> Sequence[float]:
    classes = _classes(case.volume(source))
    reference = case.volume(target).array
    return [float(reference[classes == one].mean()) for one in range(CLASSES + 1)]


def _classes(volume: Volume) -> npt.NDArray[np.intp]:
    """0 outside the body, then 1 to CLASSES from dark to bright."""
    array = volume.array.astype(np.float32)
    inside = body_mask(array, volume.modality)
    edges = np.quantile(array[inside], np.linspace(0, 1, CLASSES + 1)[1:-1])
    return np.where(inside, np.digitize(array, edges) + 1, 0)
