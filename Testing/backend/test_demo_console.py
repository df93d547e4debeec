"""The demo's lines of progress: the time that is left is that of the work at hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The demo is run from the checkout and not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from demo import console


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_the_time_left_is_counted_from_where_the_work_began(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], start: float
) -> None:
    """What a stage finds done already, such as an autoencoder that is kept, took none of the time."""
    now = 1000.0
    monkeypatch.setattr(console.time, "monotonic", lambda: now)
    told = console.Console(every=0.0)
    told.progress(99, 100)
    for step in range(6):
        told.progress(round(1000 * start) + 10 * step, 1000, "case")
        now += 12
    # A hundredth takes 12 s.
    left = (1 - start - 0.05) / 0.01 * 12
    assert capsys.readouterr().err.splitlines()[-1] == f"  {100 * start + 5:3.0f} %, {left / 60:.0f} min left  case"
