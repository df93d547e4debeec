"""Progress of a long run, as lines that read well in a terminal and in a log file."""

from __future__ import annotations

import sys
import time
from pathlib import Path

EVERY_SECONDS = 10.0


class Console:
    """A Reporter that prints a line every few seconds, with the time left at the present rate."""

    def __init__(self, every: float = EVERY_SECONDS) -> None:
        self._every = every
        self._started = self._printed = time.monotonic()
        self._last = self._from = 0.0

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Print, unless a line was printed a moment ago."""
        now, fraction = time.monotonic(), done / max(total, 1)
        if fraction < self._last:
            self._started, self._from = now, fraction
        self._last = fraction
        if now - self._printed < self._every:
            return
        self._printed = now
        gone = fraction - self._from
        left = (now - self._started) * (1 - fraction) / gone if gone > 0.01 else None
        remaining = "" if left is None else f", {left / 60:.0f} min left" if left > 90 else f", {left:.0f} s left"
        print(f"  {100 * fraction:3.0f} %{remaining}  {note}", file=sys.stderr, flush=True)

    def log(self, message: str) -> None:
        """Print a line."""
        print(message, file=sys.stderr, flush=True)

    def product(self, role: str, path: Path) -> None:
        """Products are listed in the report."""
