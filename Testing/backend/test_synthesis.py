import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from engine_data import blob_cohort, tiny_options
from genaug import package as packages
from genaug import synthesis
from genaug.case import write_case
from genaug.cohort import Cohort
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.imageio import is_marked_synthetic
from genaug.parameters import SynthesisParameters, TranslationParameters
from genaug.progress import Silent
from genaug.record import Record, hash_voxels
from genaug.split import split_by_ids
from genaug.synthesis import remake, synthesize
from genaug.training import train
from genaug.translation import translate


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return blob_cohort(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module", params=["vae", "ldm", "ddpm"])
def package(request, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    return train(data, tiny_options(request.param, 2), folder / request.param, "cpu", Silent())


def voxels(cohort):
    return {case.id: (case.volume("A").array, case.label_map().array) for case in cohort.cases}


def run(package, output, **parameters):
    return synthesize(package, output, SynthesisParameters(**parameters), 11, "cpu")


def test_a_case_is_the_same_alone_in_a_batch_of_four_and_after_a_restart(package, tmp_path):
    together = voxels(run(package, tmp_path / "four", count=4))
    for index in range(4):
        packages._loaded.clear()
        ((name, alone),) = voxels(run(package, tmp_path / f"alone{index}", count=1, start=index)).items()
        assert np.array_equal(alone[0], together[name][0])
        assert np.array_equal(alone[1], together[name][1])
    assert not np.array_equal(*[image for image, _ in list(together.values())[:2]])


def test_another_seed_is_another_case(package, tmp_path):
    first = run(package, tmp_path / "a", count=1)
    second = synthesize(package, tmp_path / "b", SynthesisParameters(count=1), 12, "cpu")
    assert not np.array_equal(first.cases[0].volume("A").array, second.cases[0].volume("A").array)


def test_the_record_makes_the_case_again_and_tells_its_ancestors(package, tmp_path):
    case = run(package, tmp_path / "cases", count=2).cases[1]
    record = Record.read(case.record)
    assert record.synthetic and case.origin == "synthetic"
    assert record.patients == [f"patient{i}" for i in range(6)]
    assert record.weights.sha256 == packages.load_package(package).sha256
    made = remake(record, package)
    assert hash_voxels(case.volume("A").array) == record.outputs["A"].voxels
    assert np.array_equal(made["A"].array, case.volume("A").array)
    assert np.array_equal(made["label"].array, case.label_map().array)
    assert is_marked_synthetic(case.images["A"])


def test_geometry_is_the_grids_own_and_labels_are_known_values(package, tmp_path):
    case = run(package, tmp_path / "cases", count=1).cases[0]
    image, label = case.volume("A"), case.label_map()
    assert image.spacing == pytest.approx((1.5, 1.0, 2.0))
    assert image.shape == (16, 16, 16)
    assert image.same_grid(label)
    assert set(np.unique(label.array)) <= {0, 1}


def test_checks_compare_label_volumes_with_the_training_range(package, tmp_path):
    record = Record.read(run(package, tmp_path / "cases", count=1).cases[0].record)
    check, pieces = [check for check in record.checks if check.name != "islands"]
    assert check.name == "volume of sphere" and pieces.name == "pieces of sphere"
    assert pieces.passed == (pieces.value <= 1)
    low, high = (float(word) for word in check.limit.split()[0:3:2])
    assert check.passed == (low <= check.value <= high)


def test_a_stopped_synthesis_leaves_whole_cases_only(package, tmp_path):
    class StopAtThird(Silent):
        def progress(self, done, total, note=""):
            if "case 3" in note:
                raise Cancelled()

    with pytest.raises(Cancelled):
        synthesize(package, tmp_path / "cases", SynthesisParameters(count=4), 11, "cpu", StopAtThird())
    left = sorted(path.name for path in (tmp_path / "cases").iterdir())
    assert left == [f"{package.name}-0000", f"{package.name}-0001"]


def test_spade_images_lie_on_the_given_label_maps(data, tmp_path):
    package = train(data, tiny_options("spade", 2), tmp_path / "spade", "cpu", Silent())
    made = synthesize(package, tmp_path / "cases", SynthesisParameters(count=2), 3, "cpu", given=data)
    for case, source in zip(made.cases, data.cases):
        assert np.array_equal(case.label_map().array, source.label_map().array)
        assert np.array_equal(case.volume("A").affine, source.volume("A").affine)
        record = Record.read(case.record)
        assert record.parents == [source.id] and case.patient == source.patient
        assert np.array_equal(remake(record, package, source)["A"].array, case.volume("A").array)
    with pytest.raises(GenaugError, match="cohort with label maps"):
        synthesize(package, tmp_path / "none", SynthesisParameters(count=1), 3, "cpu")


def test_a_case_that_nobody_asked_for_does_not_stop_the_others(data, tmp_path, monkeypatch):
    """On a GPU two are made at a time; the second one's label map is nobody's business when one is asked for."""
    package = train(data, tiny_options("spade", 2), tmp_path / "spade", "cpu", Silent())
    monkeypatch.setattr(synthesis, "micro_batch", lambda device: 2)
    first, second, *_ = data.cases
    given = data.with_cases([first, second.model_copy(update={"label": None})])
    made = synthesize(package, tmp_path / "cases", SynthesisParameters(count=1), 3, "cpu", given=given)
    assert [case.parents for case in made.cases] == [[first.id]]
    with pytest.raises(GenaugError, match="label map"):
        synthesize(package, tmp_path / "both", SynthesisParameters(count=2), 3, "cpu", given=given)


@pytest.mark.parametrize("asked", [{"steps": 7}, {"sampler": "ancestral", "steps": 5}])
def test_a_model_of_few_noise_levels_is_not_asked_for_others(data, tmp_path, asked):
    package = train(data, tiny_options("fast-ddpm", 1), tmp_path / "fast", "cpu", Silent())
    with pytest.raises(GenaugError, match="10 steps of ddim") as caught:
        run(package, tmp_path / "cases", count=1, **asked)
    assert caught.value.reason is Reason.BAD_PARAMETER
    assert not (tmp_path / "cases").exists()


def test_images_made_for_test_patients_stay_test_cases(data, tmp_path):
    split = split_by_ids(data, test=["patient1"], validation=["patient4"])
    package = train(split, tiny_options("spade", 1), tmp_path / "spade", "cpu", Silent())
    synthesize(package, tmp_path / "cases", SynthesisParameters(count=6), 3, "cpu", given=split)
    made = Cohort.read(tmp_path / "cases")
    assert [case.patient for case in made.part("train")] == ["patient0", "patient2", "patient3", "patient5"]
    assert [case.patient for case in made.part("test")] == ["patient1"]
    assert [case.patient for case in made.part("validation")] == ["patient4"]
    assert made.label_names == split.label_names


def test_sampling_holds_cudnn_to_reproducible_kernels_and_leaves_it_as_it_was(package, tmp_path, monkeypatch):
    cudnn, seen = torch.backends.cudnn, []
    loaded = packages.load_package(package)
    genuine = type(loaded.system).sample

    def sample(*arguments):
        seen.append((cudnn.deterministic, cudnn.benchmark))
        return genuine(*arguments)

    monkeypatch.setattr(type(loaded.system), "sample", sample)
    monkeypatch.setattr(cudnn, "benchmark", True)
    run(package, tmp_path / "cases", count=1)
    assert set(seen) == {(True, False)}
    assert (cudnn.deterministic, cudnn.benchmark) == (False, True)


def test_a_record_of_a_gpu_is_refused_where_there_is_none(package, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    record = Record.read(run(package, tmp_path / "cases", count=1).cases[0].record)
    with pytest.raises(GenaugError, match="no GPU of this kind") as caught:
        remake(record.model_copy(update={"machine": {"device": "cuda", "threads": 1}}), package)
    assert caught.value.reason is Reason.BAD_PARAMETER


def test_the_wrong_kind_of_package_is_refused(data, package, tmp_path):
    with pytest.raises(GenaugError, match="genaug synthesize") as caught:
        translate(package, data, tmp_path / "t", TranslationParameters())
    assert caught.value.reason is Reason.BAD_PACKAGE
    with pytest.raises(GenaugError, match="makes its own"):
        synthesize(package, tmp_path / "s", SynthesisParameters(count=1), 3, "cpu", given=data)


def test_samplers_are_chosen_by_name_and_only_where_there_is_a_choice(package, tmp_path):
    if package.name == "vae":
        with pytest.raises(GenaugError, match="in one pass"):
            run(package, tmp_path / "x", sampler="ddim")
        with pytest.raises(GenaugError, match=r"found 200 steps; expected none: .* in one pass"):
            run(package, tmp_path / "x", steps=200)
        assert not (tmp_path / "x").exists()
        return
    made = run(package, tmp_path / "x", sampler="ddim", steps=2, sampler_options={"eta": 0.0})
    record = json.loads(made.cases[0].record.read_text())
    assert record["parameters"]["sampler"] == {
        "name": "ddim",
        "steps": 2,
        "guidance": 1.0,
        "truncation": 1.0,
        "options": {"eta": 0.0},
    }
    with pytest.raises(GenaugError, match="dpmpp_2m"):
        run(package, tmp_path / "y", sampler="nonsense")


def test_a_case_made_from_nothing_has_the_field_of_view_of_a_training_case(tmp_path):
    """How much a scan shows is drawn from the training cases, not painted by the network as a box."""
    whole = blob_cohort(tmp_path / "whole", count=4, size=16)
    cases = []
    for case, depth in zip(whole.cases, (16, 14, 12, 10)):
        images = {name: shortened(case.volume(name), depth) for name in case.images}
        cases.append(write_case(tmp_path / "cut", case.id, case.patient, images, shortened(case.label_map(), depth)))
    package = train(whole.with_cases(cases), tiny_options("vae", 1), tmp_path / "vae", "cpu", Silent())
    made = synthesize(package, tmp_path / "made", SynthesisParameters(count=12), 3, "cpu")
    shown = [tuple(round(x, 2) for x in case.volume("A").extent) for case in made.cases]
    assert set(shown) <= set(packages.read_info(package).grid.fields)
    assert len(set(shown)) > 1
    assert [Record.read(case.record).draws["field_of_view_mm"] for case in made.cases] == [list(one) for one in shown]


def shortened(volume, depth):
    return replace(volume, array=volume.array[:, :, :depth], source=None)
