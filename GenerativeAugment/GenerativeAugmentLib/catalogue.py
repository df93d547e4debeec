"""The catalog of models: what is installed, what comes in and goes out, and under which license.

Built-in models lie beside the extension and are never changed; the user's own lie in one folder of theirs. Each folder
may hold a catalogue.json, made from its packages, that adds what a package cannot know: how long a case takes.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from GenerativeAugmentLib.catalogueFile import (
    CATALOGUE,
    ModelEntry,
    builtInFolder,
    checkedDescription,
    entryOf,
    makeCatalogue,
    readCatalogue,
)
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import WRITING, aside, explained, rename
from GenerativeAugmentLib.packageFiles import (
    CARD,
    LABEL_MAP,
    LICENCE,
    Progress,
    describePackage,
    freeBytes,
    readText,
    requireName,
    unpack,
    verifyPackage,
)

__all__ = [
    "LABEL_MAP",
    "PERMISSIVE",
    "Catalogue",
    "ModelEntry",
    "builtInFolder",
    "describePackage",
    "makeCatalogue",
    "modelFolders",
    "readCatalogue",
]

PERMISSIVE = frozenset(
    {
        "0BSD",
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC-BY-3.0",
        "CC-BY-4.0",
        "CC0-1.0",
        "ISC",
        "MIT",
        "PDDL-1.0",
        "Unlicense",
        "Zlib",
    }
)
"""SPDX identifiers that allow every use; any other license is shown and has to be accepted before a model is used."""

_ACCEPTED = "GenerativeAugment/licences/"

_LEFTOVER_S = 24 * 3600.0


class Settings(Protocol):
    """What is used of qt.QSettings."""

    def value(self, key: str) -> Any:
        """The stored value, None without one."""

    def setValue(self, key: str, value: Any) -> None:
        """Store a value."""


def modelFolders(settingsFolder: Path) -> list[Path]:
    """The folders of a catalog: what comes with the extension, then the user's own.

    Args:
        settingsFolder: where Slicer keeps the user's settings.
    """
    return [builtInFolder(), Path(settingsFolder) / "GenerativeAugment" / "Models"]


class Catalogue:
    """The models of some folders.

    Args:
        folders: the last one is the user's: packages are imported into it and deleted from it. It need not exist yet.
        settings: remembers accepted licenses; a qt.QSettings.
    """

    def __init__(self, folders: Sequence[Path], settings: Settings) -> None:
        self._builtIn = [Path(folder) for folder in folders[:-1]]
        self._user = Path(folders[-1])
        self._settings = settings
        self.problems: list[JobError] = []

    @property
    def userFolder(self) -> Path:
        """Where imported models lie."""
        return self._user

    def models(self, task: str | None = None) -> list[ModelEntry]:
        """All models, or those of one task, by title; what could not be read is in `problems` afterwards.

        A damaged package keeps no other from being used. A model of the user's with the name of a built-in one, or
        one whose weights are not those that the folder's catalog names, is a problem and not an entry.
        """
        self.problems = []
        found: dict[str, ModelEntry] = {}
        for folder, builtIn in [*((folder, True) for folder in self._builtIn), (self._user, False)]:
            for entry in self._modelsOf(folder, builtIn):
                if entry.name in found:
                    self.problems.append(self._taken(entry.folder or folder, found[entry.name]))
                else:
                    found[entry.name] = entry
        entries = [entry for entry in found.values() if task in (None, entry.task)]
        return sorted(entries, key=lambda entry: (entry.title.lower(), entry.name))

    def entry(self, name: str) -> ModelEntry:
        """The model of that name.

        Raises:
            JobError: "bad_package" with the known names, or with what is wrong with the package of that name.
        """
        entries = self.models()
        for entry in entries:
            if entry.name == name:
                return entry
        for problem in self.problems:
            if Path(problem.subject).name == name or name in Path(problem.subject).parts:
                raise problem
        raise JobError(
            "bad_package",
            name,
            _("no model of this name"),
            ", ".join(entry.name for entry in entries) or _("an imported model"),
            _("Choose a model of the list, or import it first."),
        )

    def importPackage(self, path: Path, progress: Progress | None = None) -> ModelEntry:
        """Take a package folder or a zip archive of one into the user's folder.

        It is unpacked aside, checked there, weights included, and renamed only then, so that nothing damaged or foreign
        is ever among the models. Importing a model that is there already changes nothing.

        Raises:
            JobError: "bad_package", "missing_file", "disk_full", "no_permission"; the folder stays as it was.
        """
        path = Path(path)
        working = aside(self._user / "import")
        try:
            self._user.mkdir(parents=True, exist_ok=True)
            self._clearLeftovers()
            working.mkdir()
            self._requireRoom(path)
            package = unpack(path, working, progress)
            described = checkedDescription(package)
            verifyPackage(package)
            name = requireName(described["name"], path)
            known = {entry.name: entry for entry in self.models()}.get(name)
            if known is not None:
                if known.sha256 == described["sha256"] and known.folder is not None:
                    return known
                raise self._taken(path, known)
            target = self._user / name
            if target.exists():
                raise self._inTheWay(target)
            rename(package, target)
        except OSError as error:
            raise explained(error, self._user) from error
        finally:
            if working.exists():
                shutil.rmtree(working, ignore_errors=True)
        return self.entry(name)

    def delete(self, name: str) -> None:
        """Delete a model of the user's from the disk.

        Raises:
            JobError: "no_permission" for a built-in model or when the disk refuses; "bad_package" for an unknown one.
        """
        entry = self.entry(name)
        if entry.builtIn or entry.folder is None:
            raise JobError(
                "no_permission",
                name,
                _("a model that came with the extension"),
                _("an imported model"),
                _("Only imported models can be deleted."),
            )
        # Renamed first: a model that is half deleted must not look like one that can be used.
        working = aside(entry.folder)
        try:
            rename(entry.folder, working)
            shutil.rmtree(working)
        except OSError as error:
            raise explained(error, entry.folder) from error

    def card(self, name: str) -> str:
        """The model card in Markdown, or what the catalog knows where the package brings none."""
        entry = self.entry(name)
        written = "" if entry.folder is None else readText(entry.folder / CARD)
        if written:
            return written
        made, given = ", ".join(entry.outputs), ", ".join(entry.inputs) or _("noise")
        rows = {
            _("method"): entry.method,
            _("makes"): _("{made} from {given}").format(made=made, given=given),
            _("license"): entry.licence,
        }
        items = [f"- **{key}**: {value}" for key, value in rows.items()]
        return "\n".join([f"# {entry.title}", "", entry.note, "", *items]) + "\n"

    def licenceText(self, entry: ModelEntry) -> str:
        """The text to accept: the package's LICENSE, else the license's name."""
        text = "" if entry.folder is None else readText(entry.folder / LICENCE)
        return text.strip() or entry.licence

    def licenceAccepted(self, entry: ModelEntry) -> bool:
        """Whether the model may be used without asking: its license is permissive, or was accepted in these words."""
        return entry.licence in PERMISSIVE or bool(self._settings.value(self._licenceKey(entry)))

    def acceptLicence(self, entry: ModelEntry) -> None:
        """Remember that the user accepted the license of a model. Other words in it have to be accepted anew."""
        self._settings.setValue(self._licenceKey(entry), datetime.now(timezone.utc).isoformat(timespec="seconds"))

    def requireLicence(self, entry: ModelEntry) -> None:
        """Raise "licence_not_accepted" unless the model may be used."""
        if not self.licenceAccepted(entry):
            raise JobError(
                "licence_not_accepted",
                entry.title,
                _("the license {licence}, which was not accepted").format(licence=entry.licence),
                _("a license that allows every use, or that was accepted"),
                _("Read and accept the license in the Models panel."),
            )

    def _licenceKey(self, entry: ModelEntry) -> str:
        words = "\n".join((entry.name, entry.licence, self.licenceText(entry)))
        return _ACCEPTED + hashlib.sha256(words.encode()).hexdigest()[:32]

    def _modelsOf(self, folder: Path, builtIn: bool) -> list[ModelEntry]:
        listed = self._listed(folder)
        entries = []
        packages = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
        for package in packages:
            if package.name.startswith("."):
                continue
            try:
                described = checkedDescription(package)
                known = listed.pop(described["name"], None)
                self._requireListed(package, described, known)
            except JobError as problem:
                self.problems.append(problem)
                continue
            except OSError as error:
                # Such as a folder of another user's, which may not be looked into.
                self.problems.append(explained(error, package))
                continue
            entries.append(entryOf({**described, "seconds": known["seconds"] if known else {}}, package, builtIn))
        return entries + [entryOf(described, None, builtIn) for described in listed.values()]

    def _listed(self, folder: Path) -> dict[str, dict]:
        """Name to entry of the folder's catalogue.json; empty without one or with a damaged one, which is a problem."""
        path = folder / CATALOGUE
        if not path.is_file():
            return {}
        try:
            return {entry["name"]: entry for entry in readCatalogue(path)["models"]}
        except JobError as problem:
            self.problems.append(problem)
            return {}

    def _requireListed(self, package: Path, described: dict, known: dict | None) -> None:
        if known is not None and known["sha256"] != described["sha256"]:
            raise JobError(
                "bad_package",
                package,
                _("weights with SHA-256 {hash}").format(hash=described["sha256"][:16]),
                _("{hash}, as catalogue.json says").format(hash=known["sha256"][:16]),
                _("Install the extension again."),
            )

    def _requireRoom(self, path: Path) -> None:
        """Refuse early what would fill the disk; an archive needs at least its own size."""
        needed = path.stat().st_size if path.is_file() else 0
        free = freeBytes(self._user)
        if needed > free:
            raise JobError(
                "disk_full",
                self._user,
                _("{free} MB free").format(free=free >> 20),
                _("room for {needed} MB").format(needed=needed >> 20),
                _("Free disk space and import the model again."),
            )

    def _clearLeftovers(self) -> None:
        """What an import or a deletion left when Slicer was killed in it."""
        for path in self._user.glob(f"{WRITING}*"):
            # Another Slicer may be importing right now.
            if path.is_dir() and time.time() - path.stat().st_mtime > _LEFTOVER_S:
                shutil.rmtree(path, ignore_errors=True)

    def _taken(self, path: Path, entry: ModelEntry) -> JobError:
        return JobError(
            "bad_package",
            path,
            _("a second model named {name}").format(name=entry.name),
            _("a name that is not taken"),
            _("Delete the model {title} first, or rename the new one in its configs/genaug.json.").format(
                title=entry.title
            ),
        )

    def _inTheWay(self, target: Path) -> JobError:
        return JobError(
            "bad_package",
            target,
            _("a folder that holds no readable model"),
            _("no folder of this name"),
            _("Remove this folder and import the model again."),
        )
