"""Reading a cohort from whatever layout it comes in."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from genaug.causes import system_error
from genaug.cohort import MANIFEST, Cohort
from genaug.errors import GenaugError, Reason
from genaug.readers.options import ReaderOptions

__all__ = ["LAYOUTS", "ReaderOptions", "detect_layout", "read_cohort", "says_modalities"]

LAYOUTS = ("manifest", "nnunet", "datalist", "csv", "dicom", "folder")

_COMMON = ("name", "modality", "patient_pattern", "label_names")


def read_cohort(path: Path, layout: str | None = None, **options: Any) -> Cohort:
    """Read a cohort without looking into its voxels; `Cohort.check` does that.

    Args:
        path: a folder or a file (cohort.json, a MONAI datalist, a CSV table).
        layout: one of `LAYOUTS`; None finds it out, and refuses where two would fit.
        options: see `ReaderOptions`; None counts as not given.

    Raises:
        GenaugError: MISSING_FILE, NO_PERMISSION, EMPTY_COHORT, UNREADABLE_FILE, UNPAIRED, LEAK; BAD_PARAMETER for an
            unknown option or a layout that cannot be told.
    """
    path = Path(path)
    given = ReaderOptions.parse(options)
    if not path.exists():
        raise GenaugError(Reason.MISSING_FILE, path, "nothing", "a cohort's folder or file", "Check the path.")
    if not os.access(path, os.R_OK | os.X_OK if path.is_dir() else os.R_OK):
        # A folder that cannot be listed looks empty.
        raise GenaugError(Reason.NO_PERMISSION, path, "no right to read it", "a readable cohort", "Change its rights.")
    described = path
    if layout is None and given.pattern and path.is_dir() and not _holds_dicom(path):
        layout = "folder"
    elif layout is None:
        layout, described = _detect_in(path) if path.is_dir() else (detect_layout(path), path)
    elif layout == "datalist" and path.is_dir():
        described = next(iter(_datalists(path)), path)
    if layout == "manifest":
        given.require_only(layout)
        return Cohort.read(path)
    if layout == "nnunet":
        from genaug.readers.nnunet import read_nnunet

        given.require_only(layout, *_COMMON)
        return read_nnunet(path if path.is_dir() else path.parent, given)
    if layout == "datalist":
        from genaug.readers.datalist import read_datalist

        given.require_only(layout, *_COMMON)
        return read_datalist(described, given)
    if layout == "csv":
        from genaug.readers.table import read_table

        given.require_only(layout, *_COMMON)
        return read_table(path, given)
    if layout == "dicom":
        from genaug.readers.dicom_tree import read_dicom_tree

        given.require_only(layout, "name", "patient_pattern", "pattern")
        return read_dicom_tree(path, given)
    if layout == "folder":
        from genaug.readers.folder import read_folder

        return read_folder(path, given)
    raise GenaugError(
        Reason.BAD_PARAMETER, "layout", f"'{layout}'", f"one of {', '.join(LAYOUTS)}", "Correct the layout."
    )


def detect_layout(path: Path) -> str:
    """Which of `LAYOUTS` a path has.

    A manifest wins over all others, because it is written beside them and says more.

    Raises:
        GenaugError: BAD_PARAMETER, with what was found, when none or several fit.
    """
    if path.is_file():
        if path.suffix.lower() == ".csv":
            return "csv"
        keys = _json_keys(path)
        if {"schema_version", "cases"} <= keys:
            return "manifest"
        if "channel_names" in keys:
            return "nnunet"
        if "training" in keys:
            return "datalist"
        raise _no_cohort(path)
    return _detect_in(path)[0]


def says_modalities(path: Path, layout: str | None = None) -> bool:
    """Whether what describes the cohort there says the modality of every channel, as genaug writes it."""
    described = path
    if layout is None:
        layout, described = _detect_in(path) if path.is_dir() else (detect_layout(path), path)
    return layout == "manifest" or (layout == "datalist" and "channels" in _json_keys(described))


def _detect_in(path: Path) -> tuple[str, Path]:
    """The layout of a folder, and of a datalist its file, since to look for it all JSON files there are read."""
    if (path / MANIFEST).is_file():
        return "manifest", path
    dataset = path / "dataset.json"
    fitting = [("nnunet", path)] if dataset.is_file() and "channel_names" in _json_keys(dataset) else []
    fitting += [("datalist", file) for file in _datalists(path)]
    if len(fitting) > 1:
        names = ", ".join(file.name for file in _descriptions(path))
        raise _unknown(path, f"several descriptions ({names})")
    if fitting:
        return fitting[0]
    images, dicom = _holds_images(path), _holds_dicom(path)
    if images and dicom:
        raise _unknown(path, "image files beside DICOM series")
    if dicom:
        return "dicom", path
    if images:
        return "folder", path
    raise GenaugError(
        Reason.EMPTY_COHORT,
        path,
        "neither an image nor a description of a cohort",
        "cohort.json, an nnU-Net dataset, a datalist, DICOM series or image files",
        "Check the path.",
    )


def _json_keys(path: Path) -> set[str]:
    """The top-level keys of a JSON object; none for any other file."""
    if path.suffix.lower() != ".json":
        return set()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        explained = system_error(error, path) if isinstance(error, OSError) else None
        raise explained or GenaugError(
            Reason.UNREADABLE_FILE, path, str(error), "a JSON file in UTF-8", "Correct the file or remove it."
        ) from error
    return set(content) if isinstance(content, dict) else set()


def _datalists(folder: Path) -> list[Path]:
    return [path for path in _descriptions(folder) if "training" in _json_keys(path)]


def _descriptions(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))


def _holds_images(folder: Path) -> bool:
    from genaug.readers.folder import image_files

    return bool(image_files(folder))


def _holds_dicom(folder: Path) -> bool:
    from genaug.readers.dicom_tree import holds_dicom

    return holds_dicom(folder)


def _no_cohort(path: Path) -> GenaugError:
    """For a file that describes no cohort; most often it is one image of a case."""
    from genaug.imageio import image_suffix

    image = bool(image_suffix(path))
    return GenaugError(
        Reason.BAD_PARAMETER,
        path,
        "an image file" if image else "a file that is no cohort manifest, datalist or CSV table",
        "cohort.json, a datalist (.json), a CSV table (.csv), or a folder of cases",
        f"Give the folder that holds {'the image, with those of the other cases' if image else 'the cases'}.",
    )


def _unknown(path: Path, found: str) -> GenaugError:
    return GenaugError(
        Reason.BAD_PARAMETER,
        path,
        found,
        "one layout",
        f"Name the layout ({', '.join(LAYOUTS)}) or the file to read.",
    )
