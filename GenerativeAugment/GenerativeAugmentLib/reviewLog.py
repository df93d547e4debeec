"""What reviewers decided about synthetic cases: `reviews.jsonl` beside a cohort's manifest.

One JSON object a line, appended and never changed. A later line overrules an earlier one about the same case, and every
line says which version of the label map it is about, so the file is also the history of the review. Jobs call their
cases alike; that a line is about this one and no other says the hash of its Record.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import explained

REVIEWS = "reviews.jsonl"

DECISIONS = ("accepted", "rejected", "needs_edit")

UNREVIEWED = "unreviewed"

REASONS = (
    "implausible anatomy",
    "artifact",
    "wrong contrast",
    "mask does not fit",
    "lesion in the wrong place",
    "lesion not visible",
    "copy of a real case",
    "other",
)
"""Stored as they are here, so that logs of differently translated installations agree; a panel shows `reasonTitle`."""


def reasonTitle(reason: str) -> str:
    """What to call a reason in the user's language."""
    titles = {
        "implausible anatomy": _("Implausible anatomy"),
        "artifact": _("Artifact"),
        "wrong contrast": _("Wrong contrast"),
        "mask does not fit": _("Mask does not fit"),
        "lesion in the wrong place": _("Lesion in the wrong place"),
        "lesion not visible": _("Lesion not visible"),
        "copy of a real case": _("Copy of a real case"),
        "other": _("Other"),
    }
    return titles.get(reason, reason)


@dataclass(frozen=True)
class Review:
    """One line of the log.

    Attributes:
        case_id: as in the cohort. Names with underscores are keys of the file.
        reviewer: a name or a pseudonym.
        decision: one of DECISIONS.
        reason: one of REASONS, or empty.
        comment: free text.
        difficulty: how hard the case would be to segment or diagnose, 1 (easy) to 5; None when not given.
        time: when, ISO 8601, UTC.
        mask_version: the label map that was looked at: 0 as it was made, 1 its first correction, ...
        mask: file of a corrected label map, relative to the log.
        mask_sha256: of that file.
        record_sha256: of the case's Record: which case of that id was looked at. None for a case without one, and in
            lines of earlier versions.
    """

    case_id: str
    reviewer: str
    decision: str
    reason: str = ""
    comment: str = ""
    difficulty: int | None = None
    time: str = ""
    mask_version: int = 0
    mask: str | None = None
    mask_sha256: str | None = None
    record_sha256: str | None = None

    def __post_init__(self) -> None:
        # The same rules as the worker's: a line that it would refuse must not get into the log.
        if not self.case_id or not self.reviewer.strip():
            raise refused("reviewer", repr(self.reviewer), _("a name"), _("Enter the reviewer's name or initials."))
        if self.decision not in DECISIONS:
            raise refused("decision", repr(self.decision), ", ".join(DECISIONS), _("Choose one of them."))
        if self.difficulty is not None and self.difficulty not in range(1, 6):
            raise refused(
                "difficulty", repr(self.difficulty), _("1 to 5, or none"), _("Choose a number of that range.")
            )
        if (self.mask_version > 0) != (self.mask is not None and self.mask_sha256 is not None):
            expected = _("a file and its SHA-256 for every version above 0, and none for version 0")
            raise refused("mask", f"{self.mask_version}: {self.mask}", expected, _("Store the corrected mask again."))


def readReviews(path: Path) -> list[Review]:
    """Every decision in the order in which they were taken; empty when there is no such file.

    Raises:
        JobError: "unreadable_file" naming the line at fault.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(
            "unreadable_file", str(path), str(error), _("a readable review log"), _("Check the file and its rights.")
        ) from error
    lines = enumerate(text.split("\n"), start=1)
    return [_readLine(line, f"{path}, line {number}") for number, line in lines if line.strip()]


def appendReview(path: Path, review: Review) -> None:
    """Add one line; it is on the disk when this returns.

    It is written in one piece to the end of the file, so that several reviewers on one machine do not tear each other's
    lines, and a line that an earlier crash left unfinished is closed first.

    Raises:
        JobError: "missing_file" where the folder is gone, "disk_full", "no_permission".
    """
    appendLine(path, asdict(review))


def appendLine(path: Path, value: dict) -> None:
    """Add one JSON object to a file of such lines; raises as `appendReview`."""
    path = Path(path)
    line = (json.dumps(value, ensure_ascii=False) + "\n").encode("utf-8")
    try:
        # No folder is made: one that is gone was moved, or its drive is, and what is written in its place is lost.
        with path.open("a+b") as stream:
            end = stream.seek(0, os.SEEK_END)
            if end:
                stream.seek(end - 1)
                line = line if stream.read(1) == b"\n" else b"\n" + line
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise explained(error, path) from error


def refused(subject: str, found: str, expected: str, remedy: str) -> JobError:
    """The error for something that may not get into a log."""
    return JobError("bad_parameter", subject, found, expected, remedy)


def _readLine(line: str, place: str) -> Review:
    expected = _("a review in JSON")
    try:
        return Review(**json.loads(line))
    except (ValueError, TypeError, AttributeError) as error:
        remedy = _("Correct or remove this line; the others stay as they are.")
        raise JobError("unreadable_file", place, str(error), expected, remedy) from error
    except JobError as error:
        remedy = _("Correct or remove this line; the others stay as they are.")
        raise JobError("unreadable_file", place, f"{error.subject} {error.found}", error.expected, remedy) from error
