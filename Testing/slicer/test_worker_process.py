"""The child process as its parent sees it: plain Python, no Slicer and no Qt."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from GenerativeAugmentLib import workerProcess
from GenerativeAugmentLib.causes import causeOfEnd
from GenerativeAugmentLib.errors import JobError
from GenerativeAugmentLib.jobs import Job, newJobFolder, products, readResult
from GenerativeAugmentLib.workerProcess import WorkerProcess, parseEvent

MODULE = Path(__file__).parents[2] / "GenerativeAugment"

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")

WORKER = [sys.executable, "-c", "from genaug.cli import main; main()", "worker"]


@pytest.fixture
def start(tmp_path):
    """start(script): a WorkerProcess that runs the Python script; all are killed at the end."""
    started = []

    def make(script, *, environment=None, **options):
        path = tmp_path / f"a worker {len(started)} für alle.py"
        path.write_text(script, encoding="utf-8")
        process = WorkerProcess([sys.executable, str(path)], environment, **options)
        started.append(process)
        process.start()
        return process

    yield make
    for process in started:
        process.kill()
        until(lambda process=process: process.ended)


def until(condition, seconds=15.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain"
        time.sleep(0.005)


def collect(process, wanted, seconds=15.0):
    """Events up to and including the first for which wanted(event); or all of a process that ends."""
    events = []

    def seen():
        ended, new = process.ended, process.poll()
        for event in new:
            events.append(event)
            if wanted(event):
                return True
        return ended and not new

    until(seen, seconds)
    return events


def everything(process):
    return collect(process, lambda event: False)


def isGone(processId):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(processId).status() == psutil.STATUS_ZOMBIE
    return True


def test_lines_may_arrive_in_any_pieces(start):
    process = start("""
import os, time
text = '{"event": "log", "message": "größer"}\\n{"event": "log", "message": "b"}\\n\\n'
text += '{"event": "log", "message": "end"}'
for byte in text.encode():
    os.write(1, bytes([byte]))
    if byte > 127:
        time.sleep(0.02)
""")
    assert [event["message"] for event in everything(process)] == ["größer", "b", "end"]
    assert process.exitCode == 0


def test_twenty_thousand_events_arrive_in_order_and_in_portions(start):
    process = start("""
import sys
for number in range(20000):
    sys.stdout.write('{"event": "progress", "done": %d, "total": 20000, "note": ""}\\n' % number)
""")
    until(lambda: process.ended)
    assert len(process.poll(limit=7)) == 7
    assert [event["done"] for event in everything(process)] == list(range(7, 20000))


@pytest.mark.parametrize(
    "line",
    [
        "a library prints",
        '["event", "log"]',
        '{"event": 3}',
        '{"event": "progress", "done": 1}',
        '{"event": "progress", "done": NaN, "total": 2, "note": ""}',
        '{"event": "log", "message": "x", "id": 7}',
        '{"event": "log", "mess',
        "[" * 100000,
        "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"),
    ],
)
def test_what_is_no_event_becomes_a_log_line(line):
    event = parseEvent(line.encode())
    assert event == {"event": "log", "message": line[: workerProcess.TEXT_LIMIT]}


def test_an_endless_line_is_not_kept(start):
    process = start("""
import os
block = b"x" * 65536
for _ in range(40):
    os.write(1, block)
os.write(1, b'\\n{"event": "log", "message": "after"}\\n')
""")
    events = everything(process)
    assert events[-1] == {"event": "log", "message": "after"}
    assert all(len(event["message"]) <= workerProcess.TEXT_LIMIT for event in events)


def test_an_unknown_event_of_a_later_worker_passes():
    assert parseEvent(b'{"event": "novelty", "x": 1}') == {"event": "novelty", "x": 1}
    assert parseEvent(b"  \r\n") is None


def test_commands_arrive_whole_whatever_is_in_them(start):
    process = start("""
import json, sys
for line in sys.stdin.buffer:
    print(json.dumps({"event": "log", "message": line.decode("utf-8")}), flush=True)
