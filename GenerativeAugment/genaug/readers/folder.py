"""A plain folder with a file name pattern."""

from __future__ import annotations

import re
from pathlib import Path

from genaug.cohort import Cohort
from genaug.errors import GenaugError, Reason
from genaug.files import folders_below
from genaug.imageio import FLAT_SUFFIXES, IMAGE_SUFFIXES, image_stem, image_suffix
from genaug.readers.drafts import Draft, ambiguous, build
from genaug.readers.options import ReaderOptions
from genaug.readers.table import read_covariates

DEFAULT_CHANNEL = "image"
FLAT = "{id}.*"
"""Images directly in the folder."""

_FOREIGN = (".mgz", ".mgh", ".hdr", ".img", ".mnc", ".dcm")
"""Of images that `read_volume` does not read as files."""

_LABEL_WORD = r"(labels?|seg|segmentation|mask|gtv)"
_LABEL_NAME = re.compile(rf"(.*[._-])?{_LABEL_WORD}([._-].*)?", re.IGNORECASE)
_LABEL_OF = re.compile(rf"(?P<id>.+?)[._-]{_LABEL_WORD}([._-].*)?", re.IGNORECASE)
_IMAGE_FOLDERS = ("images", "image")
_LABEL_FOLDERS = ("labels", "label", "masks", "segmentations")
_NAME_A_PATTERN = (
    "Name it: pattern='{id}/{channel}.nii.gz' or pattern='images/{id}.nii.gz', label_pattern='labels/...'."
)


def read_folder(root: Path, options: ReaderOptions) -> Cohort:
    """Read with `options.pattern`, else with the layout the folder shows by itself.

    Shown layouts: twin folders images/ and labels/; one folder for each case with `<channel>.<ext>` and a label map
    whose name says label, seg, mask or gtv; images lying directly in the folder, with label maps `<id>_seg.<ext>`.

    Raises:
        GenaugError: BAD_PARAMETER when two layouts or none fit, or two files claim one place; as `drafts.build`.
    """
    files = [path for path in image_files(root) if path != root]
    pattern, label_pattern = options.pattern, options.label_pattern
    if pattern is None:
        if label_pattern is not None:
            raise ambiguous(root, "a label_pattern without a pattern", _NAME_A_PATTERN)
        pattern, label_pattern = _shown_layout(root, files)
    paired = options.pattern is None and pattern == FLAT
    drafts, unmatched = _match(root, files, pattern, label_pattern, paired)
    if not any(draft.images for draft in drafts):
        example = f"{len(files)} image files, for instance {files[0].relative_to(root)}" if files else "no image file"
        raise GenaugError(
            Reason.EMPTY_COHORT, root, f"{example}", f"files like {pattern}", "Correct the folder or the pattern."
        )
    if options.pattern is None and "{channel}" in pattern:
        _require_repeating_channels(root, drafts)
    notes = [f"{unmatched} image files do not match the pattern and were left out"] if unmatched else []
    foreign = [path.name for _, found in folders_below(root) for path in found if path.suffix.lower() in _FOREIGN]
    if foreign:
        notes.append(f"{len(foreign)} files of formats that are not read, as {foreign[0]}, were left out")
    if options.covariates is not None:
        notes += read_covariates(root / options.covariates, drafts, options)
    return build(root, drafts, options, notes=notes)


def image_files(root: Path) -> list[Path]:
    """Image files below `root`, hidden ones left out, in the order of their names."""
    return sorted(path for _, files in folders_below(root) for path in files if image_suffix(path))


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """A regular expression from a pattern with {id}, {patient} and {channel}.

    A name never crosses a folder border, and where two follow each other the first takes as much as it can.

    Raises:
        GenaugError: BAD_PARAMETER without {id} or {patient}, or with another name in braces.
    """
    if pattern.endswith(".*"):
        suffixes = "|".join(re.escape(suffix) for suffix in IMAGE_SUFFIXES + FLAT_SUFFIXES)
        pattern, tail = pattern[:-2], f"(?i:{suffixes})"
    else:
        tail = ""
    text, seen = "", set[str]()
    for piece in re.split(r"(\{[^}]*\})", pattern):
        name = piece[1:-1] if piece.startswith("{") else ""
        if not name:
            text += re.escape(piece)
        elif name in ("id", "patient", "channel"):
            text += f"(?P={name})" if name in seen else f"(?P<{name}>[^/]+)"
            seen.add(name)
        else:
            seen.clear()
            break
    if not seen & {"id", "patient"}:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "file name pattern",
            f"'{pattern}'",
            "a path with {id} or {patient}, and {channel} where there are several",
            _NAME_A_PATTERN,
        )
    return re.compile(text + tail)


