"""A folder a case, as genaug's own cohorts have it: every tool and every person finds the files."""

from __future__ import annotations

from pathlib import Path

from genaug.case import Case, safe_names
from genaug.cohort import Cohort
from genaug.export.layouts import Layout
from genaug.export.selection import Chosen


def write_plain(layout: Layout) -> None:
    """Write `<case>/<channel>.<ext>`, `<case>/label.<ext>` and a cohort.json that genaug reads again."""
    ending = layout.parameters.file_format
    names = safe_names(["label", *layout.selection.channels])

    def image(chosen: Chosen, channel: str) -> Path:
        return layout.folder / chosen.name / f"{names[channel]}.{ending}"

    def label(chosen: Chosen) -> Path:
        return layout.folder / chosen.name / f"label.{ending}"

    layout.place(image, label)
    cohort = Cohort(
        name=layout.parameters.name,
        root=layout.folder,
        channels=layout.selection.channels,
        label_names=layout.label_names(),
        split={
            patient: chosen.part
            for chosen in layout.selection.kept
            if not chosen.synthetic
            for patient in [chosen.case.patient]
        },
        notes=layout.selection.notes,
        cases=[_case(layout, chosen) for chosen in layout.selection.kept],
    )
    cohort.write(layout.folder)


def _case(layout: Layout, chosen: Chosen) -> Case:
    files = layout.files[chosen.name]
    return chosen.case.model_copy(
        update={
            "id": chosen.name,
            "images": {channel: files[channel] for channel in layout.selection.channels},
            "label": files.get("label"),
            "derived_from": sorted(chosen.ancestors) if chosen.synthetic else chosen.case.derived_from,
            "record": files.get("record"),
        }
    )
