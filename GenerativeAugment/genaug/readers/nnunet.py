"""nnU-Net v2 raw dataset: dataset.json, imagesTr/<case>_0000.<ext>, labelsTr/<case>.<ext>.

Format: https://github.com/MIC-DKFZ/nnUNet/blob/master/documentation/dataset_format.md.
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from genaug.cohort import Cohort, Part
from genaug.errors import GenaugError, Reason
from genaug.files import read_json
from genaug.imageio import image_suffix
from genaug.readers.drafts import Draft, build, numbered
from genaug.readers.options import ReaderOptions


class _Listed(BaseModel):
    images: list[str]
    label: str


class _Dataset(BaseModel):
    model_config = ConfigDict(extra="allow")

    channel_names: dict[int, str]
    labels: dict[str, int | list[int]]
    file_ending: str
    numTraining: int | None = None
    name: str | None = None
    dataset: dict[str, _Listed] | None = None


def read_nnunet(root: Path, options: ReaderOptions) -> Cohort:
    """Read imagesTr/labelsTr as train and, where it has labels, imagesTs/labelsTs as test.

    Raises:
        GenaugError: UNREADABLE_FILE for dataset.json or a case it lists with too few or too many images; UNPAIRED for a
            training image without label map or a label map without image; as `drafts.build`.
    """
    dataset = read_json(root / "dataset.json", _Dataset)
    numbers = sorted(dataset.channel_names)
    said = [dataset.channel_names[number] for number in numbers]
    names = numbered(said)
    by_number = dict(zip(numbers, names, strict=True))
    notes: list[str] = []
    if dataset.dataset is not None:
        drafts = [_listed(root, names, case_id, item) for case_id, item in dataset.dataset.items()]
    else:
        drafts = _part(root, dataset, by_number, "Tr", "train", notes)
    if (root / "labelsTs").is_dir():
        drafts += _part(root, dataset, by_number, "Ts", "test", notes)
    elif (root / "imagesTs").is_dir():
        notes.append("imagesTs has no labelsTs and was left out")
    counted = sum(draft.part == "train" for draft in drafts)
    if dataset.numTraining is not None and dataset.numTraining != counted:
        notes.append(f"dataset.json announces {dataset.numTraining} training cases, found {counted}")
    return build(
        root,
        drafts,
        options,
        name=dataset.name,
        channels={
            name: options.modality_of(name, "CT" if told.upper() == "CT" else "MR")
            for name, told in zip(names, said, strict=True)
        },
        label_names=_label_names(dataset, notes),
        notes=notes,
    )


def _listed(root: Path, names: list[str], case_id: str, item: _Listed) -> Draft:
    if len(item.images) != len(names):
        raise GenaugError(
            Reason.UNREADABLE_FILE,
            root / "dataset.json",
            f"case '{case_id}' with {len(item.images)} images",
            f"{len(names)}, one for each channel ({', '.join(names)})",
            "Correct the list.",
        )
    images = {name: root / file for name, file in zip(names, item.images, strict=True)}
    return Draft(case_id, images, root / item.label, part="train")


def _files(folder: Path, ending: str, notes: list[str]) -> list[Path]:
    """The files of that ending in `folder`; images of another one are noted, hidden files left out."""
    files = sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []
    others = [path.name for path in files if image_suffix(path) and not path.name.endswith(ending)]
    if others:
        notes.append(f"{folder.name}: {len(others)} images that are not {ending}, as {others[0]}, were left out")
    return [path for path in files if path.name.endswith(ending)]


def _part(
    root: Path, dataset: _Dataset, names: dict[int, str], ending: str, part: Part, notes: list[str]
) -> list[Draft]:
    regex = re.compile(r"(?P<id>.+)_(?P<channel>\d{4})" + re.escape(dataset.file_ending))
    drafts: dict[str, Draft] = {}
    for path in _files(root / f"images{ending}", dataset.file_ending, notes):
        match = regex.fullmatch(path.name)
        if match is None or int(match["channel"]) not in names:
            raise GenaugError(
                Reason.UNREADABLE_FILE,
                path,
                "a file name without a known channel number",
                f"<case>_0000{dataset.file_ending} up to _{max(names, default=0):04d}",
                "Rename the file, or name its channel in dataset.json.",
            )
        drafts.setdefault(match["id"], Draft(match["id"], part=part)).images[names[int(match["channel"])]] = path
    for path in _files(root / f"labels{ending}", dataset.file_ending, notes):
        case_id = path.name[: -len(dataset.file_ending)]
        drafts.setdefault(case_id, Draft(case_id, part=part)).label = path
    for draft in drafts.values():
        # What is tested on need not be annotated.
        if draft.label is None and part == "train":
            expected = root / f"labels{ending}" / f"{draft.id}{dataset.file_ending}"
            raise GenaugError(
                Reason.UNPAIRED,
                expected,
                f"no label map for case '{draft.id}'",
                "one for every case",
                "Add it or remove the images.",
            )
    return list(drafts.values())


def _label_names(dataset: _Dataset, notes: list[str]) -> dict[int, str]:
    names = {value: name for name, value in dataset.labels.items() if isinstance(value, int) and value}
    regions = {value for item in dataset.labels.values() if isinstance(item, list) for value in item if value}
    unnamed = sorted(regions - set(names))
    if unnamed:
        notes.append(f"label values {', '.join(map(str, unnamed))} occur in regions only and got names by number")
    return dict(sorted({**names, **{value: f"label {value}" for value in unnamed}}.items()))
