"""A cohort keeps its files, its split and its ancestry, and nothing of a test patient reaches training."""

import errno
import json
import os

import numpy as np
import pytest
from genaug import nifti, nrrd
from genaug.cohort import Case, Cohort, write_case
from genaug.errors import GenaugError, Reason
from genaug.imageio import is_marked_synthetic, read_volume, write_volume
from genaug.record import Record, hash_voxels
from genaug.volume import Volume

AFFINE = np.array([[0.0, -2.0, 0.0, 9.0], [1.5, 0.0, 0.0, -4.0], [0.0, 0.0, 3.0, 70.0], [0.0, 0.0, 0.0, 1.0]])


def image(seed: int = 0, affine=AFFINE, modality="MR", shape=(4, 5, 6)) -> Volume:
    return Volume(np.random.default_rng(seed).normal(size=shape).astype(np.float32), affine, modality)


def label(values=(0, 1, 2), affine=AFFINE, shape=(4, 5, 6)) -> Volume:
    return Volume(np.resize(values, shape), affine, "label")


def record(case_id="s1", patients=("a",), parents=()) -> Record:
    return Record(
        case_id=case_id,
        kind="synthesize",
        seed=3,
        parameters={"count": 1},
        patients=list(patients),
        parents=list(parents),
    )


def cohort_of(root, *cases, **values) -> Cohort:
    channels = {channel: case.modalities[channel] for case in cases for channel in case.images}
    return Cohort(**{"name": "test", "root": root, "channels": channels, "cases": list(cases), **values})


def three_patients(root, **values) -> Cohort:
    return cohort_of(root, *(write_case(root, name, name, {"t1": image(i)}) for i, name in enumerate("abc")), **values)


def refusal(action, *arguments, **options) -> GenaugError:
    with pytest.raises(GenaugError) as caught:
        action(*arguments, **options)
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("file_format", ["nii.gz", "nrrd"])
def test_a_written_case_is_what_its_record_says(tmp_path, file_format):
    images = {"ct": image(1, modality="CT"), "t1": image(2)}
    case = write_case(
        tmp_path, "s1", "s1", images, label(), record(patients=["a", "b"], parents=["a"]), file_format, {"age": 60.0}
    )
    assert case.origin == "synthetic" and case.parents == ["a"] and case.derived_from == ["a", "b"]
    stored = Record.read(case.record)
    assert set(stored.outputs) == {"ct", "t1", "label"}
    for role, output in stored.outputs.items():
        path = case.record.parent / output.file
        assert is_marked_synthetic(path)
        volume = read_volume(path, "label" if role == "label" else None)
        assert hash_voxels(volume.array) == output.voxels
    assert case.volume("ct").modality == "CT"
    np.testing.assert_array_equal(case.volume("t1").array, images["t1"].array)
    np.testing.assert_array_equal(case.label_map().array, label().array)


def test_a_real_case_is_not_marked(tmp_path):
    case = write_case(tmp_path, "a", "a", {"t1": image()})
    assert case.origin == "real" and case.record is None
    assert not is_marked_synthetic(case.images["t1"])


@pytest.mark.parametrize("case_id", ["", "../a", "a/b", ".hidden", "a b"])
def test_a_case_id_names_a_folder_and_no_path(tmp_path, case_id):
    assert refusal(write_case, tmp_path, case_id, "p", {"t1": image()}).reason is Reason.BAD_PARAMETER
    assert list(tmp_path.iterdir()) == []


def test_an_existing_case_is_not_overwritten(tmp_path):
    write_case(tmp_path, "a", "a", {"t1": image(1)})
    before = (tmp_path / "a/t1.nii.gz").read_bytes()
    assert refusal(write_case, tmp_path, "a", "a", {"t1": image(2)}).reason is Reason.BAD_PARAMETER
    assert (tmp_path / "a/t1.nii.gz").read_bytes() == before


@pytest.mark.parametrize("number, reason", [(errno.ENOSPC, Reason.DISK_FULL), (errno.EACCES, Reason.NO_PERMISSION)])
@pytest.mark.parametrize("file_format", ["nii.gz", "nrrd"])
def test_a_case_that_cannot_be_written_whole_is_not_there(tmp_path, monkeypatch, file_format, number, reason):
    """The first channel is written, the second hits the limit."""
    genuine, calls = nifti.write_voxels, []

    def limited(stream, array):
        calls.append(array)
        if len(calls) > 1:
            raise OSError(number, os.strerror(number))
        genuine(stream, array)

    for module in (nifti, nrrd):
        monkeypatch.setattr(module, "write_voxels", limited)
    images = {"t1": image(1), "t2": image(2)}
    error = refusal(write_case, tmp_path / "out", "s1", "s1", images, record=record(), file_format=file_format)
    assert error.reason is reason
    assert len(calls) == 2
    assert error.subject == str(tmp_path / "out" / "s1" / f"t2.{file_format}")
    assert list(tmp_path.iterdir()) == [], "neither the case nor the folder that was made for it"


