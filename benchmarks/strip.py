"""A strip of samples: the first cases of a cohort in their middle axial planes, not chosen."""

from __future__ import annotations

from pathlib import Path

from genaug.cohort import Cohort

from demo.panel import save
from demo.pictures import Exhibit, contact_sheet

SHOWN = 6


def write_strip(path: Path, cohort: Cohort) -> Path:
    """Write the picture and return its path."""
    channel = next(iter(cohort.channels))
    # A column is too narrow for the whole id beside the badge.
    shown = [
        Exhibit(case.volume(channel), "SYNTHETIC", case.id.rpartition("-")[2], case.label_map())
        for case in cohort.cases[:SHOWN]
    ]
    return save(contact_sheet(shown, label_names=cohort.label_names, width=1400), path)
