"""The review log, each reviewer's queue, corrected masks, agreement, and the blinded test."""

import hashlib
import json
import math

import numpy as np
import pytest
from genaug.case import write_case
from genaug.cohort import Cohort
from genaug.record import Record
from genaug.review import Review as TorchReview
from genaug.review import append_review, corrected_mask, decisions_about, read_reviews, reviewed_record
from genaug.volume import LABEL, Volume

AFFINE = np.diag([1.0, 2.0, 3.0, 1.0])


def volumes(value=0):
    image = Volume(np.full((4, 5, 6), value, np.float32), AFFINE, "MR")
    return {"T1": image}, Volume((image.array > 2).astype(np.uint8), AFFINE, LABEL)


@pytest.fixture
def cohort(tmp_path):
    """Three synthetic cases and a real one, as the worker writes them."""
    folder = tmp_path / "cohort"
    cases = []
    for index in range(4):
        images, label = volumes(index)
        record = Record(case_id=f"case{index}", kind="synthesize", seed=1, parameters={}, patients=["p0"])
        made = write_case(folder, f"case{index}", f"case{index}", images, label, None if index == 2 else record, "nrrd")
        cases.append(made)
    cohort = Cohort(name="made", root=folder, channels={"T1": "MR"}, label_names={1: "lesion"}, cases=cases)
    cohort.write(folder)
    return folder


@pytest.fixture
def queue(slicerHost, cohort):
    from GenerativeAugmentLib.reviewQueue import ReviewQueue

    return ReviewQueue(cohort, "Ada")


def again(queue, reviewer="Ada"):
    return type(queue)(queue.path.parent, reviewer)


def mask(value):
    """A writer of a corrected mask."""

    def write(path):
        from genaug.nrrd import write_nrrd

        assert path.suffix == ".nrrd"
        write_nrrd(path, Volume(np.full((4, 5, 6), value, np.uint8), AFFINE, LABEL))

    return write


def test_the_queue_holds_the_synthetic_cases(queue):
    assert [case.id for case in queue.cases] == ["case0", "case1", "case3"]
    assert queue.current.id == "case0" and queue.previous() is None
    assert queue.next().id == "case1" and queue.next().id == "case3" and queue.next() is None
    assert queue.current.id == "case3" and queue.previous().id == "case1"
    assert queue.goTo("case0").images["T1"].is_file()
    assert queue.counts() == {"accepted": 0, "rejected": 0, "needs_edit": 0, "unreviewed": 3}


def test_a_review_resumes_where_it_stopped(queue):
    assert queue.firstUnreviewed().id == "case0"
    queue.decide("accepted", difficulty=2)
    queue.goTo("case3")
    queue.decide("rejected", "implausible anatomy", "Drei Hörner")
    resumed = again(queue)
    assert resumed.current.id == resumed.firstUnreviewed().id == "case1"
    assert [resumed.state(case.id) for case in resumed.cases] == ["accepted", "unreviewed", "rejected"]
    assert resumed.standing("case3").comment == "Drei Hörner"
    resumed.goTo("case3")
    assert resumed.nextUnreviewed().id == "case1"
    resumed.decide("accepted")
    assert resumed.nextUnreviewed() is None and resumed.firstUnreviewed() is None
    assert again(queue).current.id == "case0"
    assert resumed.counts() == {"accepted": 2, "rejected": 1, "needs_edit": 0, "unreviewed": 0}


def test_the_worker_reads_every_line_and_this_side_reads_the_workers(queue):
    queue.decide("needs_edit", "mask does not fit", "half", 5)
    queue.decide("accepted")
    append_review(queue.path, TorchReview(case_id="case1", reviewer="Bob", decision="rejected", reason="artifact"))
    reviews = read_reviews(queue.path)
    assert [(review.case_id, review.decision) for review in reviews] == [
        ("case0", "needs_edit"),
        ("case0", "accepted"),
        ("case1", "rejected"),
    ]
    assert decisions_about(reviews, Cohort.read(queue.path.parent)["case0"])[-1].decision == "accepted"
    assert reviews[0].difficulty == 5
    assert reviews[0].time.endswith("+00:00")
    queue.refresh()
    assert [review.model_dump() for review in reviews] == [vars(review) for review in queue.reviews]
    assert queue.reviewers() == ["Ada", "Bob"] and queue.state("case1") == "unreviewed"
    assert again(queue, "Bob").state("case1") == "rejected"


