from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engine_data import blob_cohort, tiny_options
from genaug.case import Case
from genaug.cohort import Cohort
from genaug.errors import GenaugError, Reason
from genaug.imageio import write_volume
from genaug.package import read_info
from genaug.parameters import TranslationParameters
from genaug.progress import Silent
from genaug.record import Record
from genaug.replay import replay
from genaug.split import split_by_ids
from genaug.training import make_plan, train
from genaug.translation import remake, translate
from genaug.volume import Volume


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return blob_cohort(tmp_path_factory.mktemp("data"), count=3, size=32)


@pytest.fixture(scope="module")
def package(data, tmp_path_factory):
    return train(data, tiny_options("pix2pix", 2), tmp_path_factory.mktemp("packages") / "t", "cpu", Silent())


def one_case(name: str, path: Path) -> Cohort:
    return Cohort(name=name, channels={"A": "MR"}, cases=[Case(id=name, patient=name, images={"A": path})])


def test_a_result_lies_on_the_inputs_voxels_whatever_its_geometry(package, tmp_path):
    """Oblique, left-handed, odd in size, larger than the window along two axes and smaller along one."""
    angle = np.deg2rad(20)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([-1.5, 1.0, 2.0])
    affine[:3, 3] = [31, -7, 12]
    rng = np.random.default_rng(0)
    volume = Volume(rng.uniform(0, 200, (35, 33, 31)).astype(np.float32), affine, "MR")
    write_volume(tmp_path / "odd.nii.gz", volume)
    odd = one_case("odd", tmp_path / "odd.nii.gz")
    stored = odd.cases[0].volume("A")
    result = translate(package, odd, tmp_path / "out", TranslationParameters(), device="cpu").cases[0].volume("B")
    assert result.shape == stored.shape
    assert np.array_equal(result.affine, stored.affine)


def test_the_record_makes_the_translation_again(package, data, tmp_path):
    made = translate(package, data.with_cases(data.cases[:2]), tmp_path / "out", TranslationParameters(), 5, "cpu")
    record = Record.read(made.cases[1].record)
    assert record.parents == [data.cases[1].id]
    again = remake(record, package, data.cases[1])
    assert np.array_equal(again["B"].array, made.cases[1].volume("B").array)
    with pytest.raises(GenaugError, match="other voxels"):
        remake(record, package, data.cases[0])
    moved = one_case("moved", tmp_path / "moved.nii.gz")
    stored = data.cases[1].volume("A")
    affine = stored.affine.copy()
    affine[0, 3] += 7
    write_volume(tmp_path / "moved.nii.gz", replace(stored, affine=affine))
    with pytest.raises(GenaugError, match=r"7\.000 mm apart"):
        remake(record, package, moved.cases[0])


@pytest.mark.parametrize(("layout", "later"), [("channels_last", "contiguous"), ("contiguous", "channels_last")])
def test_a_replay_follows_the_memory_layout_that_the_record_names(package, data, tmp_path, monkeypatch, layout, later):
    monkeypatch.setattr("genaug.channels_last.faster_layout", lambda device: layout)
    made = translate(package, data.with_cases(data.cases[:1]), tmp_path / "out", TranslationParameters(), 5, "cpu")
    record = Record.read(made.cases[0].record)
    assert record.machine["memory_layout"] == layout
    monkeypatch.setattr("genaug.channels_last.faster_layout", lambda device: later)
    assert np.array_equal(remake(record, package, data.cases[0])["B"].array, made.cases[0].volume("B").array)
    result = replay(made.cases[0].record, tmp_path / "again", Silent(), {"package": package})
    assert result.outputs[0].verdict == ["same"] and result.notes == [], result.lines()


def test_translations_of_test_patients_stay_test_cases_and_can_be_trained_on_like_their_source(data, tmp_path):
    split = split_by_ids(data, test=["patient2"])
    package = train(split, tiny_options("pix2pix", 1), tmp_path / "t", "cpu", Silent())
    translate(package, split, tmp_path / "out", TranslationParameters(), device="cpu")
    made = Cohort.read(tmp_path / "out")
    assert [case.patient for case in made.part("test")] == ["patient2"]
    assert [case.patient for case in made.part("train")] == ["patient0", "patient1"]
    assert made.label_names == {1: "sphere"}
    made.check()
    options = tiny_options("vae", 1, channels=["B"], max_voxels=4096)
    again = read_info(train(made, options, tmp_path / "vae", "cpu", Silent()))
    assert again.trained_on.patients == ["patient0", "patient1"]
    assert [label.name for label in again.trained_on.labels] == ["sphere"]


