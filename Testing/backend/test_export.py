"""Exports: what the formats ask for, nothing leaked, everything accounted for."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from genaug import account, imageio
from genaug.case import Case
from genaug.cohort import Cohort, Part, write_case
from genaug.dicom import read_dicom_series
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.export import export_cohort, read_manifest
from genaug.files import sha256_file
from genaug.imageio import is_marked_synthetic, read_volume, write_volume
from genaug.parameters import ExportParameters
from genaug.progress import Silent
from genaug.readers import read_cohort
from genaug.record import Check, Record, Weights
from genaug.review import REVIEWS, Review, append_review, reviewed_record
from genaug.split import split_by_ids
from genaug.volume import LABEL, Volume, label_values
from test_dicom import write_series

AFFINE = np.array([[0, 0, 2.5, -10], [-1.2, 0, 0, 30], [0, 0.9, 0, 5], [0, 0, 0, 1]])


def image(seed: int, channels: tuple[str, ...] = ("t1",)) -> dict[str, Volume]:
    rng = np.random.default_rng(seed)
    return {name: Volume(rng.normal(size=(6, 7, 5)).astype(np.float32), AFFINE) for name in channels}


def label(*values: int) -> Volume:
    array = np.zeros((6, 7, 5), np.uint8)
    for value in values:
        array[value] = value
    return Volume(array, AFFINE, LABEL)


def make_real(folder: Path, split: dict[str, Part], **changes: Any) -> Cohort:
    channels = changes.pop("channels", {"t1": "MR"})
    names = changes.pop("label_names", {1: "head", 2: "tail"})
    file_format = changes.pop("file_format", "nii.gz")
    values = changes.pop("values", (1, 2))
    cases = [
        write_case(folder, f"{p}-a", p, image(n, tuple(channels)), label(*values), file_format=file_format)
        for n, p in enumerate(split)
    ]
    cohort = Cohort(name="real", root=folder, channels=channels, label_names=names, split=split, cases=cases)
    cohort.write(folder)
    return cohort


def make_synthetic(folder: Path, descents: dict[str, list[str]], failed: tuple[str, ...] = (), **more: Any) -> Cohort:
    channels = more.pop("channels", ("t1",))
    cases = []
    for number, (case_id, patients) in enumerate(descents.items()):
        record = Record(
            case_id=case_id,
            kind="synthesize",
            seed=7,
            parameters={"count": 1},
            draws={"noise": [0.25, 1.5]},
            weights=Weights(package="pkg", sha256="ab" * 32, recipe="ldm"),
            patients=patients,
            checks=[Check(name="volume", passed=case_id not in failed, value=3.0, limit="1 to 2")],
        )
        cases.append(write_case(folder, case_id, case_id, image(100 + number, channels), label(1, 2), record))
    cohort = Cohort(
        name="made",
        root=folder,
        channels=dict.fromkeys(channels, "MR"),
        label_names={1: "head", 2: "tail"},
        cases=cases,
    )
    cohort.write(folder)
    return cohort


def export(real: Cohort | None, made: list[Cohort], output: Path, **parameters: Any) -> tuple[Path, Any]:
    return export_cohort(real, made, output, ExportParameters(**parameters), Silent())


SIX: dict[str, Part] = {f"p{n}": "train" for n in range(6)}


@pytest.fixture
def real(tmp_path: Path) -> Cohort:
    return make_real(tmp_path / "real", {**SIX, "q": "test"})


@pytest.fixture
def made(tmp_path: Path) -> Cohort:
    return make_synthetic(tmp_path / "made", {"s0": ["p0"], "s1": ["p1", "p2"], "bad": ["p3"], "leak": ["q"]}, ("bad",))


def test_a_case_that_is_given_twice_is_refused(tmp_path):
    cohort = make_real(tmp_path / "real", {"p1": "train", "p2": "train"})
    with pytest.raises(GenaugError, match="the case p1-a in two of the given cohorts") as caught:
        export_cohort(cohort, [Cohort.read(tmp_path / "real")], tmp_path / "out", ExportParameters(name="A"), Silent())
    assert caught.value.reason is Reason.BAD_PARAMETER and not (tmp_path / "out").exists()


def test_nnunet_has_the_files_its_specification_names(tmp_path: Path) -> None:
    real = make_real(tmp_path / "real", {"p0": "train", "p1": "train", "q": "test"}, channels={"t1": "MR", "ct": "CT"})
    made = make_synthetic(tmp_path / "made", {"s0": ["p0"]}, channels=("t1", "ct"))
    folder, _ = export(real, [made.model_copy(update={"channels": real.channels})], tmp_path / "out", dataset_id=7)
    assert folder.name == "Dataset007_Augmented"
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*.nii.gz")}
    train, test = ["p0-a", "p1-a", "s0"], ["q-a"]
    expected = {f"imagesTr/{c}_{n:04d}.nii.gz" for c in train for n in (0, 1)} | {f"labelsTr/{c}.nii.gz" for c in train}
    expected |= {f"imagesTs/{c}_{n:04d}.nii.gz" for c in test for n in (0, 1)} | {f"labelsTs/{c}.nii.gz" for c in test}
    assert found == expected
    dataset = json.loads((folder / "dataset.json").read_text())
    # nnU-Net chooses its normalisation by the channel's name and knows CT by just that.
    assert dataset["channel_names"] == {"0": "t1", "1": "CT"}
    assert dataset["labels"] == {"background": 0, "head": 1, "tail": 2}
    assert dataset["numTraining"] == 3
    assert dataset["file_ending"] == ".nii.gz"


@pytest.mark.parametrize("layout", ["nnunet", "datalist", "plain"])
@pytest.mark.parametrize("file_format", ["nii.gz", "nrrd"])
def test_an_export_is_read_again_with_the_same_voxels_and_geometry(
    tmp_path: Path, real: Cohort, made: Cohort, layout: str, file_format: str
) -> None:
    folder, manifest = export(real, [made], tmp_path / "out", layout=layout, file_format=file_format)
    again = {case.id: case for case in read_cohort(folder).cases}
    originals = {case.id: case for cohort in (real, made) for case in cohort.cases}
    names = {case.name: case.id for case in manifest.cases}
    assert set(again) == set(names)
    for name, case in again.items():
        original = originals[names[name]]
        stored = read_volume(next(iter(case.images.values())))
        assert np.array_equal(stored.array, original.volume("t1").array)
        assert stored.same_grid(original.volume("t1"))
        map_again, map_original = case.label_map(), original.label_map()
        assert map_again is not None
        assert map_original is not None
        assert np.array_equal(map_again.array, map_original.array)
        assert is_marked_synthetic(next(iter(case.images.values()))) is (original.origin == "synthetic")


def test_originals_are_not_touched_by_a_change_of_the_export(tmp_path: Path, real: Cohort) -> None:
    before = {path: sha256_file(path) for path in real.root.rglob("*") if path.is_file()}
    folder, _ = export(real, [], tmp_path / "out")
    for path in folder.rglob("*.nii.gz"):
        with path.open("r+b") as stream:
            stream.write(b"overwritten")
    assert {path: sha256_file(path) for path in real.root.rglob("*") if path.is_file()} == before


def test_who_is_left_out_is_said_with_the_reason(tmp_path: Path, real: Cohort, made: Cohort) -> None:
    _, manifest = export(real, [made], tmp_path / "out")
    assert {one.id: one.cause for one in manifest.left_out} == {"bad": "failed checks", "leak": "leak"}
    assert "patient q" in next(one.detail for one in manifest.left_out if one.id == "leak")
    assert manifest.counts == {
        "real test": 1,
        "real train": 6,
        "synthetic train": 2,
        "left out: failed checks": 1,
        "left out: leak": 1,
    }


@pytest.mark.parametrize("layout", ["nnunet", "datalist", "plain"])
def test_nothing_of_a_test_patient_reaches_training_through_a_parent(tmp_path: Path, real: Cohort, layout: str) -> None:
    made = make_synthetic(tmp_path / "made", {"grandchild": [], "child": [], "fine": ["p1"]})
    child = made["child"].model_copy(update={"parents": ["q-a"]})
    grandchild = made["grandchild"].model_copy(update={"parents": ["child"]})
    family = made.with_cases([grandchild, child, made["fine"]])
    _, manifest = export(real, [family], tmp_path / "out", layout=layout)
    assert [(one.id, one.cause) for one in manifest.left_out] == [("grandchild", "leak"), ("child", "leak")]


def splits(folder: Path) -> list[dict[str, list[str]]]:
    read: list[dict[str, list[str]]] = json.loads((folder / "splits_final.json").read_text())
    return read


def test_folds_validate_on_real_patients_only_and_train_on_none_of_their_descendants(
    tmp_path: Path, real: Cohort, made: Cohort
) -> None:
    folder, manifest = export(real, [made], tmp_path / "out")
    by_name = {case.name: case for case in manifest.cases}
    folds = splits(folder)
    assert len(folds) == 5
    judged = [name for fold in folds for name in fold["val"]]
    assert sorted(judged) == sorted(f"p{n}-a" for n in range(6))
    for number, fold in enumerate(folds):
        patients = {by_name[name].patient for name in fold["val"]}
        for name in fold["train"]:
            assert not patients & set(by_name[name].patients), name
            assert number in by_name[name].training_folds
        assert all(by_name[name].origin == "real" for name in fold["val"])
    # Both synthetic cases are used wherever none of their ancestors is judged.
    for name in ("s0", "s1"):
        clean = [n for n, fold in enumerate(folds) if not {f"{p}-a" for p in by_name[name].patients} & set(fold["val"])]
        assert by_name[name].training_folds == clean


def test_a_recorded_validation_part_is_every_fold_that_nnunet_trains(tmp_path: Path) -> None:
    """nnU-Net splits all cases at random for a fold that the file lacks."""
    real = make_real(tmp_path / "real", {**SIX, "v": "validation"})
    made = make_synthetic(tmp_path / "made", {"ok": sorted(SIX), "leak": ["v"]})
    folder, manifest = export(real, [made], tmp_path / "out")
    assert [fold["val"] for fold in splits(folder)] == [["v-a"]] * 5
    assert all(set(fold["train"]) == {"ok", *(f"{p}-a" for p in SIX)} for fold in splits(folder))
    assert next(case for case in manifest.cases if case.id == "ok").training_folds == [0, 1, 2, 3, 4]
    assert any("nnUNet_preprocessed/Dataset501_Augmented/splits_final.json" in note for note in manifest.notes)
    assert any("All 5 folds are the same" in note for note in manifest.notes)
    assert [(one.id, one.cause) for one in manifest.left_out] == [("leak", "leak")]


def test_the_folds_of_few_patients_come_round_again(tmp_path: Path) -> None:
    real = make_real(tmp_path / "real", dict.fromkeys(["p0", "p1", "p2"], "train"))
    made = make_synthetic(tmp_path / "made", {"s": ["p0"]})
    folder, manifest = export(real, [made], tmp_path / "out")
    folds = splits(folder)
    assert len(folds) == 5 and folds[3:] == folds[:2]
    assert sorted(name for fold in folds[:3] for name in fold["val"]) == ["p0-a", "p1-a", "p2-a"]
    assert all(("s" in fold["train"]) is ("p0-a" not in fold["val"]) for fold in folds)
    assert any("3 different folds" in note for note in manifest.notes)


def test_a_case_from_a_model_of_all_patients_is_in_no_fold_and_this_is_said(tmp_path: Path, real: Cohort) -> None:
    made = make_synthetic(tmp_path / "made", {"s": sorted(SIX)})
    folder, manifest = export(real, [made], tmp_path / "out")
    assert all("s" not in fold["train"] for fold in splits(folder))
    assert any("in no fold's training" in note for note in manifest.notes)


def test_two_cases_of_a_patient_stand_in_the_same_fold(tmp_path: Path, real: Cohort) -> None:
    second = write_case(real.root, "p0-b", "p0", image(50), label(1, 2))
    folder, _ = export(real.with_cases([*real.cases, second]), [], tmp_path / "out")
    for fold in splits(folder):
        assert ("p0-a" in fold["val"]) == ("p0-b" in fold["val"])


def test_a_monai_datalist_loads_in_monai(tmp_path: Path) -> None:
    real = make_real(
        tmp_path / "real", {"p": "train", "v": "validation", "q": "test"}, channels={"t1": "MR", "t2": "MR"}
    )
    folder, _ = export(real, [], tmp_path / "out", layout="datalist")
    from monai.data import load_decathlon_datalist

    for section, name in (("training", "p-a"), ("validation", "v-a")):
        (entry,) = load_decathlon_datalist(str(folder / "datalist.json"), True, section)
        assert [Path(path).is_file() for path in entry["image"]] == [True, True]
        assert Path(entry["label"]).is_file()
        assert entry["id"] == name


@pytest.mark.parametrize(
    ("names", "values"), [({1: "a", 3: "b"}, (1, 3)), ({2: "a"}, (2,)), ({}, (1, 4))], ids=["gap", "no 1", "unnamed"]
)
def test_nnunet_refuses_labels_with_a_gap(tmp_path: Path, names: dict[int, str], values: tuple[int, ...]) -> None:
    real = make_real(tmp_path / "real", SIX, label_names=names, values=values)
    with pytest.raises(GenaugError, match="without a gap") as caught:
        export(real, [], tmp_path / "out")
    assert caught.value.reason is Reason.WRONG_LABELS
    assert not (tmp_path / "out").exists()
    export(real, [], tmp_path / "out", layout="plain")


@pytest.mark.parametrize("named", [True, False])
def test_labels_without_names_are_not_given_those_of_other_cohorts_in_silence(tmp_path: Path, named: bool) -> None:
    """A tumour that nobody named would be called as what the model generates."""
    real = make_real(tmp_path / "real", SIX, **({} if named else {"label_names": {}}))
    made = make_synthetic(tmp_path / "made", {"m": ["p0"]})
    _, manifest = export(real, [made], tmp_path / "out")
    assert any("labels of real have no names" in note and "1=head" in note for note in manifest.notes) != named


def test_a_label_nobody_named_is_refused_by_file(tmp_path: Path) -> None:
    real = make_real(tmp_path / "real", SIX, values=(1, 2, 4))
    with pytest.raises(GenaugError, match="label values 4") as caught:
        export(real, [], tmp_path / "out")
    assert caught.value.subject == str(real.cases[0].label)


def test_image_and_label_of_different_geometry_are_refused(tmp_path: Path, real: Cohort) -> None:
    broken = real.cases[2]
    assert broken.label is not None
    shifted = AFFINE.copy()
    shifted[0, 3] += 1
    write_volume(broken.label, replace(label(1), affine=shifted))
    with pytest.raises(GenaugError) as caught:
        export(real, [], tmp_path / "out")
    assert caught.value.reason is Reason.GEOMETRY_MISMATCH
    assert caught.value.subject == str(broken.label)
    assert not (tmp_path / "out").exists()


def test_a_dicom_series_lies_on_the_grid_of_its_case_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels on different grids would be one registered case for nnU-Net."""
    write_series(tmp_path / "in" / "p" / "ct", patient="p")
    write_series(tmp_path / "in" / "p" / "pet", series="1.2.3.5", modality="PT", patient="p")
    cohort = read_cohort(tmp_path / "in", pattern="{id}/{channel}")
    ct = cohort.cases[0].volume("ct")
    read = []
    monkeypatch.setattr(imageio, "read_dicom_series", lambda path: read.append(path) or read_dicom_series(path))
    folder, _ = export(cohort, [], tmp_path / "out", layout="datalist")
    assert sorted(path.name for path in read) == ["ct", "pet"]
    assert read_volume(folder / "images" / "p_pet.nii.gz").same_grid(ct)

    annotated = cohort.cases[0].model_copy(update={"label": tmp_path / "label.nii.gz"})
    moved = ct.affine.copy()
    moved[2, 3] += 4
    write_volume(tmp_path / "label.nii.gz", Volume(np.ones(ct.shape, np.uint8), moved, LABEL))
    with pytest.raises(GenaugError, match=r"4\.000 mm apart") as caught:
        export(cohort.with_cases([annotated]), [], tmp_path / "labelled", layout="datalist")
    assert caught.value.reason is Reason.GEOMETRY_MISMATCH and caught.value.subject == str(tmp_path / "label.nii.gz")

    shutil.rmtree(tmp_path / "in" / "p" / "pet")
    write_series(tmp_path / "in" / "p" / "pet", range(5), series="1.2.3.5", modality="PT", patient="p")
    with pytest.raises(GenaugError, match="4 x 6") as caught:
        export(cohort, [], tmp_path / "apart", layout="datalist")
    assert caught.value.reason is Reason.GEOMETRY_MISMATCH
    assert caught.value.subject == str(tmp_path / "in" / "p" / "pet")
    assert not (tmp_path / "apart").exists()


