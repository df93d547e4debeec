import numpy as np
import pytest
from engine_data import blob_cohort
from genaug.case import write_case
from genaug.cohort import Cohort
from genaug.errors import GenaugError, Reason
from genaug.evaluation.cohorts import evaluate_cohorts
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


def test_label_volumes_of_equal_anatomy_agree(real, tmp_path):
    made = synthetic_from(real, tmp_path / "same", lambda v: v)
    own = PARAMETERS.model_copy(update={"reference_part": "train"})
    score = evaluate_cohorts(real, made, own).find("label_volume_difference", region="sphere")
    assert score.value == pytest.approx(0, abs=1e-6)


def test_a_translation_is_compared_with_its_own_parent(real, tmp_path):
    made = synthetic_from(real, tmp_path / "b", lambda v: v, channels=("B",))
    scores = evaluate_cohorts(real, made, EvaluationParameters(task="translation", channel="B"))
    assert scores.find("mae").value == pytest.approx(0, abs=1e-4)
    stranger = made.with_cases([made.cases[0].model_copy(update={"parents": ["nobody"]})])
    with pytest.raises(GenaugError, match="nobody") as caught:
        evaluate_cohorts(real, stranger, EvaluationParameters(task="translation", channel="B"))
    assert caught.value.reason is Reason.UNPAIRED


def test_cohorts_without_a_common_channel_are_refused(real, tmp_path):
    made = synthetic_from(real, tmp_path / "b", lambda v: v, channels=("B",))
    other = Cohort(name="other", root=real.root, channels={"A": "MR"}, cases=[])
    with pytest.raises(GenaugError, match="channels B") as caught:
        evaluate_cohorts(other, made, EvaluationParameters())
    assert caught.value.reason is Reason.UNPAIRED
