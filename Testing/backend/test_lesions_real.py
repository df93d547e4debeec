"""Real FLAIR: lesions of one patient with multiple sclerosis in the brain of another."""

import os
from pathlib import Path

import numpy as np
import pytest
from genaug.imageio import read_volume
from genaug.lesions import AnnotatedCase, BankSource, InsertParameters, LesionBank, insert_lesions
from genaug.volume import LABEL, Volume

DATA = Path(os.environ.get("GENAUG_DATA", Path(__file__).parents[2] / "../shared/data")).resolve() / "ms_lesions"


def flair(number):
    """Image at 2 mm and its lesion map, brought from 1 mm to the image's grid by majority."""
    image = read_volume(DATA / f"patient{number:02d}/FLAIR_2mm.nii.gz", "MR")
    fine = read_volume(DATA / f"patient{number:02d}/lesions_1mm.nii.gz", LABEL)
    blocks = fine.array[:182, :218, :182].reshape(91, 2, 109, 2, 91, 2)
    return image, Volume((blocks.mean(axis=(1, 3, 5)) >= 0.5).astype(np.uint8), image.affine, LABEL)


@pytest.mark.skipif(not DATA.is_dir(), reason="ms_lesions is not there; set GENAUG_DATA")
def test_plaques_stay_bright_in_another_brain():
    image, lesions = flair(19)
    host, own = flair(7)
    donors = LesionBank([AnnotatedCase("patient19", "patient19", lambda: image, lambda: lesions)])
    brain = host.array > 0
    middle = np.median(host.array[brain])
    tissue = Volume((brain & (np.abs(host.array - middle) < 0.25 * middle)).astype(np.uint8), host.affine, LABEL)
    asked = InsertParameters(
        source=BankSource(margin="none"), count=3, diameter_mm=(5, 12), margin_mm=0, contrast_unit="fraction", seed=3
    )
    done = insert_lesions(host, tissue, asked, label=own, bank=donors)
    mask = done.mask.array == 1
    assert not (mask & (own.array == 1)).any()
    ratio = image.array[lesions.array == 1].mean() / np.median(image.array[image.array > 0])
    assert ratio > 1.2, "plaques are bright on FLAIR"
    assert done.image.array[mask].mean() > 1.12 * host.array[mask].mean()
    assert done.image.array.dtype == np.int16
    assert all(check.passed for check in done.record.checks if "inside" in check.name)
