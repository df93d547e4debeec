"""Sample data for every panel, registered with Slicer's Sample Data module.

The files come with the extension, so nothing is downloaded: their addresses are file:// URIs. They are made by
demo/sample_data.py; their licenses are told in Resources/SampleData/README.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import readJson

CATEGORY = "GenerativeAugment"

FOLDER = Path(__file__).resolve().parents[1] / "Resources" / "SampleData"

MANIFEST = "sampleData.json"

HEAD = "GenerativeAugmentHead"
"""T1 and T2 volumes and a segmentation of the tissues."""

COHORT = "GenerativeAugmentCohort"
"""A small cohort to train on, as a folder."""

REVIEW = "GenerativeAugmentReview"
"""A few synthetic cases to review, as a folder."""


@dataclass(frozen=True)
class SampleSource:
    """One entry of the Sample Data module.

    Attributes:
        sampleName: the name to fetch it by.
        files: in FOLDER.
        nodeNames: of the nodes they become; None for an archive, which becomes a folder.
        types: of the files, as Slicer's readers are called.
        checksums: "SHA256:" and the hash, by file.
        thumbnail: in FOLDER.
        panels: names of the panels it can be tried in.
    """

    sampleName: str
    files: Sequence[str]
    nodeNames: Sequence[str] | None
    types: Sequence[str]
    checksums: Sequence[str]
    thumbnail: str
    panels: Sequence[str]


def sampleSources(folder: Path = FOLDER) -> list[SampleSource]:
    """Everything that is registered; raises JobError when the manifest is missing or damaged."""
    path = Path(folder) / MANIFEST
    expected = _("the list of sample data that comes with the extension")
    try:
        return [SampleSource(**source) for source in readJson(path, expected)["sources"]]
    except (KeyError, TypeError) as error:
        raise JobError(
            "unreadable_file", path, str(error), expected, _("Install the extension again; the file is damaged.")
        ) from error


def registerSampleData() -> None:
    """Add the sample data to the Sample Data module; connect it to Slicer's `startupCompleted`."""
    import SampleData

    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):
        # Since Slicer 5.12; before, a category appears by its name.
        logic.registerCustomSampleDataCategory(CATEGORY, CATEGORY)
    for source in sampleSources():
        logic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=source.sampleName,
            uris=[(FOLDER / name).as_uri() for name in source.files],
            fileNames=list(source.files),
            nodeNames=None if source.nodeNames is None else list(source.nodeNames),
            thumbnailFileName=str(FOLDER / source.thumbnail),
            loadFileTypes=list(source.types),
            checksums=list(source.checksums),
        )


def sampleFolder(sampleName: str) -> Path:
    """The folder of a sample cohort, unpacked into Slicer's cache; a copy, which may be changed.

    Args:
        sampleName: COHORT or REVIEW.

    Raises:
        JobError: "missing_file" when there is no such cohort, or it cannot be unpacked.
    """
    import SampleData

    registerSampleData()
    try:
        unpacked = SampleData.SampleDataLogic().downloadSamples(sampleName)
    except ValueError as error:
        raise _notUnpacked(sampleName, str(error)) from error
    folder = Path(str(unpacked[0])) if unpacked else Path()
    if not (folder / "cohort.json").is_file():
        raise _notUnpacked(sampleName, _("no cohort in {folder}").format(folder=folder))
    return folder


def _notUnpacked(sampleName: str, found: str) -> JobError:
    return JobError(
        "missing_file",
        sampleName,
        found,
        _("a sample cohort, unpacked into the cache of Slicer"),
        _("Check the cache folder in the application settings, page Cache."),
    )
