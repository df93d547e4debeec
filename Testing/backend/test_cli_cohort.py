import json

from click.testing import CliRunner
from engine_data import blob_cohort
from genaug.cli import main
from genaug.cohort import Cohort


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
