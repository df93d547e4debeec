"""A CSV file: one row a case; columns id, patient, split, label, one for each channel, the rest covariates."""

from __future__ import annotations

import csv
import io
import math
import re
from pathlib import Path
from typing import cast

from genaug.cohort import Cohort, Part
from genaug.errors import GenaugError, Reason
from genaug.imageio import image_suffix
from genaug.readers.drafts import Draft, build
from genaug.readers.options import ReaderOptions

_PARTS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "test": "test",
    "": None,
}
_RESERVED = ("id", "patient", "split", "label")
# Digits without a zero before them, or as programs write what is very large or small (1e+05, 2.5E-07, 1.0E7): one
# digit, and a point or a sign beside the exponent. 007, 1_2 and 8140e3 are codes, and would be other ones as numbers.
_NUMBER = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+|[0-9]([eE][-+]|\.[0-9]+[eE][-+]?)[0-9]{1,3})")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_ABSENT = ("", "na", "n/a", "nan", "none", "null")


def read_table(path: Path, options: ReaderOptions) -> Cohort:
    """Read a CSV cohort. Paths are relative to the file; a column is a channel when a cell in it names an image file
    or an existing folder (a DICOM series).

    Raises:
        GenaugError: UNREADABLE_FILE for a broken table, BAD_PARAMETER for an unknown split; as `drafts.build`.
    """
    header, rows = read_rows(path)
    if "id" not in header:
        raise _unreadable(path, f"columns {', '.join(header)}", "a column id")
    channels = [
        name for name in header if name not in _RESERVED and any(_is_image(path.parent, row[name]) for row in rows)
    ]
    drafts = [_draft(path, row, channels) for row in rows]
    return build(path.parent, drafts, options, name=path.stem)


def read_covariates(path: Path, drafts: list[Draft], options: ReaderOptions) -> list[str]:
    """Add the columns of a CSV file, whose first column is the case or patient id, to the drafts; returns notes."""
    header, rows = read_rows(path)
    by_key: dict[str, dict[str, str]] = {}
    for one in rows:
        key = one[header[0]]
        if key and by_key.setdefault(key, one) != one:
            raise _unreadable(path, f"several rows of '{key}' that say different things", "one row a case or patient")
    missing: list[str] = []
    used: set[str] = set()
    for draft in drafts:
        called = (draft.id, draft.patient or options.patient_of(draft.id))
        known = next((name for name in called if name in by_key), None)
        if known is None:
            missing.append(draft.id)
        else:
            used.add(known)
            draft.covariates |= _covariates(by_key[known], header[1:])
    if missing and not used:
        raise _unreadable(
            path,
            f"no row of any case in its first column, '{header[0]}'",
            f"ids or patients there, such as {missing[0]}",
        )
    rest = [key for key in by_key if key not in used]
    notes = [f"{len(missing)} cases have no row in {path.name}, for instance {missing[0]}"] if missing else []
    return notes + ([f"{len(rest)} rows of {path.name} are of no case, for instance {rest[0]}"] if rest else [])


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Column names and rows, comma or semicolon separated, in UTF-8, cells stripped.

    A cell in quotes may go over several lines. Where semicolons separate, as spreadsheets of half the world write it, a
    comma stands before decimals.

    Raises:
        GenaugError: MISSING_FILE, UNREADABLE_FILE.
    """
    if not path.is_file():
        raise GenaugError(
            Reason.MISSING_FILE,
            path,
            "a folder" if path.is_dir() else "no such file",
            "a CSV file",
            "Check the path.",
        )
    try:
        # Line ends as they are: some stand within a cell.
        with path.open(encoding="utf-8-sig", newline="") as stream:
            text = stream.read()
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, str(error), "UTF-8 text") from error
    first = text.partition("\n")[0]
    semicolons = first.count(";") > first.count(",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if semicolons else ",")
    table = [[_cell(cell.strip(), semicolons) for cell in row] for row in reader if any(row)]
    if not table:
        raise _unreadable(path, "no line", "a header and one row a case")
    header, *rows = table
    if len(set(header)) != len(header):
        raise _unreadable(path, f"columns {', '.join(header)}", "each column name once")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise _unreadable(path, f"{len(row)} cells in row {number}", f"{len(header)}, one for each column")
    return header, [dict(zip(header, row, strict=True)) for row in rows]


def _draft(path: Path, row: dict[str, str], channels: list[str]) -> Draft:
    part = _PARTS.get(row.get("split", "").lower(), "unknown")
    if part == "unknown":
        raise GenaugError(
            Reason.BAD_PARAMETER,
            path,
            f"split '{row['split']}' of case '{row['id']}'",
            "train, validation or test",
            "Correct the cell.",
        )
    if not row["id"]:
        raise _unreadable(path, "a row without id", "an id in every row")
    return Draft(
        row["id"],
        images={name: path.parent / row[name] for name in channels if not _is_absent(row[name])},
        label=None if _is_absent(row.get("label", "")) else path.parent / row["label"],
        covariates=_covariates(row, [name for name in row if name not in (*_RESERVED, *channels)]),
        patient=row.get("patient") or None,
        part=cast("Part | None", part),
    )


def _covariates(row: dict[str, str], names: list[str]) -> dict[str, float | str]:
    found = {name: covariate_value(row[name]) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def covariate_value(text: str) -> float | str | None:
    """The number a cell holds, or its text; None where it says that nothing is known.

    What is too large for a number stays text, because JSON has no infinity.
    """
    if _is_absent(text):
        return None
    number = float(text) if _NUMBER.fullmatch(text) else math.inf
    return number if math.isfinite(number) else text


def _cell(text: str, semicolons: bool) -> str:
    return text.replace(",", ".") if semicolons and _DECIMAL_COMMA.fullmatch(text) else text


def _is_absent(text: str) -> bool:
    return text.strip().lower() in _ABSENT


def _is_image(folder: Path, cell: str) -> bool:
    return bool(cell) and (bool(image_suffix(Path(cell))) or (folder / cell).is_dir())


def _unreadable(path: Path, found: str, expected: str) -> GenaugError:
    return GenaugError(Reason.UNREADABLE_FILE, path, found, expected, "Correct the table and save it as UTF-8 CSV.")
