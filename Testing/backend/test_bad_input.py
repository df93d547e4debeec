"""Whatever is wrong with what genaug is given: one message, exit code 2, the reason in the events, and nothing left.

Every row of the tables is one fault and one command that meets it. The command runs in this process, with `--json`; the
job it left is then run again with `genaug run --events`, whose stream must end with the same reason.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from engine_data import blob_cohort, tiny, tiny_options
from genaug.cli import main
from genaug.errors import GenaugError, Reason
from genaug.imageio import read_volume, write_volume
from genaug.jobs.folder import build_job
from genaug.networks import Signature, build_system
from genaug.progress import Silent
from genaug.recipe import Network
from genaug.training import train
from genaug.volume import LABEL, Volume

NOBODY = 65534


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound inputs: a cohort of four cases, the same as an nnU-Net dataset, a package and a translator's package."""
    folder = tmp_path_factory.mktemp("clean")
    cohort = blob_cohort(folder / "data", count=4)
    train(cohort, tiny_options("vae", 1, with_labels=False), folder / "package", "cpu", Silent())
    large = blob_cohort(folder / "large", count=1, size=32)
    train(large, tiny_options("pix2pix", 1), folder / "translator", "cpu", Silent())
    shutil.copytree(folder / "data", folder / "others")
    for made in ("package.training", "translator.training", "large"):
        shutil.rmtree(folder / made)
    nnunet = folder / "nnunet"
    for part in ("imagesTr", "labelsTr"):
        (nnunet / part).mkdir(parents=True)
    for case in cohort.cases:
        assert case.label is not None
        for number, channel in enumerate(("A", "B")):
            shutil.copy(case.images[channel], nnunet / "imagesTr" / f"{case.id}_{number:04d}.nii.gz")
        shutil.copy(case.label, nnunet / "labelsTr" / f"{case.id}.nii.gz")
    described = {
        "channel_names": {"0": "A", "1": "B"},
        "labels": {"background": 0, "sphere": 1},
        "numTraining": 4,
        "file_ending": ".nii.gz",
    }
    (nnunet / "dataset.json").write_text(json.dumps(described))
    return folder


