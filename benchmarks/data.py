"""The real images that benchmarks run on; none of them is part of the product."""

from __future__ import annotations

import os
from pathlib import Path

import click
from genaug.cohort import Cohort
from genaug.readers import read_cohort
from genaug.split import split_by_ids

ROOT = Path(__file__).resolve().parents[1]


def data_folder(name: str) -> Path:
    """A folder of the shared data: under GENAUG_DATA, else beside the checkout."""
    base = Path(os.environ.get("GENAUG_DATA", ROOT.parent / "shared" / "data"))
    if not (base / name).is_dir():
        raise click.ClickException(
            f"{base / name} does not exist. Set GENAUG_DATA to the folder that holds {name}; the benchmark needs it."
        )
    return base / name


def hippocampus() -> Cohort:
    """200 MR crops with two labels (Medical Segmentation Decathlon, task 4): the first 150 ids train, the rest test."""
    cohort = read_cohort(data_folder("hippocampus"), label_names={1: "anterior", 2: "posterior"})
    ids = sorted(case.patient for case in cohort.cases)
    return split_by_ids(cohort.model_copy(update={"name": "hippocampus"}), test=ids[150:])


def sarcoma() -> Cohort:
    """CT registered onto MR of the same patient: the first 26 ids train, the other 10 test.

    The patients whose registration or field of view is in doubt (STS_005, 025, 034, 037) are among the first.
    """
    cohort = read_cohort(data_folder("sarcoma_mr_ct"))
    ids = sorted(case.patient for case in cohort.cases)
    return split_by_ids(cohort.model_copy(update={"name": "sarcoma MR and CT"}), test=ids[26:])
