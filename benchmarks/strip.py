"""A strip of samples: the first cases of a cohort in their middle axial planes, not chosen."""

from __future__ import annotations

from pathlib import Path

from genaug.cohort import Cohort

from demo.panel import save
from demo.pictures import Exhibit, contact_sheet

SHOWN = 8


def write_strip(path: Path, cohort: Cohort) -> Path:
    """Write the picture and return its path."""
    channel = next(iter(cohort.channels))
    shown = [Exhibit(c.volume(channel), "SYNTHETIC", c.id, c.label_map()) for c in cohort.cases[:SHOWN]]
    return save(contact_sheet(shown, label_names=cohort.label_names, width=1200), path)
