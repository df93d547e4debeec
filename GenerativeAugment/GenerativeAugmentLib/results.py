"""Taking a finished job's cohort into the scene, and taking it out again.

What a job will return is promised when it starts, and a result that is something else is refused before anything is
added. Everything one import adds carries a mark of its own, also through saving and loading, and the id it got there,
which copies do not have. This is how undo finds exactly that.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer

from GenerativeAugmentLib import exchange, hierarchy, provenance
from GenerativeAugmentLib.cohortFiles import CaseEntry, cohortCases, labelNames, readCohort
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import readJson
from GenerativeAugmentLib.imageFiles import imageGeometry, readImageInto
from GenerativeAugmentLib.labelMaps import readSegmentation


@dataclass(frozen=True)
class PromisedResult:
    """What a job will return, decided when it starts.

    Attributes:
        jobTitle: names the folder of the results.
        hostItem: subject hierarchy item of what it was made from; 0 for none.
        referenceGeometry: the voxel grid that every image has to have, as `exchange.volumeGeometry` gives it; None for
            the model's own, where only the files of one case have to agree.
        labelNames: label value to name; the cohort's own where empty.
        kind: of the job, such as "translate".
        recipe: name of the method; a case's Record overrules it, as it does the next two.
        packageSha256: hash of the model's weights.
        seed: of the job.
        channels: image channels that every case has to have; any where empty.
    """

    jobTitle: str
    hostItem: int = 0
    referenceGeometry: exchange.Geometry | None = None
    labelNames: Mapping[int, str] = field(default_factory=dict)
    kind: str = ""
    recipe: str = ""
    packageSha256: str = ""
    seed: int = 0
    channels: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImportedCase:
    """What became of one case: ids of the nodes, and its Record."""

    id: str
    volumeIds: dict[str, str]
    segmentationId: str
    record: Path | None


@dataclass(frozen=True)
class ImportedResult:
    """What one import added to the scene. It holds no node, so it outlives a closed scene without keeping it alive.

    Attributes:
        jobTitle: as promised.
        mark: value of the attribute that everything of it carries, see `provenance.isImported`.
        cases: in the cohort's order.
    """

    jobTitle: str
    mark: str
    cases: tuple[ImportedCase, ...]

    @property
    def nodes(self) -> list[Any]:
        """The nodes that are still in the scene: volumes and segmentations with their display nodes."""
        nodes = provenance.sceneNodes(slicer.mrmlScene)
        return [node for node in nodes if provenance.isImported(node, self.mark)]

    @property
    def volumes(self) -> list[Any]:
        """The image volumes that are still in the scene."""
        return [node for node in self.nodes if node.IsA("vtkMRMLVolumeNode")]

    @property
    def segmentations(self) -> list[Any]:
        """The segmentations that are still in the scene."""
        return [node for node in self.nodes if node.IsA("vtkMRMLSegmentationNode")]

    @property
    def folderItem(self) -> int:
        """Its folder in the subject hierarchy; 0 when that is gone."""
        return next(iter(hierarchy.itemsWith(provenance.IMPORT, self.mark)), hierarchy.NO_ITEM)

    def volume(self, caseId: str, channel: str) -> Any:
        """One image; None when the case has no such channel or the node is gone."""
        return self._node(caseId, lambda case: case.volumeIds.get(channel, ""))

    def segmentation(self, caseId: str) -> Any:
        """The segmentation of a case; None when it has none or the node is gone."""
        return self._node(caseId, lambda case: case.segmentationId)

    def _node(self, caseId: str, idOf: Callable[[ImportedCase], str]) -> Any:
        wanted = {idOf(case) for case in self.cases if case.id == caseId}
        return next((node for node in self.nodes if node.GetID() in wanted), None)


def importCohort(
    folder: Path, promise: PromisedResult, limit: int | None = None, afterCase: Callable[[int, int], None] | None = None
) -> ImportedResult:
    """Add the cases of a cohort to the scene, in a folder under the host's study; label maps become segmentations.

    Those are hidden: the views may show another image, and would show the masks of all cases at once.

    Args:
        folder: with a cohort.json.
        promise: what it has to be.
        limit: at most so many cases.
        afterCase: told how many of how many are there; may let the application live, and ends the import by raising.

    Raises:
        JobError: "geometry_mismatch", "unpaired" or "missing_file" before anything was added; "cancelled" when the
            scene was closed on the way; what reading and `afterCase` raise. The scene is then as it was before.
    """
    cohort = readCohort(folder)
    cases = cohortCases(cohort)[:limit]
    for case in cases:
        _requirePromised(case, promise)
    names = dict(promise.labelNames) or labelNames(cohort)
    mark = uuid.uuid4().hex
    imported: list[ImportedCase] = []
    try:
        item = hierarchy.createFolder(hierarchy.studyOf(promise.hostItem), promise.jobTitle)
        hierarchy.hierarchyNode().SetItemAttribute(item, provenance.IMPORT, mark)
        for case in cases:
            imported.append(_importCase(case, promise, names, mark, item))
            if afterCase is not None:
                afterCase(len(imported), len(cases))
                _requireFolder(promise, mark)
    except BaseException:
        undo(ImportedResult(promise.jobTitle, mark, tuple(imported)))
        raise
    return ImportedResult(promise.jobTitle, mark, tuple(imported))


def undo(imported: ImportedResult) -> int:
    """Remove what an import added, and what was made of it since to show or store it.

    A folder into which the user has put something stays with that, and so do the user's copies of what was added; nodes
    that were removed already are no problem.

    Returns:
        Number of nodes removed.
    """
    nodes = imported.nodes
    doomed = {node.GetID(): node for node in [*(helper for node in nodes for helper in _helpers(node)), *nodes]}
    for used in _colorsOfOthers(doomed):
        doomed.pop(used, None)
    # Helpers first: a displayable node that loses them is told, while the other way round they would be orphans.
    for node in doomed.values():
        if node.GetScene() is slicer.mrmlScene:
            slicer.mrmlScene.RemoveNode(node)
    for item in hierarchy.itemsWith(provenance.IMPORT, imported.mark):
        hierarchy.removeFolder(item)
    return len(doomed)


def _colorsOfOthers(doomed: Mapping[str, Any]) -> set[str]:
    """Color tables that something shows which stays, such as a copy of a difference."""
    displays = [node for node in provenance.sceneNodes(slicer.mrmlScene) if node.IsA("vtkMRMLDisplayNode")]
    return {node.GetColorNodeID() for node in displays if node.GetID() not in doomed}


class UndoStack:
    """The imports of a session, last first."""

    def __init__(self) -> None:
        self._imports: list[ImportedResult] = []

    @property
    def last(self) -> ImportedResult | None:
        """What `undoLast` would remove. Imports of which nothing is left, as after closing the scene, are forgotten."""
        while self._imports and not self._imports[-1].nodes:
            self._imports.pop()
        return self._imports[-1] if self._imports else None

    def push(self, imported: ImportedResult) -> None:
        """Remember an import."""
        self._imports.append(imported)

    def undoLast(self) -> ImportedResult | None:
        """Remove the last import from the scene; None when there is none."""
        last = self.last
        if last is not None:
            self._imports.pop()
            undo(last)
        return last

    def clear(self) -> None:
        """Forget everything, when the scene is closed."""
        self._imports.clear()


def _requirePromised(case: CaseEntry, promise: PromisedResult) -> None:
    """Compare a case's files with the promise, without reading a voxel."""
    missing = [channel for channel in promise.channels if channel not in case.images]
    if missing or not (case.images or case.label):
        raise JobError(
            "unpaired",
            case.id,
            _("channels {channels}").format(channels=", ".join(case.images) or _("none")),
            ", ".join(promise.channels) or _("at least one image"),
            _("Nothing was added to the scene; run the job again."),
        )
    files = [*case.images.values(), *([case.label] if case.label else [])]
    expected = promise.referenceGeometry or imageGeometry(files[0])
    for path in files:
        exchange.requireSameGeometry(imageGeometry(path), expected, path)


