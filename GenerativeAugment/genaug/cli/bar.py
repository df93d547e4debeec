"""Showing a job's events to a person."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from genaug.jobs.events import BaseEvent, Log, ProductMade, Progress

if TYPE_CHECKING:
    from tqdm import tqdm

PLAIN_INTERVAL_S = 10.0


class Bar:
    """Receives events: a tqdm bar on a terminal, a line every 10 s into a file.

    Args:
        stream: where to show them.
        products: whether to say where each product lies.
    """

    def __init__(self, stream: TextIO, products: bool = True) -> None:
        self._stream = stream
        self._products = products
        self._terminal = stream.isatty()
        self._bar: tqdm[Any] | None = None
        self._plain_at = float("-inf")

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, event: BaseEvent) -> None:
        """Show one event."""
        if isinstance(event, Progress):
            self._show_on_terminal(event) if self._terminal else self._show_plainly(event)
        elif isinstance(event, Log):
            self._write(event.message)
        elif isinstance(event, ProductMade) and self._products:
            self._write(f"{event.role}: {event.path}")

    def _show_on_terminal(self, event: Progress) -> None:
        if self._bar is None:
            from tqdm import tqdm

            layout = "{desc} {percentage:3.0f} % |{bar}| {elapsed}{postfix}"
            self._bar = tqdm(file=self._stream, bar_format=layout, dynamic_ncols=True, total=event.total)
        self._bar.total = max(event.total, 1)
        self._bar.n = min(event.done, self._bar.total)
        self._bar.set_description_str(event.note, refresh=False)
        self._bar.set_postfix_str(_remaining(event), refresh=False)
        self._bar.refresh()

    def _show_plainly(self, event: Progress) -> None:
        now = time.monotonic()
        if now - self._plain_at >= PLAIN_INTERVAL_S or event.done >= event.total:
            self._plain_at = now
            share = 100 * event.done // max(event.total, 1)
            self._write(" ".join(part for part in (event.note, f"{share} %", _remaining(event)) if part))

    def _write(self, line: str) -> None:
        if self._bar is not None:
            self._bar.clear()
        print(line, file=self._stream, flush=True)
        if self._bar is not None:
            self._bar.refresh()


def _remaining(event: Progress) -> str:
    """The estimate in words; "" where there is none or nothing remains."""
    if not event.eta_seconds:
        return ""
    minutes, seconds = divmod(round(event.eta_seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"about {hours}:{minutes:02d}:{seconds:02d} left" if hours else f"about {minutes}:{seconds:02d} left"
