"""Cases made by several processes: the same as by one, one cohort, and none of the processes is left behind."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from engine_data import blob_cohort, tiny_options
from genaug.cohort import MANIFEST, Cohort
from genaug.devices import computing_threads
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.parameters import SynthesisParameters
from genaug.progress import Silent
from genaug.record import Record
from genaug.synthesis import synthesize
from genaug.synthesis_share import Claims
from genaug.synthesis_workers import _run_all, make_in_workers
from genaug.training import train


class Listener(Silent):
    """Writes down what it is told; asks to stop when so many cases are there.

    With `until` it holds up the worker that it listens to directly until another one has made a case there.
    """

    def __init__(self, stop_after: int | None = None, until: Path | None = None) -> None:
        self.shares: list[float] = []
        self.cases: list[str] = []
        self.stop_after, self.until = stop_after, until

    def progress(self, done: int, total: int, note: str = "") -> None:
        self.shares.append(done / total)
        if len(self.cases) == self.stop_after:
            raise Cancelled()
        while self.until is not None and not [*self.until.glob("*/*.record.json")]:
            time.sleep(0.05)

    def product(self, role: str, path: Path) -> None:
        self.cases.append(path.name)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Cohort:
    return blob_cohort(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def package(data, tmp_path_factory) -> Path:
    return train(data, tiny_options("spade", 2), tmp_path_factory.mktemp("package") / "spade", "cpu", Silent())


@pytest.fixture
def children():
    """What processes there are that were not there before the test: other tests leave multiprocessing's tracker."""
    before = psutil.Process().children(recursive=True)

    def found() -> list[psutil.Process]:
        present = [one for one in psutil.Process().children(recursive=True) if one not in before]
        return [one for one in present if one.status() != psutil.STATUS_ZOMBIE]

    return found


@pytest.mark.timeout(300)
def test_two_workers_make_what_one_process_makes(package, data, tmp_path, monkeypatch, children):
    """With the same threads, whatever a case follows, and with a Record that replays."""
    with computing_threads(1):
        alone = synthesize(package, tmp_path / "alone", SynthesisParameters(count=3, start=2), 5, "cpu", given=data)
    monkeypatch.chdir(tmp_path)
    listener = Listener(until=Path("together"))
    with computing_threads(2):
        asked = SynthesisParameters(count=3, start=2, workers=2)
        together = synthesize(package, Path("together"), asked, 5, "cpu", listener, data)
    assert [case.id for case in together.cases] == [case.id for case in alone.cases]
    for one, other in zip(together.cases, alone.cases, strict=True):
        assert np.array_equal(one.volume("A").array, other.volume("A").array)
        assert one.images["A"] == Path("together") / one.id / "A.nii.gz"
        first, second = Record.read(one.record), Record.read(other.record)
        assert first.machine == second.machine and first.inputs == second.inputs and first.parents == second.parents
    assert Path("together", MANIFEST).read_text() == Path("alone", MANIFEST).read_text()
    assert sorted(path.name for path in Path("together").iterdir()) == sorted([MANIFEST, *listener.cases])
    assert listener.shares == sorted(listener.shares) and listener.shares[-1] == 1
    assert not children()


@pytest.mark.timeout(300)
def test_what_one_worker_refuses_ends_all(package, data, tmp_path, children):
    (tmp_path / f"{package.name}-0003").mkdir()
    (tmp_path / f"{package.name}-0003" / "notes.txt").write_text("somebody's")
    with pytest.raises(GenaugError, match=f"{package.name}-0003") as caught:
        synthesize(package, tmp_path, SynthesisParameters(count=4, workers=2), 5, "cpu", given=data)
    assert caught.value.reason is Reason.BAD_PARAMETER
    assert not (tmp_path / MANIFEST).exists() and not children()


@pytest.mark.timeout(300)
def test_a_stopped_job_leaves_whole_cases_and_no_process(package, data, tmp_path, children):
    listener = Listener(stop_after=1)
    with pytest.raises(Cancelled):
        synthesize(package, tmp_path, SynthesisParameters(count=200, workers=2), 5, "cpu", listener, data)
    made = [folder for folder in tmp_path.iterdir() if not folder.name.startswith(".")]
    assert 0 < len(made) < 200 and all((folder / f"{folder.name}.record.json").is_file() for folder in made)
    assert not children()


@pytest.mark.timeout(300)
def test_one_case_needs_no_other_process(package, data, tmp_path, monkeypatch):
    monkeypatch.setattr("genaug.synthesis.make_in_workers", None)
    asked = SynthesisParameters(count=1, workers=4)
    assert len(synthesize(package, tmp_path, asked, 5, "cpu", given=data).cases) == 1


def test_every_batch_is_claimed_by_one_worker(tmp_path):
    workers = [Claims(tmp_path) for _ in range(4)]
    claimed: list[list[int]] = [[] for _ in workers]

    def work(number):
        claimed[number] += [batch for batch in range(200) if workers[number](batch)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(batch for part in claimed for batch in part) == list(range(200))


def test_workers_are_for_the_cpu(tmp_path):
    package = SimpleNamespace(device=torch.device("cuda"))
    with pytest.raises(GenaugError, match="keeps a GPU busy"):
        make_in_workers(None, package, tmp_path, SynthesisParameters(workers=2), range(2), 0, Silent())


def fails(reporter):
    raise GenaugError(Reason.DISK_FULL, "disk", "full", "room", "Make room.")


def ends(reporter):
    return 0


def waits(reporter):
    while True:
        reporter.progress(1, 2)
        time.sleep(0.01)


@pytest.mark.parametrize(("own", "others"), [(waits, [fails, waits]), (fails, [waits, waits]), (ends, [waits, fails])])
def test_the_first_failure_is_told_and_not_that_the_others_were_stopped(own, others):
    with pytest.raises(GenaugError) as caught:
        _run_all(own, others, Silent(), 3)
    assert caught.value.reason is Reason.DISK_FULL


def test_what_workers_say_is_told_by_the_thread_that_asked():
    told = []

    class Here(Silent):
        def log(self, message):
            told.append((message, threading.current_thread() is threading.main_thread()))

    def own(reporter):
        reporter.log("0")
        return "made"

    assert _run_all(own, [lambda reporter, n=n: reporter.log(str(n)) for n in (1, 2)], Here(), 3) == "made"
    assert sorted(told) == [("0", True), ("1", True), ("2", True)]
