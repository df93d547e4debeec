"""A tree of DICOM folders, each with one image series."""

from __future__ import annotations

from pathlib import Path

from genaug.case import safe_name, unique_name
from genaug.cohort import Cohort
from genaug.dicom import Slice, is_dicom, is_lost_dicom, scan_folder
from genaug.errors import GenaugError, Reason
from genaug.files import folders_below
from genaug.readers.drafts import Draft, ambiguous, build
from genaug.readers.folder import compile_pattern, told_apart
from genaug.readers.options import ReaderOptions

_NAME_A_PATTERN = "Name a pattern for the series' folders, for instance pattern='{id}/{channel}'."


def read_dicom_tree(root: Path, options: ReaderOptions) -> Cohort:
    """Read every folder that holds a DICOM image series.

    A case is a patient id of the DICOM header and its channels are called after their modality ("ct", "mr"), unless
    `options.pattern` takes them from the folders: a {patient} in it is believed more than the header, which may be
    empty or say the same of everybody. Structure sets and other objects that are no images are noted, and so are
    folders whose files would be DICOM by their names only.

    Raises:
        GenaugError: UNREADABLE_FILE for several series in a folder; BAD_PARAMETER where two series claim one channel or
            one case has two patients.
    """
    drafts: dict[tuple[str | None, str | None], Draft] = {}
    taken: set[str] = set()
    channels: dict[str, str] = {}
    notes: list[str] = []
    for folder, files in folders_below(root):
        name = folder.relative_to(root).as_posix()
        if not any(is_dicom(path) for path in files):
            lost = [path for path in files if is_lost_dicom(path)]
            if lost:
                notes.append(f"{name}: {len(lost)} files that do not begin as DICOM does were left out")
            continue
        series, others = scan_folder(folder)
        if others:
            notes.append(f"{name}: {len(others)} objects without an image were ignored")
        if not series:
            continue
        if len(series) > 1:
            found = ", ".join(f"'{items[0].description}'" for items in series.values())
            raise GenaugError(
                Reason.UNREADABLE_FILE,
                folder,
                f"{len(series)} series ({found})",
                "one series in a folder",
                "Export each series into a folder of its own.",
            )
        first = next(iter(series.values()))[0]
        patient, case_id, channel = _place(root, folder, first, options)
        if (patient, case_id) not in drafts:
            drafts[patient, case_id] = Draft(case_id or unique_name(first.patient, taken), patient=patient)
        draft = drafts[patient, case_id]
        if channel in draft.images:
            found = f"{draft.images[channel].relative_to(root)} and {name}, both {channel} of {draft.id}"
            raise ambiguous(root, found, _NAME_A_PATTERN)
        if channels.setdefault(channel, first.modality) != first.modality:
            raise ambiguous(
                root, f"channel '{channel}' with {channels[channel]} and {first.modality} series", _NAME_A_PATTERN
            )
        draft.images[channel] = folder
        if patient is None and first.patient:
            draft.patient = draft.patient or first.patient
            if draft.patient != first.patient:
                found = f"series of the patients '{draft.patient}' and '{first.patient}' in case {draft.id}"
                raise ambiguous(root, found, "Say in the pattern who it is: pattern='{patient}/{channel}'.")
    return build(root, told_apart(list(drafts.values())), options, channels=dict(sorted(channels.items())), notes=notes)


def holds_dicom(root: Path) -> bool:
    """Whether a DICOM file lies in `root` or below it."""
    return any(is_dicom(path) for _, files in folders_below(root) for path in files)


def _place(root: Path, folder: Path, first: Slice, options: ReaderOptions) -> tuple[str | None, str | None, str]:
    """Patient and case id, as the folder or else the header says them, and channel of a series."""
    if options.pattern is None:
        if not first.patient:
            raise ambiguous(root, f"a series without patient id in {folder.relative_to(root)}", _NAME_A_PATTERN)
        return first.patient, None, safe_name(first.modality.lower())
    name = folder.relative_to(root).as_posix()
    match = compile_pattern(options.pattern).fullmatch(name)
    if match is None:
        raise GenaugError(
            Reason.BAD_PARAMETER, folder, f"folder '{name}'", f"folders like {options.pattern}", "Correct the pattern."
        )
    groups = match.groupdict()
    case_id = groups.get("id") or groups["patient"]
    return groups.get("patient"), case_id, groups.get("channel") or safe_name(first.modality.lower())