def test_a_missing_channel_leaves_the_case_out(tmp_path: Path, real: Cohort) -> None:
    two = Cohort(**{**dict(real), "channels": {"t1": "MR", "t2": "MR"}, "cases": real.cases})
    with_both = write_case(real.root, "both", "b", image(9, ("t1", "t2")), label(1, 2))
    _, manifest = export(two.with_cases([*two.cases, with_both]), [], tmp_path / "out")
    assert [case.id for case in manifest.cases] == ["both"]
    assert {one.cause for one in manifest.left_out} == {"missing channel"}


def test_channels_not_common_to_all_cohorts_are_dropped_and_said(tmp_path: Path, real: Cohort) -> None:
    made = make_synthetic(tmp_path / "made", {"s": ["p0"]}, channels=("t2", "t1"))
    _, manifest = export(real, [made], tmp_path / "out")
    assert list(manifest.channels) == ["t1"]
    assert any("t2" in note for note in manifest.notes)


@pytest.mark.parametrize("ids", [("case", "Case"), ("Case", "case"), ("case", "case")])
def test_two_cohorts_with_the_same_ids_keep_all_their_cases(tmp_path: Path, real: Cohort, ids: tuple[str, str]) -> None:
    first = make_synthetic(tmp_path / "one", {ids[0]: ["p0"]})
    second = make_synthetic(tmp_path / "two", {ids[1]: ["p1"]})
    folder, manifest = export(real, [first, second], tmp_path / "out")
    assert [case.name for case in manifest.cases if case.origin == "synthetic"] == [ids[0], f"{ids[1]}-2"]
    assert len(list((folder / "imagesTr").iterdir())) == 8