def test_an_unfinished_line_is_closed_and_named(queue):
    from GenerativeAugmentLib.errors import JobError

    queue.decide("accepted")
    with queue.path.open("a") as stream:
        stream.write('{"case_id": "case1", "rev')
    queue.goTo("case1")
    queue.decide("rejected")
    lines = queue.path.read_text().splitlines()
    assert len(lines) == 3 and json.loads(lines[2])["decision"] == "rejected"
    with pytest.raises(JobError) as caught:
        again(queue)
    assert caught.value.reason == "unreadable_file" and caught.value.subject.endswith("reviews.jsonl, line 2")


@pytest.mark.parametrize(
    "line",
    [
        {"case_id": "case0", "reviewer": "", "decision": "accepted"},
        {"case_id": "case0", "reviewer": "Ada", "decision": "maybe"},
        {"case_id": "case0", "reviewer": "Ada", "decision": "accepted", "difficulty": 6},
        {"case_id": "case0", "reviewer": "Ada", "decision": "accepted", "mask_version": 1},
        {"case_id": "case0", "reviewer": "Ada", "decision": "accepted", "mask": "m.nrrd", "mask_sha256": "0"},
        {"case_id": "case0", "reviewer": "Ada", "decision": "accepted", "color": "red"},
        {"case_id": "case0", "reviewer": "Ada"},
        ["case0"],
    ],
)
def test_both_sides_refuse_the_same_lines(queue, line):
    from genaug.errors import GenaugError
    from GenerativeAugmentLib.errors import JobError

    queue.path.write_text(json.dumps(line) + "\n")
    with pytest.raises(JobError, match="line 1"):
        again(queue)
    with pytest.raises(GenaugError, match="line 1"):
        read_reviews(queue.path)


def test_what_cannot_be_decided_is_refused_and_not_stored(queue):
    from GenerativeAugmentLib.errors import JobError
    from GenerativeAugmentLib.reviewQueue import REASONS, reasonTitle

    for arguments in ({"decision": "maybe"}, {"decision": "accepted", "difficulty": 0}):
        with pytest.raises(JobError):
            queue.decide(**arguments)
    with pytest.raises(JobError):
        queue.goTo("case2")
    with pytest.raises(JobError):
        again(queue, "  ")
    assert not queue.path.exists() and queue.reviews == []
    assert len({reasonTitle(reason) for reason in REASONS}) == len(REASONS)


def test_a_cohort_without_synthetic_cases_is_refused(queue, cohort):
    from GenerativeAugmentLib.errors import JobError

    manifest = json.loads((cohort / "cohort.json").read_text())
    manifest["cases"] = [case for case in manifest["cases"] if case["origin"] == "real"]
    (cohort / "cohort.json").write_text(json.dumps(manifest))
    with pytest.raises(JobError, match="none of them synthetic"):
        again(queue)


def test_corrected_masks_are_versions_that_stay(queue, cohort):
    original = queue.latestMask("case0")
    assert original == cohort / "case0" / "label.nrrd" and queue.maskVersion("case0") == 0
    content = original.read_bytes()
    assert queue.storeCorrectedMask("case0", mask(1)) == 1
    # A mask that was drawn is not a case that was accepted.
    assert queue.state("case0") == "needs_edit"
    first = queue.latestMask("case0")
    assert first == cohort / "case0" / "label.v1.nrrd"
    queue.decide("accepted")
    assert queue.storeCorrectedMask("case0", mask(2)) == 2
    assert queue.state("case0") == "accepted"
    assert original.read_bytes() == content and first.is_file()
    assert sorted(path.name for path in (cohort / "case0").glob("*label*")) == [
        "label.nrrd",
        "label.v1.nrrd",
        "label.v2.nrrd",
    ]
    # The export of the worker takes the mask of the last line.
    review = decisions_about(read_reviews(queue.path), Cohort.read(cohort)["case0"])[-1]
    assert review.mask == "case0/label.v2.nrrd" and review.mask_version == 2 and review.decision == "accepted"
    assert corrected_mask(queue.path, review) == cohort / "case0" / "label.v2.nrrd"
    assert again(queue).latestMask("case0") == cohort / "case0" / "label.v2.nrrd"