@pytest.fixture
def work(clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the sound inputs to spoil, as the current folder."""
    folder = Path(shutil.copytree(clean, tmp_path / "work"))
    monkeypatch.chdir(folder)
    return folder


JOB = ("--job-folder", "job")
INSERT = ("--contrast", "-6", "-3", "--diameter-mm", "2", "3", "--margin-mm", "0.5", "--lesion-value", "2")
SMALL = ("--overrides", f"stages={json.dumps(tiny('vae')['stages'])}", "--batch-size", "1", "--device", "cpu")

COMMANDS: dict[str, tuple[str, ...]] = {
    "cohort": ("cohort", "data", "new.json"),
    "fingerprint": ("fingerprint", "data", *JOB),
    "train": ("train", "data", "vae", "out", "--iterations", "vae=1", "--channels", "A", *SMALL, *JOB),
    "insert": ("insert", "data", "out", *INSERT, *JOB),
    "evaluate": ("evaluate", "data", "others", "--output", "out", "--reference-part", "all", *JOB),
    "export": ("export", "out", "--real", "data", *JOB),
    "synthesize": ("synthesize", "package", "out", "--device", "cpu", *JOB),
    "translate": ("translate", "translator", "data", "out", "--device", "cpu", *JOB),
    "nnunet": ("cohort", "nnunet", "new.json"),
    "run": ("run", "job"),
}


def state(folder: Path) -> dict[str, int]:
    """Every file and folder below, hidden ones included, files with their time of change."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns if path.is_file() else 0 for path in folder.rglob("*")
    }


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def expect_refusal(
    arguments: tuple[str, ...],
    reason: Reason,
    subject: str,
    folder: Path,
    around: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> None:
    """Run a command, and its job once more, and check everything a refusal has to be.

    Args:
        arguments: of `genaug`.
        reason: the code.
        subject: how the subject ends: the file, the case or the folder.
        folder: where nothing may be left or changed but the job's own description and log.
        around: the circumstances in which it runs.
    """
    before = state(folder)
    with around():
        done = invoke(*arguments, "--json")
    assert done.exit_code == 2, done.output + repr(done.exception)
    failed = json.loads(done.stdout)
    assert (failed["event"], failed["reason"]) == ("failed", reason.value), failed
    assert failed["subject"].endswith(subject) and ".writing-" not in failed["subject"], failed
    assert all(failed[part] for part in ("found", "expected", "remedy", "message"))
    assert done.stderr.count("genaug: ") == 1
    for said in (
        f"genaug: {reason.value}: {failed['subject']}\n",
        f"found:    {failed['found']}\n",
        f"expected: {failed['expected']}\n",
        f"remedy:   {failed['remedy']}\n",
    ):
        assert said in done.stderr
    expect_nothing_left(folder, before)
    job = folder / "job"
    if job.is_dir():
        with around():
            again = invoke("run", str(job), "--events")
        assert again.exit_code == 2, again.output
        events = [json.loads(line) for line in again.stdout.splitlines()]
        assert [event["event"] for event in events if event["event"] in ("finished", "failed")] == ["failed"]
        assert (events[-1]["reason"], events[-1]["subject"]) == (reason.value, failed["subject"])
        expect_nothing_left(folder, before)


def expect_nothing_left(folder: Path, before: dict[str, int]) -> None:
    own = ("job", "job/job.json", "job/log.txt")
    after = state(folder)
    assert {name: after[name] for name in after if name not in own} == {
        name: before[name] for name in before if name not in own
    }


def image(channel: str = "A") -> Path:
    return Path("data/case1") / f"{channel}.nii.gz"


def truncate_packed() -> None:
    image().write_bytes(image().read_bytes()[:4000])


def truncate_plain() -> None:
    """Cut off by whole bytes and packed again, so that only the header knows that voxels are missing."""
    image().write_bytes(gzip.compress(gzip.decompress(image().read_bytes())[:8000]))


def rename_labels() -> None:
    label = read_volume(image("label"))
    write_volume(image("label"), label.with_array(7 * label.array))


def halve_labels() -> None:
    label = read_volume(image("label"))
    write_volume(image("label"), Volume((0.5 * label.array).astype(np.float32), label.affine, "MR"))


def move_label() -> None:
    label = read_volume(image("label"))
    affine = label.affine.copy()
    affine[:3, 3] += 5
    write_volume(image("label"), Volume(label.array, affine, LABEL))


def crop_label() -> None:
    label = read_volume(image("label"))
    write_volume(image("label"), Volume(label.array[:-1], label.affine, LABEL))


def break_voxel() -> None:
    data = bytearray(gzip.decompress(image().read_bytes()))
    data[-4:] = np.float32(np.nan).tobytes()
    image().write_bytes(gzip.compress(bytes(data)))


def edit_manifest(change: Callable[[Any], None]) -> None:
    path = Path("data/cohort.json")
    manifest = json.loads(path.read_text())
    change(manifest["cases"])
    path.write_text(json.dumps(manifest))


def drop_channel() -> None:
    edit_manifest(lambda cases: cases[1]["images"].pop("A"))


def drop_label() -> None:
    edit_manifest(lambda cases: cases[1].update(label=None))


def drop_cases() -> None:
    edit_manifest(lambda cases: cases.clear())


def unpair_image() -> None:
    Path("nnunet/labelsTr/case1.nii.gz").unlink()


def unpair_label() -> None:
    for number in range(2):
        Path(f"nnunet/imagesTr/case1_{number:04d}.nii.gz").unlink()


def unpair_channel() -> None:
    Path("nnunet/imagesTr/case1_0001.nii.gz").unlink()


def change_weights() -> None:
    for package in ("package", "translator"):
        (weights,) = Path(package, "models").iterdir()
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(bytes(data))


def add_key() -> None:
    folder = build_job(Path("job"), "fingerprint", inputs={"cohort": Path("data")})
    job = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps({**job, "colour": "red"}))


def occupy_output() -> None:
    Path("out").write_text("a file of the user's")


