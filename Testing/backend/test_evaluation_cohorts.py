import json

import numpy as np
import pytest
from click.testing import CliRunner
from engine_data import blob_cohort
from genaug.case import write_case
from genaug.cli import main
from genaug.cohort import Cohort
from genaug.errors import GenaugError, Reason
from genaug.evaluation.cohorts import evaluate_cohorts
from genaug.imageio import write_volume
from genaug.parameters import EvaluationParameters
from genaug.record import Record
from genaug.split import split_by_ids
from genaug.volume import Volume


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    cohort = blob_cohort(tmp_path_factory.mktemp("real"), count=24, size=16)
    return split_by_ids(cohort, test=[f"patient{i}" for i in range(12, 24)])


def synthetic_from(real, folder, change, channels=("A",)):
    """One synthetic case for each train case, its images changed by `change`."""
    cases = []
    for case in real.part("train"):
        record = Record(
            case_id=f"made-{case.id}",
            kind="synthesize",
            seed=0,
            parameters={},
            parents=[case.id],
            patients=[case.patient],
        )
        images = {name: change(case.volume(name)) for name in channels}
        cases.append(write_case(folder, record.case_id, record.case_id, images, case.label_map(), record))
    made = Cohort(
        name="made", root=folder, channels=dict.fromkeys(channels, "MR"), label_names=real.label_names, cases=cases
    )
    made.write(folder)
    return made


def noise(volume: Volume) -> Volume:
    return volume.with_array(np.random.default_rng(0).uniform(0, 200, volume.shape).astype(np.float32))


PARAMETERS = EvaluationParameters(reference_part="test", features=["conv3d-v1"])


def test_noise_scores_worse_than_real_anatomy(real, tmp_path):
    good = evaluate_cohorts(real, synthetic_from(real, tmp_path / "same", lambda v: v), PARAMETERS)
    bad = evaluate_cohorts(real, synthetic_from(real, tmp_path / "noise", noise), PARAMETERS)
    assert good.find("kid").value < bad.find("kid").value
    assert good.find("coverage").value > bad.find("coverage").value


def test_copies_of_training_cases_are_found_and_named(real, tmp_path):
    made = synthetic_from(real, tmp_path / "copies", lambda v: v)
    check = evaluate_cohorts(real, made, PARAMETERS).copies[0]
    assert check.share == 1.0
    assert {(pair.synthetic, pair.training) for pair in check.pairs} <= {
        (f"made-case{i}", f"case{i}") for i in range(12)
    }


def descending(made, patients):
    """The same cases of a model that was trained on `patients`."""
    return made.with_cases(
        [case.model_copy(update={"parents": [], "derived_from": list(patients)}) for case in made.cases]
    )


def test_cases_of_held_out_patients_are_a_leak(real, tmp_path):
    """Those who say that they descend from patients they are measured with, by their Records or their parents."""
    made = synthetic_from(real, tmp_path / "copies", lambda v: v)
    for leaky in (
        descending(made, ["patient3", "patient20"]),
        made.with_cases([case.model_copy(update={"parents": ["case20"], "derived_from": []}) for case in made.cases]),
    ):
        for parameters in (PARAMETERS, PARAMETERS.model_copy(update={"reference_part": "train"})):
            with pytest.raises(
                GenaugError, match=r"12 of 12 .* 1 of the patients in the test part .*patient20"
            ) as caught:
                evaluate_cohorts(real, leaky, parameters)
            assert caught.value.reason is Reason.LEAK
    chosen = split_by_ids(real, test=[f"patient{i}" for i in range(12, 20)], validation=["patient20"])
    validated = PARAMETERS.model_copy(update={"reference_part": "train", "held_out_part": "validation"})
    with pytest.raises(GenaugError, match="validation part") as caught:
        evaluate_cohorts(chosen, descending(made, ["patient20"]), validated)
    assert caught.value.reason is Reason.LEAK
    evaluate_cohorts(chosen, descending(made, ["patient20"]), PARAMETERS)


