"""Samples of a method, not chosen: the first cases of a cohort, or what a translation made of the first one."""

from __future__ import annotations

from pathlib import Path

from genaug.case import Case
from genaug.cohort import Cohort

from demo.panel import save
from demo.pictures import Exhibit, contact_sheet, translation_panel

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


def write_translation(path: Path, made: Case, given: Case, source: str, channel: str) -> Path:
    """Write source, result, real target and their difference, and return the picture's path."""
    panel = translation_panel(
        given.volume(source),
        made.volume(channel),
        given.volume(channel),
        titles=(f"{source}, {given.id}", channel, channel),
        unit="HU" if made.modalities[channel] == "CT" else "",
        width=1400,
    )
    return save(panel, path)