def _shown_layout(root: Path, files: list[Path]) -> tuple[str, str | None]:
    tops = {path.relative_to(root).parts[0] for path in files if path.parent != root}
    images = [name for name in _IMAGE_FOLDERS if name in tops]
    labels = [name for name in _LABEL_FOLDERS if name in tops]
    flat = any(path.parent == root for path in files)
    shown = []
    if images:
        shown.append(f"{', '.join(images + labels)}/")
    if tops - set(images) - set(labels) or (labels and not images):
        shown.append("a folder for each case")
    if flat:
        shown.append("images directly in the folder")
    if len(shown) > 1 or len(images) > 1 or len(labels) > 1:
        raise ambiguous(root, " beside ".join(shown), _NAME_A_PATTERN)
    if images:
        return f"{images[0]}/{{id}}.*", f"{labels[0]}/{{id}}.*" if labels else None
    return (FLAT, None) if flat else ("{id}/{channel}.*", None)


def _match(
    root: Path, files: list[Path], pattern: str, label_pattern: str | None, paired: bool
) -> tuple[list[Draft], int]:
    """Drafts, and how many files do not match; `paired` looks for label maps beside their images."""
    image_regex = compile_pattern(pattern)
    label_regex = compile_pattern(label_pattern) if label_pattern else None
    found: dict[tuple[str | None, str], Draft] = {}
    unmatched = 0
    stems = {image_stem(path) for path in files}
    for path in files:
        name = path.relative_to(root).as_posix()
        label = label_regex.fullmatch(name) if label_regex else None
        match = label or image_regex.fullmatch(name)
        if match is None:
            unmatched += 1
            continue
        groups = match.groupdict()
        patient = groups.get("patient")
        case_id = groups.get("id") or groups["patient"]
        channel = groups.get("channel") or DEFAULT_CHANNEL
        is_label = bool(label) or (label_regex is None and "channel" in groups and bool(_LABEL_NAME.fullmatch(channel)))
        owner = _labelled_by(root, path, stems) if paired else None
        if owner is not None:
            case_id, is_label = owner, True
        draft = found.setdefault((patient, case_id), Draft(case_id, patient=patient))
        if is_label:
            if draft.label is not None:
                raise _twice(root, draft.label, path, f"the label map of '{case_id}'")
            draft.label = path
        elif channel in draft.images:
            raise _twice(root, draft.images[channel], path, f"{channel} of '{case_id}'")
        else:
            draft.images[channel] = path
    return told_apart(list(found.values())), unmatched


def _labelled_by(root: Path, path: Path, stems: set[str]) -> str | None:
    """The image whose label map a file beside it is by its name; None for an image.

    Raises:
        GenaugError: BAD_PARAMETER for a name that says label map where there is no image of it.
    """
    match = _LABEL_OF.fullmatch(image_stem(path))
    if match is None:
        return None
    if match["id"] in stems:
        return match["id"]
    found = f"{path.name}, a label map by its name, and no image '{match['id']}' beside it"
    raise ambiguous(root, found, _NAME_A_PATTERN)


def told_apart(drafts: list[Draft]) -> list[Draft]:
    """The drafts with the patient before the id of each, where two patients have cases of the same id ("baseline")."""
    if len({draft.id for draft in drafts}) < len(drafts):
        for draft in drafts:
            draft.id = f"{draft.patient}-{draft.id}" if draft.patient else draft.id
    return drafts


def _require_repeating_channels(root: Path, drafts: list[Draft]) -> None:
    """Folders whose file names have nothing in common are not one folder for each case."""
    names = [name for draft in drafts for name in draft.images]
    if len(drafts) > 1 and len(set(names)) == len(names):
        folders = ", ".join(draft.id for draft in drafts[:5])
        raise ambiguous(root, f"folders {folders} that share no file name", _NAME_A_PATTERN)


def _twice(root: Path, first: Path, second: Path, role: str) -> GenaugError:
    found = f"{first.relative_to(root)} and {second.relative_to(root)}, both {role}"
    return ambiguous(root, found, "Remove one of them or name a narrower pattern.")
