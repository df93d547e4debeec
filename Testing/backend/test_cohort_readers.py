"""Every layout is read for what it is, and nothing is guessed."""

import errno
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from genaug.cohort import write_case
from genaug.errors import GenaugError, Reason
from genaug.imageio import write_volume
from genaug.readers import detect_layout, read_cohort
from genaug.record import Record
from genaug.split import split_by_ids, split_by_patient
from genaug.volume import Volume

DATA = Path(os.environ.get("GENAUG_DATA", Path(__file__).parents[2] / "../shared/data")).resolve()


def put(*paths: Path, values=(0, 1, 2), synthetic=False) -> None:
    for path in paths:
        write_volume(path, Volume(np.resize(np.uint8(values), (2, 3, 4)), np.diag([2.0, 1, 1, 1])), synthetic=synthetic)


def refusal(*arguments, **options) -> GenaugError:
    with pytest.raises(GenaugError) as caught:
        read_cohort(*arguments, **options)
    assert caught.value.remedy
    return caught.value


def nnunet(root: Path, channels=("T1", "CT"), ending=".nrrd") -> Path:
    for case in ("liver_01", "liver_02", "x"):
        for number in range(len(channels)):
            put(root / f"imagesTr/{case}_{number:04d}{ending}")
        put(root / f"labelsTr/{case}{ending}")
    content = {
        "channel_names": {str(number): name for number, name in enumerate(channels)},
        "labels": {"background": 0, "organ": 1, "tumour": 2},
        "numTraining": 3,
        "file_ending": ending,
    }
    (root / "dataset.json").write_text(json.dumps(content))
    return root


def test_nnunet(tmp_path):
    root = nnunet(tmp_path / "Dataset001_Liver")
    put(root / "imagesTs/y_0000.nrrd", root / "imagesTs/y_0001.nrrd")
    assert "imagesTs has no labelsTs and was left out" in read_cohort(root).notes
    put(root / "labelsTs/y.nrrd")
    cohort = read_cohort(root)
    assert cohort.name == "Dataset001_Liver"
    assert cohort.channels == {"T1": "MR", "CT": "CT"}
    assert cohort.label_names == {1: "organ", 2: "tumour"}
    assert [case.id for case in cohort.part("train")] == ["liver_01", "liver_02", "x"]
    assert [case.id for case in cohort.part("test")] == ["y"]
    assert cohort["x"].images["CT"] == root / "imagesTr/x_0001.nrrd"
    cohort.check()


def test_nnunet_with_a_file_list_and_regions(tmp_path):
    put(tmp_path / "far/a.nii.gz", tmp_path / "far/b.nii.gz")
    (tmp_path / "imagesTr").mkdir()
    content = {
        "channel_names": {"0": "FLAIR"},
        "labels": {"background": 0, "whole": [1, 2], "core": 2},
        "file_ending": ".nii.gz",
        "dataset": {"one": {"images": ["far/a.nii.gz"], "label": "far/b.nii.gz"}},
    }
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    cohort = read_cohort(tmp_path)
    assert cohort["one"].images == {"FLAIR": tmp_path / "far/a.nii.gz"}
    assert cohort.label_names == {1: "label 1", 2: "core"} and "regions" in cohort.notes[0]


def test_nnunet_images_without_labels_and_labels_without_images_are_unpaired(tmp_path):
    (nnunet(tmp_path / "a") / "labelsTr/x.nrrd").unlink()
    error = refusal(tmp_path / "a")
    assert error.reason is Reason.UNPAIRED and error.subject.endswith("x.nrrd")
    put(nnunet(tmp_path / "b") / "labelsTr/z.nrrd")
    error = refusal(tmp_path / "b")
    assert error.reason is Reason.UNPAIRED and error.subject.endswith("z.nrrd")
    (nnunet(tmp_path / "c") / "imagesTr/x_0001.nrrd").unlink()
    with pytest.raises(GenaugError) as caught:
        read_cohort(tmp_path / "c").check()
    assert caught.value.reason is Reason.UNPAIRED and caught.value.subject == "x"
    put(nnunet(tmp_path / "d") / "imagesTr/x_0002.nrrd")
    assert refusal(tmp_path / "d").reason is Reason.UNREADABLE_FILE


