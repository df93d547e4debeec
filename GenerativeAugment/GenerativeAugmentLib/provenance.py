"""The attributes that say, on a node of the scene, where it came from. They are saved with the scene."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from GenerativeAugmentLib.exchange import MODALITY_ATTRIBUTE, SYNTHETIC_ATTRIBUTE

SYNTHETIC = SYNTHETIC_ATTRIBUTE
MODALITY = MODALITY_ATTRIBUTE
PREFIX = "GenerativeAugment."
RECIPE = PREFIX + "recipe"
PACKAGE_SHA256 = PREFIX + "packageSha256"
SEED = PREFIX + "seed"
RECORD = PREFIX + "record"
CASE_ID = PREFIX + "caseId"
JOB_TITLE = PREFIX + "jobTitle"
KIND = PREFIX + "kind"
CHANNEL = PREFIX + "channel"
IMPORT = PREFIX + "import"
"""Unique for each import: what one job added to the scene has it in common, and so have copies of that."""
IMPORTED_AS = PREFIX + "importedAs"
"""The id under which an import added a node. A copy has it as well, and is told by it, for its own id is another."""


def mark(node: Any, attributes: dict[str, Any]) -> None:
    """Set attributes of a node, leaving out those without a value."""
    for name, value in attributes.items():
        if value not in (None, ""):
            node.SetAttribute(name, str(value))


def markImported(node: Any, importMark: str) -> None:
    """Say of a node that is in the scene that an import added it."""
    mark(node, {IMPORT: importMark, IMPORTED_AS: node.GetID()})


def isImported(node: Any, importMark: str) -> bool:
    """Whether an import added a node; a copy that the user made of it is the user's own."""
    return node.GetAttribute(IMPORT) == importMark and node.GetAttribute(IMPORTED_AS) == node.GetID()


def isSynthetic(node: Any) -> bool:
    """Whether a generator made what the node shows."""
    return node.GetAttribute(SYNTHETIC) == "true"


def recordOf(node: Any) -> Path | None:
    """The Record of a synthetic node, None where it has none or the file is gone."""
    text = node.GetAttribute(RECORD)
    return Path(text) if text and Path(text).is_file() else None


def sceneNodes(scene: Any) -> Iterator[Any]:
    """Every node of a scene; the list is taken first, so that nodes may be removed on the way."""
    return iter([scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())])
