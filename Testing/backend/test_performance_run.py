"""A whole run of the benchmark measures everything anew, and goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.performance import __main__ as run
from benchmarks.performance.row import Spec


def test_a_run_that_was_stopped_goes_on_and_the_next_one_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    stops = ["second"]

    def measure(spec: Spec) -> None:
        calls.append(spec.name)
        if spec.name in stops:
            stops.remove(spec.name)
            raise KeyboardInterrupt

    monkeypatch.setattr(run, "MEASURED", tmp_path / "work" / "measured.json")
    monkeypatch.setattr(run, "measure_apart", measure)
    monkeypatch.setattr(run, "measure_costs", lambda: calls.append("growth"))
    specs = [Spec(name, (name,), list) for name in ("first", "second", "third")]
    with pytest.raises(KeyboardInterrupt):
        run.measure_all(specs)
    run.measure_all(specs)
    assert calls == ["first", "second", "second", "third", "growth"]
    calls.clear()
    run.measure_all(specs)
    assert calls == ["first", "second", "third", "growth"]