def test_copies_are_looked_for_among_the_patients_that_the_cases_descend_from(real, tmp_path):
    made = synthetic_from(real, tmp_path / "copies", lambda v: v)
    few = evaluate_cohorts(real, descending(made, ["patient1", "patient2", "elsewhere0", "elsewhere1"]), PARAMETERS)
    assert all(check.n_training == 2 for check in few.copies)
    assert any("2 of 4 patients" in note and "elsewhere0, elsewhere1" in note for note in few.notes)
    none = evaluate_cohorts(real, descending(made, ["elsewhere"]), PARAMETERS)
    assert not none.copies
    assert any("1 of 1 patients" in note for note in none.notes)
    assert any("copies were not looked for" in note for note in none.notes)


def test_cases_that_do_not_say_whom_they_descend_from_are_compared_with_the_train_part(real, tmp_path):
    made = descending(synthetic_from(real, tmp_path / "copies", lambda v: v), ["patient1"])
    cases = [made.cases[0].model_copy(update={"derived_from": []}), *made.cases[1:]]
    found = evaluate_cohorts(real, made.with_cases(cases), PARAMETERS)
    assert all(check.n_training == 12 for check in found.copies)
    assert any("1 of 12 synthetic cases, such as made-case0, do not say" in note for note in found.notes)
    known = evaluate_cohorts(real, synthetic_from(real, tmp_path / "known", lambda v: v), PARAMETERS)
    assert not any("descend" in note for note in known.notes)


def test_label_volumes_of_equal_anatomy_agree(real, tmp_path):
    made = synthetic_from(real, tmp_path / "same", lambda v: v)
    own = PARAMETERS.model_copy(update={"reference_part": "train"})
    score = evaluate_cohorts(real, made, own).find("label_volume_difference", region="sphere")
    assert score.value == pytest.approx(0, abs=1e-6)


ANATOMY = EvaluationParameters(reference_part="test", features=["anatomy-v1"])


def test_label_maps_without_names_are_scored_by_number(real, tmp_path):
    made = synthetic_from(real, tmp_path / "same", lambda v: v)
    named = evaluate_cohorts(real, made, ANATOMY)
    unnamed = evaluate_cohorts(real.model_copy(update={"label_names": {}}), made, ANATOMY)
    expected = named.find("label_volume_difference", region="sphere").value
    assert unnamed.find("label_volume_difference", region="label 1").value == expected
    assert "anatomy-v1 looked at the images and at labels sphere (1)" in named.notes
    assert "anatomy-v1 looked at the images and at labels label 1 (1)" in unnamed.notes


def test_cases_without_a_label_map_are_counted_where_label_scores_are_left_out(real, tmp_path):
    made = synthetic_from(real, tmp_path / "same", lambda v: v)

    def bare(cases):
        return [case.model_copy(update={"label": None}) for case in cases]

    one = made.with_cases([*made.cases[:3], *bare(made.cases[3:4]), *made.cases[4:]])
    partly = real.with_cases([*bare(real.cases[:2]), *real.cases[2:]])
    for cohorts, counted in (
        ((real, one), ["1 of 12 synthetic cases (such as made-case3)"]),
        ((partly, one), ["2 of 24 real cases (such as case0)", "1 of 12 synthetic"]),
        ((real.with_cases(bare(real.cases)), made.with_cases(bare(made.cases))), []),
    ):
        found = evaluate_cohorts(*cohorts, ANATOMY)
        assert not any("label" in score.name for score in found.scores)
        assert "anatomy-v1 looked at the images and at no labels" in found.notes
        notes = [note for note in found.notes if "label scores left out" in note]
        assert len(notes) == bool(counted) and all(text in note for note in notes for text in counted)