def test_a_translation_by_a_model_that_knew_a_test_patient_is_in_no_part(package, data, tmp_path):
    """The model was trained on all patients, so nothing that it makes is free of those held out afterwards."""
    split = split_by_ids(data, test=["patient2"])
    made = translate(package, split, tmp_path / "out", TranslationParameters(), device="cpu")
    assert made.part("train") == []
    with pytest.raises(GenaugError) as caught:
        made.require_no_leak()
    assert caught.value.reason is Reason.LEAK


def test_a_record_of_a_gpu_is_refused_where_there_is_none(package, data, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    made = translate(package, data.with_cases(data.cases[:1]), tmp_path / "out", TranslationParameters(), 5, "cpu")
    record = Record.read(made.cases[0].record)
    with pytest.raises(GenaugError, match="no GPU of this kind") as caught:
        remake(record.model_copy(update={"machine": {"device": "cuda", "threads": 1}}), package, data.cases[0])
    assert caught.value.reason is Reason.BAD_PARAMETER


def test_a_wrong_modality_is_refused(package, data, tmp_path):
    with pytest.raises(GenaugError, match="MR, which") as caught:
        translate(package, data, tmp_path / "out", TranslationParameters(modality="CT"), device="cpu")
    assert caught.value.reason is Reason.WRONG_MODALITY
    assert not (tmp_path / "out").exists()


def test_a_field_of_view_beyond_training_is_refused_with_the_numbers(package, tmp_path):
    volume = Volume(np.random.default_rng(0).uniform(0, 9, (12, 12, 12)).astype(np.float32), np.eye(4), "MR")
    write_volume(tmp_path / "small.nii.gz", volume)
    small = one_case("small", tmp_path / "small.nii.gz")
    with pytest.raises(GenaugError, match=r"12\.0 mm") as caught:
        translate(package, small, tmp_path / "out", TranslationParameters(), device="cpu")
    assert caught.value.reason is Reason.FIELD_OF_VIEW


def test_a_case_without_the_source_channel_is_named(package, data, tmp_path):
    images = data.cases[0].images
    two = data.cases[0].model_copy(update={"images": {"B": images["B"], "C": images["A"]}})
    cohort = data.model_copy(update={"channels": {"B": "MR", "C": "MR"}, "cases": [two]})
    with pytest.raises(GenaugError, match="channel 'A'"):
        translate(package, cohort, tmp_path / "out", TranslationParameters(), device="cpu")


def test_training_a_translation_needs_a_source(data, tmp_path):
    with pytest.raises(GenaugError, match="source_channels T1 and channels T2"):
        train(data, tiny_options("pix2pix", 1, source_channels=[]), tmp_path / "t", "cpu", Silent())
    with pytest.raises(GenaugError, match="source_channels: found channel 'T9'"):
        train(data, tiny_options("pix2pix", 1, source_channels=["T9"]), tmp_path / "t", "cpu", Silent())
    options = tiny_options("pix2pix", 1, channels=[], source_channels=list(data.channels))
    with pytest.raises(GenaugError, match="A, B, C, all channels of the cohort"):
        train(data, options, tmp_path / "t", "cpu", Silent())


def test_channels_on_different_grids_are_to_be_registered(tmp_path):
    """Nothing is wrong with the label map, and nearest neighbour is not for images."""
    moved = blob_cohort(tmp_path / "data", 2, 32, flat=True)
    image = moved.cases[0].volume("B")
    write_volume(moved.cases[0].images["B"], replace(image, affine=image.affine + 5 * np.eye(4, k=3)))
    with pytest.raises(GenaugError, match="Register the images of a case") as caught:
        make_plan(moved, tiny_options("pix2pix", 1), tmp_path / "plan", Silent())
    assert caught.value.reason is Reason.GEOMETRY_MISMATCH
    label = moved.cases[1].label_map()
    write_volume(moved.cases[1].label, replace(label, affine=label.affine + 5 * np.eye(4, k=3)))
    with pytest.raises(GenaugError, match="nearest neighbour"):
        moved.with_cases(moved.cases[1:]).check()


@pytest.mark.parametrize("first", ["A", "B"])
def test_the_first_case_need_not_have_the_first_channel(tmp_path, first):
    """Of an unpaired translation no case need have both; which one comes first says nothing."""
    whole = blob_cohort(tmp_path / "data", 2, 32, flat=True)
    cases = [
        case.model_copy(update={"images": {name: case.images[name]}})
        for case, name in zip(whole.cases, (first, "AB".replace(first, "")), strict=True)
    ]
    plan = make_plan(whole.with_cases(cases), tiny_options("cyclegan", 1), tmp_path / "plan", Silent())
    assert plan.grid.dimension == 2 and plan.trained_on.cases == 2


def test_a_channel_that_nobody_asks_for_need_not_be_there(tmp_path):
    whole = blob_cohort(tmp_path / "data", 2, 32, flat=True)
    cases = [case.model_copy(update={"images": {"B": case.images["B"]}}) for case in whole.cases]
    plan = make_plan(whole.with_cases(cases), tiny_options("vae", 1, channels=["B"]), tmp_path / "plan", Silent())
    assert plan.roles.target == ["B"]


def test_weights_that_were_learnt_with_other_norms_are_no_start(data, package, tmp_path):
    """They have the same names and shapes, and what they make would be wrong from the first iteration on."""
    options = tiny_options("pix2pix", 1, initial=package)
    train(data, options, tmp_path / "same", "cpu", Silent())
    options.overrides["stages"]["translator"]["network"]["options"]["norm"] = "instance"
    with pytest.raises(GenaugError, match="norm") as caught:
        train(data, options, tmp_path / "other", "cpu", Silent())
    assert caught.value.reason is Reason.BAD_PACKAGE and "GroupNorm" in caught.value.found
    assert not (tmp_path / "other").exists()


def test_an_override_that_is_no_table_is_no_defect(data, tmp_path):
    with pytest.raises(GenaugError, match=r"stages\.translator"):
        train(data, tiny_options("pix2pix", 1, overrides={"stages": 3}), tmp_path / "t", "cpu", Silent())


# Samplers


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """A cohort of small planes, and a model whose sampler says how far the source is moved."""
    planes = blob_cohort(tmp_path_factory.mktemp("planes"), count=3, size=32, flat=True)
    folder = tmp_path_factory.mktemp("moving") / "ddm"
    return planes, train(planes, tiny_options("ddm", 2), folder, "cpu", Silent())


def moved(moving, folder: Path, **choice) -> Case:
    planes, package = moving
    return translate(
        package, planes.with_cases(planes.cases[:1]), folder, TranslationParameters(**choice), 5, "cpu"
    ).cases[0]


def test_a_translation_is_drawn_by_the_sampler_that_is_asked_for_and_made_again_by_it(moving, tmp_path):
    source = moving[0].cases[0].volume("A").array
    nowhere = moved(moving, tmp_path / "0", sampler_options={"amplitude": 0.0})
    # Other intensities, those of the target channel, but nothing has moved.
    assert np.corrcoef(nowhere.volume("B").array.ravel(), source.ravel())[0, 1] > 0.995
    whole, half = moved(moving, tmp_path / "1"), moved(moving, tmp_path / "2", sampler_options={"amplitude": 0.5})
    assert not np.array_equal(whole.volume("B").array, half.volume("B").array)
    record = Record.read(half.record)
    assert record.parameters["translation"]["sampler_options"] == {"amplitude": 0.5}
    again = remake(record, moving[1], moving[0].cases[0])
    assert np.array_equal(again["B"].array, half.volume("B").array)
    fewer = moved(moving, tmp_path / "3", steps=1)
    assert not np.array_equal(fewer.volume("B").array, whole.volume("B").array)


def test_a_sampler_for_a_network_of_one_pass_and_an_option_that_no_sampler_has_are_refused(
    package, data, moving, tmp_path
):
    for choice in ({"sampler": "ddim"}, {"sampler_options": {"eta": 1.0}}):
        with pytest.raises(GenaugError, match="one pass") as caught:
            translate(package, data, tmp_path / "a", TranslationParameters(**choice), device="cpu")
        assert caught.value.reason == Reason.BAD_PARAMETER
    with pytest.raises(GenaugError, match="speed"):
        moved(moving, tmp_path / "b", sampler_options={"speed": 2})
