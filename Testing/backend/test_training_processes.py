"""Training in several processes: what they tell is passed on, and none of them is ever left behind."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from engine_data import blob_cohort, tiny_options
from genaug import processes
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.package import load_package, read_info
from genaug.processes import run_command
from genaug.progress import Silent
from genaug.training import run_training, train, training_folder
from genaug.training.checkpoint import load_checkpoint
from genaug.training.loop import StageRun, derive

FAILURE = {
    "event": "failed",
    "reason": "out_of_memory",
    "subject": "stage vae",
    "found": "too much",
    "expected": "less",
    "remedy": "Lower it.",
    "message": "all of it",
}
PROGRESS = {"event": "progress", "done": 1, "total": 4, "note": "vae: 1", "eta_seconds": None}


class Listener(Silent):
    """Writes down what it is told; asks to stop at progress of that note."""

    def __init__(self, stop_at: str | None = None) -> None:
        self.stop_at, self.told = stop_at, []

    def progress(self, done: int, total: int, note: str = "") -> None:
        if not self.told or self.told[-1] != (done, total, note):
            self.told.append((done, total, note))
        if note == self.stop_at:
            raise Cancelled()

    def log(self, message: str) -> None:
        self.told.append(message)

    def product(self, role: str, path: Path) -> None:
        self.told.append((role, path))


def listen_to(tmp_path: Path, script: str, listener: Silent) -> None:
    names = {"PROGRESS": json.dumps(PROGRESS), "FAILURE": json.dumps(FAILURE)}
    lines = ["import os, subprocess, sys, time", *(f"{name} = {text!r}" for name, text in names.items())]
    say = "def say(text): print(text, flush=True)"
    run_command([sys.executable, "-c", "\n".join([*lines, say, script])], tmp_path / "log", listener)


def ended(tmp_path: Path) -> bool:
    """Whether the processes whose numbers a script has written are gone, within some seconds."""
    numbers = [int(word) for word in (tmp_path / "pids").read_text().split()]
    until = time.monotonic() + 10
    while any(psutil.pid_exists(number) and psutil.Process(number).status() != "zombie" for number in numbers):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return len(numbers) > 0


def with_child(tmp_path: Path) -> str:
    """A script's first lines: it starts a process that outlives it, and writes down both numbers."""
    sleep = "[sys.executable, '-c', 'import time; time.sleep(600)']"
    return (
        f"child = subprocess.Popen({sleep})\n"
        f"open({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
    )


def test_events_are_passed_on_and_anything_else_is_kept_in_the_log(tmp_path: Path) -> None:
    listener = Listener()
    product = json.dumps({"event": "product", "role": "preview", "path": "a.png"})
    log = json.dumps({"event": "log", "message": "resumed"})
    script = f"say({log!r}); say(PROGRESS); say('chatter'); say({product!r}); print('warning', file=sys.stderr)"
    listen_to(tmp_path, script, listener)
    said = [told for told in listener.told if told != (0, 1, "starting the processes")]
    assert list(dict.fromkeys(said)) == ["resumed", (1, 4, "vae: 1"), ("preview", Path("a.png"))]
    assert sorted((tmp_path / "log").read_text().split()) == ["chatter", "warning"]


