"""Whom a node of the scene shows, without their name: DICOM patients get pseudonyms before anything is written of them.

A pseudonym is a keyed hash of the patient's id. The key is drawn once and stays in the user's settings, so that a
patient has the same pseudonym in every session of this user on this machine, and nobody else can find the id by trying
ids. Who is who stands in one file beside the settings, which no job reads or carries along.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from pathlib import Path
from typing import Any

import qt
import slicer

from GenerativeAugmentLib import hierarchy
from GenerativeAugmentLib.errors import _
from GenerativeAugmentLib.files import readJson, writeJson

TABLE = Path("GenerativeAugment") / "patients.json"
"""In the folder of the user's settings: pseudonym to the patient's id and name."""

KEY_SETTING = "GenerativeAugment/patientKey"

PREFIX = "patient-"

DIGITS = 12
"""Hexadecimal ones; two of a million patients share theirs with a probability of 0.2 percent."""


def tablePath() -> Path:
    """The file that says who is who."""
    return Path(slicer.app.slicerUserSettingsFilePath).parent / TABLE


def isPseudonym(patient: str) -> bool:
    """Whether a patient is called as `patientOf` calls those of DICOM."""
    return re.fullmatch(f"{PREFIX}[0-9a-f]{{{DIGITS}}}", patient) is not None


def patientOf(node: Any) -> str:
    """Whom a node shows: the pseudonym of its DICOM patient, else the name of its subject in the hierarchy, else "".

    Raises:
        JobError: when the table cannot be read or written.
    """
    item = subjectOf(hierarchy.itemOf(node))
    if not item:
        return ""
    return pseudonym(item) if isDicom(item) else hierarchy.hierarchyNode().GetItemName(item)


def subjectOf(item: int) -> int:
    """The subject that an item belongs to, or is itself; NO_ITEM without one."""
    if not item:
        return hierarchy.NO_ITEM
    tree, level = hierarchy.hierarchyNode(), slicer.vtkMRMLSubjectHierarchyConstants.GetDICOMLevelPatient()
    return item if tree.GetItemLevel(item) == level else tree.GetItemAncestorAtLevel(item, level)


def isDicom(subject: int) -> bool:
    """Whether a subject, or anything of it, came from DICOM: its name and its studies' names may tell who it is."""
    return any(_isFromDicom(item) for item in (subject, *hierarchy.allItems(subject)))


def _isFromDicom(item: int) -> bool:
    tree, constants = hierarchy.hierarchyNode(), slicer.vtkMRMLSubjectHierarchyConstants
    prefix = constants.GetDICOMAttributePrefix()
    return bool(tree.GetItemUID(item, constants.GetDICOMUIDName())) or any(
        name.startswith(prefix) for name in tree.GetItemAttributeNames(item)
    )


def pseudonym(subject: int) -> str:
    """Of a DICOM patient; noted in the table. Raises as `patientOf`."""
    tree, constants = hierarchy.hierarchyNode(), slicer.vtkMRMLSubjectHierarchyConstants
    name = tree.GetItemAttribute(subject, constants.GetDICOMPatientNameAttributeName()) or tree.GetItemName(subject)
    # The id alone, by which the hierarchy, too, tells patients apart; who has none is known by the name.
    identity = tree.GetItemAttribute(subject, constants.GetDICOMPatientIDAttributeName()) or tree.GetItemUID(
        subject, constants.GetDICOMUIDName()
    )
    about = f"id {identity}" if identity else f"name {name}"
    digest = hmac.new(_key(), about.encode("utf-8"), hashlib.sha256).hexdigest()
    called, entry = PREFIX + digest[:DIGITS], {"id": identity, "name": name}
    table, path = _table(), tablePath()
    if table.get(called) != entry:
        writeJson(path, {**table, called: entry})
        path.chmod(0o600)
    return called


def _key() -> bytes:
    settings = qt.QSettings()
    key = str(settings.value(KEY_SETTING) or "")
    if not key:
        key = secrets.token_hex(32)
        settings.setValue(KEY_SETTING, key)
        settings.sync()
    return bytes.fromhex(key)


def _table() -> dict[str, dict[str, str]]:
    path = tablePath()
    return readJson(path, _("the table of patients and their pseudonyms")) if path.exists() else {}
