"""The command line as a person and a script see it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from genaug.cli import main
from genaug.cli.app import COMMANDS
from genaug.cli.options import given, model_options
from genaug.cohort import Cohort, write_case
from genaug.imageio import read_volume, write_volume
from genaug.jobs.folder import build_job
from genaug.jobs.kinds import KINDS, Kind
from genaug.jobs.schema import Task, read_result
from genaug.progress import Reporter
from genaug.volume import LABEL, Volume
from pydantic import BaseModel, Field

HEAVY = ("torch", "monai", "SimpleITK", "scipy", "matplotlib", "lightning_fabric")


def make_cohort(folder: Path, count: int = 3) -> Path:
    rng = np.random.default_rng(0)
    label = np.zeros((12, 12, 12), np.uint8)
    label[3:9, 3:9, 3:9] = 1
    cases = [
        write_case(
            folder,
            f"case{index}",
            f"patient{index}",
            {"t1": Volume(rng.normal(100, 5, label.shape).astype(np.float32), np.eye(4))},
            Volume(label, np.eye(4), LABEL),
            file_format="nrrd",
        )
        for index in range(count)
    ]
    Cohort(name="toy", root=folder, channels={"t1": "MR"}, label_names={1: "cube"}, cases=cases).write(folder)
    return folder


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    return make_cohort(tmp_path / "cohort")


def genaug(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def modules_after(*arguments: object) -> tuple[set[str], float]:
    """What a fresh process has imported after a command, and the seconds it took as a whole."""
    code = (
        "import sys; from genaug.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print('MODULES', *sys.modules)"
    )
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, encoding="utf-8")
    seconds = time.perf_counter() - begin
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rsplit("MODULES", 1)[1].split()), seconds


def test_help_is_there_in_half_a_second_and_imports_nothing_heavy() -> None:
    runs = [modules_after("--help") for _ in range(3)]
    best = min(seconds for _, seconds in runs)
    print(f"genaug --help takes {best:.2f} s")
    assert best < 0.5
    assert not set(HEAVY) & runs[0][0]


@pytest.mark.parametrize("arguments", [("methods",), ("methods", "--json"), ("methods", "vae")])
def test_methods_import_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert not set(HEAVY) & modules_after(*arguments)[0]


def test_a_kept_fingerprint_imports_nothing_heavy_and_says_the_same(cohort: Path) -> None:
    computed = genaug("fingerprint", cohort, "--keep", "--json")
    assert computed.exit_code == 0, computed.output
    assert not set(HEAVY) & modules_after("fingerprint", cohort)[0]
    assert json.loads(genaug("fingerprint", cohort, "--json").stdout) == json.loads(computed.stdout)


def test_measuring_a_fingerprint_imports_no_network(cohort: Path) -> None:
    assert not {"torch", "monai", "lightning_fabric"} & modules_after("fingerprint", cohort)[0]


def test_a_kept_fingerprint_of_another_manifest_is_not_used(cohort: Path) -> None:
    assert genaug("fingerprint", cohort, "--keep").exit_code == 0
    read = Cohort.read(cohort)
    read.with_cases(read.cases[:2]).write(cohort)
    assert json.loads(genaug("fingerprint", cohort, "--json").stdout)["fingerprint"]["cases"] == 2


def test_a_kept_fingerprint_of_other_files_is_not_used(cohort: Path) -> None:
    """The manifest stays as it is; the images are written again, brighter, and the label map of one case is cleared."""
    assert genaug("fingerprint", cohort, "--keep").exit_code == 0
    for case in Cohort.read(cohort).cases:
        volume = case.volume("t1")
        write_volume(case.images["t1"], volume.with_array(volume.array + 1000))
    found = json.loads(genaug("fingerprint", cohort, "--keep", "--json").stdout)["fingerprint"]
    assert found["channels"]["t1"]["intensity"]["50"]["minimum"] > 1000
    first = Cohort.read(cohort).cases[0]
    assert first.label is not None
    label = read_volume(first.label)
    write_volume(first.label, label.with_array(np.zeros_like(label.array)))
    assert json.loads(genaug("fingerprint", cohort, "--json").stdout)["fingerprint"]["labels"]["1"]["cases"] == 2


@pytest.mark.parametrize("content", ["{", '{"schema_version": 1}'])
def test_a_kept_fingerprint_that_cannot_be_read_is_measured_anew(cohort: Path, content: str) -> None:
    (cohort / "fingerprint.json").write_text(content)
    done = genaug("fingerprint", cohort, "--keep", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads((cohort / "fingerprint.json").read_text()) == json.loads(done.stdout)["fingerprint"]


def test_a_fingerprint_cannot_be_kept_without_a_manifest(cohort: Path) -> None:
    (cohort / "cohort.json").unlink()
    expect_user_error(genaug("fingerprint", cohort, "--keep"), "bad_parameter", "cohort.json")


def test_the_fingerprint_names_a_method_and_its_reason(cohort: Path) -> None:
    done = genaug("fingerprint", cohort)
    assert "3 cases of 3 patients" in done.stdout
    assert "recommended: " in done.stdout


def test_every_command_explains_itself() -> None:
    for name in COMMANDS:
        done = genaug(name, "--help")
        assert done.exit_code == 0, name
        assert "Usage: " in done.stdout


def test_methods_describe_every_recipe() -> None:
    recipes = json.loads(genaug("methods", "--json").stdout)
    assert {"wgan-gp", "vae", "ddpm", "ldm", "pix2pix", "spade"} <= {recipe["name"] for recipe in recipes}
    listed = genaug("methods").stdout
    for recipe in recipes:
        assert recipe["name"] in listed
        assert recipe["citation"] in " ".join(genaug("methods", recipe["name"]).stdout.split())


def expect_user_error(done: Result, reason: str, *parts: str) -> None:
    assert done.exit_code == 2, done.output
    assert done.stderr.count("genaug: ") == 1
    assert f"genaug: {reason}: " in done.stderr
    for part in ("found:", "expected:", "remedy:", *parts):
        assert part in done.stderr


def test_an_unknown_method_is_a_user_error() -> None:
    expect_user_error(genaug("methods", "gan9000"), "bad_recipe", "gan9000", "vae")


def test_a_missing_cohort_is_a_user_error(tmp_path: Path) -> None:
    expect_user_error(genaug("fingerprint", tmp_path / "none"), "missing_file", str(tmp_path / "none"))


def test_an_image_is_no_cohort_and_the_message_says_what_is(cohort: Path) -> None:
    image = cohort / "case0" / "t1.nrrd"
    done = genaug("fingerprint", image)
    expect_user_error(done, "bad_parameter", str(image), "an image file", "Give the folder that holds the image")


def test_an_empty_cohort_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    expect_user_error(genaug("fingerprint", tmp_path / "empty"), "empty_cohort", str(tmp_path / "empty"))


def test_a_wrong_parameter_is_a_user_error_and_leaves_no_job(cohort: Path, tmp_path: Path) -> None:
    done = genaug("insert", cohort, tmp_path / "out", "--count", "0", "--contrast", "-6", "-3")
    expect_user_error(done, "bad_parameter", "--count", "genaug insert --help")
    assert "job.json" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cohort"]


def test_a_device_that_there_is_none_of_is_told_in_words(cohort: Path) -> None:
    done = genaug("synthesize", cohort, cohort.parent / "out", "--device", "gpu")
    expect_user_error(done, "bad_parameter", "--device: not auto, cpu, mps, cuda", "'gpu'")
    assert "pattern" not in done.stderr


def test_a_mistyped_command_is_told_with_the_nearest() -> None:
    done = genaug("sythesise")
    assert done.exit_code == 2 and "Did you mean 'synthesize'?" in done.stderr
    assert "Did you mean" not in genaug("xyz").stderr


@pytest.mark.parametrize("spacing", [("0", "1", "1"), ("1", "-1", "1"), ("1", "1", "nan"), ("1", "1", "inf")])
def test_a_spacing_that_no_voxel_has_is_a_user_error(cohort: Path, tmp_path: Path, spacing: tuple[str, ...]) -> None:
    done = genaug("train", cohort, "vae", tmp_path / "out", "--spacing", *spacing)
    expect_user_error(done, "bad_parameter", "--spacing")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cohort"]


def test_a_job_with_an_unknown_key_is_a_user_error(cohort: Path, tmp_path: Path) -> None:
    folder = build_job(tmp_path / "job", "fingerprint", inputs={"cohort": cohort})
    job = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps({**job, "colour": 1}))
    expect_user_error(genaug("run", folder), "bad_job", "colour: not a key that is known", str(folder / "job.json"))


def test_a_failure_as_json_has_its_reason_on_stdout(cohort: Path, tmp_path: Path) -> None:
    (cohort / "case0" / "t1.nrrd").write_bytes(b"NRRD0005\n")
    done = genaug("insert", cohort, tmp_path / "out", "--contrast", "-6", "-3", "--json")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["reason"] == "unreadable_file"
    assert not (tmp_path / "out" / "cohort.json").exists()


@pytest.mark.parametrize(
    ("arguments", "reason", "subject"),
    [
        (("train", "none", "vae", "out"), "missing_file", "none"),
        (("synthesize", "none", "out"), "missing_file", "none"),
        (("translate", "none", "image.nii.gz", "out"), "missing_file", "none"),
        (("insert", "none", "out"), "missing_file", "none"),
        (("evaluate", "none", "none"), "missing_file", "none"),
        (("export", "out", "--real", "none"), "missing_file", "none"),
        (("replay", "none"), "missing_file", "none"),
        (("run", "none"), "missing_file", "none"),
        (("fingerprint", "none"), "missing_file", "none"),
        (("fingerprint", "cohort", "--task", "translation"), "unpaired", "toy"),
        (("cohort", "none", "out.json"), "missing_file", "none"),
        (("methods", "none"), "bad_recipe", "none"),
        (("insert", "cohort", "out", "--count", "0"), "bad_parameter", "command line"),
        (("insert", "cohort", "out", "--count", "many"), "bad_parameter", "command line"),
        (("insert", "cohort"), "bad_parameter", "command line"),
        (("paint", "cohort"), "bad_parameter", "command line"),
        (("run", "none", "--events"), "bad_parameter", "command line"),
    ],
)
def test_every_failure_as_json_is_the_failed_event(
    cohort: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], reason: str, subject: str
) -> None:
    """Whether the job fails, cannot be built, or the command line cannot be read."""
    monkeypatch.chdir(cohort.parent)
    done = genaug(*arguments, "--json")
    assert done.exit_code == 2, done.output
    failed = json.loads(done.stdout)
    assert (failed["event"], failed["reason"]) == ("failed", reason)
    assert failed["subject"].endswith(subject)
    assert all(failed[part] for part in ("found", "expected", "remedy", "message"))
    assert done.stderr
    assert [path.name for path in cohort.parent.iterdir()] == ["cohort"]


def test_a_failed_run_says_so_once_in_its_events(tmp_path: Path) -> None:
    done = genaug("run", tmp_path, "--events")
    assert done.exit_code == 2
    assert [json.loads(line)["event"] for line in done.stdout.splitlines()] == ["failed"]


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'pandas'", name="pandas")

    monkeypatch.setattr("genaug.recipe.load_recipe", missing)
    done = genaug("methods", "vae", "--json")
    expect_user_error(done, "missing_dependency", "pandas")
    assert json.loads(done.stdout)["reason"] == "missing_dependency"


def test_a_defect_outside_a_job_has_its_reason_and_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genaug.recipe.load_recipe", lambda _: 1 / 0)
    done = genaug("methods", "vae", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["reason"] == "internal"
    assert isinstance(done.exception, ZeroDivisionError)


def test_an_interrupt_outside_a_job_ends_with_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("genaug.readers.read_cohort", interrupt)
    done = genaug("cohort", tmp_path, tmp_path / "cohort.json")
    assert done.exit_code == 130
    assert "genaug: cancelled" in done.stderr


def test_a_defect_ends_with_1_and_its_log_stays(monkeypatch: pytest.MonkeyPatch, cohort: Path) -> None:
    import genaug.jobs.handlers.fingerprint as handler

    monkeypatch.setattr(handler, "fingerprint", lambda *_: 1 / 0)
    done = genaug("fingerprint", cohort)
    assert done.exit_code == 1
    log = Path(next(word for word in done.stderr.split() if word.endswith("log.txt,")).rstrip(","))
    assert "ZeroDivisionError" in log.read_text()


def test_a_job_is_kept_beside_the_output_and_runs_again(cohort: Path, tmp_path: Path) -> None:
    arguments = ("insert", cohort, tmp_path / "out", "--contrast", "-6", "-3", "--diameter-mm", "2", "3")
    done = genaug(*arguments, "--margin-mm", "0.5", "--lesion-value", "2", "--seed", "4")
    assert done.exit_code == 0, done.output
    (folder,) = (tmp_path / "genaug-jobs").iterdir()
    assert folder.name.endswith("-insert")
    first = read_result(folder)
    assert [product.role for product in first.products] == ["case", "case", "case", "cohort"]
    assert len(Cohort.read(tmp_path / "out").cases) == 3
    # The output lies outside the job, so nothing there is cleared, and the second run refuses to overwrite it.
    expect_user_error(genaug("run", folder), "bad_parameter", str(tmp_path / "out"))


def made(task: Task, reporter: Reporter) -> dict[str, Any]:
    """A handler that says it has written a case."""
    reporter.product("case", task.output / "made")
    return {"text": "as before", "same": True}


def test_what_a_job_without_output_wrote_is_not_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its temporary folder is gone when somebody reads of it."""
    handler = f"{__name__}:made"
    monkeypatch.setitem(KINDS, "replay", Kind("genaug.jobs.parameters:NoParameters", handler, required=("case",)))
    (tmp_path / "case").mkdir()
    done = genaug("replay", tmp_path / "case", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["products"] == [] and "made" not in done.stderr
    done = genaug("replay", tmp_path / "case", tmp_path / "out", "--json")
    assert json.loads(done.stdout)["products"] and str(tmp_path / "out" / "made") in done.stderr


def test_the_event_stream_of_run_is_the_workers(cohort: Path, tmp_path: Path) -> None:
    folder = build_job(tmp_path / "job", "fingerprint", inputs={"cohort": cohort})
    events = [json.loads(line) for line in genaug("run", folder, "--events").stdout.splitlines()]
    assert events[0]["event"] == "started"
    assert events[-1] == {"event": "finished", "result": str(folder / "result.json")}


ENDLESS = """
import sys, time
from genaug.cli import main
from genaug.jobs.kinds import KINDS, Kind

def endless(task, reporter):
    for step in range(10**9):
        reporter.progress(step, 10**9)
        time.sleep(0.01)

KINDS["replay"] = Kind("genaug.jobs.parameters:NoParameters", "__main__:endless", required=("case",))
main(["run", sys.argv[1]])
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot send Ctrl-C to one process")
def test_ctrl_c_stops_cleanly_with_130(tmp_path: Path) -> None:
    folder = build_job(tmp_path / "job", "replay", inputs={"case": tmp_path})
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(folder)], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not (folder / "log.txt").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "genaug: cancelled" in errors
    assert not (folder / "result.json").exists()


class Knobs(BaseModel):
    number: int = 1
    name: str | None = None
    mode: str = Field("a", description="how")
    spacing: tuple[float, float, float] | None = None
    values: list[int] = []
    table: dict[str, Any] = {}
    asked: dict[str, float | str] = {}
    flag: bool | None = None


def test_options_are_the_models_fields_and_unused_ones_stay_out() -> None:
    seen: dict[str, Any] = {}

    @click.command()
    @model_options(Knobs, skip=("mode",))
    def command(**options: Any) -> None:
        seen.update(given(options))

    arguments = ["--number", "2", "--spacing", "1", "2", "3", "--values", "4", "--values", "5", "--no-flag"]
    done = CliRunner().invoke(command, [*arguments, "--table", "a=[1]", "--table", "b=text"])
    assert done.exit_code == 0, done.output
    assert seen == {
        "number": 2,
        "spacing": [1.0, 2.0, 3.0],
        "values": [4, 5],
        "flag": False,
        "table": {"a": [1], "b": "text"},
    }
    assert Knobs.model_validate(seen).spacing == (1.0, 2.0, 3.0)
    assert "--mode" not in CliRunner().invoke(command, ["--help"]).output


@click.command()
@model_options(Knobs)
def show(**options: Any) -> None:
    print(json.dumps(given(options)))


def test_the_pieces_of_a_table_are_joined() -> None:
    """None of them is lost, however deep they lie."""
    arguments = ["--table", "a.b.c=1", "--table", 'a={"d": [2]}', "--table", "a.b.e=false"]
    done = CliRunner().invoke(show, arguments)
    assert json.loads(done.stdout) == {"table": {"a": {"b": {"c": 1, "e": False}, "d": [2]}}}
    for twice in (["--table", "a=1", "--table", "a=2"], ["--table", "a.b=1", "--table", "a.b.c=2"]):
        done = CliRunner().invoke(show, twice)
        assert done.exit_code == 2 and "is given twice" in done.stderr


def test_a_covariate_is_read_as_it_is_in_a_table_of_covariates() -> None:
    """A class may be called true, null or 007."""
    words = {"smoker": "true", "grade": "null", "code": "007", "place": "[1]", "none": ""}
    arguments = [word for name, value in words.items() for word in ("--asked", f"{name}={value}")]
    done = CliRunner().invoke(show, [*arguments, "--asked", "age=60", "--asked", "dose=1.5e-03"])
    assert json.loads(done.stdout) == {"asked": {**words, "age": 60.0, "dose": 0.0015}}


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - {"worker"}))
def test_every_option_says_what_it_is_in_words_of_the_command_line(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    for option in command.params:
        if isinstance(option, click.Option):
            told = (option.help or "").partition("[default")[0].strip()
            assert told, option.name
            assert not re.search(r"\b(null|None)\b", told), told
            assert ("repeatable" in told) == option.multiple, option.name


def test_a_recipe_that_is_not_there_is_told_with_the_nearest(tmp_path: Path) -> None:
    expect_user_error(genaug("methods", "cyclgan"), "bad_recipe", "one of cyclegan, ")
    missing = tmp_path / "mine.toml"
    expect_user_error(genaug("methods", missing), "missing_file", str(missing))


def test_a_manifest_of_a_newer_version_is_told_as_such(cohort: Path) -> None:
    manifest = json.loads((cohort / "cohort.json").read_text())
    (cohort / "cohort.json").write_text(json.dumps({**manifest, "schema_version": 2}))
    expect_user_error(genaug("fingerprint", cohort), "unreadable_file", "a valid cohort", "Update genaug")


def test_every_kind_of_job_has_its_command() -> None:
    assert set(KINDS) <= set(COMMANDS)