def test_a_translation_is_compared_with_its_own_parent(real, tmp_path):
    made = synthetic_from(real, tmp_path / "b", lambda v: v, channels=("B",))
    scores = evaluate_cohorts(real, made, EvaluationParameters(task="translation", channel="B"))
    assert scores.find("mae").value == pytest.approx(0, abs=1e-4)
    stranger = made.with_cases([made.cases[0].model_copy(update={"parents": ["nobody"]})])
    with pytest.raises(GenaugError, match="nobody") as caught:
        evaluate_cohorts(real, stranger, EvaluationParameters(task="translation", channel="B"))
    assert caught.value.reason is Reason.UNPAIRED


TRANSLATION = EvaluationParameters(task="translation", channel="B")


def test_a_translation_has_a_floor_and_the_errors_within_the_real_labels(real, tmp_path):
    """Made label maps are copies of the real ones: their overlap would be perfect and mean nothing."""
    made = synthetic_from(real, tmp_path / "b", lambda v: v.with_array(v.array + 7), channels=("B",))
    found = evaluate_cohorts(real, made, TRANSLATION)
    sphere = found.find("mae", region="sphere")
    assert sphere.value == pytest.approx(7, abs=1e-3)
    assert 0 < sphere.floor < 60 and "half a voxel" in sphere.floor_description
    with pytest.raises(KeyError):
        found.find("dice")
    assert any("dice by label left out for 12 of 12" in note for note in found.notes)
    unnamed = real.model_copy(update={"label_names": {}})
    assert evaluate_cohorts(unnamed, made, TRANSLATION).find("mae", region="label 1").value == sphere.value


def test_a_translation_is_scored_where_any_other_image_of_the_patient_shows_something(real, tmp_path):
    made = synthetic_from(real, tmp_path / "b", lambda v: v.with_array(v.array + 7), channels=("B",))
    for case in made.cases[:3]:
        image = case.volume("B")
        array = image.array.copy()
        array[..., :4] += 500
        write_volume(case.images["B"], image.with_array(array))
    cases = []
    for case in real.cases:
        source = case.volume("A")
        array = source.array.copy()
        array[..., :4] = array.min()
        path = tmp_path / f"{case.id}.nii.gz"
        write_volume(path, source.with_array(array))
        cases.append(case.model_copy(update={"images": {"A": path, "B": case.images["B"]}}))
    found = evaluate_cohorts(real.with_cases(cases), made, TRANSLATION)
    assert found.find("mae").value == pytest.approx(7, abs=1e-3)
    assert evaluate_cohorts(real, made, TRANSLATION).find("mae").value > 20
    alone = real.with_cases([case.model_copy(update={"images": {"B": case.images["B"]}}) for case in real.cases])
    assert evaluate_cohorts(alone, made, TRANSLATION).find("mae").value > 20


def test_label_maps_of_the_translated_images_are_scored_by_their_overlap(real, tmp_path):
    made = synthetic_from(real, tmp_path / "b", lambda v: v, channels=("B",))
    for case in made.cases:
        label = case.label_map()
        write_volume(case.label, label.with_array(np.roll(label.array, 2, axis=0)))
    score = evaluate_cohorts(real, made, TRANSLATION).find("dice", region="sphere")
    assert 0.3 < score.value < score.floor < 1