FAULTS = [
    *[
        (occupy_output, command, Reason.BAD_PARAMETER, "out")
        for command in ["train", "insert", "evaluate", "export", "synthesize", "translate"]
    ],
    *[
        (spoil, command, reason, str(image(channel)))
        for spoil, reason, channel, commands in (
            (truncate_packed, Reason.UNREADABLE_FILE, "A", "cohort fingerprint train insert evaluate export translate"),
            (truncate_plain, Reason.UNREADABLE_FILE, "A", "cohort fingerprint train insert evaluate export translate"),
            (break_voxel, Reason.NOT_FINITE, "A", "cohort fingerprint train insert evaluate export translate"),
            (rename_labels, Reason.WRONG_LABELS, "label", "cohort insert export"),
            (halve_labels, Reason.WRONG_LABELS, "label", "cohort fingerprint insert evaluate export"),
            (move_label, Reason.GEOMETRY_MISMATCH, "label", "cohort fingerprint insert evaluate export"),
            (crop_label, Reason.GEOMETRY_MISMATCH, "label", "cohort fingerprint insert evaluate export"),
        )
        for command in commands.split()
    ],
    (drop_channel, "cohort", Reason.UNPAIRED, "case1"),
    (drop_channel, "train", Reason.UNPAIRED, "case1"),
    (drop_channel, "evaluate", Reason.UNPAIRED, "case1"),
    (drop_label, "insert", Reason.UNPAIRED, "case1"),
    (unpair_image, "nnunet", Reason.UNPAIRED, "nnunet/labelsTr/case1.nii.gz"),
    (unpair_label, "nnunet", Reason.UNPAIRED, "nnunet/labelsTr/case1.nii.gz"),
    (unpair_channel, "nnunet", Reason.UNPAIRED, "case1"),
    (drop_cases, "cohort", Reason.EMPTY_COHORT, "data"),
    (drop_cases, "fingerprint", Reason.EMPTY_COHORT, "data"),
    (drop_cases, "train", Reason.EMPTY_COHORT, "blobs"),
    (drop_cases, "insert", Reason.EMPTY_COHORT, "data"),
    (drop_cases, "evaluate", Reason.EMPTY_COHORT, "data"),
    (drop_cases, "export", Reason.EMPTY_COHORT, "data"),
    (drop_cases, "translate", Reason.EMPTY_COHORT, "data"),
    (change_weights, "synthesize", Reason.BAD_PACKAGE, "models/vae.safetensors"),
    (change_weights, "translate", Reason.BAD_PACKAGE, "models/translator.safetensors"),
    (add_key, "run", Reason.BAD_JOB, "job/job.json"),
]


@pytest.mark.parametrize(
    ("spoil", "command", "reason", "subject"), FAULTS, ids=[f"{fault[0].__name__}-{fault[1]}" for fault in FAULTS]
)
def test_a_fault_is_one_message_and_leaves_nothing(
    work: Path, spoil: Callable[[], None], command: str, reason: Reason, subject: str
) -> None:
    spoil()
    expect_refusal(COMMANDS[command], reason, subject, work)


@contextmanager
def limited_files() -> Iterator[None]:
    """No file may grow beyond 3 kB: the system refuses as it does on a full disk, whoever runs the test."""
    resource = pytest.importorskip("resource", reason="this system has no limit on the size of files")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


WRITING = ["train", "insert", "evaluate", "export", "synthesize"]


@pytest.mark.parametrize("command", WRITING)
def test_a_file_that_finds_no_room_is_one_message_and_leaves_nothing(work: Path, command: str) -> None:
    expect_refusal(COMMANDS[command], Reason.DISK_FULL, "", work, limited_files)


@pytest.fixture
def small_disk(work: Path) -> Iterator[Path]:
    """A file system of 48 kB in the folder `disk`."""
    disk = work / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48k", "genaug-test", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no small file system can be mounted here, which needs root; the limit on file sizes is tested")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("command", WRITING)
def test_a_full_disk_is_one_message_and_leaves_nothing(small_disk: Path, work: Path, command: str) -> None:
    free = os.statvfs(small_disk)
    (small_disk / "other").write_bytes(bytes(free.f_bavail * free.f_bsize - 4096))
    arguments = tuple("disk/out" if part == "out" else part for part in COMMANDS[command])
    expect_refusal(arguments, Reason.DISK_FULL, "", work)


def test_a_disk_without_room_for_the_job_is_one_message_and_leaves_nothing(small_disk: Path, work: Path) -> None:
    """The job itself lies beside the output."""
    free = os.statvfs(small_disk)
    (small_disk / "other").write_bytes(bytes(free.f_bavail * free.f_bsize))
    arguments = ("insert", "data", "disk/out", *INSERT)
    expect_refusal(arguments, Reason.DISK_FULL, "job.json", work)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Rights mean nothing to root, whom containers run as, so root turns into nobody for a while."""
    if os.getuid() != 0:
        yield
        return
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@pytest.fixture
def shared(clean: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the sound inputs that nobody can reach and write, other than in pytest's own folders."""
    if not hasattr(os, "setresuid"):
        pytest.skip("this system cannot change the user of a process for a while")
    folder = Path(tempfile.mkdtemp(prefix="genaug-test-"))
    shutil.copytree(clean, folder, dirs_exist_ok=True)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o777 if path.is_dir() else 0o666)
    monkeypatch.chdir(folder)
    with as_nobody():
        reachable = os.access(folder, os.W_OK) and os.access(Path(__file__), os.R_OK)
    if not reachable:
        shutil.rmtree(folder)
        pytest.skip(f"{tempfile.gettempdir()} or the checkout is closed to other users, so no rights can be tested")
    yield folder
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o777)
    shutil.rmtree(folder)