def test_the_failure_of_one_is_the_failure_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that says what happened is believed; those that wait for it are ended."""
    monkeypatch.setattr(processes, "END_SECONDS", 0.5)
    with pytest.raises(GenaugError) as caught:
        listen_to(tmp_path, with_child(tmp_path) + "say(FAILURE); time.sleep(600)", Silent())
    assert caught.value.reason is Reason.OUT_OF_MEMORY and caught.value.remedy == "Lower it."
    assert ended(tmp_path)


def test_one_that_is_asked_to_stop_may_finish_what_it_does(tmp_path: Path) -> None:
    stopped = json.dumps({**FAILURE, "reason": "cancelled"})
    script = f"say(PROGRESS); sys.stdin.read(); open({str(tmp_path / 'saved')!r}, 'w'); say({stopped!r}); sys.exit(1)"
    with pytest.raises(Cancelled):
        listen_to(tmp_path, script, Listener(stop_at="vae: 1"))
    assert (tmp_path / "saved").exists()


def test_one_that_does_not_stop_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.5)
    monkeypatch.setattr(processes, "END_SECONDS", 0.5)
    with pytest.raises(Cancelled):
        listen_to(tmp_path, with_child(tmp_path) + "say(PROGRESS); time.sleep(600)", Listener(stop_at="vae: 1"))
    assert ended(tmp_path)


def test_one_that_dies_without_a_word_is_a_defect_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"code 3(.|\n)*Traceback of something"):
        listen_to(tmp_path, "print('Traceback of something', file=sys.stderr); sys.exit(3)", Silent())


def test_nothing_runs_on_when_the_listener_breaks(tmp_path: Path) -> None:
    class Broken(Silent):
        def progress(self, done: int, total: int, note: str = "") -> None:
            if note == "vae: 1":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        listen_to(tmp_path, with_child(tmp_path) + "say(PROGRESS); time.sleep(600)", Broken())
    assert ended(tmp_path)


def test_every_process_draws_its_own_numbers_and_the_first_those_of_a_training_alone() -> None:
    def seed(rank: int, purpose: str) -> int:
        setting = SimpleNamespace(seed=5, fabric=SimpleNamespace(global_rank=rank))
        return StageRun._seed(SimpleNamespace(setting=setting, name="vae", iteration=7), purpose)

    assert seed(0, "draws") == derive(5, "vae", 7, "draws")
    assert len({seed(rank, purpose) for rank in range(4) for purpose in ("draws", "global")}) == 8


class StopAfter(Silent):
    """Asks to stop when the training has reported an iteration so often."""

    def __init__(self, count: int) -> None:
        self.left = count

    def progress(self, done: int, total: int, note: str = "") -> None:
        self.left -= note.startswith("vae:")
        if self.left == 0:
            raise Cancelled()


@pytest.mark.timeout(600)
def test_two_processes_train_stop_together_and_resume(tmp_path: Path) -> None:
    """With the CPU in the place of two GPUs: the same launcher, the same exchange of gradients."""
    data = blob_cohort(tmp_path / "data", count=4)
    options = tiny_options("vae", 100_000, devices=2, preview_every=1)
    folder = training_folder(tmp_path / "vae")
    with pytest.raises(Cancelled):
        train(data, options, tmp_path / "vae", "cpu", StopAfter(1))
    stopped = load_checkpoint(folder / "vae.checkpoint.pt")
    reached = stopped["iteration"]
    assert 0 < reached < 100_000 and not (tmp_path / "vae").exists()

    listener = Listener()
    # Long enough for a few iterations; that the time is up must be known to both at the same one.
    train(data, options.model_copy(update={"minutes": 0.05}), tmp_path / "vae", "cpu", listener)
    assert f"vae: resumed at iteration {reached}" in listener.told
    assert reached < read_info(tmp_path / "vae").stages["vae"].iterations < 100_000
    assert all(value.isfinite().all() for value in load_package(tmp_path / "vae").system.state_dict().values())
    assert listener.told.count(("package", tmp_path / "vae")) == 1
    previews = [told for told in listener.told if told[0] == "preview"]
    assert previews and len(previews) == len(set(previews)), "the first process alone draws them"
    assert len(list((folder / "tensorboard" / "vae").iterdir())) == 2, "one writer in each of the two runs"

    with pytest.raises(Cancelled):
        train(data, tiny_options("vae", 100_000), tmp_path / "alone", "cpu", StopAfter(reached))
    alone = load_checkpoint(training_folder(tmp_path / "alone") / "vae.checkpoint.pt")
    assert alone["iteration"] == reached
    assert any(not torch.equal(alone["network"][key], value) for key, value in stopped["network"].items()), (
        "the second process has cases and draws of its own, from which both learn"
    )


@pytest.mark.timeout(300)
def test_a_network_that_grows_trains_in_two_processes(tmp_path: Path) -> None:
    """Its finer levels take no part at first, which must not keep the processes waiting for their gradients."""
    data = blob_cohort(tmp_path / "data", count=4)
    train(data, tiny_options("pggan", 3, devices=2), tmp_path / "pggan", "cpu", Silent())
    assert read_info(tmp_path / "pggan").stages["gan"].iterations == 3


@pytest.mark.timeout(300)
def test_what_the_training_refuses_in_its_own_process_is_refused_here(tmp_path: Path) -> None:
    folder = tmp_path / "vae.training"
    folder.mkdir()
    with pytest.raises(GenaugError) as caught:
        run_training(folder, tmp_path / "vae", tiny_options("vae", devices=2), "cpu", Silent())
    assert caught.value.reason is Reason.MISSING_FILE and caught.value.subject == str(folder / "plan.json")
