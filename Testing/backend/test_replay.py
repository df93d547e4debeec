"""Replay: the same case from the same inputs, and no claim of it where anything has changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from genaug.case import Case
from genaug.cli import main
from genaug.cohort import Cohort, write_case
from genaug.errors import GenaugError, Reason
from genaug.export import export_cohort
from genaug.files import sha256_file
from genaug.imageio import is_marked_synthetic, read_volume, write_volume
from genaug.insertion import InsertionParameters, insert_into_cohort
from genaug.parameters import ExportParameters, SynthesisParameters, TrainingOptions
from genaug.progress import Silent
from genaug.readers import read_cohort
from genaug.record import hash_voxels
from genaug.replay import ReplayResult, replay
from genaug.review import REVIEWS, Review, append_review
from genaug.sources import read_sources, write_sources
from genaug.volume import LABEL, Volume

PARAMETERS = {
    "source": {"kind": "procedural", "shape": "irregular"},
    "diameter_mm": (4, 6),
    "contrast": (-6, -3),
    "lesion_value": 2,
    "copies": 2,
}


def make_hosts(folder: Path, count: int = 1) -> Cohort:
    rng = np.random.default_rng(3)
    label = np.zeros((24, 22, 20), np.uint8)
    label[3:21, 3:19, 3:17] = 1
    affine = np.diag([1.1, 1.0, 1.2, 1])
    cases = [
        write_case(
            folder,
            f"h{index}",
            f"p{index}",
            {"t1": Volume(rng.normal(100, 5, label.shape).astype(np.float32), affine)},
            Volume(label, affine, LABEL),
        )
        for index in range(count)
    ]
    cohort = Cohort(name="hosts", root=folder, channels={"t1": "MR"}, label_names={1: "tissue"}, cases=cases)
    cohort.write(folder)
    return cohort


@pytest.fixture
def inserted(tmp_path: Path) -> Cohort:
    hosts = make_hosts(tmp_path / "hosts")
    parameters = InsertionParameters.model_validate(PARAMETERS)
    return insert_into_cohort(hosts, tmp_path / "made", parameters, 11, Silent())


def again(cohort: Cohort, tmp_path: Path, number: int = 1, **sources: Path) -> ReplayResult:
    return replay(cohort.root / cohort.cases[number].id, tmp_path / "again", Silent(), sources)


def change_voxel(path: Path, modality: str | None = None, by: int = 1) -> None:
    volume = read_volume(path, modality)
    array = volume.array.copy()
    array[5, 5, 5] += by
    write_volume(path, volume.with_array(array), synthetic=True)


def test_an_insertion_is_made_again_voxel_for_voxel(inserted: Cohort, tmp_path: Path) -> None:
    result = again(inserted, tmp_path)
    assert result.same
    assert {one.role: (one.verdict, one.changed_voxels) for one in result.outputs} == {
        "t1": (["same"], 0),
        "label": (["same"], 0),
    }
    label = inserted.cases[1].label_map()
    assert label is not None
    assert np.unique(label.array).tolist() == [0, 1, 2]


def ct_head(folder: Path) -> Path:
    """A CT in a file that does not say so: tissue of 40 HU in air, with its label map beside it."""
    rng = np.random.default_rng(3)
    tissue = np.zeros((24, 22, 20), np.uint8)
    tissue[3:21, 3:19, 3:17] = 1
    values = np.where(tissue, rng.normal(40, 5, tissue.shape), -1000).astype(np.int16)
    write_volume(folder / "ct.nii.gz", Volume(values, np.eye(4), ""))
    write_volume(folder / "tissue.nii.gz", Volume(tissue, np.eye(4), LABEL))
    return folder / "ct.nii.gz"


def test_a_ct_whose_file_does_not_say_so_is_asked_for_and_made_again_in_hu(tmp_path: Path) -> None:
    host = ct_head(tmp_path)
    sizes = ["--diameter-mm", "5", "6", "--contrast", "-40", "-30"]
    command = ["insert", str(host), str(tmp_path / "made"), "--tissue", str(tmp_path / "tissue.nii.gz"), *sizes]
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code != 0 and "--modality" in refused.output and not (tmp_path / "made").exists()
    done = CliRunner().invoke(main, [*command, "--modality", "CT"])
    assert done.exit_code == 0, done.output
    (case,) = Cohort.read(tmp_path / "made").cases
    mask = case.label_map()
    assert mask is not None
    change = case.volume("image").array[mask.array > 0].mean() - 40
    assert -45 < change < -20
    result = replay(tmp_path / "made" / case.id, tmp_path / "again", Silent())
    assert result.same, result.lines()


def test_what_is_made_again_is_marked_as_well(inserted: Cohort, tmp_path: Path) -> None:
    again(inserted, tmp_path)
    (case,) = read_cohort(tmp_path / "again").cases
    assert case.origin == "synthetic" and all(is_marked_synthetic(path) for path in case.images.values())


def test_a_lesion_does_not_take_the_value_of_an_organ(tmp_path: Path) -> None:
    hosts = make_hosts(tmp_path / "hosts")
    asked = InsertionParameters.model_validate({**PARAMETERS, "lesion_value": 1})
    with pytest.raises(GenaugError, match="'tissue'") as caught:
        insert_into_cohort(hosts, tmp_path / "made", asked, 11, Silent())
    assert caught.value.reason is Reason.BAD_PARAMETER and "Take 2" in caught.value.remedy
    assert not (tmp_path / "made").exists()


def test_a_lesion_does_not_take_a_value_in_use_that_has_no_name(tmp_path: Path) -> None:
    """Plain folders name no label. A second insertion into the same hosts is told what the value already is."""
    hosts = make_hosts(tmp_path / "hosts", 2).model_copy(update={"label_names": {}})
    with_label(hosts.cases[1], lambda label: label[4, 4, 4:9].fill(2))

    def insert(into: Cohort, name: str, **changes: Any) -> Cohort:
        asked = InsertionParameters.model_validate({**PARAMETERS, "copies": 1, "prefix": name, **changes})
        return insert_into_cohort(into, tmp_path / name, asked, 11, Silent())

    for value in (1, 2):
        with pytest.raises(GenaugError, match=r"Take 3; or, .*known_lesions") as caught:
            insert(hosts, "refused", lesion_value=value)
        assert f"label map of h{value - 1}" in caught.value.found and not (tmp_path / "refused").exists()
    made = insert(hosts, "first", lesion_value=3)
    with pytest.raises(GenaugError, match="Take 4"):
        insert(made, "refused", lesion_value=3)
    more = insert(made, "second", lesion_value=3, known_lesions=True)
    for before, after in zip(made.cases, more.cases):
        first, second = ((case.label_map() or pytest.fail()).array for case in (before, after))
        assert (second[first == 3] == 3).all() and (second == 3).sum() > (first == 3).sum()
        assert np.array_equal(second[second != 3], first[second != 3])


def test_a_large_lesion_value_is_kept_where_the_hosts_have_no_label_map(tmp_path: Path) -> None:
    hosts = make_hosts(tmp_path / "hosts")
    tissue = hosts.cases[0].label
    bare = hosts.with_cases([case.model_copy(update={"label": None}) for case in hosts.cases])
    asked = InsertionParameters.model_validate({**PARAMETERS, "lesion_value": 70_000})
    made = insert_into_cohort(bare, tmp_path / "made", asked, 11, Silent(), tissue=tissue)
    mask = made.cases[0].label_map()
    assert mask is not None and set(np.unique(mask.array)) == {0, 70_000}


def test_lesions_of_one_name_are_inserted_again_and_again(inserted: Cohort, tmp_path: Path) -> None:
    assert inserted.label_names == {1: "tissue", 2: "lesion"}
    asked = InsertionParameters.model_validate({**PARAMETERS, "prefix": "more"})
    more = insert_into_cohort(inserted, tmp_path / "more", asked, 12, Silent())
    assert more.label_names == inserted.label_names


def with_label(case: Case, change: Callable[[np.ndarray], None]) -> None:
    """Change the label map of a host in place."""
    assert case.label is not None
    volume = read_volume(case.label, LABEL)
    array = volume.array.copy()
    change(array)
    write_volume(case.label, volume.with_array(array))


def test_a_host_without_room_is_left_out_and_named(tmp_path: Path) -> None:
    hosts = make_hosts(tmp_path / "hosts", 3)
    asked = InsertionParameters.model_validate(PARAMETERS)
    whole = insert_into_cohort(hosts, tmp_path / "whole", asked, 11, Silent())
    with_label(hosts.cases[1], lambda label: label[:, 5:].fill(0))
    made = insert_into_cohort(hosts, tmp_path / "made", asked, 11, Silent())
    assert [case.id for case in made.cases] == [case.id for case in whole.cases if "h1" not in case.id]
    for case in made.cases:
        assert hash_voxels(case.volume("t1").array) == hash_voxels(whole[case.id].volume("t1").array)
        assert replay(made.root / case.id, tmp_path / case.id, Silent()).same
    assert [note.split(":")[0] for note in made.notes] == [f"lesion-h1-000{n} is left out" for n in (2, 3)]
    assert "room for a lesion" in made.notes[0] and Cohort.read(made.root).notes == made.notes


def test_hosts_that_all_have_no_room_are_refused(tmp_path: Path) -> None:
    hosts = make_hosts(tmp_path / "hosts", 2)
    for case in hosts.cases:
        with_label(case, lambda label: label[:, 5:].fill(0))
    with pytest.raises(GenaugError, match="a smaller margin or fewer lesions") as caught:
        insert_into_cohort(hosts, tmp_path / "made", InsertionParameters.model_validate(PARAMETERS), 11, Silent())
    assert caught.value.reason is Reason.NO_ROOM
    assert [path.name for path in tmp_path.iterdir()] == ["hosts"]


def test_an_insertion_that_fails_leaves_nothing_and_can_be_run_again(tmp_path: Path) -> None:
    hosts = make_hosts(tmp_path / "hosts", 2)
    sound = hosts.cases[1].images["t1"].read_bytes()
    volume = read_volume(hosts.cases[1].images["t1"])
    write_volume(hosts.cases[1].images["t1"], volume.with_array(np.full_like(volume.array, 100)))
    asked = InsertionParameters.model_validate(PARAMETERS)
    with pytest.raises(GenaugError, match="contrast_unit"):
        insert_into_cohort(hosts, tmp_path / "made", asked, 11, Silent())
    assert [path.name for path in tmp_path.iterdir()] == ["hosts"]
    hosts.cases[1].images["t1"].write_bytes(sound)
    assert len(insert_into_cohort(hosts, tmp_path / "made", asked, 11, Silent()).cases) == 4


def test_a_second_cohort_does_not_replace_the_first_ones_manifest(inserted: Cohort) -> None:
    others = InsertionParameters.model_validate({**PARAMETERS, "prefix": "other"})
    with pytest.raises(GenaugError, match=r"cohort\.json"):
        insert_into_cohort(make_hosts(inserted.root.parent / "more"), inserted.root, others, 1, Silent())
    assert [case.id for case in Cohort.read(inserted.root).cases] == [case.id for case in inserted.cases]


def test_names_of_patients_need_not_be_names_of_files(tmp_path: Path) -> None:
    hosts = make_hosts(tmp_path / "hosts", 2)
    named = hosts.with_cases(
        [case.model_copy(update={"id": name}) for case, name in zip(hosts.cases, ("Müller 1", "Patient 01"))]
    )
    made = insert_into_cohort(named, tmp_path / "made", InsertionParameters.model_validate(PARAMETERS), 11, Silent())
    assert made.cases[0].id == "lesion-Muller-1-0000" and made.cases[-1].id == "lesion-Patient-01-0003"
    assert made.cases[0].parents == ["Müller 1"]


def test_copies_of_a_host_differ_and_descend_from_its_patient(inserted: Cohort) -> None:
    first, second = (case.volume("t1").array for case in inserted.cases)
    assert not np.array_equal(first, second)
    assert all(case.derived_from == ["p0"] and case.parents == ["h0"] for case in inserted.cases)


def test_a_changed_voxel_is_found_and_counted(inserted: Cohort, tmp_path: Path) -> None:
    change_voxel(inserted.cases[1].images["t1"])
    result = again(inserted, tmp_path)
    assert not result.same
    by_role = {one.role: one for one in result.outputs}
    assert by_role["t1"].verdict == ["file changed"]
    assert by_role["t1"].changed_voxels == 1
    assert by_role["label"].verdict == ["same"]


def test_a_changed_label_voxel_is_found(inserted: Cohort, tmp_path: Path) -> None:
    label = inserted.cases[1].label
    assert label is not None
    change_voxel(label, LABEL)
    assert {one.role: one.verdict for one in again(inserted, tmp_path).outputs}["label"] == ["file changed"]


MIRRORED = np.diag([-1.0, 1, 1, 1])
SHIFTED = np.array([[1.0, 0, 0, 0], [0, 1, 0, 40], [0, 0, 1, 0], [0, 0, 0, 1]])


def move(path: Path, by: np.ndarray, modality: str | None = None) -> None:
    volume = read_volume(path, modality)
    write_volume(path, Volume(volume.array, by @ volume.affine, volume.modality), synthetic=True)


def forget_geometry(cohort: Cohort) -> None:
    """The Record as earlier versions wrote it."""
    record = cohort.cases[1].record
    assert record is not None
    content = json.loads(record.read_text())
    for entry in (*content["inputs"].values(), *content["outputs"].values()):
        assert len(entry.pop("affine")) == 4 and len(entry.pop("shape")) == 3
    record.write_text(json.dumps(content))


@pytest.mark.parametrize("earlier", [False, True], ids=["", "earlier version"])
@pytest.mark.parametrize("by", [MIRRORED, SHIFTED], ids=["mirrored", "moved"])
def test_the_same_voxels_elsewhere_are_a_difference(
    inserted: Cohort, tmp_path: Path, by: np.ndarray, earlier: bool
) -> None:
    if earlier:
        forget_geometry(inserted)
        assert again(inserted, tmp_path / "before").same
    move(inserted.cases[1].images["t1"], by)
    result = again(inserted, tmp_path)
    by_role = {one.role: one for one in result.outputs}
    assert not result.same and by_role["label"].verdict == ["same"]
    assert by_role["t1"].verdict == ["geometry changed"] and by_role["t1"].changed_voxels == 0
    assert any("geometry changed: voxels up to" in line and "mm apart" in line for line in result.lines())


def test_a_host_that_lies_elsewhere_makes_a_case_in_another_geometry(inserted: Cohort, tmp_path: Path) -> None:
    for name, modality in (("t1", None), ("label", LABEL)):
        move(tmp_path / "hosts" / "h0" / f"{name}.nii.gz", SHIFTED, modality)
    result = again(inserted, tmp_path)
    assert [one.verdict for one in result.outputs] == [["made in another geometry"]] * 2
    assert "40.000 mm apart" in result.lines()[1]


@pytest.mark.parametrize("file_format", ["nii.gz", "nrrd"])
@pytest.mark.parametrize("layout", ["nnunet", "datalist", "plain"])
def test_an_exported_case_is_proven_by_its_record(
    inserted: Cohort, tmp_path: Path, layout: str, file_format: str
) -> None:
    """An export has its own names and formats, and is where no path of a Record leads from."""
    case = inserted.cases[1]
    parameters = ExportParameters(layout=layout, file_format=file_format)
    folder, manifest = export_cohort(None, [inserted], tmp_path / "far" / "out", parameters, Silent())
    files = next(one.files for one in manifest.cases if one.id == case.id)
    with pytest.raises(GenaugError, match="--host"):
        replay(folder / files["record"], tmp_path / "again", Silent())
    host = tmp_path / "hosts" / "h0"
    named = {"host": host / "t1.nii.gz", "tissue": host / "label.nii.gz", "label": host / "label.nii.gz"}
    result = replay(folder / files["record"], tmp_path / "again", Silent(), named)
    assert result.same, result.lines()
    assert {one.role: one.file for one in result.outputs} == {role: files[role] for role in ("t1", "label")}
    change_voxel(folder / files["t1"])
    move(folder / files["label"], SHIFTED, LABEL)
    result = replay(folder / files["record"], tmp_path / "changed", Silent(), named)
    assert [one.verdict for one in result.outputs] == [["file changed"], ["geometry changed"]]


def test_a_mask_that_a_reviewer_corrected_is_told_from_a_changed_file(inserted: Cohort, tmp_path: Path) -> None:
    case = inserted.cases[1]
    assert case.label is not None
    mask = inserted.root / case.id / "label.v1.nii.gz"
    write_volume(mask, read_volume(case.label, LABEL), synthetic=True)
    change_voxel(mask, LABEL)
    about = {"mask_version": 1, "mask": f"{case.id}/{mask.name}", "mask_sha256": sha256_file(mask)}
    append_review(inserted.root / REVIEWS, Review(case_id=case.id, reviewer="AB", decision="accepted", **about))
    folder, _ = export_cohort(None, [inserted], tmp_path / "out", ExportParameters(layout="plain"), Silent())
    host = tmp_path / "hosts" / "h0"
    named = {"host": host / "t1.nii.gz", "tissue": host / "label.nii.gz", "label": host / "label.nii.gz"}
    result = replay(folder / case.id, tmp_path / "again", Silent(), named)
    assert {one.role: one.verdict for one in result.outputs} == {"t1": ["same"], "label": ["file changed"]}
    assert result.notes == ["the label map is version 1, which AB corrected"]


def test_a_missing_file_is_a_difference(inserted: Cohort, tmp_path: Path) -> None:
    inserted.cases[1].images["t1"].unlink()
    result = again(inserted, tmp_path)
    assert not result.same
    assert result.outputs[0].verdict == ["file missing"]


def test_a_changed_host_is_refused(inserted: Cohort, tmp_path: Path) -> None:
    host = tmp_path / "hosts" / "h0" / "t1.nii.gz"
    volume = read_volume(host)
    write_volume(host, volume.with_array(volume.array + 1))
    with pytest.raises(GenaugError) as caught:
        again(inserted, tmp_path)
    assert caught.value.subject == str(host)


def test_a_case_that_moved_is_made_again_from_named_inputs(inserted: Cohort, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "deeper" / "made"
    moved.parent.mkdir(parents=True)
    inserted.root.rename(moved)
    case = moved / inserted.cases[0].id
    with pytest.raises(GenaugError, match="--host") as caught:
        replay(case, tmp_path / "again", Silent())
    assert caught.value.reason is Reason.MISSING_FILE and caught.value.subject.endswith("t1.nii.gz")
    host = tmp_path / "hosts" / "h0"
    named = {"host": host / "t1.nii.gz", "tissue": host / "label.nii.gz", "label": host / "label.nii.gz"}
    assert replay(case, tmp_path / "again", Silent(), named).same


def test_another_version_is_said(inserted: Cohort, tmp_path: Path) -> None:
    record = inserted.cases[1].record
    assert record is not None
    content = json.loads(record.read_text())
    content["versions"]["numpy"] = "1.0"
    record.write_text(json.dumps(content))
    assert any(note.startswith("numpy was 1.0, is ") for note in again(inserted, tmp_path).notes)


def test_a_carved_lesion_is_made_again_from_its_bank(tmp_path: Path) -> None:
    bank = make_hosts(tmp_path / "bank")
    with_label(bank.cases[0], lambda label: label[10:14, 10:14, 8:12].fill(5))
    parameters = {**PARAMETERS, "source": {"kind": "bank", "value": 5}, "contrast": None}
    made = insert_into_cohort(
        make_hosts(tmp_path / "hosts"),
        tmp_path / "made",
        InsertionParameters.model_validate(parameters),
        0,
        Silent(),
        bank=bank.model_copy(update={"label_names": {}}),
    )
    with pytest.raises(GenaugError, match="--bank"):
        again(made, tmp_path)
    write_sources(made.root, {"bank": bank.root, "tissue": None})
    assert read_sources(made.root) == {"bank": bank.root}
    assert again(made, tmp_path).same
    assert set(made.cases[1].derived_from) == {"p0"}


def test_test_patients_are_no_hosts(tmp_path: Path) -> None:
    hosts = make_hosts(tmp_path / "hosts", 2).model_copy(update={"split": {"p0": "test"}})
    made = insert_into_cohort(hosts, tmp_path / "made", InsertionParameters.model_validate(PARAMETERS), 0, Silent())
    assert {case.patient for case in made.cases} == {"p1"}
    assert made.split == {"p0": "test"}


@pytest.mark.parametrize("what", ["empty folder", "nothing", "several"])
def test_a_case_without_one_record_is_named(inserted: Cohort, tmp_path: Path, what: str) -> None:
    case = {"empty folder": tmp_path, "nothing": tmp_path / "x", "several": inserted.root / inserted.cases[0].id}[what]
    if what == "several":
        (case / "other.record.json").touch()
    with pytest.raises(GenaugError) as caught:
        replay(case, tmp_path / "again", Silent())
    assert caught.value.subject == str(case)


TINY: dict[str, Any] = {
    "stages": {"vae": {"network": {"options": {"latent": 4, "channels": [8, 8]}}}},
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from genaug.training import train

    folder = tmp_path_factory.mktemp("engine")
    make_hosts(folder / "cohort", 4)
    options = TrainingOptions(recipe="vae", iterations={"vae": 2}, max_voxels=4096, overrides=TINY, threads=1)
    return train(read_cohort(folder / "cohort"), options, folder / "package", "cpu", Silent())


def synthesized(package: Path, tmp_path: Path) -> Cohort:
    from genaug.synthesis import synthesize

    return synthesize(package, tmp_path / "made", SynthesisParameters(count=2), 5, "cpu", Silent())


def test_a_synthesised_case_is_made_again_voxel_for_voxel(package: Path, tmp_path: Path) -> None:
    made = synthesized(package, tmp_path)
    with pytest.raises(GenaugError, match="--package"):
        again(made, tmp_path)
    write_sources(made.root, {"package": package})
    result = again(made, tmp_path)
    assert result.same, result.lines()


def test_it_computes_on_as_many_threads_as_then_and_says_what_else_has_changed(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How a sum is divided among threads decides its last bit; where it ran is told, should that not be enough."""
    import torch
    from genaug import synthesis
    from genaug.devices import computing_threads

    with computing_threads(2):
        made = synthesized(package, tmp_path)
    seen, genuine = [], synthesis.generate

    def generate(*arguments: Any) -> torch.Tensor:
        seen.append(torch.get_num_threads())
        return genuine(*arguments)

    monkeypatch.setattr(synthesis, "generate", generate)
    with computing_threads(1):
        result = again(made, tmp_path, package=package)
        assert torch.get_num_threads() == 1
    assert seen == [2]
    assert result.same and result.notes == [], result.lines()
    record = made.cases[1].record
    assert record is not None
    content = json.loads(record.read_text())
    assert content["machine"]["threads"] == 2
    content["machine"]["platform"] = "a machine of then"
    record.write_text(json.dumps(content))
    (note,) = again(made, tmp_path / "later", package=package).notes
    assert note.startswith("platform was a machine of then, is ")


@pytest.mark.skipif(find_spec("nilearn") is None, reason="nilearn, which holds the brain template, is not installed")
def test_a_subject_of_a_template_is_made_again_whatever_its_spacing_and_margin(tmp_path: Path) -> None:
    from genaug.templates.brain import brain_template
    from genaug.templates.cohort import template_cohort

    folder = template_cohort(brain_template(6.3, 10.0), tmp_path / "subjects", 2, seed=3)
    result = again(Cohort.read(folder), tmp_path)
    assert result.same, result.lines()


def test_a_changed_weight_file_is_refused(package: Path, tmp_path: Path) -> None:
    import shutil

    made = synthesized(package, tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(package, copy)
    weights = next((copy / "models").iterdir())
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(GenaugError, match="SHA-256") as caught:
        again(made, tmp_path, package=copy)
    assert caught.value.reason is Reason.BAD_PACKAGE
    assert caught.value.subject == str(weights)
