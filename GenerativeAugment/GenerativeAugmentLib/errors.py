"""The one exception this module shows to a user, in the form in which the worker tells its failures."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path


def _translator() -> Callable[[str], str]:
    """Slicer's translation; outside Slicer, where jobs and their process work as well, the text as it is."""
    if "slicer" in sys.modules:
        try:
            from slicer.i18n import tr
        except ImportError:
            # The scene's libraries without the application.
            return str
        return tr
    return str


_ = _translator()


class JobError(RuntimeError):
    """A problem the user can act on.

    Args:
        reason: machine-readable cause: one of the worker's reason codes, or "worker_crashed", "worker_killed",
            "not_installed" and "geometry_mismatch" of this side.
        subject: what it is about: a file, a node, a parameter.
        found: what was there, with the numbers.
        expected: what would have been accepted.
        remedy: what to do next, as an instruction.
        details: longer text for the log, such as the last lines of a crashed process.
    """

    def __init__(
        self, reason: str, subject: str | Path, found: str, expected: str, remedy: str, details: str = ""
    ) -> None:
        self.reason = reason
        self.subject = str(subject)
        self.found = found
        self.expected = expected
        self.remedy = remedy
        self.details = details
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """All of it in one readable line."""
        return _("{subject}: found {found}; expected {expected}. {remedy}").format(
            subject=self.subject, found=self.found, expected=self.expected, remedy=self.remedy
        )

    @classmethod
    def fromEvent(cls, event: Mapping[str, object]) -> JobError:
        """The error that a `failed` event of the worker tells."""
        fields = ("reason", "subject", "found", "expected", "remedy")
        return cls(*(str(event.get(field, "")) for field in fields))

    def toDict(self) -> dict[str, str]:
        """The fields of a `failed` event, without its id."""
        return {
            "reason": self.reason,
            "subject": self.subject,
            "found": self.found,
            "expected": self.expected,
            "remedy": self.remedy,
            "message": self.message,
        }