""")
    commands = [{"run": 'C:\\Benutzer\\Jürgen Groß\\Bilder "neu"\n日本', "id": "1"}, {"cancel": "x" * 200000}]
    for command in commands:
        process.send(command)
    events = collect(process, lambda event: "cancel" in event["message"])
    assert [json.loads(event["message"]) for event in events] == commands


def test_nothing_makes_the_caller_wait(start):
    began = time.perf_counter()
    process = start("import time; time.sleep(60)")
    startSeconds = time.perf_counter() - began
    # More than any pipe holds, to a process that does not read.
    began = time.perf_counter()
    for _ in range(20):
        process.send({"run": "x" * 100000})
    process.poll()
    assert process.alive and not process.ended and process.exitCode is None
    process.kill()
    seconds = time.perf_counter() - began
    until(lambda: process.ended)
    print(f"\nstart {1000 * startSeconds:.1f} ms; 20 commands, poll and kill {1000 * seconds:.1f} ms")
    assert startSeconds < 0.5
    assert seconds < 0.5
    assert not process.alive


def test_the_exit_code_and_the_last_error_lines_are_kept(start):
    process = start(
        """
import sys
for number in range(1000):
    print("line", number, file=sys.stderr)
sys.stderr.write("10 %\\r20 %\\r30 %\\n")
sys.exit(3)
""",
        stderrLines=5,
    )
    assert everything(process) == []
    assert process.exitCode == 3
    assert process.lastErrors().splitlines() == ["line 996", "line 997", "line 998", "line 999", "30 %"]


@posix
def test_a_process_ended_by_a_signal_says_so(start):
    process = start("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    until(lambda: process.ended)
    assert process.exitCode == -signal.SIGSEGV


CHILD = "import time; time.sleep(120)"
PARENT = f"""
import json, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}])
print(json.dumps({{"event": "log", "message": str(child.pid)}}), flush=True)
"""


def childOf(process):
    return int(collect(process, lambda event: event["event"] == "log")[-1]["message"])


@pytest.mark.parametrize("how", ["kill", "crash", "close"])
def test_no_child_outlives_the_process(start, how):
    process = start(PARENT + ("raise SystemExit(1)" if how == "crash" else "time.sleep(120)"))
    child = childOf(process)
    began = time.perf_counter()
    if how == "kill":
        process.kill()
    elif how == "close":
        process.close(grace=0.2, wait=True)
    until(lambda: process.ended and isGone(child), 3.0)
    print(f"\n{how}: all gone after {1000 * (time.perf_counter() - began):.0f} ms")


LAUNCHER = """
import subprocess, sys
sys.exit(subprocess.run([sys.executable, "-c", '''
import json, os, sys
print(json.dumps({"event": "log", "message": str(os.getpid())}), flush=True)
for line in sys.stdin:
    print(json.dumps({"event": "log", "message": line.strip()}), flush=True)
''']).returncode)
"""


@posix
def test_the_real_worker_behind_a_launcher_dies_with_it(start):
    process = start(LAUNCHER)
    worker = childOf(process)
    process.send({"cancel": "x"})
    assert json.loads(collect(process, lambda event: True)[-1]["message"]) == {"cancel": "x"}
    # Not by `kill`: as when the user ends the launcher in the task manager.
    os.kill(process.processId, signal.SIGKILL)
    until(lambda: process.ended and isGone(worker), 3.0)


def test_a_worker_behind_a_launcher_ends_politely(start):
    process = start(LAUNCHER)
    worker = childOf(process)
    process.close(grace=5.0, wait=True)
    assert process.ended and process.exitCode == 0 and isGone(worker)


def test_a_worker_ends_with_the_application(start, tmp_path):
    application = f"""
import os, sys
sys.path.insert(0, {str(MODULE)!r})
from GenerativeAugmentLib.workerProcess import WorkerProcess
worker = WorkerProcess([sys.executable, "-c", "import sys; sys.stdin.read()"])
worker.start()
print(worker.processId, flush=True)
os._exit(0)
"""
    output = subprocess.run([sys.executable, "-c", application], stdout=subprocess.PIPE, check=True, timeout=30).stdout
    until(lambda: isGone(int(output)))


def test_close_asks_first_and_waits_only_when_told(start):
    polite = start("""
import json, sys
for line in sys.stdin:
    if json.loads(line).get("quit"):
        sys.exit(7)
