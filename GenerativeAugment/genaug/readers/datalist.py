"""MONAI datalist JSON, which is also the Medical Segmentation Decathlon's dataset.json.

Format: monai.data.load_decathlon_datalist.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from genaug.cohort import Cohort, Part
from genaug.errors import GenaugError, Reason
from genaug.files import read_json
from genaug.imageio import image_stem
from genaug.readers.drafts import Draft, build, numbered
from genaug.readers.folder import DEFAULT_CHANNEL
from genaug.readers.options import ReaderOptions

_Item = dict[str, Any] | str

_NO_COVARIATES = ("image", "label", "id", "patient", "subject", "origin", "fold")
"""Keys of an entry with a meaning of their own; "fold" is MONAI Auto3DSeg's, "origin" genaug's."""


class _Datalist(BaseModel):
    model_config = ConfigDict(extra="allow")

    training: list[_Item] = Field(default_factory=list)
    validation: list[_Item] = Field(default_factory=list)
    test: list[_Item] = Field(default_factory=list)
    testing: list[_Item] = Field(default_factory=list)
    labels: dict[str, str | int] = Field(default_factory=dict)
    modality: dict[int, str] = Field(default_factory=dict)
    channels: dict[str, str] | None = None
    name: str | None = None


def read_datalist(path: Path, options: ReaderOptions) -> Cohort:
    """Read the lists; paths are relative to the file. A case's id is its "id", else its first image's name.

    Channels are named by "channels" (name to modality), which genaug writes, else by "modality" where the file has it,
    else "image"; of the same name there are several, "MR0", "MR1", ....

    Raises:
        GenaugError: UNREADABLE_FILE for an entry without "image" or with another number of images than the first;
            as `drafts.build`.
    """
    content = read_json(path, _Datalist)
    drafts = []
    names: list[str] | None = None
    parts: tuple[tuple[Part, list[_Item]], ...] = (
        ("train", content.training),
        ("validation", content.validation),
        ("test", content.test + content.testing),
    )
    for part, items in parts:
        for number, item in enumerate(items):
            entry = {"image": item} if isinstance(item, str) else item
            files = _files(path, part, number, entry)
            names = names or _channels(content, len(files))
            if len(files) != len(names):
                raise _unreadable(path, f"{part}[{number}] with {len(files)} images", f"{len(names)} like the first")
            drafts.append(_draft(path.parent, entry, dict(zip(names, files, strict=True)), part))
    told = content.channels or {}
    modalities = {name: options.modality_of(name, told.get(name)) for name in names or []}
    labels = _label_names(content.labels)
    notes = [f"the list '{key}' was left out" for key, value in (content.model_extra or {}).items() if _lists(value)]
    return build(path.parent, drafts, options, name=content.name, channels=modalities, label_names=labels, notes=notes)


def _lists(value: Any) -> bool:
    """Whether an unknown key of the file holds cases."""
    return isinstance(value, list) and any(isinstance(item, dict) and "image" in item for item in value)


def _draft(root: Path, entry: dict[str, Any], images: dict[str, Path], part: Part) -> Draft:
    patient = entry.get("patient", entry.get("subject"))
    case_id = entry.get("id")
    return Draft(
        image_stem(next(iter(images.values()))) if case_id in (None, "") else str(case_id),
        images,
        root / entry["label"] if entry.get("label") else None,
        {
            name: value if isinstance(value, str) else float(value)
            for name, value in entry.items()
            # JSON that Python wrote has NaN where nothing is known.
            if name not in _NO_COVARIATES
            and (isinstance(value, str) or (isinstance(value, (int, float)) and math.isfinite(value)))
        },
        str(patient) if patient is not None else None,
        part,
        entry.get("origin") == "synthetic",
    )


def _files(path: Path, part: str, number: int, entry: dict[str, Any]) -> list[Path]:
    image = entry.get("image")
    files = [image] if isinstance(image, str) else image
    label = entry.get("label")
    if not files or not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        raise _unreadable(path, f"{part}[{number}] with image {image!r}", "a path or a list of paths")
    if label is not None and not isinstance(label, str):
        raise _unreadable(path, f"{part}[{number}] with label {label!r}", "one path")
    return [path.parent / file for file in files]


def _channels(content: _Datalist, count: int) -> list[str]:
    if content.channels is not None and len(content.channels) == count:
        return list(content.channels)
    if len(content.modality) == count:
        return numbered([name for _, name in sorted(content.modality.items())])
    return numbered([DEFAULT_CHANNEL] * count)


def _label_names(labels: dict[str, str | int]) -> dict[int, str]:
    """Both directions are in use: {"1": "tumour"} in the Decathlon, {"tumour": 1} in nnU-Net's style."""
    names = {}
    for key, value in labels.items():
        number, name = (value, key) if isinstance(value, int) else (int(key) if key.isdigit() else 0, value)
        names[number] = name
    return {number: name for number, name in sorted(names.items()) if number > 0}


def _unreadable(path: Path, found: str, expected: str) -> GenaugError:
    return GenaugError(Reason.UNREADABLE_FILE, path, found, expected, "Correct the datalist.")
