"""How long a bar still takes, from the rate of the recent past."""

from __future__ import annotations

import math

WINDOW_SECONDS = 5.0
WINDOW_SHARE = 0.2


class Estimate:
    """Remaining seconds by an exponentially forgetting rate.

    Steps and seconds are both discounted by exp(-dt / window), so their quotient is the mean rate over about `window`
    seconds without a bias at the start. The window is a fifth of the time elapsed, at least 5 s: short bars answer to
    a change at once, and long ones do not jump at every validation pause.
    """

    def __init__(self) -> None:
        self._total = -1
        self._begin = self._time = 0.0
        self._done = 0
        self._steps = self._seconds = 0.0

    def update(self, now: float, done: int, total: int) -> None:
        """`done` of `total` at time `now` in seconds; another total or a step back starts a new bar."""
        if total != self._total or done < self._done:
            self._total, self._begin, self._time, self._done = total, now, now, done
            self._steps = self._seconds = 0.0
            return
        elapsed = now - self._time
        keep = math.exp(-elapsed / max(WINDOW_SECONDS, WINDOW_SHARE * (now - self._begin)))
        self._steps = keep * self._steps + (done - self._done)
        self._seconds = keep * self._seconds + elapsed
        self._time, self._done = now, done

    def remaining(self, done: int, total: int) -> float | None:
        """Seconds from `done` to `total`; None while no step was seen."""
        if done >= total:
            return 0.0
        if self._steps <= 0 or total != self._total:
            return None
        return round((total - done) * self._seconds / self._steps, 1)
