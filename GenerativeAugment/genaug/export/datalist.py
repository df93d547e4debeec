"""MONAI datalist: images/, labels/ and a datalist.json as `monai.data.load_decathlon_datalist` reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from genaug.case import safe_names
from genaug.cohort import Part
from genaug.export.layouts import Layout
from genaug.export.selection import Chosen
from genaug.files import write_json

DATALIST = "datalist.json"

SECTIONS: dict[Part, str] = {"train": "training", "validation": "validation", "test": "testing"}


def write_datalist(layout: Layout) -> None:
    """Write files and datalist into `layout.folder`; several channels are a list of files under "image"."""
    ending, channels = layout.parameters.file_format, list(layout.selection.channels)
    names = safe_names(channels)

    def image(chosen: Chosen, channel: str) -> Path:
        suffix = f"_{names[channel]}" if len(channels) > 1 else ""
        return layout.folder / "images" / f"{chosen.name}{suffix}.{ending}"

    def label(chosen: Chosen) -> Path:
        return layout.folder / "labels" / f"{chosen.name}.{ending}"

    layout.place(image, label)

    def entry(chosen: Chosen) -> dict[str, Any]:
        images = [layout.relative(chosen.name, channel) for channel in channels]
        described: dict[str, Any] = {"image": images if len(images) > 1 else images[0]}
        if chosen.label is not None:
            described["label"] = layout.relative(chosen.name, "label")
        return {**described, "id": chosen.name, "patient": chosen.case.patient, "origin": chosen.case.origin}

    sections = {
        section: [entry(chosen) for chosen in layout.selection.kept if chosen.part == part]
        for part, section in SECTIONS.items()
    }
    content = {
        "name": layout.parameters.name,
        "modality": {str(number): layout.selection.channels[channel] for number, channel in enumerate(channels)},
        "channels": layout.selection.channels,
        "labels": {"0": "background", **{str(value): name for value, name in layout.label_names().items()}},
        "numTraining": len(sections["training"]),
        "numTest": len(sections["testing"]),
        **sections,
    }
    write_json(layout.folder / DATALIST, content)
