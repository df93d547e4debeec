"""Cases made from items of the subject hierarchy: what belongs together, and what its channels are called.

Drafts hold ids of nodes, not nodes, so they survive the scene and can be shown, changed and checked at any time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import slicer

from GenerativeAugmentLib import hierarchy, pseudonyms
from GenerativeAugmentLib.cohorts import SceneCase, safeName
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.exchange import modalityOf
from GenerativeAugmentLib.modalities import channelModality, looksLikeHounsfield

UNKNOWN = ("", "na", "n/a", "nan", "none", "null")
"""What a table of covariates holds where nothing is known, in any case."""

# As the worker reads tables: 007, 1_2 and 8140e3 are codes.
_NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+|[0-9]([eE][-+]|\.[0-9]+[eE][-+]?)[0-9]{1,3})")


@dataclass
class DraftCase:
    """One case that is to be written.

    Attributes:
        caseId: unique in the cohort.
        patient: whom it shows.
        imageIds: ids of its volumes.
        channels: name of each volume's channel, in the same order.
        labelId: id of its label map or segmentation, "" without one.
        covariates: what is known of it, as it was typed; "" for what is not known.
        hounsfield: for each volume, whether its values looked like Hounsfield units.
    """

    caseId: str
    patient: str
    imageIds: list[str]
    channels: list[str]
    labelId: str = ""
    covariates: dict[str, str] = field(default_factory=dict)
    hounsfield: list[bool] = field(default_factory=list)

    @property
    def missing(self) -> bool:
        """Whether one of its nodes has left the scene."""
        ids = [*self.imageIds, *([self.labelId] if self.labelId else [])]
        return any(slicer.mrmlScene.GetNodeByID(key) is None for key in ids)


def draftCases(items: Sequence[int], channel: str) -> list[DraftCase]:
    """Cases from selected items: one for each folder, study or patient, and one for each volume outside them.

    Args:
        items: of the hierarchy; what lies below them counts.
        channel: name for the channel of cases with one volume.

    Raises:
        JobError: "empty_cohort" without a volume, "wrong_labels" for a case with several masks; as
            `pseudonyms.patientOf`.
    """
    groups: dict[int, list[int]] = {}
    for item in _leaves(items):
        groups.setdefault(_container(item), []).append(item)
    drafts: list[DraftCase] = []
    for container, members in groups.items():
        if container:
            drafts.append(draftCase(members, channel, _containerName(container)))
        else:
            drafts += _loose(members, channel)
    if not drafts:
        raise _noVolume()
    return drafts


def draftCase(items: Sequence[int], channel: str, name: str = "") -> DraftCase:
    """All volumes of some items as the channels of one case; raises as `draftCases`.

    Args:
        items: of the hierarchy; what lies below them counts.
        channel: name for the channel of a single volume.
        name: of the case; that of its first volume by default.
    """
    nodes = [hierarchy.hierarchyNode().GetItemDataNode(item) for item in _leaves(items)]
    volumes = [node for node in nodes if _isImage(node)]
    masks = [node for node in nodes if _isMask(node)]
    if not volumes:
        raise _noVolume()
    if len(masks) > 1:
        raise JobError(
            "wrong_labels",
            name or volumes[0].GetName(),
            ", ".join(node.GetName() for node in masks),
            _("one label map or segmentation a case"),
            _("Join the masks in one segmentation, or select one of them."),
        )
    name = name or volumes[0].GetName()
    channels = [channel] if len(volumes) == 1 else _channelNames([volume.GetName() for volume in volumes], name)
    return DraftCase(
        safeName(name),
        pseudonyms.patientOf(volumes[0]) or name,
        [volume.GetID() for volume in volumes],
        [safeName(one) for one in channels],
        masks[0].GetID() if masks else "",
        hounsfield=[looksLikeHounsfield(volume) for volume in volumes],
    )


def distinct(drafts: Sequence[DraftCase], taken: Sequence[str]) -> list[DraftCase]:
    """The drafts, with a number after an id that another case has already."""
    used = {name.lower() for name in taken}
    for draft in drafts:
        base, number = draft.caseId, 1
        while draft.caseId.lower() in used:
            number += 1
            draft.caseId = f"{base}-{number}"
        used.add(draft.caseId.lower())
    return list(drafts)


def draftedModalities(drafts: Sequence[DraftCase]) -> dict[str, str]:
    """Channel to modality over all cases, as far as it can be told; "" for one that somebody has to say."""
    known: dict[str, list[str]] = {}
    hounsfield: dict[str, list[bool]] = {}
    for draft in drafts:
        nodes = [slicer.mrmlScene.GetNodeByID(key) for key in draft.imageIds]
        for channel, node, looksLikeCt in zip(draft.channels, nodes, draft.hounsfield):
            known.setdefault(channel, []).append("" if node is None else modalityOf(node))
            hounsfield.setdefault(channel, []).append(looksLikeCt)
    return {channel: channelModality(channel, known[channel], hounsfield[channel]) for channel in known}


def sceneCase(
    draft: DraftCase, covariates: Sequence[str] = (), modalities: Mapping[str, str] | None = None
) -> SceneCase:
    """The case to write, with those covariates that are known of it.

    Args:
        draft: the case as it is listed.
        covariates: to write.
        modalities: channel to modality, of channels of which somebody has said it.

    Raises:
        JobError: "missing_file" when one of its nodes has left the scene, "bad_parameter" for channels that are not as
            many as its volumes.
    """
    scene = slicer.mrmlScene
    if draft.missing:
        raise JobError(
            "missing_file",
            draft.caseId,
            _("a volume or mask that is no longer in the scene"),
            _("all nodes of the case"),
            _("Remove the case from the list and add it again."),
        )
    if len(set(draft.channels)) != len(draft.imageIds):
        raise JobError(
            "bad_parameter",
            draft.caseId,
            _("channels {channels} for {count} volumes").format(
                channels=", ".join(draft.channels), count=len(draft.imageIds)
            ),
            _("a name of its own for each volume"),
            _("Correct the channels in the list, separated by commas."),
        )
    images = {channel: scene.GetNodeByID(key) for channel, key in zip(draft.channels, draft.imageIds)}
    label = scene.GetNodeByID(draft.labelId) if draft.labelId else None
    values = {name: covariateValue(draft.covariates.get(name, "")) for name in covariates}
    known = {name: value for name, value in values.items() if value is not None}
    said = {channel: modality for channel, modality in (modalities or {}).items() if channel in images and modality}
    return SceneCase(draft.patient, draft.caseId, images, label, said, known)


def covariateValue(text: str) -> float | str | None:
    """A number where the text is one, else the word or sentence itself; None where it says that nothing is known."""
    if text.strip().lower() in UNKNOWN:
        return None
    # What is too large for a number stays text, because JSON has no infinity.
    number = float(text) if _NUMBER.fullmatch(text.strip()) else math.inf
    return number if math.isfinite(number) else text


def _leaves(items: Sequence[int]) -> list[int]:
    """The volumes and masks among items and below them, each once."""
    tree, found = hierarchy.hierarchyNode(), {}
    for item in items:
        for each in (item, *hierarchy.allItems(item)):
            node = tree.GetItemDataNode(each)
            if node is not None and (_isImage(node) or _isMask(node)):
                found[each] = None
    return list(found)


def _loose(items: Sequence[int], channel: str) -> list[DraftCase]:
    """Items directly in the scene: each volume with the mask that was made on it."""
    tree = hierarchy.hierarchyNode()
    nodes = {item: tree.GetItemDataNode(item) for item in items}
    volumes = {item: node for item, node in nodes.items() if _isImage(node)}
    masks = {item: node for item, node in nodes.items() if _isMask(node)}
    drafts = []
    for item, volume in volumes.items():
        own = [mask for mask, node in masks.items() if _isOn(node, volume, len(volumes) == 1)]
        drafts.append(draftCase([item, *own], channel))
    return drafts


def _isOn(mask: object, volume: object, alone: bool) -> bool:
    """Whether a mask belongs to a volume: by its reference, else because there is no other, or by its name."""
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    if mask.IsA("vtkMRMLSegmentationNode") and mask.GetNodeReference(role) is not None:
        return mask.GetNodeReference(role) is volume
    return alone or mask.GetName().lower().startswith(volume.GetName().lower())


def _container(item: int) -> int:
    """The folder, study or patient an item lies in; 0 for the scene itself."""
    tree = hierarchy.hierarchyNode()
    parent = tree.GetItemParent(item)
    # Nodes can lie below nodes, as a segmentation below its volume.
    while parent not in (0, tree.GetSceneItemID()) and tree.GetItemDataNode(parent) is not None:
        parent = tree.GetItemParent(parent)
    return 0 if parent in (0, tree.GetSceneItemID()) else parent


def _containerName(container: int) -> str:
    """What a case is called after: its folder; of DICOM the patient's pseudonym, for a study's name has its date."""
    tree, subject = hierarchy.hierarchyNode(), pseudonyms.subjectOf(container)
    isFolder = tree.GetItemLevel(container) == slicer.vtkMRMLSubjectHierarchyConstants.GetSubjectHierarchyLevelFolder()
    if isFolder or not subject or not pseudonyms.isDicom(subject):
        return tree.GetItemName(container)
    return pseudonyms.pseudonym(subject)


def _channelNames(names: Sequence[str], case: str) -> list[str]:
    """Names of volumes without what only says whose they are, so that the cases' channels are called alike."""
    short = []
    for name in names:
        without = re.sub(rf"^{re.escape(case)}[\s_.-]+", "", name, flags=re.IGNORECASE)
        # Slicer puts a number after a name that the scene has already.
        without = re.sub(r"_\d+$", "", without) or without
        short.append(without)
    return short if len(set(short)) == len(short) else list(names)


def _isImage(node: object) -> bool:
    return node is not None and node.IsA("vtkMRMLScalarVolumeNode") and not node.IsA("vtkMRMLLabelMapVolumeNode")


def _isMask(node: object) -> bool:
    return node is not None and (node.IsA("vtkMRMLLabelMapVolumeNode") or node.IsA("vtkMRMLSegmentationNode"))


def _noVolume() -> JobError:
    return JobError(
        "empty_cohort",
        _("selection"),
        _("no volume"),
        _("at least one volume, or a folder with one"),
        _("Select volumes, folders, studies or patients in the list."),
    )