def test_the_manifest_holds_the_provenance_and_every_files_hash(tmp_path: Path, real: Cohort, made: Cohort) -> None:
    folder, written = export(real, [made], tmp_path / "out")
    manifest = read_manifest(folder)
    assert manifest == written
    case = next(case for case in manifest.cases if case.id == "s1")
    assert (case.seed, case.recipe, case.weights_sha256, case.kind) == (7, "ldm", "ab" * 32, "synthesize")
    assert case.draws == {"noise": [0.25, 1.5]}
    assert case.patients == ["p1", "p2", "s1"]
    assert [check.name for check in case.checks] == ["volume"]
    assert case.review.state == "unreviewed"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(manifest.sha256) == files - {"manifest.json"}
    assert all(sha256_file(folder / name) == digest for name, digest in manifest.sha256.items())
    assert all((folder / file).is_file() for one in manifest.cases for file in one.files.values())
    assert len((folder / "manifest.csv").read_text().splitlines()) == 1 + len(manifest.cases)


def test_an_existing_export_is_not_overwritten(tmp_path: Path, real: Cohort) -> None:
    export(real, [], tmp_path / "out")
    with pytest.raises(GenaugError) as caught:
        export(real, [], tmp_path / "out")
    assert caught.value.reason is Reason.BAD_PARAMETER


