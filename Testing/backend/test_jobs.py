"""Jobs: strict in, atomic out, one event stream that says everything."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.files import write_text
from genaug.jobs.estimate import Estimate
from genaug.jobs.events import BaseEvent, EventReporter, Failed, Finished, Log, Progress, Started, from_line, to_line
from genaug.jobs.folder import build_job
from genaug.jobs.kinds import KINDS, Kind
from genaug.jobs.run import run_job
from genaug.jobs.schema import Task, read_result
from genaug.progress import Reporter


def make_two(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    for index in range(2):
        reporter.progress(index, 2, "making")
        write_text(task.output / f"{index}.txt", str(task.job.seed))
        reporter.product("case", task.output / f"{index}.txt")
    reporter.log("made two")
    reporter.progress(2, 2)
    return {"made": 2}


def run_kind(tmp_path: Path, handler: str, **changes: Any) -> tuple[list[Any], Finished | Failed]:
    folder = tmp_path / "job"
    if not folder.exists():
        build_job(folder, "fingerprint", inputs={"cohort": tmp_path}, seed=5)
    events: list[Any] = []
    kinds = {"fingerprint": kind_of(handler)}
    return events, run_job(folder, events.append, kinds=kinds, **changes)


def kind_of(handler: str, **changes: Any) -> Kind:
    return Kind("genaug.jobs.parameters:NoParameters", f"{__name__}:{handler}", required=("cohort",), **changes)


def edit(folder: Path, **changes: Any) -> None:
    job = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps({**job, **changes}))


def test_a_finished_job_leaves_its_result_products_and_log(tmp_path: Path) -> None:
    events, last = run_kind(tmp_path, "make_two")
    assert isinstance(last, Finished)
    assert isinstance(events[0], Started)
    assert events[-1] is last
    result = read_result(tmp_path / "job")
    assert [(p.role, p.path) for p in result.products] == [("case", "outputs/0.txt"), ("case", "outputs/1.txt")]
    assert result.summary == {"made": 2}
    assert result.seconds >= 0
    assert result.peak_memory_bytes > 10 * 2**20
    assert result.versions["numpy"] == np.__version__
    assert "made two" in (tmp_path / "job" / "log.txt").read_text()


def test_an_unknown_key_is_refused_by_name(tmp_path: Path) -> None:
    folder = build_job(tmp_path / "job", "fingerprint", inputs={"cohort": tmp_path})
    edit(folder, colour="red")
    last = run_job(folder, lambda _: None)
    assert isinstance(last, Failed)
    assert last.reason is Reason.BAD_JOB
    assert "colour" in last.found
    assert last.subject == str(folder / "job.json")


def test_an_unknown_parameter_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(GenaugError, match="color") as caught:
        build_job(tmp_path / "job", "export", {"color": 1}, {"real": tmp_path})
    assert caught.value.reason is Reason.BAD_JOB
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"kind": "paint"}, "kind"),
        ({"seed": -1}, "seed"),
        ({"device": "gpu"}, "device"),
        ({"schema_version": 2}, "schema_version"),
        ({"inputs": {"cohort": ".", "dog": "."}}, "dog"),
        ({"inputs": {}}, "cohort"),
        ({"inputs": {"cohort": ["..", "."]}}, "cohort"),
        ({"inputs": {"cohort": "a\0b"}}, "inputs.cohort"),
        ({"output": "."}, "output folder"),
        ({"output": "a\0b"}, "output"),
    ],
)
def test_a_wrong_job_is_refused_naming_the_fault(tmp_path: Path, changes: dict[str, Any], named: str) -> None:
    folder = build_job(tmp_path / "job", "fingerprint", inputs={"cohort": tmp_path})
    edit(folder, **changes)
    last = run_job(folder, lambda _: None)
    assert isinstance(last, Failed)
    assert last.reason is Reason.BAD_JOB
    assert named in last.message


def test_a_missing_input_names_role_and_path(tmp_path: Path) -> None:
    with pytest.raises(GenaugError, match="'cohort'") as caught:
        build_job(tmp_path / "job", "fingerprint", inputs={"cohort": tmp_path / "gone"})
    assert caught.value.reason is Reason.MISSING_FILE
    assert caught.value.subject == str(tmp_path / "gone")


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("x")])
def test_a_folder_without_a_job_is_named(tmp_path: Path, make: Any) -> None:
    make(tmp_path / "job")
    last = run_job(tmp_path / "job", lambda _: None)
    assert isinstance(last, Failed)
    assert last.reason is Reason.MISSING_FILE
    assert last.subject == str(tmp_path / "job")


def test_an_output_holding_the_inputs_is_refused(tmp_path: Path) -> None:
    kept = tmp_path / "job" / "outputs" / "cohort"
    kept.mkdir(parents=True)
    with pytest.raises(GenaugError, match="output folder that holds"):
        build_job(tmp_path / "job", "fingerprint", inputs={"cohort": kept})
    assert kept.exists()


def test_a_job_folder_can_move_with_its_inputs(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    write_text(folder / "inputs" / "a.txt", "")
    build_job(folder, "fingerprint", inputs={"cohort": folder / "inputs" / "a.txt"})
    assert json.loads((folder / "job.json").read_text())["inputs"] == {"cohort": "inputs/a.txt"}
    folder.rename(tmp_path / "moved")
    last = run_job(tmp_path / "moved", lambda _: None, kinds={"fingerprint": kind_of("make_two")})
    assert isinstance(last, Finished)


def test_a_job_that_cannot_be_written_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    kept = tmp_path / "kept"
    kept.mkdir()
    with monkeypatch.context() as patched:
        patched.setattr("genaug.files.tempfile.mkstemp", refuse)
        with pytest.raises(GenaugError) as caught:
            build_job(kept / "jobs" / "job", "fingerprint", inputs={"cohort": tmp_path})
    assert caught.value.reason is Reason.DISK_FULL
    assert list(kept.iterdir()) == []


def test_a_job_is_never_overwritten(tmp_path: Path) -> None:
    build_job(tmp_path / "job", "fingerprint", inputs={"cohort": tmp_path})
    with pytest.raises(GenaugError, match="already holds a job"):
        build_job(tmp_path / "job", "fingerprint", inputs={"cohort": tmp_path}, seed=2)


def raises_value_error(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    make_two(task, reporter)
    raise ValueError("a defect")


def raises_memory_error(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    np.empty(2**60, np.uint8)
    return {}


def raises_torch_cpu_allocation(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")


def raises_disk_full(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(task.output / "a.nii.gz"))


def raises_what_numpy_says_of_a_full_disk(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    raise OSError("4096 requested and 1436 written")


def imports_what_is_not_there(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    raise ModuleNotFoundError("No module named 'torch'", name="torch")


def exits(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        ("raises_value_error", Reason.INTERNAL),
        ("raises_memory_error", Reason.OUT_OF_MEMORY),
        ("raises_torch_cpu_allocation", Reason.OUT_OF_MEMORY),
        ("raises_disk_full", Reason.DISK_FULL),
        ("raises_what_numpy_says_of_a_full_disk", Reason.DISK_FULL),
        ("imports_what_is_not_there", Reason.MISSING_DEPENDENCY),
        ("exits", Reason.INTERNAL),
    ],
)
def test_a_failure_has_its_reason_and_no_result(tmp_path: Path, handler: str, reason: Reason) -> None:
    run_kind(tmp_path, "make_two")
    assert (tmp_path / "job" / "result.json").exists()
    events, last = run_kind(tmp_path, handler)
    assert isinstance(last, Failed)
    assert last.reason is reason
    assert events[-1] is last
    assert not (tmp_path / "job" / "result.json").exists()
    assert all(part for part in (last.subject, last.found, last.expected, last.remedy))


def test_a_defect_leaves_its_traceback_in_the_log(tmp_path: Path) -> None:
    _, last = run_kind(tmp_path, "raises_value_error")
    log = tmp_path / "job" / "log.txt"
    assert "raises_value_error" in log.read_text()
    assert isinstance(last, Failed)
    assert str(log) in last.remedy


def names_a_file_in_latin_1(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    reporter.log(os.fsdecode(b"reading caf\xe9.nrrd"))
    write_text(task.output / os.fsdecode(b"caf\xe9.txt"), os.fsdecode(b"made of caf\xe9.nrrd"))
    return {}


def test_a_name_that_is_no_text_is_told_and_written_with_escapes(tmp_path: Path) -> None:
    events, last = run_kind(tmp_path, "names_a_file_in_latin_1")
    assert isinstance(last, Failed)
    assert last.reason is Reason.BAD_PARAMETER
    assert "caf\\\\udce9" in last.found
    for event in events:
        assert from_line(to_line(event)) == event
    assert "reading caf\\udce9.nrrd" in (tmp_path / "job" / "log.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["a\0b", "a" * 300, os.fsdecode(b"caf\xe9")])
def test_a_folder_that_cannot_be_is_a_failure_like_any_other(tmp_path: Path, name: str) -> None:
    events: list[BaseEvent] = []
    last = run_job(tmp_path / name, events.append)
    assert isinstance(last, Failed)
    assert events == [last] == [from_line(to_line(last))]


def test_a_result_is_written_last_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(journal: Any, text: str) -> None:
        if text.startswith("finished"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("genaug.jobs.run._Journal.write", write)
    _, last = run_kind(tmp_path, "make_two")
    assert isinstance(last, Failed)
    assert last.reason is Reason.DISK_FULL
    assert not (tmp_path / "job" / "result.json").exists()


def test_a_failure_fits_into_a_line_however_much_is_wrong(tmp_path: Path) -> None:
    cases = [{"id": str(number), "patient": "p", "colour": "red"} for number in range(30_000)]
    (tmp_path / "cohort.json").write_text(json.dumps({"name": "many", "channels": {"A": "MR"}, "cases": cases}))
    folder = build_job(tmp_path / "job", "fingerprint", inputs={"cohort": tmp_path})
    last = run_job(folder, lambda event: None)
    assert isinstance(last, Failed)
    assert "cases.0.colour" in last.found
    assert last.found.endswith("more")
    assert len(to_line(last)) < 50_000
    worst = Failed.of(GenaugError(Reason.INTERNAL, *["\0" * 10**6] * 4), "\0" * 10**6)
    assert len(to_line(worst).encode()) < 1 << 20


def never_ends(task: Task, reporter: Reporter) -> Mapping[str, Any]:
    from genaug.files import writing_folder

    with writing_folder(task.output) as folder:
        write_text(folder / "first.txt", "half of it")
        step = 0
        while True:
            reporter.progress(step := step + 1, 10**9)


def test_a_stopped_job_leaves_nothing_half_written(tmp_path: Path) -> None:
    stop = threading.Event()
    folder = build_job(tmp_path / "job", "fingerprint", inputs={"cohort": tmp_path})

    def emit(event: object) -> None:
        if isinstance(event, Progress):
            stop.set()

    last = run_job(folder, emit, stop=stop, kinds={"fingerprint": kind_of("never_ends")})
    assert isinstance(last, Failed)
    assert last.reason is Reason.CANCELLED
    assert sorted(path.name for path in folder.iterdir()) == ["job.json", "log.txt"]


def test_a_second_run_starts_from_an_empty_output_unless_the_kind_resumes(tmp_path: Path) -> None:
    for resumes in (False, True):
        run_kind(tmp_path, "make_two")
        left = tmp_path / "job" / "outputs" / "left.txt"
        left.write_text("")
        kinds = {"fingerprint": kind_of("make_two", resumes=resumes)}
        assert isinstance(run_job(tmp_path / "job", lambda _: None, kinds=kinds), Finished)
        assert left.exists() is resumes


def test_an_output_folder_elsewhere_is_never_cleared(tmp_path: Path) -> None:
    elsewhere = tmp_path / "results"
    write_text(elsewhere / "mine.txt", "dear")
    write_text(tmp_path / "cohort.json", "")
    folder = build_job(tmp_path / "job", "fingerprint", inputs={"cohort": tmp_path / "cohort.json"}, output=elsewhere)
    assert isinstance(run_job(folder, lambda _: None, kinds={"fingerprint": kind_of("make_two")}), Finished)
    assert (elsewhere / "mine.txt").read_text() == "dear"
    assert read_result(folder).products[0].path == str(elsewhere / "0.txt")


def test_a_job_folder_without_rights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = build_job(tmp_path / "job", "fingerprint", inputs={"cohort": tmp_path})

    def deny(path: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    # Simulated, because root, whom containers run as, may write anywhere.
    monkeypatch.setattr(Path, "open", deny)
    last = run_job(folder, lambda _: None)
    assert isinstance(last, Failed)
    assert last.reason is Reason.NO_PERMISSION
    assert last.subject == str(folder / "log.txt")


def test_every_kind_names_a_model_and_every_role_once() -> None:
    for name, kind in KINDS.items():
        assert len(set(kind.roles)) == len(kind.roles), name


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def report(steps: int, seconds_a_step: float) -> list[Progress]:
    clock, events = Clock(), []
    reporter = EventReporter(events.append, clock=clock)
    for step in range(steps + 1):
        clock.now = step * seconds_a_step
        reporter.progress(step, steps)
    reporter.flush()
    return events


def test_progress_is_limited_to_20_a_second_with_first_and_last() -> None:
    events = report(10_000, 0.0005)
    assert len(events) <= 20 * 5
    assert events[0].done == 0
    assert events[-1].done == 10_000


def test_a_storm_of_short_bars_is_limited_too() -> None:
    clock, events = Clock(), []
    reporter = EventReporter(events.append, clock=clock)
    for step in range(10_000):
        clock.now = step * 0.0001
        reporter.progress(step % 2, 1)
    assert 10 <= len(events) <= 21


def test_the_last_state_is_sent_before_what_follows_it() -> None:
    clock, events = Clock(), []
    reporter = EventReporter(events.append, clock=clock)
    reporter.progress(0, 9)
    reporter.progress(5, 9)
    reporter.log("next stage")
    assert [type(event) for event in events] == [Progress, Progress, Log]
    assert events[1].done == 5


def test_the_estimate_is_right_at_a_steady_rate() -> None:
    for event in report(100, 0.7)[2:]:
        assert event.eta_seconds == pytest.approx((100 - event.done) * 0.7, abs=0.06)


def test_the_estimate_follows_a_changed_rate() -> None:
    estimate = Estimate()
    for step in range(100):
        estimate.update(step * 0.1, step, 1000)
    for step in range(100):
        estimate.update(10 + step * 1.0, 100 + step, 1000)
    assert estimate.remaining(200, 1000) == pytest.approx(800, rel=0.1)


def test_a_new_bar_has_no_estimate_until_its_first_step() -> None:
    estimate = Estimate()
    estimate.update(0, 0, 10)
    estimate.update(1, 5, 10)
    estimate.update(2, 0, 10)
    assert estimate.remaining(0, 10) is None


def test_a_stopped_reporter_raises_at_the_next_step() -> None:
    stop = threading.Event()
    reporter = EventReporter(lambda _: None, stop=stop)
    reporter.progress(0, 1)
    stop.set()
    with pytest.raises(Cancelled):
        reporter.progress(1, 1)


def test_events_survive_their_line() -> None:
    for event in (
        Log(id="ü", message="line\nbreak"),
        Progress(done=1, total=2, note="", eta_seconds=None),
        Failed.of(GenaugError(Reason.LEAK, "case", "a", "b", "c"), "7"),
    ):
        line = to_line(event)
        assert "\n" not in line
        assert from_line(line) == event
