"""From nothing to a worker that waits for a job, beside a Python that only imports torch and MONAI."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, Any

from genaug.jobs.folder import build_job

from benchmarks.data import ROOT
from benchmarks.performance.row import Result, Spec, timed
from benchmarks.performance.timing import Times, interleaved

MODEL = ROOT / "Resources" / "Models" / "brain-t1-vae"
WORKER = ("-c", "from genaug.cli import main; main()", "worker")
IMPORTS = ("-c", "import torch, monai; print('ready', flush=True)")
NEEDED = """
import json, sys
from importlib import import_module
from genaug.jobs.kinds import KINDS
from genaug.worker import WARM_MODULES
for name in WARM_MODULES:
    import_module(name)
warm = set(sys.modules)
for kind in KINDS.values():
    kind.load_handler()
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - warm} - {"genaug"})))
"""
REPETITIONS, WARM_UPS = 9, 1


class UntilFirstLine:
    """Starts a Python and waits until it says its first word; it is then told to end.

    Args:
        arguments: of Python.

    Attributes:
        seconds: to the first word, each time.
    """

    def __init__(self, *arguments: str) -> None:
        self.arguments = arguments
        self.seconds: list[float] = []

    def __call__(self) -> None:
        """Once."""
        started = time.perf_counter()
        with _python(*self.arguments) as process:
            assert _stream(process.stdout).readline()
            self.seconds.append(time.perf_counter() - started)
            process.communicate()


def job_seconds(model: Path, folder: Path, jobs: int = 3) -> list[float]:
    """Seconds of each of several jobs in a new worker, one case from a model each; the first one loads the model."""
    seconds = []
    with _python(*WORKER) as process:
        stdin, events = _stream(process.stdin), _stream(process.stdout)
        _wait(events, "ready")
        for number in range(jobs):
            job = build_job(folder / f"job{number}", "synthesize", inputs={"package": model}, seed=number)
            started = time.perf_counter()
            stdin.write(f"{job}\n")
            stdin.flush()
            _wait(events, "finished")
            seconds.append(time.perf_counter() - started)
        process.communicate()
    return seconds


def imported_later() -> list[str]:
    """Libraries that a first job of any kind would still have to import."""
    done = subprocess.run([sys.executable, "-c", NEEDED], check=True, capture_output=True, text=True)
    found: list[str] = json.loads(done.stdout)
    return found


def measure() -> list[Result]:
    """One row."""
    ours, peer = UntilFirstLine(*WORKER), UntilFirstLine(*IMPORTS)
    interleaved(ours, peer, REPETITIONS, WARM_UPS)
    with tempfile.TemporaryDirectory() as name:
        first, *others = job_seconds(MODEL, Path(name))
    return [
        timed(
            "cold-start",
            "worker started and ready for a job",
            "a Python that does `import torch, monai`",
            "exact",
            (Times(seconds=ours.seconds[WARM_UPS:]), Times(seconds=peer.seconds[WARM_UPS:])),
            1 / 1.1,
            detail={
                "libraries_a_first_job_still_imports": imported_later(),
                "model": MODEL.name,
                "seconds_of_a_first_job": first,
                "seconds_of_the_next_jobs": others,
            },
        )
    ]


def _python(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def _wait(events: IO[str], name: str) -> None:
    for line in events:
        event: dict[str, Any] = json.loads(line)
        assert event["event"] != "failed", event
        if event["event"] == name:
            return
    raise AssertionError(f"the worker ended without '{name}'")


SPEC = Spec("cold-start", ("cold-start",), measure)