def _requireFolder(promise: PromisedResult, mark: str) -> None:
    if not hierarchy.itemsWith(provenance.IMPORT, mark):
        raise JobError(
            "cancelled",
            promise.jobTitle,
            _("a scene that was closed while results were added"),
            _("the scene the job was started in"),
            _("The results are in the job's folder and can be loaded again."),
        )


def _importCase(
    case: CaseEntry, promise: PromisedResult, names: Mapping[int, str], mark: str, folderItem: int
) -> ImportedCase:
    attributes = _attributes(case, promise)
    volumeIds = {}
    for channel, path in case.images.items():
        # One image of a case needs no channel in its name, and "image" says nothing.
        plain = len(case.images) == 1 or channel == "image"
        node = slicer.vtkMRMLScalarVolumeNode()
        readImageInto(path, node)
        modality = case.modalities.get(channel, "")
        provenance.mark(node, {**attributes, provenance.CHANNEL: channel, provenance.MODALITY: modality})
        exchange.createDisplay(node)
        _add(node, case.title if plain else f"{case.title} {channel}", mark, folderItem)
        volumeIds[channel] = node.GetID()
    segmentationId = ""
    if case.label is not None:
        node = readSegmentation(case.label, names)
        provenance.mark(node, attributes)
        _add(node, _("{case} segmentation").format(case=case.title), mark, folderItem)
        node.SetDisplayVisibility(False)
        first = next(iter(volumeIds.values()), None)
        if first is not None:
            node.SetReferenceImageGeometryParameterFromVolumeNode(slicer.mrmlScene.GetNodeByID(first))
        segmentationId = node.GetID()
    return ImportedCase(case.id, volumeIds, segmentationId, case.record)


def _add(node: Any, name: str, mark: str, folderItem: int) -> None:
    """Add a finished node to the scene, with its display node, in its place."""
    node.SetName(slicer.mrmlScene.GenerateUniqueName(name))
    slicer.mrmlScene.AddNode(node)
    provenance.markImported(node, mark)
    node.CreateDefaultDisplayNodes()
    for helper in _helpers(node):
        provenance.markImported(helper, mark)
    hierarchy.place(node, folderItem)


def _attributes(case: CaseEntry, promise: PromisedResult) -> dict[str, Any]:
    """What the nodes of a case say of themselves: by its Record where it has one, else as promised."""
    record = readJson(case.record, _("the Record of a case")) if case.record is not None else {}
    weights = record.get("weights") or {}
    return {
        provenance.SYNTHETIC: "true" if case.origin == "synthetic" else "",
        provenance.RECIPE: weights.get("recipe", promise.recipe),
        provenance.PACKAGE_SHA256: weights.get("sha256", promise.packageSha256),
        provenance.SEED: record.get("seed", promise.seed),
        provenance.RECORD: case.record,
        provenance.CASE_ID: case.id,
        provenance.JOB_TITLE: promise.jobTitle,
        provenance.KIND: record.get("kind", promise.kind),
    }


def _helpers(node: Any) -> list[Any]:
    """Display and storage nodes of a node. Color tables are never its own: an import makes none."""
    if not node.IsA("vtkMRMLDisplayableNode"):
        return []
    displays = [node.GetNthDisplayNode(index) for index in range(node.GetNumberOfDisplayNodes())]
    storages = [node.GetNthStorageNode(index) for index in range(node.GetNumberOfStorageNodes())]
    return [helper for helper in [*displays, *storages] if helper is not None]