def test_nnunet_passes_over_no_file_in_silence(tmp_path):
    root = nnunet(tmp_path / "a")
    for folder in ("imagesTr", "labelsTr"):
        (root / folder / "._x_0000.nrrd").write_bytes(b"\0\5\x16\7")
        put(root / folder / "y.nii.gz")
    cohort = read_cohort(root)
    assert [case.id for case in cohort.cases] == ["liver_01", "liver_02", "x"]
    assert cohort.notes == [f"{name}: 1 images that are not .nrrd, as y.nii.gz, were left out"
                            for name in ("imagesTr", "labelsTr")]  # fmt: skip
    content = json.loads((root / "dataset.json").read_text())
    for count in (1, 3):
        listed = {"images": [f"imagesTr/x_{number:04d}.nrrd" for number in range(count)], "label": "labelsTr/x.nrrd"}
        (root / "dataset.json").write_text(json.dumps({**content, "dataset": {"one": listed}}))
        error = refusal(root)
        assert error.reason is Reason.UNREADABLE_FILE and f"'one' with {count} images" in error.found


def test_a_datalist_of_python_may_say_nan_and_its_other_lists_are_told(tmp_path):
    put(*(tmp_path / f"{name}.nii.gz" for name in "abc"))
    (tmp_path / "._list.json").write_bytes(b"\0\5\x16\7")
    training = [{"image": "a.nii.gz", "age": math.nan, "id": 0}, {"image": "b.nii.gz", "age": 61, "id": 1}]
    content = {"training": training, "val": [{"image": "c.nii.gz"}], "licence": ["CC-BY"]}
    (tmp_path / "list.json").write_text(json.dumps(content))
    cohort = read_cohort(tmp_path)
    assert {case.id: case.covariates for case in cohort.cases} == {"0": {}, "1": {"age": 61.0}}
    assert cohort.notes == ["the list 'val' was left out"]
    cohort.write(tmp_path)


def test_monai_datalist(tmp_path):
    put(*(tmp_path / f"{name}.nii.gz" for name in ("a", "a2", "b", "b2", "c", "c2", "seg")))
    content = {
        "training": [{"image": ["a.nii.gz", "a2.nii.gz"], "label": "seg.nii.gz", "age": 61, "site": "Graz", "fold": 0}],
        "validation": [{"image": ["b.nii.gz", "b2.nii.gz"], "patient": "P7"}],
        "testing": [{"id": "last", "image": ["c.nii.gz", "c2.nii.gz"]}],
        "labels": {"0": "background", "1": "tumour", "2": "oedema"},
        "modality": {"0": "T1", "1": "CT"},
    }
    (tmp_path / "list.json").write_text(json.dumps(content))
    for path in (tmp_path, tmp_path / "list.json"):
        cohort = read_cohort(path)
        assert cohort.channels == {"T1": "MR", "CT": "CT"} and cohort.label_names == {1: "tumour", 2: "oedema"}
        assert [case.id for case in cohort.cases] == ["a", "b", "last"]
        assert cohort["a"].covariates == {"age": 61.0, "site": "Graz"}
        assert cohort.split == {"a": "train", "P7": "validation", "last": "test"}
        cohort.check()