@pytest.mark.parametrize("command", ["cohort", "fingerprint", "train", "insert", "evaluate", "export", "translate"])
def test_an_image_that_may_not_be_read_is_named(shared: Path, command: str) -> None:
    image().chmod(0)
    expect_refusal(COMMANDS[command], Reason.NO_PERMISSION, str(image()), shared, as_nobody)


@pytest.mark.parametrize("command", ["cohort", "fingerprint", "train", "insert", "evaluate", "export", "translate"])
@pytest.mark.parametrize("locked", ["data", "data/cohort.json"])
def test_a_cohort_that_may_not_be_read_is_named(shared: Path, command: str, locked: str) -> None:
    Path(locked).chmod(0)
    expect_refusal(COMMANDS[command], Reason.NO_PERMISSION, locked, shared, as_nobody)


@pytest.mark.parametrize("command", WRITING)
def test_an_output_that_may_not_be_written_is_named(shared: Path, command: str) -> None:
    locked = Path("locked")
    locked.mkdir()
    locked.chmod(0o555)
    arguments = tuple("locked/out" if part == "out" else part for part in COMMANDS[command])
    expect_refusal(arguments, Reason.NO_PERMISSION, "", shared, as_nobody)


@pytest.mark.parametrize("command", ["insert", "cohort"])
def test_a_folder_that_may_not_be_written_at_all_is_named(shared: Path, command: str) -> None:
    """Neither the job beside the output nor a manifest."""
    locked = Path("locked")
    locked.mkdir()
    locked.chmod(0o555)
    arguments = {"insert": ("insert", "data", "locked/out", *INSERT), "cohort": ("cohort", "data", "locked/new.json")}
    subject = {"insert": "job.json", "cohort": "locked/new.json"}[command]
    expect_refusal(arguments[command], Reason.NO_PERMISSION, subject, shared, as_nobody)


def test_a_window_too_small_for_a_translator_is_refused_in_words(work: Path) -> None:
    """And leaves no training folder, which would refuse the next try with another window."""
    stages = {
        "translator": {
            "network": {"options": {"norm": "instance"}},
            "critics": {"critic": {"options": {"channels": 4, "layers": 1}}},
        }
    }
    arguments = ("train", "data", "pix2pix", "out", "--channels", "B", "--source-channels", "A", "--device", "cpu")
    overrides = ("--overrides", f"stages={json.dumps(stages)}", "--window", "16", "16", "16")
    expect_refusal((*arguments, *overrides, *JOB), Reason.BAD_RECIPE, "translator", work)
    with pytest.raises(GenaugError, match="16 x 16 x 16 voxels leaves 1 at the bottleneck"):
        build_system(Network(kind="translator"), Signature(3, (16, 16, 16), 1, 0, 1))


def test_a_starter_model_that_lacks_its_start_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message and no traceback; the package it is to start from was never trained."""
    from genaug.package import read_info

    from demo import starter

    monkeypatch.setattr(starter, "MODELS", tmp_path)
    monkeypatch.setattr(starter, "train_starter", lambda one, _: read_info(tmp_path / str(one.start_from)))
    done = CliRunner().invoke(starter.main, ["--only", "brain-t1-gan"])
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit)
    assert str(tmp_path / "brain-t1-vae") in done.stderr
    assert "no configs/genaug.json" in done.stderr


@pytest.mark.parametrize("window", [(16, 16), (8, 64), (16, 16, 16), (8, 64, 64)])
def test_a_translator_refuses_what_it_cannot_normalise(window: tuple[int, ...]) -> None:
    with pytest.raises(GenaugError, match="bottleneck") as caught:
        build_system(Network(kind="translator"), Signature(len(window), window, 1, 0, 1))
    assert caught.value.reason is Reason.BAD_RECIPE


@pytest.mark.parametrize("window", [(16, 32), (16, 16, 32)])
def test_the_smallest_window_of_a_translator_trains(window: tuple[int, ...]) -> None:
    import torch
    from genaug.networks import Batch

    network = Network(kind="translator", options={"features": [4] * 6})
    system = build_system(network, Signature(len(window), window, 1, 0, 1)).train()
    image = torch.zeros(1, 1, *window)
    assert system(Batch(image, source=image), torch.Generator())["generated"].shape == image.shape