def test_an_export_of_no_cohort_asks_for_one(tmp_path: Path) -> None:
    with pytest.raises(GenaugError, match="Name the cohorts"):
        export(None, [], tmp_path / "out")


def test_nothing_to_export_is_refused_with_the_counts(tmp_path: Path) -> None:
    made = make_synthetic(tmp_path / "made", {"bad": []}, ("bad",))
    with pytest.raises(GenaugError, match="failed checks") as caught:
        export(None, [made], tmp_path / "out")
    assert caught.value.reason is Reason.EMPTY_COHORT


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_full_or_closed_disk_leaves_nothing(
    tmp_path: Path, real: Cohort, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    copies = []

    def fail(source: Path, target: Path) -> None:
        copies.append(target)
        if len(copies) == 3:
            Path(target).write_bytes(b"half")
            raise OSError(number, os.strerror(number), str(target))
        original(source, target)

    original = shutil.copyfile
    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(GenaugError) as caught:
        export(real, [], tmp_path / "out")
    assert caught.value.reason is (Reason.DISK_FULL if number == errno.ENOSPC else Reason.NO_PERMISSION)
    assert not (tmp_path / "out").exists()


def test_a_vanished_image_is_named(tmp_path: Path, real: Cohort) -> None:
    gone = real.cases[1].images["t1"]
    gone.unlink()
    with pytest.raises(GenaugError) as caught:
        export(real, [], tmp_path / "out")
    assert caught.value.reason is Reason.MISSING_FILE
    assert caught.value.subject == str(gone)


def review(case_id: str, decision: str, **more: Any) -> Review:
    return Review.model_validate({"case_id": case_id, "reviewer": "r1", "decision": decision, **more})


def test_the_last_word_of_the_review_decides(tmp_path: Path, real: Cohort) -> None:
    made = make_synthetic(tmp_path / "made", {"a": [], "b": [], "c": [], "d": []})
    log = made.root / REVIEWS
    for one in (review("a", "rejected"), review("b", "rejected", reason="blurred"), review("c", "needs_edit")):
        append_review(log, one)
    append_review(log, review("a", "accepted", difficulty=3))
    _, manifest = export(real, [made], tmp_path / "out")
    states = {case.id: case.review.state for case in manifest.cases if case.origin == "synthetic"}
    assert states == {"a": "accepted", "d": "unreviewed"}
    assert {one.id: one.cause for one in manifest.left_out} == {"b": "rejected", "c": "needs edit"}
    assert "blurred" in next(one.detail for one in manifest.left_out if one.id == "b")
    _, strict = export(real, [made], tmp_path / "strict", require_review=True)
    assert {one.id: one.cause for one in strict.left_out}["d"] == "not reviewed"


def corrected(cohort: Cohort, case: Case) -> Path:
    path = cohort.root / case.id / "label.v1.nii.gz"
    write_volume(path, label(2), synthetic=True)
    append_review(
        cohort.root / REVIEWS,
        review(case.id, "accepted", mask_version=1, mask=f"{case.id}/{path.name}", mask_sha256=sha256_file(path)),
    )
    return path


def test_a_corrected_mask_takes_the_place_of_the_first(tmp_path: Path, real: Cohort) -> None:
    made = make_synthetic(tmp_path / "made", {"a": ["p0"]})
    corrected(made, made.cases[0])
    folder, manifest = export(real, [made], tmp_path / "out")
    assert np.unique(read_volume(folder / "labelsTr" / "a.nii.gz", LABEL).array).tolist() == [0, 2]
    assert next(case for case in manifest.cases if case.id == "a").review.mask_version == 1


def test_a_reviewer_who_is_overruled_is_named(tmp_path: Path, real: Cohort) -> None:
    made = make_synthetic(tmp_path / "made", {"a": ["p0"], "b": ["p0"], "c": ["p0"]})
    for case_id in "abc":
        append_review(made.root / REVIEWS, review(case_id, "rejected", reason="copy of a real case"))
        # Whoever changes his own mind overrules nobody.
        append_review(made.root / REVIEWS, review(case_id, "accepted", reviewer="r1" if case_id == "b" else "r2"))
    append_review(made.root / REVIEWS, review("c", "rejected", reviewer="r3"))
    _, manifest = export(real, [made], tmp_path / "out")
    assert [note for note in manifest.notes if "rejected" in note] == [
        "a is accepted by r2, who decided last, and rejected by r1."
    ]
    assert [one.id for one in manifest.left_out] == ["c"]


def test_an_older_mask_than_there_is_is_named(tmp_path: Path, real: Cohort) -> None:
    made = make_synthetic(tmp_path / "made", {"a": ["p0"]})
    corrected(made, made.cases[0])
    second = tmp_path / "second.jsonl"
    append_review(second, review("a", "accepted", reviewer="r2"))
    _, manifest = export_cohort(real, [made], tmp_path / "out", ExportParameters(), Silent(), reviews=[second])
    assert next(case for case in manifest.cases if case.id == "a").review.mask_version == 0
    assert [note for note in manifest.notes if "version 1" in note and "r2 accepted" in note]


@pytest.mark.parametrize("file_format", ["nii.gz", "nrrd"])
def test_a_synthetic_file_without_its_mark_gets_it(tmp_path: Path, real: Cohort, file_format: str) -> None:
    """An image that another program has written anew, and a mask that a reviewer has corrected with one."""
    made = make_synthetic(tmp_path / "made", {"a": ["p0"]})
    (case,) = made.cases
    mask = made.root / "a" / f"label.v1.{file_format}"
    write_volume(mask, label(2))
    about = {"mask_version": 1, "mask": f"a/{mask.name}", "mask_sha256": sha256_file(mask)}
    append_review(made.root / REVIEWS, review("a", "accepted", **about))
    write_volume(case.images["t1"], case.volume("t1"))
    for layout in ("nnunet", "datalist", "plain"):
        folder, manifest = export(real, [made], tmp_path / layout, layout=layout, file_format=file_format)
        files = next(one.files for one in manifest.cases if one.id == "a")
        assert is_marked_synthetic(folder / files["t1"]) and is_marked_synthetic(folder / files["label"])
        assert np.array_equal(read_volume(folder / files["t1"]).array, case.volume("t1").array)


def test_a_datalist_without_validation_says_what_a_random_split_would_do(tmp_path: Path, real: Cohort) -> None:
    made = make_synthetic(tmp_path / "made", {"a": ["p0"]})
    _, mixed = export(real, [made], tmp_path / "mixed", layout="datalist")
    _, alone = export(real, [], tmp_path / "alone", layout="datalist")
    validated = make_real(tmp_path / "validated", {**SIX, "v": "validation"})
    _, kept = export(validated, [made], tmp_path / "kept", layout="datalist")
    assert [any("Auto3DSeg" in note for note in one.notes) for one in (mixed, alone, kept)] == [True, False, False]


def test_a_mask_changed_after_its_review_is_refused(tmp_path: Path, real: Cohort) -> None:
    made = make_synthetic(tmp_path / "made", {"a": ["p0"]})
    path = corrected(made, made.cases[0])
    write_volume(path, label(1))
    with pytest.raises(GenaugError, match="changed after its review") as caught:
        export(real, [made], tmp_path / "out")
    assert caught.value.subject == str(path)


def two_runs(tmp_path: Path) -> tuple[Cohort, Cohort]:
    """What two jobs with different seeds make: other cases of the same names."""
    first = make_synthetic(tmp_path / "one", {"lesion-0000": ["p0"]})
    case = write_case(
        tmp_path / "two", "lesion-0000", "p0", image(300), label(1, 2), Record.read(record_of(first.cases[0]))
    )
    second = first.model_copy(update={"name": "two", "root": tmp_path / "two", "cases": [case]})
    second.write(second.root)
    return first, second


def record_of(case: Case) -> Path:
    assert case.record is not None
    return case.record


@pytest.mark.parametrize("order", [1, -1])
def test_a_review_counts_for_the_case_that_was_looked_at_and_no_other_of_its_name(tmp_path: Path, order: int) -> None:
    first, second = two_runs(tmp_path)
    mask, log = tmp_path / "apart" / "m.nii.gz", tmp_path / "apart" / REVIEWS
    write_volume(mask, label(2), synthetic=True)
    changed = {"mask_version": 1, "mask": mask.name, "mask_sha256": sha256_file(mask)}
    about = {"record_sha256": reviewed_record(first.cases[0])}
    append_review(log, review("lesion-0000", "accepted", **changed, **about))
    parameters = ExportParameters(layout="plain", require_review=True)
    both = [first, second][::order]
    folder, manifest = export_cohort(None, both, tmp_path / "out", parameters, Silent(), reviews=[log])
    assert [one.cause for one in manifest.left_out] == ["not reviewed"] and not manifest.notes
    (kept,) = read_cohort(folder).cases
    assert np.array_equal(kept.volume("t1").array, first.cases[0].volume("t1").array)
    assert np.unique(read_volume(folder / "lesion-0000" / "label.nii.gz", LABEL).array).tolist() == [0, 2]
    with pytest.raises(GenaugError, match="not reviewed"):
        export_cohort(None, [second], tmp_path / "second", parameters, Silent(), reviews=[log])
    lenient = ExportParameters(layout="plain")
    _, alone = export_cohort(None, [second], tmp_path / "second", lenient, Silent(), reviews=[log])
    assert [case.review.state for case in alone.cases] == ["unreviewed"] and str(log) in alone.notes[0]


def test_a_decision_that_names_one_of_several_cases_of_a_name_is_refused(tmp_path: Path) -> None:
    """Logs of earlier versions hold the name alone; beside its cohort such a log is about that cohort."""
    first, second = two_runs(tmp_path)
    log = tmp_path / "apart" / REVIEWS
    append_review(log, review("lesion-0000", "rejected"))
    parameters = ExportParameters(layout="plain")
    with pytest.raises(GenaugError, match=r"'lesion-0000', a case of .*one and of .*two;") as caught:
        export_cohort(None, [first, second], tmp_path / "out", parameters, Silent(), reviews=[log])
    assert caught.value.reason is Reason.BAD_PARAMETER and caught.value.subject == str(log)
    shutil.copyfile(log, first.root / REVIEWS)
    _, manifest = export_cohort(None, [first, second], tmp_path / "out", parameters, Silent())
    assert [one.cause for one in manifest.left_out] == ["rejected"] and len(manifest.cases) == 1
    with pytest.raises(GenaugError, match="rejected"):
        export_cohort(None, [first], tmp_path / "one alone", parameters, Silent(), reviews=[log])


class Impatient(Silent):
    """Cancels when so many cases are done."""

    def __init__(self, after: int) -> None:
        self.after, self.seen = after, []

    def progress(self, done: int, total: int, note: str = "") -> None:
        self.seen.append((done, total, note))
        if done == self.after:
            raise Cancelled("job")


def test_several_cases_are_written_at_a_time_and_told_in_order(tmp_path: Path, real: Cohort) -> None:
    reporter = Impatient(-1)
    folder, _ = export_cohort(real, [], tmp_path / "out", ExportParameters(file_format="nrrd"), reporter)
    names = [f"writing {case.id}" for case in real.cases]
    assert reporter.seen == [(n, 7, note) for n, note in enumerate([*names, "writing the manifest"])]
    alone, _ = export_cohort(real, [], tmp_path / "again", ExportParameters(file_format="nrrd"), Silent())
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.nrrd")}
    assert files == {path.relative_to(alone): path.read_bytes() for path in alone.rglob("*.nrrd")}


def test_a_cancelled_export_leaves_nothing(tmp_path: Path, real: Cohort) -> None:
    with pytest.raises(Cancelled):
        export_cohort(real, [], tmp_path / "out", ExportParameters(file_format="nrrd"), Impatient(2))
    assert not (tmp_path / "out").exists()


def test_of_several_broken_cases_the_first_is_named(tmp_path: Path, real: Cohort) -> None:
    for case in (real.cases[4], real.cases[1]):
        assert case.label is not None
        case.label.write_bytes(b"damaged")
    with pytest.raises(GenaugError) as caught:
        export(real, [], tmp_path / "out", file_format="nrrd")
    assert str(caught.value.subject) == str(real.cases[1].label)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int64"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 3, 3), (5, 7, 2), (8, 8, 8)])
def test_the_values_of_a_label_map_are_found_whatever_its_type_and_order(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    for one in (array, np.asfortranarray(array), array[::2]):
        assert label_values(one) == np.unique(one).tolist()


@pytest.mark.parametrize("layout", ["nnunet", "datalist"])
def test_an_export_read_again_knows_who_descends_from_whom(tmp_path, layout):
    """Otherwise another split would train on cases made from those it holds out."""
    real = make_real(tmp_path / "real", dict.fromkeys(["p1", "p2", "p3"], "train"), channels={"t1": "MR", "t2": "MR"})
    made = make_synthetic(tmp_path / "made", {"s1": ["p1", "p2"]}, channels=("t1", "t2"))
    folder, _ = export(real, [made], tmp_path / "out", layout=layout)
    again = read_cohort(folder)
    assert {case.id: case.patient for case in again.cases if case.origin == "real"} == {
        f"{patient}-a": patient for patient in ("p1", "p2", "p3")
    }
    assert again["s1"].origin == "synthetic" and again["s1"].derived_from == ["p1", "p2", "s1"]
    assert again["s1"].record.is_file() and not again.notes
    assert list(again.channels) == ["t1", "t2"]
    for patient in ("p1", "p2"):
        assert "s1" not in [case.id for case in split_by_ids(again, test=[patient]).part("train")]
    assert "s1" in [case.id for case in split_by_ids(again, test=["p3"]).part("train")]


@pytest.mark.parametrize("layout", ["nnunet", "datalist", "plain"])
@pytest.mark.parametrize("channels", [{"ct": "CT"}, {"pet": "PT", "ct_low": "CT", "t1": "MR"}], ids="-".join)
def test_an_export_read_again_has_the_channels_modalities_and_covariates_it_was_made_from(tmp_path, layout, channels):
    """nnU-Net itself knows neither PT nor a patient's age, and calls every CT so."""
    plain = make_real(tmp_path / "real", dict.fromkeys(["p1", "p2"], "train"), channels=channels)
    about = {"p1": {"age": 60.0, "sex": "F"}, "p2": {"age": 31.5}}
    real = plain.with_cases([case.model_copy(update={"covariates": about[case.patient]}) for case in plain.cases])
    folder, _ = export(real, [], tmp_path / "out", layout=layout)
    again = read_cohort(folder)
    assert again.channels == channels
    assert {case.patient: case.covariates for case in again.cases} == about
    for case in again.cases:
        original = real[case.id]
        assert all(np.array_equal(case.volume(name).array, original.volume(name).array) for name in channels)
    others = make_real(tmp_path / "others", {"q": "train"}, channels=channels)
    _, manifest = export(again, [others], tmp_path / "both", layout=layout)
    assert len(manifest.cases) == 3 and not any("left out" in note for note in manifest.notes)


def test_a_manifest_is_read_once_and_one_of_an_earlier_version_still(tmp_path, real, monkeypatch):
    folder, _ = export(real, [], tmp_path / "out", layout="datalist")
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    for case in content["cases"]:
        del case["covariates"]
    path.write_text(json.dumps(content))
    parsed, genuine = [], account.json.loads
    monkeypatch.setattr(account, "json", SimpleNamespace(loads=lambda text: parsed.append(text) or genuine(text)))
    assert all(case.covariates == {} for case in read_cohort(folder).cases) and len(parsed) == 1
    path.write_text(json.dumps({**content, "cases": [{"name": "p0-a"}]}))
    with pytest.raises(GenaugError, match=r"cases\.0\.id") as caught:
        read_cohort(folder)
    assert caught.value.subject == str(path)


def test_a_case_of_unknown_descent_is_left_out_while_somebody_is_held_out(tmp_path):
    real = make_real(tmp_path / "real", {"p1": "train", "p2": "test"})
    made = make_synthetic(tmp_path / "made", {"s1": ["p1"]})
    unknown = made.with_cases([made["s1"].model_copy(update={"record": None, "derived_from": []})])
    _, manifest = export(real, [unknown], tmp_path / "out", layout="plain")
    assert [one.cause for one in manifest.left_out] == ["unknown descent"]
    everybody = real.model_copy(update={"split": {}})
    assert not export(everybody, [unknown], tmp_path / "all", layout="plain")[1].left_out


def test_channels_that_no_file_can_be_called_after_do_not_overwrite_each_other(tmp_path):
    for case in ("a", "b"):
        for name, volume in image(ord(case), ("T1 post", "平扫", "增强")).items():
            (tmp_path / "in" / case).mkdir(parents=True, exist_ok=True)
            write_volume(tmp_path / "in" / case / f"{name}.nii.gz", volume)
    cohort = read_cohort(tmp_path / "in")
    assert sorted(cohort.channels) == ["T1-post", "unnamed", "unnamed-2"] and len(cohort.notes) == 3
    folder, _ = export(cohort, [], tmp_path / "out", layout="plain")
    exported = read_cohort(folder)
    for name in cohort.channels:
        assert np.array_equal(exported["a"].volume(name).array, cohort["a"].volume(name).array)


@pytest.mark.parametrize("names", [{1: "lesion", 2: "lesion"}, {1: "background", 2: "lesion"}])
def test_two_labels_of_one_name_are_refused_for_nnunet(tmp_path, names):
    """The background is a label, too: nnU-Net's file holds a value for each name."""
    real = make_real(tmp_path / "real", {"p1": "train"}, label_names=names)
    with pytest.raises(GenaugError, match=f"'{names[1]}' for several") as caught:
        export(real, [], tmp_path / "out", layout="nnunet")
    assert caught.value.reason is Reason.WRONG_LABELS and not any((tmp_path / "out").glob("*"))
    export(real, [], tmp_path / "out", layout="plain")