def test_two_reviewers_at_once_never_store_one_version(queue):
    other = again(queue, "Bob")

    def slow(path):
        # Meanwhile, in another Slicer.
        assert other.storeCorrectedMask("case0", mask(2)) == 2
        mask(1)(path)

    assert queue.storeCorrectedMask("case0", slow) == 1
    queue.refresh()
    masks = {review.reviewer: review for review in queue.reviews}
    for reviewer in ("Ada", "Bob"):
        path = queue.path.parent / masks[reviewer].mask
        assert hashlib.sha256(path.read_bytes()).hexdigest() == masks[reviewer].mask_sha256
    names = sorted(path.name for path in (queue.path.parent / "case0").glob("*label*"))
    assert names == ["label.nrrd", "label.v1.nrrd", "label.v2.nrrd"]


def test_masks_of_a_linked_cohort_are_found_by_both_sides(slicerHost, cohort, tmp_path):
    from GenerativeAugmentLib.reviewQueue import ReviewQueue

    (tmp_path / "scratch/deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "scratch/deep")
    Cohort.read(cohort).write(tmp_path / "link")
    queue = ReviewQueue(tmp_path / "link", "Ada")
    queue.storeCorrectedMask("case0", mask(3))
    drawn = cohort / "case0" / "label.v1.nrrd"
    assert queue.latestMask("case0") == drawn and ReviewQueue(tmp_path / "link", "Bea").latestMask("case0") == drawn
    review = decisions_about(read_reviews(queue.path), Cohort.read(tmp_path / "link")["case0"])[-1]
    assert corrected_mask(queue.path, review).samefile(drawn)


def test_a_corrected_mask_is_everybodys_and_decisions_say_which_was_seen(queue):
    other = again(queue, "Bob")
    other.decide("rejected", "mask does not fit")
    queue.storeCorrectedMask("case0", mask(1))
    queue.decide("accepted")
    assert other.maskVersion("case0") == 0  # Bob still looks at the first one
    other.decide("rejected", "artifact")
    assert other.reviews[-1].mask_version == 0
    other.refresh()
    assert other.latestMask("case0").name == "label.v1.nrrd" and other.state("case0") == "rejected"
    other.decide("accepted")
    assert other.reviews[-1].mask_version == 1
    assert other.storeCorrectedMask("case0", mask(3)) == 2


def test_a_decision_is_about_the_case_that_was_looked_at(queue, cohort):
    """A later job calls its cases as the earlier one did."""
    queue.decide("rejected")
    assert queue.reviews[0].record_sha256 == reviewed_record(Cohort.read(cohort)["case0"])
    append_review(queue.path, TorchReview(case_id="case1", reviewer="Ada", decision="accepted"))
    record = cohort / "case0" / "case0.record.json"
    record.write_text(record.read_text().replace('"seed": 1', '"seed": 2'))
    made_again = again(queue)
    # What an earlier version wrote holds the name alone and goes on counting.
    assert made_again.state("case0") == "unreviewed" and made_again.state("case1") == "accepted"
    assert decisions_about(read_reviews(queue.path), Cohort.read(cohort)["case0"]) == []
    assert [review.case_id for review in made_again.reviews] == ["case1"]
    made_again.decide("accepted")
    assert again(queue).state("case0") == "accepted"


def test_a_case_whose_record_is_gone_is_not_decided_about(queue, cohort):
    from GenerativeAugmentLib.errors import JobError

    queue.decide("accepted")
    (cohort / "case0" / "case0.record.json").unlink()
    later = again(queue)
    assert later.state("case0") == "unreviewed"
    with pytest.raises(JobError, match="case0") as caught:
        later.decide("accepted")
    assert caught.value.reason == "missing_file" and len(read_reviews(queue.path)) == 1


def test_nothing_is_decided_in_the_place_of_a_cohort_that_is_gone(slicerHost, cohort):
    from GenerativeAugmentLib.errors import JobError
    from GenerativeAugmentLib.reviewQueue import ReviewQueue

    manifest = json.loads((cohort / "cohort.json").read_text())
    manifest["cases"] = [{**case, "record": None} for case in manifest["cases"]]
    (cohort / "cohort.json").write_text(json.dumps(manifest))
    mine = ReviewQueue(cohort, "AB")
    case = mine.current.id
    moved = cohort.rename(cohort.with_name("moved"))
    for decide in (
        lambda: mine.decide("accepted"),
        lambda: mine.storeCorrectedMask(case, lambda path: path.write_bytes(b"x")),
    ):
        with pytest.raises(JobError, match="Put it back") as raised:
            decide()
        assert raised.value.reason == "missing_file" and not cohort.exists()
    assert mine.state(case) == "unreviewed"
    moved.rename(cohort)
    mine.decide("accepted")
    assert mine.state(case) == "accepted"


def test_a_writer_that_fails_leaves_nothing(queue, cohort):
    from GenerativeAugmentLib.errors import JobError

    def half(path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    before = sorted((cohort / "case0").iterdir())
    with pytest.raises(JobError) as caught:
        queue.storeCorrectedMask("case0", half)
    assert caught.value.reason == "disk_full"
    with pytest.raises(JobError):
        queue.storeCorrectedMask("case0", lambda path: None)
    assert sorted((cohort / "case0").iterdir()) == before and not queue.path.exists()
    # A file that no line names is neither used nor overwritten.
    (cohort / "case0" / "label.v1.nrrd").write_bytes(b"left by a crash")
    assert queue.storeCorrectedMask("case0", mask(1)) == 2
    assert (cohort / "case0" / "label.v1.nrrd").read_bytes() == b"left by a crash"


def test_a_mask_changed_after_its_review_is_noticed(queue):
    from GenerativeAugmentLib.errors import JobError

    queue.storeCorrectedMask("case0", mask(1))
    path = queue.latestMask("case0")
    mask(4)(path)
    with pytest.raises(JobError) as caught:
        queue.latestMask("case0")
    assert caught.value.reason == "wrong_labels" and "Ada" in caught.value.expected
    path.unlink()
    with pytest.raises(JobError) as caught:
        queue.latestMask("case0")
    assert caught.value.reason == "missing_file"


def reviews_of(table):
    """Reviews from {reviewer: decisions of cases 0, 1, ...}; a blank is no decision."""
    from GenerativeAugmentLib.reviewQueue import Review

    words = {"a": "accepted", "r": "rejected", "e": "needs_edit"}
    return [
        Review(f"case{index}", reviewer, words[letter])
        for reviewer, letters in table.items()
        for index, letter in enumerate(letters)
        if letter != " "
    ]


def test_cohens_kappa_of_two_reviewers(slicerHost):
    from GenerativeAugmentLib.reviewQueue import agreement

    # The textbook table: both accept 20, both reject 15, 5 and 10 apart; observed 0.7, expected 0.5.
    found = agreement(reviews_of({"A": "a" * 25 + "r" * 25, "B": "a" * 20 + "r" * 5 + "a" * 10 + "r" * 15}))
    assert found.method == "Cohen" and found.reviewers == ("A", "B") and len(found.cases) == 50
    assert found.raw == pytest.approx(0.7) and found.kappa == pytest.approx(0.4)
    assert len(found.disagreements) == 15


def test_kappa_against_scikit_learn(slicerHost):
    metrics = pytest.importorskip("sklearn.metrics")
    from GenerativeAugmentLib.reviewQueue import agreement

    rng = np.random.default_rng(3)
    one = "".join(rng.choice(list("are"), 60))
    two = "".join(letter if rng.random() < 0.6 else rng.choice(list("are")) for letter in one)
    found = agreement(reviews_of({"A": one, "B": two}))
    assert found.kappa == pytest.approx(metrics.cohen_kappa_score(list(one), list(two)))
    assert found.raw == pytest.approx(np.mean([x == y for x, y in zip(one, two)]))


def test_fleiss_kappa_of_more_reviewers(slicerHost):
    from GenerativeAugmentLib.reviewQueue import agreement

    # Counts of accepted, rejected, needs edit by four reviewers of six cases; worked out by hand.
    counts = [(4, 0, 0), (3, 1, 0), (0, 4, 0), (2, 1, 1), (0, 0, 4), (1, 1, 2)]
    letters = ["a" * a + "r" * r + "e" * e for a, r, e in counts]
    table = {name: "".join(case[index] for case in letters) for index, name in enumerate("ABCD")}
    observed = sum((a * a + r * r + e * e - 4) / 12 for a, r, e in counts) / 6
    expected = sum((sum(column) / 24) ** 2 for column in zip(*counts))
    found = agreement(reviews_of(table))
    assert found.method == "Fleiss" and found.raw == pytest.approx(observed)
    assert found.kappa == pytest.approx((observed - expected) / (1 - expected))
    assert found.disagreements == ("case1", "case3", "case5")


def test_agreement_counts_common_cases_and_last_words_only(slicerHost):
    from GenerativeAugmentLib.reviewQueue import Review, agreement

    assert agreement([]).method == "" and agreement(reviews_of({"A": "ar"})).raw is None
    found = agreement([*reviews_of({"A": "ra ", "B": " ra"}), Review("case1", "A", "rejected")])
    assert found.cases == ("case1",) and found.raw == 1.0
    # All say the same: agreement is perfect, and nothing can be said beyond chance.
    assert agreement(reviews_of({"A": "aaa", "B": "aaa"})).kappa is None
    # Decisions about different versions of a mask are not compared.
    corrected = {"mask_version": 1, "mask": "m.nrrd", "mask_sha256": "0"}
    stored, accepted = (Review("case0", "B", word, **corrected) for word in ("needs_edit", "accepted"))
    apart = [Review("case0", "A", "needs_edit"), stored, accepted]
    assert agreement(apart).cases == ()
    assert agreement([*apart, Review("case0", "A", "accepted", **corrected)]).raw == 1.0


def test_storing_a_correction_is_no_decision_about_it(slicerHost):
    """The line that names a new mask repeats what its author said of the old one."""
    from GenerativeAugmentLib.reviewQueue import Review, agreement

    corrected = {"mask_version": 1, "mask": "m.nrrd", "mask_sha256": "0"}
    log = [Review("case0", name, "needs_edit") for name in "AB"]
    log += [Review("case0", "B", "needs_edit", **corrected), Review("case0", "A", "accepted", **corrected)]
    found = agreement(log)
    assert found.raw == 1.0 and found.disagreements == (), "they agree about the mask that both have judged"
    assert agreement([*log, Review("case0", "B", "rejected", **corrected)]).disagreements == ("case0",)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Known values, as statsmodels' proportion_confint(method="wilson") and R's binom give them.
    [(8, 10, 0.490162, 0.943318), (0, 10, 0.0, 0.277533), (10, 10, 0.722467, 1.0), (50, 100, 0.403832, 0.596168)],
)
def test_wilson_interval(slicerHost, successes, trials, low, high):
    from GenerativeAugmentLib.reviewQueue import wilsonInterval

    assert wilsonInterval(successes, trials) == pytest.approx((low, high), abs=1e-6)


def test_wilson_interval_against_scipy(slicerHost):
    from GenerativeAugmentLib.reviewQueue import wilsonInterval
    from scipy.stats import binomtest

    for trials in (1, 7, 200):
        for successes in {0, 1, trials // 3, trials}:
            for confidence in (0.8, 0.95, 0.99):
                expected = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
                assert wilsonInterval(successes, trials, confidence) == pytest.approx(expected, abs=1e-12)
    assert wilsonInterval(0, 0) == (0.0, 1.0)
    for wrong in ((3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0)):
        with pytest.raises(ValueError):
            wilsonInterval(*wrong)


def test_the_interval_of_a_mean_of_proportions(slicerHost):
    from GenerativeAugmentLib.agreement import meanInterval

    # Newcombe 1998, table II, method 10: 56/70 - 48/80 is 0.0524 to 0.3339, 10/10 - 0/10 is 0.6075 to 1.
    for first, second, low, high in (((56, 70), (48, 80), 0.0524, 0.3339), ((10, 10), (0, 10), 0.6075, 1.0)):
        others = (second[1] - second[0], second[1])
        assert [2 * end - 1 for end in meanInterval(first, others)] == pytest.approx([low, high], abs=1e-4)


@pytest.fixture
def blinded(slicerHost, tmp_path):
    from GenerativeAugmentLib.cohorts import CaseEntry
    from GenerativeAugmentLib.reviewQueue import BlindedTest

    def make(seed=11, reviewer="Ada", name="blinded.jsonl", count=5):
        real = [CaseEntry(f"patient-{index}", "p", {"T1": tmp_path / f"r{index}.nrrd"}) for index in range(5)]
        made = [
            CaseEntry(f"made-{index}", "s", {"T1": tmp_path / f"s{index}.nrrd"}, origin="synthetic")
            for index in range(count)
        ]
        return BlindedTest(real, made, seed, tmp_path / name, reviewer)

    return make


def test_a_blinded_test_scores_answers(blinded):
    test = blinded()
    assert len(test) == 10 and "10" in test.title
    while test.current is not None:
        number = int(test.current.id[-1])
        real = test.current.id.startswith("patient")
        # Right about all real cases and about two of the synthetic ones.
        test.answer(real or number > 1, confidence=5 if real else 2)
    result = test.result()
    assert (result.correct, result.total, result.proportion) == (7, 10, 0.7)
    assert result.overall.interval == pytest.approx((0.396778, 0.892209), abs=1e-6)
    assert (result.real.correct, result.real.total) == (5, 5)
    assert (result.synthetic.correct, result.synthetic.total) == (2, 5)
    assert result.confidence["wrong"] == 2 and result.confidence["right"] == pytest.approx(29 / 7)
    assert test.result() is result


def test_one_answer_for_all_cases_tells_nothing_however_many_there_are_of_a_kind(blinded):
    from GenerativeAugmentLib.panels.blindedSection import describeResult

    test = blinded(count=20)
    while test.current is not None:
        test.answer(False)
    result = test.result()
    assert result.overall.interval[0] > 0.5, "there were four times as many synthetic cases"
    low, high = result.balanced.interval
    assert result.balanced.proportion == 0.5 and low < 0.5 < high
    assert "cannot be said to tell them apart" in describeResult(result)


def test_a_reader_who_can_tell_is_found(blinded):
    from GenerativeAugmentLib.panels.blindedSection import describeResult

    for right in (True, False):
        test = blinded(name=f"{right}.jsonl")
        while test.current is not None:
            test.answer((test.current.origin == "real") == right)
        result = test.result()
        assert result.balanced.proportion == right
        said = "this reader can tell them apart" if right else "the wrong way round"
        assert said in describeResult(result)
    test = blinded(name="one.jsonl")
    test.answer(True)
    assert test.result().balanced is None and "Only one kind" in describeResult(test.result())


def test_the_order_depends_on_the_seed_alone_and_mixes_the_origins(blinded):
    def order(seed):
        return [case.id for case, _real in blinded(seed, name=f"{seed}.jsonl")._order]

    assert order(1) != order(2)
    assert order(1) == [case.id for case, _real in blinded(1, name="again.jsonl")._order]
    firsts = {order(seed)[0].split("-")[0] for seed in range(3, 20)}
    assert firsts == {"patient", "made"}


def test_the_log_does_not_tell_before_the_end(blinded, tmp_path):
    test = blinded()
    for _step in range(6):
        test.answer(True)
        text = (tmp_path / "blinded.jsonl").read_text()
        # Neither ids nor files nor origins nor the seed: "real" is only ever the answer that was given.
        assert not any(word in text for word in ("patient", "made", "synthetic", "nrrd", "seed", "origin", "correct"))
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["event"] for line in lines] == ["start"] + ["answer"] * 6
    assert all(set(line) == {"event", "item", "answer", "confidence", "time"} for line in lines[1:])
    result = test.result()
    last = json.loads((tmp_path / "blinded.jsonl").read_text().splitlines()[-1])
    assert last["event"] == "result" and last["seed"] == 11 and len(last["order"]) == 10
    assert result.total == 6 and last["overall"]["total"] == 6
    # The order that is revealed is the one whose fingerprint was written first.
    import hashlib

    revealed = json.dumps([last["seed"], last["order"]]).encode()
    assert hashlib.sha256(revealed).hexdigest() == lines[0]["order_sha256"]


def test_a_blinded_test_is_resumed_and_closed_once(blinded):
    from GenerativeAugmentLib.errors import JobError

    test = blinded()
    with pytest.raises(JobError, match="no answer"):
        test.result()
    for _step in range(4):
        test.answer(False, 1)
    resumed = blinded()
    assert resumed.position == 4 and resumed.current == test.current and not resumed.finished
    for wrong in ({"seed": 12}, {"reviewer": "Bob"}):
        with pytest.raises(JobError, match="another test"):
            blinded(**wrong)
    with pytest.raises(JobError):
        resumed.answer(True, 6)
    result = resumed.result()
    assert result.total == 4 and resumed.finished and resumed.current is None
    with pytest.raises(JobError):
        resumed.answer(True)
    with pytest.raises(JobError, match="closed"):
        blinded()
    assert math.isclose(result.proportion, result.correct / 4)


def test_a_blinded_test_needs_both_kinds(slicerHost, tmp_path):
    from GenerativeAugmentLib.cohorts import CaseEntry
    from GenerativeAugmentLib.errors import JobError
    from GenerativeAugmentLib.reviewQueue import BlindedTest

    case = CaseEntry("a", "p", {})
    for real, synthetic in (([case], []), ([], [case])):
        with pytest.raises(JobError):
            BlindedTest(real, synthetic, 0, tmp_path / "log.jsonl")
    assert list(tmp_path.iterdir()) == []