""")
    began = time.perf_counter()
    polite.close(grace=10.0)
    assert time.perf_counter() - began < 0.5
    until(lambda: polite.ended)
    assert polite.exitCode == 7
    deaf = start("import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)")
    began = time.perf_counter()
    deaf.close(grace=0.3, wait=True)
    assert deaf.ended and 0.3 <= time.perf_counter() - began < 2.0
    deaf.close()
    deaf.kill()


def test_what_cannot_be_started_is_named(tmp_path):
    with pytest.raises(JobError) as caught:
        WorkerProcess([str(tmp_path / "no python")]).start()
    assert caught.value.reason == "not_installed"
    assert caught.value.subject == str(tmp_path / "no python")
    assert not WorkerProcess(["x"]).alive


def test_a_tree_on_windows_is_ended_by_taskkill_before_its_root(monkeypatch):
    order = []

    class Root:
        pid = 4711

        def kill(self):
            order.append("root")

    monkeypatch.setenv("SYSTEMROOT", "D:/Windows")
    monkeypatch.setattr(subprocess, "run", lambda arguments, **options: order.append((arguments, options)))
    workerProcess.killTreeOnWindows(Root())
    (arguments, options), last = order
    assert Path(arguments[0]) == Path("D:/Windows/System32/taskkill.exe")
    assert arguments[1:] == ["/PID", "4711", "/T", "/F"]
    assert not options.get("shell")
    assert last == "root"


@pytest.mark.parametrize(
    ("exitCode", "errors", "reason", "found"),
    [
        pytest.param(
            -9, "", "out_of_memory", "most likely by the system for lack of memory (by signal SIGKILL)", marks=posix
        ),
        (137, "", "out_of_memory", "137"),
        (1, "Traceback\nMemoryError", "out_of_memory", "exit code 1"),
        (1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "out_of_memory", "exit code 1"),
        (-6, "terminate called after throwing an instance of 'std::bad_alloc'", "out_of_memory", "SIGABRT"),
        (0xC0000017, "", "out_of_memory", "0xC0000017"),
        (
            1,
            "error: [/Applications/Slicer/bin/python-real] exit abnormally - Report the problem.",
            "out_of_memory",
            "1",
        ),
        (
            1,
            "Fatal Python error: Segmentation fault\nerror: [x/python-real] exit abnormally - Report the problem.",
            "worker_crashed",
            "Segmentation fault",
        ),
        (1, "Traceback\nModuleNotFoundError: No module named 'pydantic'", "not_installed", "'pydantic'"),
        (
            1,
            "x: Error while finding module (ModuleNotFoundError: No module named 'genaug')",
            "not_installed",
            "'genaug'",
        ),
        (1, "ImportError: DLL load failed while importing _C: not found", "not_installed", "DLL load failed"),
        (-11, "Fatal Python error: Segmentation fault\n\nThread 1:\n  File x", "worker_crashed", "Segmentation fault"),
        (0xC0000005, "", "worker_crashed", "access violation"),
        (0, "", "worker_crashed", "exit code 0"),
        pytest.param(-15, "", "worker_killed", "SIGTERM", marks=posix),
        (
            1,
            "\n".join(["MemoryError in a former job", *["later line"] * 60, "ValueError: x"]),
            "worker_crashed",
            "ValueError",
        ),
        (None, "", "worker_crashed", "without an exit code"),
    ],
)
def test_a_cause_is_given_in_words(exitCode, errors, reason, found):
    error = causeOfEnd(exitCode, errors, "Synthesize 3 cases")
    assert error.reason == reason
    assert found in error.found
    assert error.subject == "Synthesize 3 cases" and error.expected and error.remedy
    assert error.details == errors


def test_an_error_survives_the_way_through_an_event():
    error = JobError("no_room", "host.nrrd", "2 ml", "8 ml", "Choose another place.")
    again = JobError.fromEvent({"event": "failed", "id": "a", **error.toDict()})
    assert again.toDict() == error.toDict()
    assert error.message == str(error) == "host.nrrd: found 2 ml; expected 8 ml. Choose another place."


def test_the_error_reads_as_the_worker_writes_it():
    from genaug.errors import GenaugError, Reason
    from genaug.jobs.events import Failed

    theirs = GenaugError(Reason.NO_ROOM, "host.nrrd", "2 ml", "8 ml", "Choose another place.")
    event = json.loads(Failed.of(theirs, "a").model_dump_json())
    assert JobError.fromEvent(event).toDict() == theirs.to_dict()


def test_a_job_folder_is_what_the_worker_reads(tmp_path):
    from genaug.jobs.folder import resolve
    from genaug.jobs.schema import read_job

    folder = newJobFolder("insert", tmp_path / "jobs with spaces ü")
    (folder / "host.nrrd").touch()
    tissue = tmp_path / "Gewebe größer.nrrd"
    tissue.touch()
    parameters = {"count": 2, "contrast": [-6, -3]}
    job = Job("insert", folder, parameters, {"host": folder / "host.nrrd", "tissue": tissue}, 7, "cpu", title="x")
    parameters["count"] = 99
    assert job.write() == folder
    read = read_job(folder)
    assert (read.kind, read.seed, read.device, read.output) == ("insert", 7, "cpu", "outputs")
    assert read.inputs == {"host": "host.nrrd", "tissue": str(tissue)}
    assert read.parameters == {"count": 2, "contrast": [-6, -3]}
    task = resolve(read, folder)
    assert task.input("host") == folder / "host.nrrd" and task.input("tissue") == tissue
    assert [path.name for path in folder.iterdir()].count("job.json") == 1 and len(list(folder.iterdir())) == 2


def test_a_role_with_several_files_is_a_list(tmp_path):
    from genaug.jobs.schema import read_job

    folder = newJobFolder("export", tmp_path)
    Job("export", folder, inputs={"synthetic": [folder / "a", tmp_path / "b"]}).write()
    assert read_job(folder).inputs == {"synthetic": ["a", str(tmp_path / "b")]}


def test_a_job_is_written_once(tmp_path):
    folder = newJobFolder("train", tmp_path)
    Job("train", folder, seed=1).write()
    Job("train", folder, seed=1).write()
    with pytest.raises(JobError, match="another job"):
        Job("train", folder, seed=2).write()
    for value in (float("nan"), {1, 2}):
        with pytest.raises(JobError) as caught:
            Job("train", newJobFolder("train", tmp_path), {"rate": value}).write()
        assert caught.value.reason == "bad_parameter"


def test_job_folders_are_new_short_and_private(tmp_path):
    folders = {newJobFolder("train", tmp_path) for _ in range(20)}
    assert len(folders) == 20
    assert all(len(folder.name) <= 16 and folder.name.isascii() for folder in folders)
    if os.name != "nt":
        assert next(iter(folders)).stat().st_mode & 0o077 == 0


def test_no_result_means_no_success(tmp_path):
    with pytest.raises(JobError) as caught:
        readResult(tmp_path)
    assert caught.value.reason == "missing_file"
    for text in ("", "[]", '{"status": "fin'):
        (tmp_path / "result.json").write_text(text)
        with pytest.raises(JobError) as caught:
            readResult(tmp_path)
        assert caught.value.reason == "unreadable_file"
    (tmp_path / "result.json").write_text('{"status": "started"}')
    with pytest.raises(JobError, match="started"):
        readResult(tmp_path)


def cohortOf(folder):
    """Two tiny cases, as the torch side lays them out."""
    from genaug.nrrd import write_nrrd
    from genaug.volume import LABEL, Volume

    rng = np.random.default_rng(0)
    for case in ("one", "two"):
        write_nrrd(folder / case / "image.nrrd", Volume(rng.normal(size=(12, 10, 8)).astype("float32"), np.eye(4)))
        label = (rng.random((12, 10, 8)) > 0.5).astype("uint8")
        write_nrrd(folder / case / "label.nrrd", Volume(label, np.eye(4), LABEL))
    return folder


def test_the_real_worker_runs_a_real_job(tmp_path):
    cohort = cohortOf(tmp_path / "Köhörte mit Leerzeichen")
    folder = newJobFolder("fingerprint", tmp_path)
    Job("fingerprint", folder, inputs={"cohort": cohort}, device="cpu").write()
    worker = WorkerProcess(WORKER, {**os.environ, "PYTHONPATH": str(MODULE)})
    worker.start()
    try:
        began = time.perf_counter()
        worker.send({"run": str(folder), "id": "the job"})
        events = collect(worker, lambda event: event["event"] in ("finished", "failed"), 100)
        print(f"\nfrom nothing to the end of the first job: {time.perf_counter() - began:.1f} s")
        assert [event["event"] for event in events if event["event"] in ("ready", "started", "finished", "failed")] == [
            "ready",
            "started",
            "finished",
        ], events
        assert events[0]["missing"] == []
        result = readResult(folder)
        assert result["kind"] == "fingerprint" and set(result["summary"]) == {"fingerprint", "recommendation"}
        assert products(folder, result) == []
        worker.close(grace=10.0, wait=True)
        assert worker.exitCode == 0, worker.lastErrors()
    finally:
        worker.kill()
