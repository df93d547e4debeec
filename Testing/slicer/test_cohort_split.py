"""Patients are kept apart as the worker does it, and nobody stands in two parts."""

import json

import pytest
from engine_data import blob_cohort
from genaug.cohort import Cohort
from genaug.split import split_by_patient


@pytest.fixture
def cohortSplit(scene):
    from GenerativeAugmentLib import cohortSplit

    return cohortSplit


@pytest.mark.parametrize("shares", [(0, 0), (0, 20), (10, 20), (33, 33), (45, 45)])
@pytest.mark.parametrize("seed", [0, 7])
def test_both_sides_draw_the_same_parts(cohortSplit, tmp_path, shares, seed):
    cohort = blob_cohort(tmp_path / "cohort", count=11)
    validation, test = shares
    fractions = {"train": (100 - validation - test) / 100, "validation": validation / 100, "test": test / 100}
    theirs = split_by_patient(cohort, {part: share for part, share in fractions.items() if share}, seed).split
    assert cohortSplit.splitPatients(reversed(cohort.patients), validation, test, seed) == theirs
    cohortSplit.splitCohort(tmp_path / "cohort", validation, test, seed)
    assert Cohort.read(tmp_path / "cohort").split == theirs


def test_both_sides_draw_the_same_patients_of_a_cohort_without_real_cases(cohortSplit, tmp_path):
    """Those whom the others descend from, directly or through a case between them."""
    cohort = blob_cohort(tmp_path / "cohort", count=8)
    first, second, third, *rest = (case.model_copy(update={"origin": "synthetic"}) for case in cohort.cases)
    heir = second.model_copy(update={"parents": [first.id]})
    grandchild = third.model_copy(update={"parents": [heir.id]})
    made = rest[0].model_copy(update={"derived_from": [rest[1].patient, "template"]})
    cohort = cohort.with_cases([first, heir, grandchild, made, *rest[1:]])
    cohort.write(tmp_path / "cohort")
    theirs = split_by_patient(cohort, {"train": 0.6, "test": 0.4}, 3).split
    assert len(theirs) == 5
    assert cohortSplit.splitCohort(tmp_path / "cohort", 0, 40, 3) == theirs


def test_synthetic_cases_follow_their_ancestors_and_everything_else_stays(cohortSplit, tmp_path):
    cohort = blob_cohort(tmp_path / "cohort", count=4)
    manifest = tmp_path / "cohort" / "cohort.json"
    before = json.loads(manifest.read_text())
    before["cases"].append({**before["cases"][0], "id": "made", "patient": "new", "origin": "synthetic"})
    before["notes"] = ["by hand"]
    manifest.write_text(json.dumps(before))
    split = cohortSplit.splitCohort(tmp_path / "cohort", 0, 25, 1)
    assert set(split) == set(cohort.patients) and list(split.values()).count("test") == 1
    after = json.loads(manifest.read_text())
    assert after.pop("split") == split
    assert after == {key: value for key, value in before.items() if key != "split"}
    assert cohortSplit.readSplit(tmp_path / "cohort") == (set(cohort.patients), split)


def test_too_few_patients_and_other_layouts_are_told(cohortSplit, tmp_path):
    from GenerativeAugmentLib.errors import JobError

    with pytest.raises(JobError, match="at least 2"):
        cohortSplit.splitPatients(["anna", "anna"], 0, 20, 0)
    assert cohortSplit.splitPatients(["anna"], 0, 0, 0) == {"anna": "train"}
    assert cohortSplit.readSplit(tmp_path) == (set(), {})


def test_a_split_is_told_in_words(cohortSplit):
    assert cohortSplit.describeSplit(["a", "b"], {}) == "all 2 for training"
    split = {"a": "train", "b": "test", "c": "train", "d": "validation"}
    assert cohortSplit.describeSplit(split, split) == "2 training, 1 validation, 1 test"