def test_a_manifest_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    cohort = three_patients(tmp_path)
    cohort.write(tmp_path)
    before = (tmp_path / "cohort.json").read_bytes()

    def full(self, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pathlib.Path.replace", full)
    assert refusal(cohort.model_copy(update={"name": "new"}).write, tmp_path).reason is Reason.DISK_FULL
    assert (tmp_path / "cohort.json").read_bytes() == before
    assert not list(tmp_path.glob(".writing*"))


def test_mixed_grids_are_not_written_as_one_case(tmp_path):
    moved = AFFINE.copy()
    moved[0, 3] += 1
    error = refusal(write_case, tmp_path, "a", "a", {"t1": image()}, label(affine=moved))
    assert error.reason is Reason.GEOMETRY_MISMATCH and "1.000 mm" in error.found
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_reads_back_and_can_be_moved_with_its_files(tmp_path):
    case = write_case(
        tmp_path / "old/cases", "s1", "s1", {"t1": image()}, label(), record(), covariates={"age": 3, "sex": "F"}
    )
    cohort = cohort_of(tmp_path / "old", case, label_names={1: "x", 2: "y"}, split={"a": "train"}, notes=["note"])
    cohort.write(tmp_path / "old")
    assert Cohort.read(tmp_path / "old/cohort.json") == cohort
    paths = json.loads((tmp_path / "old/cohort.json").read_text())["cases"][0]
    assert paths["images"]["t1"] == "cases/s1/t1.nii.gz"
    (tmp_path / "old").rename(tmp_path / "new")
    moved = Cohort.read(tmp_path / "new")
    moved.check()
    assert moved.sha256() == cohort.model_copy(update={"root": tmp_path / "old"}).sha256()
    assert moved["s1"].record.is_file()
    assert moved["s1"].covariates == {"age": 3.0, "sex": "F"}


def test_a_manifest_may_lie_apart_from_the_files(tmp_path):
    cohort = three_patients(tmp_path / "data")
    cohort.write(tmp_path / "lists/deep/mine.json")
    Cohort.read(tmp_path / "lists/deep/mine.json").check()


def test_a_manifest_in_a_linked_folder_names_the_files_that_it_was_written_for(tmp_path):
    cohort = three_patients(tmp_path / "home/data")
    (tmp_path / "scratch/deep/study").mkdir(parents=True)
    (tmp_path / "home/study").symlink_to(tmp_path / "scratch/deep/study")
    cohort.write(tmp_path / "home/study")
    for place in ("home/study", "scratch/deep/study"):
        read = Cohort.read(tmp_path / place)
        read.check()
        assert [case.images for case in read.cases] == [case.images for case in cohort.cases]


def test_a_manifest_with_an_unknown_key_is_refused_by_name(tmp_path):
    three_patients(tmp_path).write(tmp_path)
    content = json.loads((tmp_path / "cohort.json").read_text())
    content["cases"][1]["lable"] = "x"
    (tmp_path / "cohort.json").write_text(json.dumps(content))
    error = refusal(Cohort.read, tmp_path)
    assert error.reason is Reason.UNREADABLE_FILE and "cases.1.lable" in error.found


def test_ids_are_unique_and_channels_named(tmp_path):
    case = write_case(tmp_path, "a", "a", {"t1": image()})
    with pytest.raises(ValueError, match="twice"):
        cohort_of(tmp_path, case, case)
    with pytest.raises(ValueError, match="does not name"):
        cohort_of(tmp_path, case, channels={"t2": "MR"})


def synthetic(case_id: str, **values) -> Case:
    return Case(**{"id": case_id, "patient": case_id, "origin": "synthetic", **values})


def test_nothing_derived_from_a_test_or_validation_patient_reaches_training():
    real = [Case(id=f"scan-{name}", patient=name) for name in ("a", "b", "c", "new")]
    made = [
        synthetic("good", derived_from=["a"]),
        synthetic("from-test", derived_from=["a", "b"]),
        synthetic("from-validation", derived_from=["c"]),
        synthetic("child-of-test", parents=["scan-b"]),
        synthetic("grandchild", parents=["child-of-test"]),
        synthetic("child-of-leaky", parents=["from-test"]),
        synthetic("loop", parents=["loop"], derived_from=["a"]),
        synthetic("test-host", patient="b", derived_from=["a"]),
        synthetic("stranger", derived_from=["not-here"]),
    ]
    cohort = Cohort(
        name="x",
        channels={},
        cases=real + made,
        split={"a": "train", "b": "test", "c": "validation", "not-here": "test"},
    )
    assert [case.id for case in cohort.part("train")] == ["scan-a", "scan-new", "good", "loop"]
    assert [case.id for case in cohort.part("validation")] == ["scan-c"]
    assert [case.id for case in cohort.part("test")] == ["scan-b", "test-host"]
    for case_id, patient in (
        ("from-test", "b"),
        ("from-validation", "c"),
        ("grandchild", "b"),
        ("stranger", "not-here"),
    ):
        first = sorted(cohort.cases, key=lambda case: case.id != case_id)
        relevant = cohort.with_cases(first)
        error = refusal(relevant.require_no_leak)
        assert error.reason is Reason.LEAK and error.subject == case_id and f"'{patient}'" in error.found
    assert refusal(cohort.require_no_leak).subject == "from-test"
    cohort.with_cases([cohort["scan-a"], cohort["good"], cohort["test-host"], cohort["scan-b"]]).require_no_leak()


def test_a_complete_cohort_passes_and_reports_progress(tmp_path):
    seen = []

    class Reporter:
        def progress(self, done, total, note=""):
            seen.append((done, total, note))

    three_patients(tmp_path).check(reporter=Reporter())
    assert seen == [(1, 3, "a"), (2, 3, "b"), (3, 3, "c")]


def test_an_empty_cohort_is_refused(tmp_path):
    cohort = Cohort(name="none", root=tmp_path, channels={"t1": "MR"}, cases=[])
    assert refusal(cohort.check).reason is Reason.EMPTY_COHORT


def test_missing_files_and_channels_are_named(tmp_path):
    whole = write_case(tmp_path, "a", "a", {"t1": image(), "t2": image(1)})
    half = write_case(tmp_path, "b", "b", {"t1": image(2)})
    error = refusal(cohort_of(tmp_path, whole, half).check)
    assert error.reason is Reason.UNPAIRED and error.subject == "b" and "t2" in error.found
    cohort_of(tmp_path, whole, half).check(paired=False)
    bare = Case(id="c", patient="c", label=whole.images["t1"])
    cohort = Cohort(name="x", root=tmp_path, channels={"t1": "MR", "t2": "MR"}, cases=[whole, bare])
    assert refusal(cohort.check, paired=False).reason is Reason.UNPAIRED
    half.images["t1"].unlink()
    error = refusal(cohort_of(tmp_path, half).check, read_voxels=False)
    assert error.reason is Reason.MISSING_FILE and error.subject == str(half.images["t1"])


def test_label_and_image_of_different_geometry_are_named(tmp_path):
    case = write_case(tmp_path, "a", "a", {"t1": image()}, label())
    moved = AFFINE.copy()
    moved[2, 3] += 0.5
    write_volume(case.label, label(affine=moved))
    for read_voxels in (True, False):
        error = refusal(cohort_of(tmp_path, case).check, read_voxels=read_voxels)
        assert error.reason is Reason.GEOMETRY_MISMATCH
        assert error.subject == str(case.label) and "0.500 mm" in error.found
    assert refusal(case.label_map).reason is Reason.GEOMETRY_MISMATCH


def test_unregistered_channels_are_named(tmp_path):
    case = write_case(tmp_path, "a", "a", {"t1": image(), "t2": image(1)})
    write_volume(case.images["t2"], image(1, shape=(4, 5, 7)))
    error = refusal(cohort_of(tmp_path, case).check)
    assert error.reason is Reason.GEOMETRY_MISMATCH and error.subject == str(case.images["t2"])
    cohort_of(tmp_path, case).check(paired=False)


def test_wrong_label_values_are_named_with_their_file(tmp_path):
    good = write_case(tmp_path, "a", "a", {"t1": image()}, label((0, 1)))
    bad = write_case(tmp_path, "b", "b", {"t1": image()}, label((0, 1, 7, 9)))
    worse = write_case(tmp_path, "c", "c", {"t1": image()}, label((0, 8)))
    cohort = cohort_of(tmp_path, good, bad, worse, label_names={1: "tumour"})
    error = refusal(cohort.check)
    assert error.reason is Reason.WRONG_LABELS and error.subject == str(bad.label)
    assert "7, 9" in error.found and "1 more" in error.found
    cohort_of(tmp_path, good, label_names={1: "tumour"}).check()


@pytest.mark.parametrize("damage, reason", [("nan", Reason.NOT_FINITE), ("cut", Reason.UNREADABLE_FILE)])
def test_bad_voxels_are_found_before_a_job_starts(tmp_path, damage, reason):
    case = write_case(tmp_path, "a", "a", {"t1": image(shape=(20, 20, 20))})
    path = case.images["t1"]
    if damage == "nan":
        import SimpleITK as sitk

        pixels = np.zeros((20, 20, 20), np.float32)
        pixels[0, 0, 0] = np.nan
        sitk.WriteImage(sitk.GetImageFromArray(pixels), str(path))
    else:
        path.write_bytes(path.read_bytes()[:5000])
    cohort = cohort_of(tmp_path, case)
    cohort.check(read_voxels=False)
    error = refusal(cohort.check)
    assert error.reason is reason and error.subject == str(path)


def test_a_channel_the_case_lacks_is_named(tmp_path):
    case = write_case(tmp_path, "a", "a", {"t1": image()})
    error = refusal(case.volume, "t2")
    assert error.reason is Reason.UNPAIRED and error.subject == "a"
