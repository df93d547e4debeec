"""What the starter lesion model learns from: small pieces of the embedded brain around lesions drawn into it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from genaug.case import write_case
from genaug.cohort import Cohort
from genaug.files import writing_folder
from genaug.lesions import InsertParameters, ProceduralSource, insert_lesions
from genaug.progress import Reporter
from genaug.record import case_seed
from genaug.templates.brain import brain_template
from genaug.volume import Volume

SPACING_MM = 1.5
PATCH = 24
"""Voxels along each edge: 36 mm, room for a lesion of 16 mm and the tissue around it."""

WHITE_MATTER = 3

PLAQUE = ProceduralSource(shape="ellipsoid", elongation=(1.2, 2.2), heterogeneity=(0.02, 0.08), grain_mm=(3.0, 6.0))
"""Looks like a plaque of multiple sclerosis in T1: a soft dark ovoid."""

LESION = InsertParameters(
    source=PLAQUE,
    count=1,
    diameter_mm=(7.0, 15.0),
    contrast=(-0.32, -0.18),
    contrast_unit="fraction",
    margin_mm=0.5,
    edge_mm=(0.7, 1.2),
    tissue_labels=(WHITE_MATTER,),
)


def lesion_patch_cohort(folder: Path, count: int, seed: int, reporter: Reporter) -> Cohort:
    """Write `count` T1 patches with their lesion masks as a cohort: dark confluent lesions in white matter.

    Every patch is marked synthetic and has the Record of its insertion.
    """
    template = brain_template(SPACING_MM)
    cases = []
    with writing_folder(folder) as working:
        for index in range(count):
            case_id = f"lesion-{index:04d}"
            inserted = insert_lesions(
                template.image,
                template.label,
                LESION,
                case_id=case_id,
                host_id="icbm152",
                seed=case_seed(seed, index),
            )
            image, mask = _patch(inserted.image, inserted.mask), _patch(inserted.mask, inserted.mask)
            case = write_case(working, case_id, case_id, {"T1": image}, mask, inserted.record)
            cases.append(case)
            reporter.progress(index + 1, count, "drawing lesions")
        cohort = Cohort(
            name="lesions drawn into the ICBM152 brain",
            root=working,
            channels={"T1": "MR"},
            label_names={1: "lesion"},
            cases=cases,
        )
        cohort.write(working)
    return Cohort.read(folder)


def _patch(volume: Volume, mask: Volume) -> Volume:
    """The piece of `volume` around the centre of `mask`, moved inside where it would cross the border."""
    centre = np.argwhere(mask.array).mean(axis=0)
    first = np.clip(np.rint(centre - PATCH / 2).astype(int), 0, np.array(volume.shape) - PATCH)
    affine = volume.affine.copy()
    affine[:3, 3] = (volume.affine @ [*first, 1])[:3]
    inside = tuple(slice(int(a), int(a) + PATCH) for a in first)
    return replace(volume, array=np.ascontiguousarray(volume.array[inside]), affine=affine)
