"""A whole run of the benchmark measures everything anew, and goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.performance import __main__ as run
from benchmarks.performance.row import Result, Spec


def test_a_run_that_was_stopped_goes_on_and_the_next_one_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    stops = ["second"]

    def spec(name: str) -> Spec:
        def measured() -> list[Result]:
            calls.append(name)
            if name in stops:
                stops.remove(name)
                raise KeyboardInterrupt
            return [Result(row=name, title="", peer_title="", kind="exact", ours=1, peer=2, ratio=2, goal=1)]

        return Spec(name, (name,), measured)

    monkeypatch.setattr(run, "RESULTS", tmp_path)
    monkeypatch.setattr(run, "MEASURED", tmp_path / "work" / "measured.json")
    monkeypatch.setattr(run, "write_document", lambda: None)
    monkeypatch.setattr(run, "measure_costs", lambda: calls.append("growth"))
    specs = [spec(name) for name in ("first", "second", "third")]
    with pytest.raises(KeyboardInterrupt):
        run.measure_all(specs)
    assert (tmp_path / "first.json").is_file() and not (tmp_path / "second.json").exists()
    run.measure_all(specs)
    assert calls == ["first", "second", "second", "third", "growth"]
    calls.clear()
    run.measure_all(specs)
    assert calls == ["first", "second", "third", "growth"]