def test_a_datalists_word_on_the_origin_is_no_covariate_and_counts(tmp_path):
    """A file that another generator made has no mark of genaug's in it."""
    put(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")
    entries = [{"image": "a.nii.gz", "origin": "real"}, {"image": "b.nii.gz", "origin": "synthetic"}]
    (tmp_path / "list.json").write_text(json.dumps({"training": entries}))
    cohort = read_cohort(tmp_path)
    assert [case.origin for case in cohort.cases] == ["real", "synthetic"]
    assert all(case.covariates == {} for case in cohort.cases)
    assert "patients it descends from are unknown" in cohort.notes[0]


def test_decathlon_datalist_names_its_tests_without_labels(tmp_path):
    put(tmp_path / "imagesTr/a.nii.gz", tmp_path / "labelsTr/a.nii.gz", tmp_path / "imagesTs/b.nii.gz")
    content = {
        "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
        "test": ["./imagesTs/b.nii.gz"],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    cohort = read_cohort(tmp_path)
    assert cohort.channels == {"image": "MR"} and cohort["b"].label is None
    assert [case.id for case in cohort.part("test")] == ["b"]


@pytest.mark.parametrize("entry", [{}, {"image": []}, {"image": 3}, {"image": "a.nii.gz", "label": ["b.nii.gz"]}])
def test_a_datalist_entry_at_fault_is_named(tmp_path, entry):
    (tmp_path / "list.json").write_text(json.dumps({"training": [{"image": "a.nii.gz"}, entry]}))
    error = refusal(tmp_path / "list.json")
    assert error.reason is Reason.UNREADABLE_FILE and "train[1]" in error.found


def test_one_patient_in_two_parts_is_a_leak(tmp_path):
    put(tmp_path / "p1_a.nii.gz", tmp_path / "p1_b.nii.gz")
    content = {"training": [{"image": "p1_a.nii.gz"}], "test": [{"image": "p1_b.nii.gz"}]}
    (tmp_path / "list.json").write_text(json.dumps(content))
    assert len(read_cohort(tmp_path / "list.json").patients) == 2
    assert refusal(tmp_path / "list.json", patient_pattern="^(p[0-9]+)_").reason is Reason.LEAK


@pytest.mark.parametrize("mark", [",", ";"])
def test_csv(tmp_path, mark):
    put(*(tmp_path / f"img/{name}.nii.gz" for name in "abcd"))
    rows = [
        "id,patient,t1,planning_ct,label,split,age,sex,score",
        "one,P1,img/a.nii.gz,img/b.nii.gz,img/c.nii.gz,train,61,F,nan",
        "two,P1,img/a.nii.gz,img/d.nii.gz,,training,60.5,M,x",
        "three,,img/b.nii.gz,img/d.nii.gz,,test,,F,inf",
    ]
    (tmp_path / "cases.csv").write_text("\n".join(rows).replace(",", mark), encoding="utf-8-sig")
    cohort = read_cohort(tmp_path / "cases.csv")
    assert cohort.channels == {"t1": "MR", "planning_ct": "CT"}
    assert cohort.split == {"P1": "train", "three": "test"}
    assert cohort["one"].covariates == {"age": 61.0, "sex": "F"}
    assert cohort["two"].covariates == {"age": 60.5, "sex": "M", "score": "x"}
    assert cohort["three"].covariates == {"sex": "F", "score": "inf"} and cohort["three"].label is None
    cohort.check()


@pytest.mark.parametrize(
    "text, word",
    [
        ("", "no line"),
        ("name,t1\na,x.nii.gz", "column id"),
        ("id,t1\na,x.nii.gz,3", "row 2"),
        ("id,t1,t1\na,x.nii.gz,y.nii.gz", "once"),
        ("id,t1\n,x.nii.gz", "without id"),
        ("id,t1,split\na,x.nii.gz,holdout", "holdout"),
        ("id,t1\na,x.nii.gz\na,y.nii.gz", "two cases"),
        ("id,age\na,3", "without an image"),
        ("id,t1", "no case"),
    ],
)
def test_a_broken_table_is_refused(tmp_path, text, word):
    (tmp_path / "cases.csv").write_text(text)
    assert word in str(refusal(tmp_path / "cases.csv"))


def test_twin_folders(tmp_path):
    put(*(tmp_path / f"{folder}/{name}" for folder in ("images", "labels") for name in ("a.nii.gz", "b.mha")))
    put(tmp_path / "images/.hidden.nii.gz")
    cohort = read_cohort(tmp_path, modality="CT", label_names={1: "x", 2: "y"}, name="mine")
    assert (cohort.name, cohort.channels, cohort.label_names) == ("mine", {"image": "CT"}, {1: "x", 2: "y"})
    assert [case.id for case in cohort.cases] == ["a", "b"]
    assert cohort["b"].label == tmp_path / "labels/b.mha"
    cohort.check()
    (tmp_path / "images/a.nii.gz").unlink()
    error = refusal(tmp_path)
    assert error.reason is Reason.UNPAIRED and error.subject == str(tmp_path / "labels/a.nii.gz")


def test_case_folders(tmp_path):
    for case in ("STS_1", "STS_2"):
        put(*(tmp_path / case / f"{name}.nii.gz" for name in ("mr_t1", "ct", "active", "gtv")))
    cohort = read_cohort(tmp_path, modality={"active": "PT"})
    assert cohort.channels == {"active": "PT", "ct": "CT", "mr_t1": "MR"}
    assert cohort["STS_1"].label == tmp_path / "STS_1/gtv.nii.gz"
    put(tmp_path / "STS_2/tumour_mask.nii.gz")
    error = refusal(tmp_path)
    assert error.reason is Reason.BAD_PARAMETER and "tumour_mask" in error.found and "gtv" in error.found


def test_linked_folders_are_read_and_lost_links_are_missed(tmp_path):
    for case in ("P0", "P1", "P2"):
        put(tmp_path / "store" / case / "t1.nii.gz")
    root = tmp_path / "cases"
    (root / "P3").mkdir(parents=True)
    for case in ("P0", "P1"):
        (root / case).symlink_to(tmp_path / "store" / case)
    (root / "P0/again").symlink_to(root)
    (root / "A third").symlink_to(root / "P3")
    put(root / "P3/t1.nii.gz", root / ".hidden/t1.nii.gz")
    assert [case.id for case in read_cohort(root).cases] == ["P0", "P1", "P3"]
    (root / "P2").mkdir()
    (root / "P2/t1.nii.gz").symlink_to(tmp_path / "fetched later.nii.gz")
    cohort = read_cohort(root)
    assert [case.id for case in cohort.cases] == ["P0", "P1", "P2", "P3"]
    with pytest.raises(GenaugError) as caught:
        cohort.check()
    assert caught.value.reason is Reason.MISSING_FILE and caught.value.subject == str(root / "P2/t1.nii.gz")


def test_a_folder_that_must_not_be_listed_is_not_passed_over(tmp_path, monkeypatch):
    put(*(tmp_path / f"P{number}/t1.nii.gz" for number in range(3)))
    scandir = os.scandir

    def denied(path):
        if Path(path).name == "P1":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", denied)
    error = refusal(tmp_path)
    assert error.reason is Reason.NO_PERMISSION and error.subject == str(tmp_path / "P1")


def test_patterns(tmp_path):
    put(tmp_path / "t1/s_1_T1.nii.gz", tmp_path / "t1/s_2_T1.nii.gz", tmp_path / "seg/s_1_X.nii.gz")
    (tmp_path / "people.csv").write_text("MRID,Age\ns_1,40\n")
    cohort = read_cohort(
        tmp_path, pattern="t1/{id}_T1.nii.gz", label_pattern="seg/{id}_X.nii.gz", covariates="people.csv"
    )
    assert [case.id for case in cohort.cases] == ["s_1", "s_2"] and cohort["s_2"].label is None
    assert cohort["s_1"].covariates == {"Age": 40.0}
    assert "1 cases have no row" in cohort.notes[0]
    by_channel = read_cohort(tmp_path, pattern="{channel}/{id}_T1.*")
    assert by_channel.channels == {"t1": "MR"} and "1 image files do not match" in by_channel.notes[0]
    for pattern in ("t1/x.nii.gz", "{id}/{name}.nii.gz"):
        assert refusal(tmp_path, pattern=pattern).reason is Reason.BAD_PARAMETER
    assert refusal(tmp_path, pattern="t2/{id}.nii.gz").reason is Reason.EMPTY_COHORT
    put(tmp_path / "t1/s_1_T1.nrrd")
    assert "both" in refusal(tmp_path, pattern="t1/{id}_T1.*").found


def test_patient_pattern_groups_scans(tmp_path):
    put(tmp_path / "p1_y0.nii.gz", tmp_path / "p1_y1.nii.gz", tmp_path / "p2_y0.nii.gz")
    assert read_cohort(tmp_path, patient_pattern="^([^_]+)_").patients == ["p1", "p2"]
    for pattern in ("^[^_]+_", "(", "^(q.)_"):
        assert refusal(tmp_path, patient_pattern=pattern).reason is Reason.BAD_PARAMETER


def test_sessions_of_a_bids_subject_are_one_patients(tmp_path):
    """Split apart, one of them would be trained on and the other tested with."""
    put(*(tmp_path / f"sub-{name}.nii.gz" for name in ("01_ses-1_T1", "01_ses-2_T1", "02", "03x_T1", "x-y_T1")))
    assert read_cohort(tmp_path).patients == ["sub-01", "sub-02", "sub-03x", "sub-x-y_T1"]
    assert len(read_cohort(tmp_path, patient_pattern="(.*)").patients) == 5


def test_a_table_of_covariates_knows_bids_subjects_and_says_which_rows_are_of_nobody(tmp_path):
    put(tmp_path / "sub-01_ses-1_T1.nii.gz", tmp_path / "sub-01_ses-2_T1.nii.gz", tmp_path / "sub-02_ses-1_T1.nii.gz")
    (tmp_path / "people.csv").write_text("participant_id,age\nsub-01,61\nsub-02,52\nsub-09,40\n")
    cohort = read_cohort(tmp_path, covariates="people.csv")
    assert [case.covariates for case in cohort.cases] == [{"age": 61.0}, {"age": 61.0}, {"age": 52.0}]
    assert any("1 rows of people.csv" in note and "sub-09" in note for note in cohort.notes)


def test_a_table_of_other_peoples_covariates_is_refused(tmp_path):
    put(tmp_path / "a.nii.gz")
    (tmp_path / "people.csv").write_text("hi\n")
    error = refusal(tmp_path, covariates="people.csv")
    assert error.reason is Reason.UNREADABLE_FILE and "'hi'" in error.found and "a" in error.expected


def test_a_patient_pattern_wins_over_what_the_layout_says(tmp_path):
    put(tmp_path / "a_1.nii.gz", tmp_path / "a_2.nii.gz")
    (tmp_path / "cases.csv").write_text("id,patient,t1\na_1,X,a_1.nii.gz\na_2,Y,a_2.nii.gz\n")
    assert read_cohort(tmp_path / "cases.csv").patients == ["X", "Y"]
    assert read_cohort(tmp_path / "cases.csv", patient_pattern="^([^_]+)_").patients == ["a"]
    assert read_cohort(tmp_path, pattern="{patient}_{id}.*", patient_pattern="([0-9])").patients == ["1", "2"]


def test_what_can_be_read_in_two_ways_is_not_guessed(tmp_path):
    put(tmp_path / "a/images/x.nii.gz", tmp_path / "a/other/x.nii.gz")
    assert "other" in str(refusal(tmp_path / "a")) or "folder for each case" in refusal(tmp_path / "a").found
    put(tmp_path / "b/images/x.nii.gz", tmp_path / "b/y.nii.gz")
    assert "directly" in refusal(tmp_path / "b").found
    put(tmp_path / "c/t1/a.nii.gz", tmp_path / "c/seg_maps/b.nii.gz")
    assert "share no file name" in refusal(tmp_path / "c").found
    put(tmp_path / "d/images/x.nii.gz", tmp_path / "d/labels/x.nii.gz", tmp_path / "d/masks/x.nii.gz")
    assert refusal(tmp_path / "d").reason is Reason.BAD_PARAMETER
    for name in ("one", "two"):
        (tmp_path / f"a/{name}.json").write_text('{"training": []}')
    assert "one.json, two.json" in refusal(tmp_path / "a").found
    (tmp_path / "alien.json").write_text("{}")
    assert refusal(tmp_path / "alien.json").reason is Reason.BAD_PARAMETER


def test_nothing_to_read_is_said(tmp_path):
    assert refusal(tmp_path / "none").reason is Reason.MISSING_FILE
    assert refusal(tmp_path).reason is Reason.EMPTY_COHORT
    (tmp_path / "list.json").write_text('{"training": []}')
    assert refusal(tmp_path).reason is Reason.EMPTY_COHORT
    for layout in ("folder", "dicom"):
        assert refusal(tmp_path / "list.json", layout=layout).reason is Reason.EMPTY_COHORT
    (tmp_path / "list.json").write_text("{")
    assert refusal(tmp_path).reason is Reason.UNREADABLE_FILE


def test_options_a_layout_cannot_honour_are_refused(tmp_path):
    assert refusal(nnunet(tmp_path / "n"), layout="nnunet", pattern="{id}.nii.gz").reason is Reason.BAD_PARAMETER
    assert refusal(tmp_path / "n", patern="{id}.nii.gz").reason is Reason.BAD_PARAMETER
    assert refusal(tmp_path / "n", layout="bids").reason is Reason.BAD_PARAMETER
    read_cohort(tmp_path / "n").write(tmp_path / "n")
    assert detect_layout(tmp_path / "n") == "manifest"
    assert refusal(tmp_path / "n", modality="CT").reason is Reason.BAD_PARAMETER
    assert read_cohort(tmp_path / "n", modality=None) == read_cohort(tmp_path / "n/cohort.json")
    assert detect_layout(tmp_path / "n/cohort.json") == "manifest"


def test_synthetic_cases_keep_their_ancestry_through_a_plain_folder(tmp_path):
    volume = Volume(np.zeros((2, 3, 4), np.float32), np.eye(4))
    record = Record(case_id="s", kind="insert", seed=1, parameters={}, patients=["p9"], parents=["scan9"])
    write_case(tmp_path, "s", "s", {"t1": volume}, record=record)
    write_case(tmp_path, "real", "real", {"t1": volume})
    cohort = read_cohort(tmp_path)
    assert (cohort["real"].origin, cohort["s"].origin) == ("real", "synthetic")
    assert cohort["s"].derived_from == ["p9"] and cohort["s"].parents == ["scan9"]
    (tmp_path / "s/s.record.json").unlink()
    cohort = read_cohort(tmp_path)
    assert cohort["s"].origin == "synthetic" and "no record" in cohort.notes[0]


def test_label_maps_are_told_from_images_by_their_name(tmp_path):
    put(tmp_path / "cases/P0/T1.nrrd", tmp_path / "cases/P1/T1.nrrd")
    put(tmp_path / "cases/P0/Segmentation.seg.nrrd", tmp_path / "cases/P1/Segmentation.seg.nrrd")
    cohort = read_cohort(tmp_path / "cases")
    assert list(cohort.channels) == ["T1"]
    assert [case.label.name for case in cohort.cases] == ["Segmentation.seg.nrrd"] * 2
    put(tmp_path / "flat/c0.nii.gz", tmp_path / "flat/c0_seg.nii.gz", tmp_path / "flat/c1.nii.gz")
    cohort = read_cohort(tmp_path / "flat")
    assert {case.id: case.label and case.label.name for case in cohort.cases} == {"c0": "c0_seg.nii.gz", "c1": None}
    put(tmp_path / "flat/c2_seg.nii.gz")
    assert "no image 'c2'" in refusal(tmp_path / "flat").found
    assert len(read_cohort(tmp_path / "flat", pattern="{id}.*").cases) == 4


def test_visits_of_the_same_name_are_of_their_own_patient(tmp_path):
    for patient, channel in (("P1", "t1"), ("P2", "t1"), ("P2", "t2")):
        put(tmp_path / f"{patient}/ses-1/{channel}.nii.gz")
    cohort = read_cohort(tmp_path, pattern="{patient}/{id}/{channel}.nii.gz")
    assert {case.id: case.patient for case in cohort.cases} == {"P1-ses-1": "P1", "P2-ses-1": "P2"}
    assert list(cohort["P2-ses-1"].images) == ["t1", "t2"]


def test_channels_of_the_same_name_are_kept_apart(tmp_path):
    cohort = read_cohort(nnunet(tmp_path / "phases", ("CT", "CT")))
    assert cohort.channels == {"CT0": "CT", "CT1": "CT"}
    assert [path.name for path in cohort["x"].images.values()] == ["x_0000.nrrd", "x_0001.nrrd"]
    (tmp_path / "list").mkdir()
    put(tmp_path / "list/a.nii.gz", tmp_path / "list/b.nii.gz")
    listed = {"training": [{"image": ["a.nii.gz", "b.nii.gz"]}], "modality": {"0": "MR", "1": "MR"}}
    (tmp_path / "list/data.json").write_text(json.dumps(listed))
    assert read_cohort(tmp_path / "list").channels == {"MR0": "MR", "MR1": "MR"}


def test_a_spreadsheets_decimal_comma_is_a_number_and_na_is_no_file(tmp_path):
    put(tmp_path / "a.nii.gz")
    (tmp_path / "cases.csv").write_text("id;t1;label;age\na;a.nii.gz;NA;63,5\n")
    (case,) = read_cohort(tmp_path / "cases.csv").cases
    assert case.covariates == {"age": 63.5} and case.label is None


def test_a_table_of_covariates_has_one_row_a_case_and_cells_of_several_lines(tmp_path):
    put(tmp_path / "a.nii.gz", tmp_path / "b.nii.gz")
    table = tmp_path / "people.csv"
    table.write_text('id,report\na,"No lesion.\nSee \u2028before."\nb,x\n,y\n,z\nb,x\n', encoding="utf-8")
    cohort = read_cohort(tmp_path, covariates="people.csv")
    assert [case.covariates["report"] for case in cohort.cases] == ["No lesion.\nSee \u2028before.", "x"]
    table.write_bytes(b"id,age\r\na,40\r\na,45\r\n")
    error = refusal(tmp_path, covariates="people.csv")
    assert error.reason is Reason.UNREADABLE_FILE and "'a'" in error.found


def test_images_of_other_formats_are_told(tmp_path):
    put(tmp_path / "a.nii.gz")
    (tmp_path / "b.mgz").write_bytes(b"")
    assert read_cohort(tmp_path).notes == ["1 files of formats that are not read, as b.mgz, were left out"]


def test_codes_are_no_numbers(tmp_path):
    put(tmp_path / "a.nii.gz")
    (tmp_path / "cases.csv").write_text("id,t1,site,code,icd,age,rate\na,a.nii.gz,1_2,007,8140e3,60,1.5e-05\n")
    (case,) = read_cohort(tmp_path / "cases.csv").cases
    assert case.covariates == {"site": "1_2", "code": "007", "icd": "8140e3", "age": 60.0, "rate": 1.5e-5}


def test_a_synthetic_case_that_nobody_knows_the_descent_of_is_in_no_training_beside_held_out_patients(tmp_path):
    put(*(tmp_path / f"p{number}.nii.gz" for number in range(4)))
    put(tmp_path / "made.nii.gz", synthetic=True)
    cohort = read_cohort(tmp_path)
    assert "made" in [case.id for case in cohort.part("train")]
    for held_out in (split_by_patient(cohort, {"train": 0.5, "test": 0.5}, 1), split_by_ids(cohort, test=["p0"])):
        assert "made" not in [case.id for part in ("train", "validation", "test") for case in held_out.part(part)]


def test_real_folders():
    if not (DATA / "sarcoma_mr_ct").is_dir():
        pytest.skip(f"needs sarcoma_mr_ct, ixi_heads and hippocampus in {DATA}")
    sarcoma = read_cohort(DATA / "sarcoma_mr_ct")
    assert sarcoma.channels == {"ct": "CT", "mr_t1": "MR"} and len(sarcoma.cases) == 36
    assert all(case.label.name == "gtv.nii.gz" for case in sarcoma.cases)
    heads = read_cohort(
        DATA / "ixi_heads",
        pattern="t1/{id}_T1.nii.gz",
        label_pattern="labels/{id}_T1_DLMUSE.nii.gz",
        covariates="participants.csv",
    )
    assert len(heads.cases) == 30 and not heads.notes
    assert set(heads.cases[0].covariates) == {"Age", "Sex"}
    heads.with_cases(heads.cases[:3]).check()
    assert len(read_cohort(DATA / "hippocampus").cases) == 200
