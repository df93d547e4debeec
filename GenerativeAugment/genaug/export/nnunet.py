"""nnU-Net v2 raw dataset (MIC-DKFZ/nnUNet, documentation/dataset_format.md).

DatasetXXX_Name/dataset.json
imagesTr/<case>_0000.<ext>   one file for each channel, real and synthetic
labelsTr/<case>.<ext>
imagesTs/, labelsTs/          real cases of test patients
splits_final.json             folds 0 to 4, to be copied into nnUNet_preprocessed/DatasetXXX_Name
"""

from __future__ import annotations

from pathlib import Path

from genaug.errors import GenaugError, Reason
from genaug.export.layouts import Layout
from genaug.export.selection import Chosen
from genaug.files import write_json

SPLITS = "splits_final.json"

BACKGROUND = "background"
"""What nnU-Net calls the value 0."""


def dataset_name(dataset_id: int, name: str) -> str:
    """The folder nnU-Net expects."""
    return f"Dataset{dataset_id:03d}_{name}"


def write_nnunet(layout: Layout) -> None:
    """Write the dataset into `layout.folder`.

    Raises:
        GenaugError: WRONG_LABELS when the values are not 1, 2, 3, ... without a gap, which nnU-Net requires, or when
            two of them have one name, of which nnU-Net's file would keep the last; "background" is the name of 0.
    """
    _require_distinct(layout)
    _require_consecutive(layout, list(layout.selection.label_names))
    ending = layout.parameters.file_format
    numbers = {channel: number for number, channel in enumerate(layout.selection.channels)}

    def image(chosen: Chosen, channel: str) -> Path:
        return layout.folder / f"images{_side(chosen)}" / f"{chosen.name}_{numbers[channel]:04d}.{ending}"

    def label(chosen: Chosen) -> Path:
        return layout.folder / f"labels{_side(chosen)}" / f"{chosen.name}.{ending}"

    layout.place(image, label)
    names = layout.label_names()
    _require_consecutive(layout, list(names))
    description = {
        "channel_names": {
            str(number): _channel_name(channel, layout.selection.channels[channel])
            for channel, number in numbers.items()
        },
        "labels": {BACKGROUND: 0, **{name: value for value, name in names.items()}},
        "numTraining": sum(chosen.part != "test" for chosen in layout.selection.kept),
        "file_ending": f".{ending}",
        "name": layout.parameters.name,
        "description": "Real and synthetic cases; manifest.json says which is which and where each came from.",
    }
    write_json(layout.folder / "dataset.json", description)
    if layout.folds:
        splits = [{"train": fold.train, "val": fold.validation} for fold in layout.folds]
        write_json(layout.folder / SPLITS, splits)


def _side(chosen: Chosen) -> str:
    return "Ts" if chosen.part == "test" else "Tr"


def _channel_name(channel: str, modality: str) -> str:
    """nnU-Net normalises by this name: "CT" globally, anything else by case."""
    return "CT" if modality == "CT" else channel


def _require_consecutive(layout: Layout, values: list[int]) -> None:
    if values != list(range(1, len(values) + 1)):
        raise GenaugError(
            Reason.WRONG_LABELS,
            layout.parameters.name,
            f"label values {', '.join(map(str, values))}",
            f"1 to {len(values)} without a gap, which nnU-Net requires",
            "Renumber the labels of the cohort, or choose the layout datalist or plain.",
        )


def _require_distinct(layout: Layout) -> None:
    names = [BACKGROUND, *layout.selection.label_names.values()]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise GenaugError(
            Reason.WRONG_LABELS,
            layout.parameters.name,
            f"the name '{twice[0]}' for several label values" + (", 0 one of them" if twice[0] == BACKGROUND else ""),
            "a name of its own for every label",
            "Rename the labels of the cohort.",
        )
