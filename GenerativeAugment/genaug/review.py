"""What reviewers decided about synthetic cases: one JSON object a line, appended and never changed.

`reviews.jsonl` lies beside a cohort's manifest. A later line overrules an earlier one about the same case, and the
earlier one stays readable, so the file is also the history of the review. A line counts for the case that was looked
at: two jobs call their cases alike, so it holds the hash of the case's Record beside the name.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from genaug.case import Case
from genaug.errors import GenaugError, Reason
from genaug.files import invalid, sha256_file
from genaug.strict import Frozen

REVIEWS = "reviews.jsonl"

Decision = Literal["accepted", "rejected", "needs_edit"]
State = Literal["accepted", "rejected", "needs_edit", "unreviewed"]


class Review(Frozen):
    """One decision of one reviewer about one case.

    Attributes:
        case_id: as in the cohort.
        reviewer: a name or a pseudonym.
        decision: what is to happen with the case.
        reason: short, from the reviewer's list of reasons, for instance "mask does not fit".
        comment: free text.
        difficulty: how hard the case would be to segment or diagnose, 1 (easy) to 5.
        time: when, ISO 8601, UTC.
        mask_version: 0 for the label map the case was made with, 1 for its first correction, ...
        mask: file of a corrected label map, relative to the review file; stands for every version above 0.
        mask_sha256: of that file, so that a later change is noticed.
        record_sha256: of the case's Record file: which case of that id was looked at. None for a case without one, and
            in lines of earlier versions.
    """

    case_id: str = Field(min_length=1)
    reviewer: str = Field(min_length=1)
    decision: Decision
    reason: str = ""
    comment: str = ""
    difficulty: int | None = Field(default=None, ge=1, le=5)
    time: str = Field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))
    mask_version: int = Field(default=0, ge=0)
    mask: str | None = None
    mask_sha256: str | None = None
    record_sha256: str | None = None

    @model_validator(mode="after")
    def _a_corrected_mask_is_named(self) -> Review:
        named = self.mask is not None and self.mask_sha256 is not None
        if named != (self.mask_version > 0):
            raise ValueError("mask and mask_sha256 belong to a mask_version above 0, and the other way round")
        return self


def append_review(path: Path, review: Review) -> None:
    """Add one line; it is on the disk when this returns.

    The line is written in one piece to the end of the file, so several reviewers may use one file on one machine, and
    a line that an earlier crash left unfinished is closed first and stays recognisable.

    Raises:
        GenaugError: DISK_FULL or NO_PERMISSION.
    """
    line = (review.model_dump_json() + "\n").encode("utf-8")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as stream:
            end = stream.seek(0, os.SEEK_END)
            if end:
                stream.seek(end - 1)
                line = line if stream.read(1) == b"\n" else b"\n" + line
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise GenaugError(
            Reason.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else Reason.NO_PERMISSION,
            path,
            str(error),
            "a review file that can be written",
            "The decision was not stored: free disk space or change the rights of the folder, and decide again.",
        ) from error


def read_reviews(path: Path) -> list[Review]:
    """Every decision in the order in which they were taken; empty when there is no such file.

    Raises:
        GenaugError: UNREADABLE_FILE naming the line and the key at fault.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise GenaugError(
            Reason.UNREADABLE_FILE, path, str(error), "a readable review file", "Check the file and its rights."
        ) from error
    reviews = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            try:
                reviews.append(Review.model_validate_json(line))
            except ValidationError as error:
                raise invalid(error, f"{path}, line {number}", "review", Reason.UNREADABLE_FILE) from error
    return reviews


def reviewed_record(case: Case) -> str | None:
    """What a review of the case has as `record_sha256`.

    Raises:
        GenaugError: MISSING_FILE for a Record that is gone.
    """
    if case.record is None:
        return None
    if not case.record.is_file():
        raise GenaugError(
            Reason.MISSING_FILE, case.record, "no such file", f"the Record of {case.id}", "Restore the file."
        )
    return sha256_file(case.record)


def decisions_about(reviews: Iterable[Review], case: Case) -> list[Review]:
    """The decisions that name a case and, where they say so, its Record, in their order; the last one stands.

    Raises:
        GenaugError: as `reviewed_record`.
    """
    named = [review for review in reviews if review.case_id == case.id]
    record = reviewed_record(case) if any(review.record_sha256 is not None for review in named) else None
    return [review for review in named if review.record_sha256 in (None, record)]


def corrected_mask(reviews_path: Path, review: Review) -> Path | None:
    """The label map that replaces the case's own, None when that was left as it is.

    Raises:
        GenaugError: MISSING_FILE, or WRONG_LABELS when the file is not the one that was reviewed.
    """
    if review.mask is None:
        return None
    mask = reviews_path.parent / review.mask
    if not mask.is_file():
        raise GenaugError(
            Reason.MISSING_FILE,
            mask,
            "no such file",
            f"version {review.mask_version} of the label map of {review.case_id}",
            "Restore the file, or review the case again.",
        )
    found = sha256_file(mask)
    if found != review.mask_sha256:
        raise GenaugError(
            Reason.WRONG_LABELS,
            mask,
            f"SHA-256 {found[:16]}",
            f"SHA-256 {(review.mask_sha256 or '')[:16]}, as reviewed by {review.reviewer} at {review.time}",
            "The label map was changed after its review: review the case again.",
        )
    return mask
