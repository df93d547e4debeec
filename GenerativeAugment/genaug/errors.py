"""The one exception a user may see, and the reason codes it carries.

Every refusal says what was looked at, what was found, what was expected and what to do next, and has a reason code
that the Slicer module and scripts can act on without reading the sentence.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path


class Reason(str, Enum):
    """Why a job was refused or stopped. The values are part of the event stream's contract."""

    UNREADABLE_FILE = "unreadable_file"
    MISSING_FILE = "missing_file"
    WRONG_LABELS = "wrong_labels"
    GEOMETRY_MISMATCH = "geometry_mismatch"
    NOT_FINITE = "not_finite"
    UNPAIRED = "unpaired"
    EMPTY_COHORT = "empty_cohort"
    WRONG_MODALITY = "wrong_modality"
    FIELD_OF_VIEW = "field_of_view"
    NO_ROOM = "no_room"
    BAD_PARAMETER = "bad_parameter"
    BAD_JOB = "bad_job"
    BAD_RECIPE = "bad_recipe"
    BAD_PACKAGE = "bad_package"
    LEAK = "leak"
    DISK_FULL = "disk_full"
    NO_PERMISSION = "no_permission"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    CANCELLED = "cancelled"
    MISSING_DEPENDENCY = "missing_dependency"
    INTERNAL = "internal"


class GenaugError(Exception):
    """A problem the user can act on.

    Args:
        reason: machine-readable cause.
        subject: what it is about: a file, a parameter, a case id.
        found: what was there, with the numbers.
        expected: what would have been accepted.
        remedy: what to do next, as an instruction.
    """

    def __init__(self, reason: Reason, subject: str | Path, found: str, expected: str, remedy: str) -> None:
        self.reason = reason
        self.subject = str(subject)
        self.found = found
        self.expected = expected
        self.remedy = remedy
        super().__init__(f"{self.subject}: found {found}; expected {expected}. {remedy}")

    def to_dict(self) -> dict[str, str]:
        """The form in which the error travels in events and result files."""
        return {
            "reason": self.reason.value,
            "subject": self.subject,
            "found": self.found,
            "expected": self.expected,
            "remedy": self.remedy,
            "message": str(self),
        }


class Cancelled(GenaugError):
    """The user asked the job to stop; everything written so far is complete."""

    def __init__(self, subject: str | Path = "job", found: str = "a request to stop") -> None:
        super().__init__(
            Reason.CANCELLED,
            subject,
            found,
            "the job to run to its end",
            "Nothing half-written was left. Run the same job again: a training resumes from its last checkpoint, any"
            " other job begins anew and needs an output folder without the cases that were finished.",
        )
