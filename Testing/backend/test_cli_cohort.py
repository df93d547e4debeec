import json

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from engine_data import blob_cohort
from genaug.cli import main
from genaug.cohort import Cohort
from genaug.imageio import write_volume
from genaug.volume import Volume


def test_a_folder_becomes_a_split_manifest_without_touching_the_images(tmp_path):
    data = blob_cohort(tmp_path / "data", count=10)
    (tmp_path / "data" / "cohort.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.nii.gz")}
    manifest = tmp_path / "mine" / "cohort.json"
    result = CliRunner().invoke(
        main,
        ["cohort", str(tmp_path / "data"), str(manifest), "--label", "1=sphere", "--split", "0.6", "0.2", "0.2"],
    )
    assert result.exit_code == 0, result.output
    assert "10 cases of 10 patients (6 train, 2 validation, 2 test)" in result.output
    cohort = Cohort.read(manifest)
    assert cohort.label_names == {1: "sphere"}
    assert {case.id for case in cohort.cases} == {case.id for case in data.cases}
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.nii.gz")}
    again = CliRunner().invoke(
        main, ["cohort", str(tmp_path / "data"), str(tmp_path / "b.json"), "--split", "0.6", "0.2", "0.2", "--json"]
    )
    assert json.loads(again.stdout)["split"] == cohort.split


def test_a_wrong_label_stops_with_exit_code_2_and_writes_nothing(tmp_path):
    blob_cohort(tmp_path / "data", count=3)
    (tmp_path / "data" / "cohort.json").unlink()
    manifest = tmp_path / "cohort.json"
    result = CliRunner().invoke(main, ["cohort", str(tmp_path / "data"), str(manifest), "--label", "2=other"])
    assert result.exit_code == 2
    assert "label" in result.stderr
    assert not manifest.exists()


def genaug(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def plain_folder(folder):
    """Two cases with a CT called "planning" and an MR."""
    for case in ("a", "b"):
        for channel in ("planning", "T1"):
            write_volume(folder / case / f"{channel}.nrrd", Volume(np.ones((4, 4, 4), np.int16), np.eye(4)))
    return folder


def test_a_table_of_covariates_and_the_modality_of_each_channel_can_be_told(tmp_path):
    (tmp_path / "people.csv").write_text("id,age,smoker\na,61,true\nb,NA,false\n")
    told = ("--covariates", tmp_path / "people.csv", "--modality", "planning=CT")
    done = genaug("cohort", plain_folder(tmp_path / "data"), tmp_path / "cohort.json", *told)
    assert done.exit_code == 0, done.output
    cohort = Cohort.read(tmp_path / "cohort.json")
    assert cohort.channels == {"T1": "MR", "planning": "CT"}
    assert [case.covariates for case in cohort.cases] == [{"age": 61.0, "smoker": "true"}, {"smoker": "false"}]


@pytest.mark.parametrize(
    ("told", "part"),
    [
        (("--modality", "planing=CT"), "channel 'planing'"),
        (("--modality", "CT", "--modality", "MR"), "CT and MR"),
        (("--modality", "CT", "--modality", "T1=MR"), "CT and T1=MR"),
        (("--covariates", "none.csv"), "none.csv"),
    ],
)
def test_what_cannot_be_told_of_a_folder_is_refused(tmp_path, told, part):
    done = genaug("cohort", plain_folder(tmp_path / "data"), tmp_path / "cohort.json", *told)
    assert done.exit_code == 2 and part in done.stderr
    assert not (tmp_path / "cohort.json").exists()


def test_no_other_file_than_a_manifest_is_replaced(tmp_path):
    data = plain_folder(tmp_path / "data")
    dataset = data / "dataset.json"
    dataset.write_text('{"labels": {}}')
    done = genaug("cohort", data, dataset)
    assert done.exit_code == 2 and "no manifest of a cohort" in done.stderr
    assert dataset.read_text() == '{"labels": {}}'
    done = genaug("cohort", data, tmp_path / "manifest")
    assert done.exit_code == 2 and str(tmp_path / "manifest" / "cohort.json") in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]
    for _ in range(2):
        done = genaug("cohort", data, tmp_path, "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["cases"][0]["images"]["T1"] == "data/a/T1.nrrd"
    assert Cohort.read(tmp_path).cases[0].id == "a"


def like_ct(path):
    """An image with air around something, whose header does not say what it is."""
    array = np.full((8, 8, 8), -1000, np.int16)
    array[2:6, 2:6, 2:6] = 40
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
    return path


def test_a_seed_below_zero_is_refused(tmp_path):
    done = genaug("cohort", tmp_path, tmp_path / "cohort.json", "--seed", "-1", "--split", "0.5", "0.2", "0.3")
    assert done.exit_code == 2 and "--seed" in done.stderr


def test_what_looks_like_ct_is_not_taken_for_mr_unless_it_is_told(tmp_path):
    """As MR it would lose its Hounsfield units; a model of MR would make something of it all the same."""
    (tmp_path / "data").mkdir()
    like_ct(tmp_path / "data" / "a.nii.gz")
    done = genaug("cohort", tmp_path / "data", tmp_path / "cohort.json")
    assert done.exit_code == 2 and "genaug: wrong_modality: " in done.stderr and "a.nii.gz" in done.stderr
    assert "--modality image=CT" in done.stderr and not (tmp_path / "cohort.json").exists()
    for told, channel in (("CT", "CT"), ("image=MR", "MR")):
        assert genaug("cohort", tmp_path / "data", tmp_path / "cohort.json", "--modality", told).exit_code == 0
        assert Cohort.read(tmp_path / "cohort.json").channels == {"image": channel}
    # What a manifest says was said by somebody.
    assert genaug("cohort", tmp_path / "cohort.json", tmp_path / "again.json").exit_code == 0


@pytest.mark.parametrize("command", [("insert",), ("translate", "package")])
def test_an_image_alone_that_looks_like_ct_has_to_be_told(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "package").mkdir()
    like_ct(tmp_path / "a.nii.gz")
    contrast = ("--contrast", "-6", "-3") if command == ("insert",) else ()
    done = genaug(*command, "a.nii.gz", "out", *contrast)
    assert done.exit_code == 2 and "genaug: wrong_modality: " in done.stderr and "--modality MR" in done.stderr
    assert not (tmp_path / "out").exists()
    told = genaug(*command, "a.nii.gz", "out", *contrast, "--modality", "MR")
    assert told.exit_code == 2 and "wrong_modality" not in told.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("fingerprint", "data"),
        ("train", "data", "vae", "out"),
        ("insert", "data", "out", "--contrast", "-6", "-3"),
        ("evaluate", "data", "data"),
        ("export", "out", "--real", "data"),
    ],
    ids=lambda command: command[0],
)
def test_a_folder_that_looks_like_ct_is_described_before_a_job_takes_it(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    like_ct(tmp_path / "data" / "a.nii.gz")
    done = genaug(*command)
    assert done.exit_code == 2 and "genaug: wrong_modality: " in done.stderr and "a.nii.gz" in done.stderr
    assert "cohort.json --modality image=CT" in done.stderr
    assert not (tmp_path / "out").exists()
