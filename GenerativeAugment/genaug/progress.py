"""How a long computation tells its caller where it stands, and learns that it should stop."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Reporter(Protocol):
    """What every long computation is given.

    `progress` is called at every sampling or training step and is the only place where a job may be stopped.
    """

    def progress(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total` steps are finished. Raises `errors.Cancelled` when the job was asked to stop."""

    def log(self, message: str) -> None:
        """One line for the log."""

    def product(self, role: str, path: Path) -> None:
        """A file or folder is complete: a preview, a curve, a case, a package."""


class Silent:
    """A Reporter that reports to nobody and never stops."""

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Ignored."""

    def log(self, message: str) -> None:
        """Ignored."""

    def product(self, role: str, path: Path) -> None:
        """Ignored."""


class Part:
    """A stretch of another Reporter's bar: `share` of it, starting at `start` (both in [0, 1]).

    A job of several stages gives each one a Part, so that the bar runs once from left to right.
    """

    RESOLUTION = 10_000

    def __init__(self, reporter: Reporter, start: float, share: float) -> None:
        self._reporter, self._start, self._share = reporter, start, share

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Forwarded, scaled into this part."""
        fraction = self._start + self._share * (done / max(total, 1))
        self._reporter.progress(round(fraction * self.RESOLUTION), self.RESOLUTION, note)

    def log(self, message: str) -> None:
        """Forwarded."""
        self._reporter.log(message)

    def product(self, role: str, path: Path) -> None:
        """Forwarded."""
        self._reporter.product(role, path)
