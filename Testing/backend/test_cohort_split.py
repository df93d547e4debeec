"""A split never divides a patient, and is the same for the same seed."""

import pytest
from genaug.cohort import Case, Cohort
from genaug.errors import GenaugError, Reason
from genaug.split import split_by_ids, split_by_patient
from hypothesis import given, settings
from hypothesis import strategies as st

FRACTIONS = {"train": 0.7, "validation": 0.1, "test": 0.2}


def cohort_of(patients: int, scans: int = 2) -> Cohort:
    cases = [Case(id=f"p{p}-{s}", patient=f"p{p}") for p in range(patients) for s in range(scans)]
    return Cohort(name="x", channels={}, cases=cases)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    patients=st.integers(3, 60),
    seed=st.integers(0, 2**32),
    shares=st.tuples(*[st.integers(1, 50)] * 3),
)
def test_parts_are_disjoint_complete_and_near_their_fractions(patients, seed, shares):
    fractions = {part: share / sum(shares) for part, share in zip(FRACTIONS, shares)}
    cohort = split_by_patient(cohort_of(patients), fractions, seed)
    parts = {part: {case.patient for case in cohort.part(part)} for part in FRACTIONS}
    assert all(parts.values())
    assert sum(len(part) for part in parts.values()) == patients
    assert sum(len(cohort.part(part)) for part in FRACTIONS) == len(cohort.cases)
    if all(fraction * patients >= 1 for fraction in fractions.values()):
        assert all(abs(len(parts[part]) - fractions[part] * patients) < 1 for part in FRACTIONS)


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_cases():
    cohort = cohort_of(30)
    first = split_by_patient(cohort, FRACTIONS, 5).split
    assert split_by_patient(cohort.with_cases(cohort.cases[::-1]), FRACTIONS, 5).split == first
    assert split_by_patient(cohort, FRACTIONS, 6).split != first


def test_synthetic_cases_follow_their_ancestors():
    cohort = cohort_of(10)
    made = Case(id="s", patient="s", origin="synthetic", derived_from=[f"p{i}" for i in range(10)])
    split = split_by_patient(cohort.with_cases([*cohort.cases, made]), FRACTIONS, 0)
    assert "s" not in split.split
    assert made.id not in [case.id for case in split.part("train")]


def test_a_cohort_made_from_one_template_is_drawn_like_a_real_one():
    made = [Case(id=f"s{i}", patient=f"s{i}", origin="synthetic", derived_from=["template"]) for i in range(10)]
    split = split_by_patient(Cohort(name="x", channels={}, cases=made), FRACTIONS, 0)
    assert [len(split.part(part)) for part in FRACTIONS] == [7, 1, 2]


def test_an_augmented_cohort_that_is_drawn_anew_can_be_trained_on():
    """Without the cases that descend from whom is held out now, and with those that still can be used."""
    template = [Case(id=f"s{i}", patient=f"s{i}", origin="synthetic", derived_from=["template"]) for i in range(10)]
    alone = [Case(id=f"m{i}", patient=f"m{i}", origin="synthetic", derived_from=[f"s{i}"]) for i in range(10)]
    shown = [Case(id=f"l{i}", patient=f"s{i}", origin="synthetic", parents=[f"s{i}"]) for i in range(10)]
    split = split_by_patient(Cohort(name="x", channels={}, cases=[*template, *alone, *shown]), FRACTIONS, 0)
    assert set(split.split) == {f"s{i}" for i in range(10)}
    split.require_no_leak()
    train = {case.id for case in split.part("train")}
    kept = {patient for patient, part in split.split.items() if part == "train"}
    assert train == kept | {f"m{patient[1:]}" for patient in kept} | {f"l{patient[1:]}" for patient in kept}
    assert len(split.cases) == 30 - 3 and "3 cases are left out" in split.notes[0]


@pytest.mark.parametrize(
    "fractions", [{}, {"train": 0.5}, {"train": 1.2, "test": -0.2}, {"train": 0.5, "holdout": 0.5}]
)
def test_wrong_fractions_are_refused(fractions):
    with pytest.raises(GenaugError) as caught:
        split_by_patient(cohort_of(9), fractions, 0)
    assert caught.value.reason is Reason.BAD_PARAMETER


def test_too_few_patients_are_refused():
    with pytest.raises(GenaugError) as caught:
        split_by_patient(cohort_of(2), FRACTIONS, 0)
    assert caught.value.reason is Reason.EMPTY_COHORT and "2 patients" in caught.value.found


def test_named_patients_and_cases_go_where_they_are_sent():
    split = split_by_ids(cohort_of(5), test=["p1", "p3-1"], validation=["p0"])
    assert {case.id for case in split.part("test")} == {"p1-0", "p1-1", "p3-0", "p3-1"}
    assert {case.id for case in split.part("validation")} == {"p0-0", "p0-1"}
    assert {case.patient for case in split.part("train")} == {"p2", "p4"}
    for arguments, reason in (
        ({"test": ["nobody"]}, Reason.BAD_PARAMETER),
        ({"test": ["p1"], "validation": ["p1-0"]}, Reason.LEAK),
    ):
        with pytest.raises(GenaugError) as caught:
            split_by_ids(cohort_of(5), **arguments)
        assert caught.value.reason is reason


def test_the_split_is_in_the_manifest(tmp_path):
    split = split_by_patient(cohort_of(6), FRACTIONS, 1)
    split.write(tmp_path / "cohort.json")
    assert Cohort.read(tmp_path).split == split.split
