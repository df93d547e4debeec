"""What a case is made for: covariates, guidance, missing sources, planes beside its own, holes to fill."""

import numpy as np
import pytest
import torch
from engine_data import blob_cohort, tiny_options
from genaug.cohort import Cohort
from genaug.covariates import Covariate, encode
from genaug.errors import GenaugError, Reason
from genaug.files import read_json
from genaug.networks import Batch
from genaug.package import read_info
from genaug.parameters import SynthesisParameters
from genaug.progress import Silent
from genaug.record import Record
from genaug.synthesis import remake, synthesize
from genaug.tensors import neighbours, without_hole
from genaug.training import train

AGE = Covariate.of("age", [20.0, 40.0, 60.0])
SEX = Covariate.of("sex", ["F", "M", "F"])


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Cohort:
    return blob_cohort(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", params=["cvae", "cgan", "cldm"])
def package(request, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    return train(data, tiny_options(request.param, 2), folder / request.param, "cpu", Silent())


def make(package, folder, given=None, **parameters):
    return synthesize(package, folder, SynthesisParameters(**parameters), 3, "cpu", given=given)


def test_zeros_mean_that_nothing_is_known():
    assert not encode([AGE, SEX], {}).any()
    assert encode([AGE, SEX], {"age": 40.0, "sex": "M", "site": "Graz"}).tolist() == [1, 0, 0, 1]


def test_a_mean_number_is_told_from_an_unknown_one():
    assert AGE.encode(40.0).tolist() != AGE.encode(None).tolist()


@pytest.mark.parametrize(("covariate", "value"), [(AGE, 65.0), (AGE, "old"), (AGE, float("nan")), (SEX, "X")])
def test_what_no_training_case_was_like_is_refused(covariate, value):
    with pytest.raises(GenaugError, match=covariate.name):
        covariate.encode(value)


def test_a_number_may_leave_its_range_by_a_tenth():
    assert AGE.encode(64.0)[1] > AGE.encode(60.0)[1]


def test_identifiers_are_no_classes():
    with pytest.raises(GenaugError, match="70 different words"):
        Covariate.of("id", [f"case {i}" for i in range(70)])


def test_hidden_conditions_are_zeros_for_those_cases_alone():
    batch = Batch(torch.zeros(2, 1, 4, 4), source=torch.ones(2, 1, 4, 4), vector=torch.ones(2, 3))
    hidden = batch.known_where(torch.tensor([True, False]))
    assert hidden.vector[0].eq(1).all() and not hidden.vector[1].any() and not hidden.source[1].any()
    assert hidden.condition.shape == (2, 4, 4, 4)


def test_cases_are_of_the_kind_that_was_asked_for_and_say_so(package, tmp_path):
    made = make(package, tmp_path / "made", count=2, conditions={"radius": 4.0, "kind": "small"})
    assert all(case.covariates == {"radius": 4.0, "kind": "small"} for case in made.cases)
    assert Record.read(made.cases[0].record).draws["covariates"] == {"radius": 4.0, "kind": "small"}


def test_what_is_not_asked_for_is_drawn_from_one_training_case(package, data, tmp_path):
    seen = [case.covariates for case in data.cases]
    for case in make(package, tmp_path / "made", count=3).cases:
        assert case.covariates in seen


def test_covariates_change_the_case_and_nothing_else_does(package, tmp_path):
    def voxels(name, radius):
        made = make(package, tmp_path / name, count=1, conditions={"radius": radius, "kind": "small"})
        return made.cases[0].volume("A").array

    assert np.array_equal(voxels("a", 3.2), voxels("b", 3.2))
    assert not np.array_equal(voxels("c", 3.2), voxels("d", 4.8))


def test_a_given_cohort_lends_its_covariates(package, data, tmp_path):
    made = make(package, tmp_path / "made", count=2, given=data)
    assert [case.covariates for case in made.cases] == [case.covariates for case in data.cases[:2]]


def test_a_case_made_for_covariates_replays(package, tmp_path):
    case = make(package, tmp_path / "made", count=2, conditions={"kind": "large"}).cases[1]
    again = remake(Record.read(case.record), package)
    assert np.array_equal(again["A"].array, case.volume("A").array)


def test_an_unknown_condition_names_those_there_are(package, tmp_path):
    with pytest.raises(GenaugError, match="radius"):
        make(package, tmp_path / "made", conditions={"colour": "blue"})
    assert not (tmp_path / "made").exists()


def test_guidance_needs_a_model_that_has_learnt_of_nothing(package, tmp_path):
    if package.name == "cldm":
        plain = make(package, tmp_path / "a", guidance=1.0).cases[0].volume("A").array
        guided = make(package, tmp_path / "b", guidance=4.0).cases[0].volume("A").array
        assert not np.array_equal(plain, guided)
        return
    with pytest.raises(GenaugError, match="left out now and then"):
        make(package, tmp_path / "made", guidance=2.0)


def test_truncation_needs_a_generator_of_a_code(package, tmp_path):
    if package.name == "cldm":
        with pytest.raises(GenaugError, match="one point of normal noise"):
            make(package, tmp_path / "made", truncation=0.5)
        assert not (tmp_path / "made").exists()
        return
    near = make(package, tmp_path / "a", truncation=0.5).cases[0]
    plain = make(package, tmp_path / "b", truncation=1.0).cases[0]
    assert not np.array_equal(near.volume("A").array, plain.volume("A").array)
    record = Record.read(near.record)
    assert record.parameters["sampler"]["truncation"] == 0.5
    assert np.array_equal(remake(record, package)["A"].array, near.volume("A").array)


def test_a_model_of_covariates_needs_some(data, tmp_path):
    bare = data.with_cases([case.model_copy(update={"covariates": {}}) for case in data.cases])
    with pytest.raises(GenaugError) as caught:
        train(bare, tiny_options("cvae", 1), tmp_path / "cvae", "cpu", Silent())
    assert caught.value.reason == Reason.BAD_PARAMETER and "CSV" in caught.value.remedy


def test_a_model_without_covariates_takes_none(data, tmp_path):
    with pytest.raises(GenaugError, match="covariates for vae"):
        train(data, tiny_options("vae", 1, covariates=["radius"]), tmp_path / "vae", "cpu", Silent())


@pytest.mark.parametrize("given", [{"source_channels": ["A"]}, {"text": "kind"}, {"text_encoder": "encoder"}])
def test_a_model_without_sources_or_text_takes_none(data, tmp_path, given):
    """Sources would be taken out of what it makes without a word."""
    with pytest.raises(GenaugError, match=f"{next(iter(given))} for vae"):
        train(data, tiny_options("vae", 1, **given), tmp_path / "vae", "cpu", Silent())


def test_a_package_does_not_tell_whose_covariates_it_has_seen(package, data):
    info = read_info(package)
    text = (package / "configs/genaug.json").read_text()
    assert len(info.trained_on.seen) == len(data.cases) and '"case0"' not in text
    assert read_json(package / "configs/genaug.json", type(info)) == info


def test_neighbouring_planes_stop_at_the_end():
    images = np.arange(5, dtype=np.int16)[None, None, None] + np.zeros((1, 2, 2, 1), np.int16)
    assert neighbours(images, 0, (-1, 0, 1))[:, 0, 0].tolist() == [0, 0, 1]
    assert neighbours(images, 4, (-2, 0, 1))[:, 0, 0].tolist() == [2, 4, 4]


@pytest.mark.parametrize("offsets", [(-3, -2, -1), (-1, 1), (1, 2)])
def test_a_plane_that_is_foretold_is_not_shown(offsets):
    images = np.arange(5, dtype=np.int16)[None, None, None] + np.zeros((1, 2, 2, 1), np.int16)
    shown = [neighbours(images, plane, offsets)[:, 0, 0].tolist() for plane in range(5)]
    assert all(plane not in planes for plane, planes in enumerate(shown))
    if offsets == (-3, -2, -1):
        assert shown == [[3, 2, 1], [0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]]


def test_a_hole_shows_nothing_of_what_it_covers():
    images = torch.rand(1, 2, 4, 4)
    one_hot = torch.zeros(1, 2, 4, 4)
    one_hot[:, 0] = 1
    one_hot[:, 0, 1, 1], one_hot[:, 1, 1, 1] = 0, 1
    seen = without_hole(images, one_hot)
    assert not seen[0, :, 1, 1].any() and torch.equal(seen[0, :, 0], images[0, :, 0])