def test_second_scans_are_the_floor_of_a_translation(real, tmp_path):
    made = synthetic_from(real, tmp_path / "made", lambda v: v.with_array(v.array + 7), channels=("B",))
    cases = [
        write_case(
            tmp_path / "again",
            f"again-{case.id}",
            case.patient,
            {"B": case.volume("B").with_array(case.volume("B").array + 3)},
        )
        for case in real.cases[:4]
    ]
    again = Cohort(name="again", root=tmp_path / "again", channels={"B": "MR"}, cases=cases)
    score = evaluate_cohorts(real, made, TRANSLATION, repeats=again).find("mae")
    assert (score.value, score.floor) == pytest.approx((7, 3), abs=1e-3)
    assert "second real scan" in score.floor_description and "4 pairs" in score.floor_description
    for wrong in (
        cases[0].model_copy(update={"patient": "stranger"}),
        cases[0].model_copy(update={"origin": "synthetic"}),
        real.cases[0],
    ):
        with pytest.raises(GenaugError) as caught:
            evaluate_cohorts(
                real, made, TRANSLATION, repeats=again.with_cases([]).model_copy(update={"cases": [wrong]})
            )
        assert caught.value.reason is Reason.UNPAIRED
    with pytest.raises(GenaugError, match="repeats"):
        evaluate_cohorts(real, made, PARAMETERS, repeats=again)


def test_a_case_without_parents_is_compared_with_the_case_of_its_id(real, tmp_path):
    """Images translated by other means come without Records."""
    images = {"B": real.cases[0].volume("B")}
    case = write_case(tmp_path / "other", real.cases[0].id, "someone", images)
    other = Cohort(name="other", root=tmp_path / "other", channels={"B": "MR"}, cases=[case])
    assert evaluate_cohorts(real, other, TRANSLATION).find("mae").value == pytest.approx(0, abs=1e-4)


def test_the_command_evaluates_a_translation_with_its_floor(real, tmp_path):
    made = synthetic_from(real, tmp_path / "b", lambda v: v.with_array(v.array + 7), channels=("B",))
    arguments = [real.root, made.root, "--repeats", real.root, "--task", "translation", "--channel", "B", "--json"]
    refused = CliRunner().invoke(main, ["evaluate", *map(str, arguments)])
    assert refused.exit_code == 2 and json.loads(refused.stdout)["reason"] == "unpaired"
    del arguments[2:4]
    done = CliRunner().invoke(main, ["evaluate", *map(str, arguments)])
    assert done.exit_code == 0, done.output
    scores = json.loads(done.stdout)["summary"]["evaluation"]["scores"]
    assert all(score["floor"] is not None and "half a voxel" in score["floor_description"] for score in scores)


def test_cohorts_without_a_common_channel_are_refused(real, tmp_path):
    made = synthetic_from(real, tmp_path / "b", lambda v: v, channels=("B",))
    other = Cohort(name="other", root=real.root, channels={"A": "MR"}, cases=[])
    with pytest.raises(GenaugError, match="channels B") as caught:
        evaluate_cohorts(other, made, EvaluationParameters())
    assert caught.value.reason is Reason.UNPAIRED


@pytest.mark.parametrize("task", ["synthesis", "translation"])
def test_a_channel_that_a_cohort_lacks_is_refused_with_those_of_both(real, tmp_path, task):
    made = synthetic_from(real, tmp_path / "b", lambda v: v)
    with pytest.raises(GenaugError, match="of both cohorts: A") as caught:
        evaluate_cohorts(real, made, EvaluationParameters(channel="T9", task=task))
    assert caught.value.reason is Reason.BAD_PARAMETER


@pytest.mark.parametrize("task", ["synthesis", "translation"])
def test_cases_compared_with_themselves_are_refused(real, task):
    """All scores would be perfect."""
    with pytest.raises(GenaugError, match="files of the real cohort too") as caught:
        evaluate_cohorts(real, real, EvaluationParameters(task=task, channel="A"))
    assert caught.value.reason is Reason.LEAK


def test_a_part_without_cases_is_told_with_what_the_others_hold(real, tmp_path):
    unsplit = real.model_copy(update={"split": {}})
    made = synthetic_from(real, tmp_path / "made", lambda v: v)
    with pytest.raises(GenaugError, match=r"no case in the test part \(train \d+, validation 0, test 0\)") as caught:
        evaluate_cohorts(unsplit, made, EvaluationParameters(channel="A", reference_part="test"))
    assert caught.value.reason is Reason.EMPTY_COHORT and "--split" in caught.value.remedy
