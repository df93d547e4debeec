"""Who is exported and who is left out, with the reason.

The order of the reasons is fixed, so a case counts once: a leak, or a descent that nobody knows, first, because it must
never be argued away, then the reviewer's word, then the automatic checks, then what the layout needs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from genaug.case import Case, unique_name
from genaug.cohort import Cohort, Part, of_unknown_descent
from genaug.errors import GenaugError, Reason
from genaug.parameters import ExportParameters
from genaug.record import Record
from genaug.review import REVIEWS, Review, State, corrected_mask, decisions_about, read_reviews

Cause = Literal[
    "leak",
    "unknown descent",
    "rejected",
    "needs edit",
    "not reviewed",
    "failed checks",
    "missing channel",
    "no label map",
]


@dataclass(frozen=True)
class Chosen:
    """A case that is exported.

    Attributes:
        name: its file name in the export; unique also where upper and lower case are one.
        case: as in its cohort.
        part: where it stands; a synthetic case is always in "train".
        label: its label map, or the corrected one a reviewer left.
        ancestors: every patient it descends from; a real case descends from its own.
        record: how it came to be, for a synthetic case that has one.
        review: the decision that stands, if any.
    """

    name: str
    case: Case
    part: Part
    label: Path | None
    ancestors: frozenset[str]
    record: Record | None = None
    review: Review | None = None

    @property
    def synthetic(self) -> bool:
        """Whether a generator made it."""
        return self.case.origin == "synthetic"

    @property
    def state(self) -> State:
        """What the review says."""
        return self.review.decision if self.review else "unreviewed"


@dataclass(frozen=True)
class LeftOut:
    """A case that is not exported."""

    case: Case
    cause: Cause
    detail: str


@dataclass(frozen=True)
class Selection:
    """What an export consists of.

    Attributes:
        channels: name to modality, those that every given cohort has.
        label_names: value to name, of all cohorts together.
    """

    channels: dict[str, str]
    label_names: dict[int, str]
    kept: list[Chosen]
    left_out: list[LeftOut]
    notes: list[str] = field(default_factory=list)

    def real(self, *parts: Part) -> list[Chosen]:
        """The real cases of some parts."""
        return [chosen for chosen in self.kept if not chosen.synthetic and chosen.part in parts]

    def synthetic(self) -> list[Chosen]:
        """The synthetic cases."""
        return [chosen for chosen in self.kept if chosen.synthetic]

    def counts(self) -> dict[str, int]:
        """How many of each, with "left out: <cause>" for the others."""
        kept = Counter(
            f"synthetic {chosen.part}" if chosen.synthetic else f"real {chosen.part}" for chosen in self.kept
        )
        return {**dict(sorted(kept.items())), **{f"left out: {c}": n for c, n in Counter(self.causes()).items()}}

    def causes(self) -> list[Cause]:
        """The cause of every case left out."""
        return [one.cause for one in self.left_out]


def select(
    real: Cohort | None, synthetic: Sequence[Cohort], reviews: Sequence[Path], parameters: ExportParameters
) -> Selection:
    """Choose the cases of an export.

    Args:
        real: its split says who is for validation and test; without a split everybody is for training.
        synthetic: each may have a reviews.jsonl in its folder.
        reviews: further review files, which overrule those; a decision in them counts for the case that was looked at.
        parameters: what is required of a synthetic case.

    Raises:
        GenaugError: EMPTY_COHORT when nothing is left, with the counts; BAD_PARAMETER when the cohorts share no
            channel, for a case that is given twice, or for a decision that does not say about which of several cases
            it is; WRONG_LABELS when two cohorts name one label differently; what reading records and reviews raises.
    """
    cohorts = [*([real] if real is not None else []), *synthetic]
    if not cohorts:
        raise GenaugError(
            Reason.EMPTY_COHORT,
            "export",
            "no cohort",
            "a real cohort, synthetic ones, or both",
            "Name the cohorts whose cases are to be exported (real, synthetic).",
        )
    _require_once(cohorts)
    chooser = _Chooser(cohorts, real, parameters)
    decisions = _Decisions(synthetic, reviews)
    for cohort in cohorts:
        for case in cohort.cases:
            chooser.consider(case, None if cohort is real else decisions.about(cohort, case))
    chooser.selection.notes.extend(decisions.notes())
    if not chooser.selection.kept:
        raise GenaugError(
            Reason.EMPTY_COHORT,
            ", ".join(cohort.name for cohort in cohorts),
            f"no case to export ({chooser.selection.counts() or 'the cohorts are empty'})",
            "at least one case that passed its checks and its review",
            "Review the cases, or relax what the export requires.",
        )
    return chooser.selection


def _require_once(cohorts: Sequence[Cohort]) -> None:
    """Raise BAD_PARAMETER for images that two cohorts have: a case that is trained on twice counts double."""
    owners: dict[Path, Cohort] = {}
    for cohort in cohorts:
        for case in cohort.cases:
            for path in case.images.values():
                owner = owners.setdefault(path.resolve(), cohort)
                if owner is not cohort:
                    raise GenaugError(
                        Reason.BAD_PARAMETER,
                        path,
                        f"the case {case.id} in two of the given cohorts, {owner.root} and {cohort.root}",
                        "every case in one of the cohorts only",
                        "Give each cohort once: real cases as real, generated ones as synthetic.",
                    )


class _Chooser:
    """Goes through the cases of all cohorts and fills a Selection."""

    def __init__(self, cohorts: Sequence[Cohort], real: Cohort | None, parameters: ExportParameters) -> None:
        self._parameters = parameters
        self._split = {patient: part for cohort in reversed(cohorts) for patient, part in cohort.split.items()}
        self._by_id: dict[str, list[Case]] = {}
        for cohort in cohorts:
            for case in cohort.cases:
                self._by_id.setdefault(case.id, []).append(case)
        self._names: set[str] = set()
        channels, notes = _common_channels(cohorts)
        labels = _merged_labels(cohorts)
        self.selection = Selection(channels, labels, [], [], [*notes, *_unnamed(cohorts, labels)])

    def consider(self, case: Case, decision: tuple[Path, Review] | None) -> None:
        """Put the case on one of the two lists."""
        record = Record.read(case.record) if case.record is not None else None
        ancestors = self._ancestors(case, record)
        part: Part = "train" if case.origin == "synthetic" else self._split.get(case.patient, "train")
        review = decision[1] if decision else None
        problem = self._problem(case, part, ancestors, record, review)
        if problem is not None:
            self.selection.left_out.append(LeftOut(case, *problem))
            return
        corrected = corrected_mask(*decision) if decision else None
        name, label = unique_name(case.id, self._names), corrected or case.label
        self.selection.kept.append(Chosen(name, case, part, label, frozenset(ancestors), record, review))

    def _problem(
        self, case: Case, part: Part, ancestors: set[str], record: Record | None, review: Review | None
    ) -> tuple[Cause, str] | None:
        if case.origin == "synthetic":
            held_out = sorted(patient for patient in ancestors if self._split.get(patient, "train") != "train")
            if held_out:
                return "leak", f"descends from {self._split[held_out[0]]} patient {held_out[0]}"
            if of_unknown_descent(case, self._split):
                return "unknown descent", "has no record, so it may descend from a patient who is held out"
            problem = self._unwanted(record, review)
            if problem is not None:
                return problem
        missing = [channel for channel in self.selection.channels if channel not in case.images]
        if missing:
            return "missing channel", missing[0]
        if case.label is None and part != "test" and self._parameters.layout == "nnunet":
            return "no label map", "nnU-Net trains on annotated cases only"
        return None

    def _unwanted(self, record: Record | None, review: Review | None) -> tuple[Cause, str] | None:
        if review is not None and review.decision != "accepted":
            cause: Cause = "rejected" if review.decision == "rejected" else "needs edit"
            return cause, " ".join(part for part in (f"by {review.reviewer}", review.reason, review.comment) if part)
        if review is None and self._parameters.require_review:
            return "not reviewed", "nobody has accepted it"
        failed = [check for check in record.checks if not check.passed] if record else []
        if failed and self._parameters.require_checks:
            return "failed checks", "; ".join(f"{check.name}: {check.value}, limit {check.limit}" for check in failed)
        return None

    def _ancestors(self, case: Case, record: Record | None) -> set[str]:
        """Every patient a voxel of the case may come from, followed through the parents of all cohorts."""
        found = {case.patient, *case.derived_from, *(record.patients if record else ())}
        waiting, seen = [*case.parents, *(record.parents if record else ())], {case.id}
        while waiting:
            parent_id = waiting.pop()
            if parent_id not in seen:
                seen.add(parent_id)
                for parent in self._by_id.get(parent_id, ()):
                    found |= {parent.patient, *parent.derived_from}
                    waiting += parent.parents
        return found


class _Decisions:
    """The decisions that stand, each for the case that was looked at: other jobs call their cases alike."""

    def __init__(self, cohorts: Sequence[Cohort], reviews: Sequence[Path]) -> None:
        self._owners: dict[str, list[Path]] = {}
        for cohort in cohorts:
            for case in cohort.cases:
                self._owners.setdefault(case.id, []).append(cohort.root)
        self._further = [(path, _by_case(path)) for path in reviews]
        self._own = {cohort.root: _by_case(cohort.root / REVIEWS) for cohort in cohorts}
        self._counted: dict[tuple[Path, str], bool] = {}
        self._disputes: list[str] = []

    def about(self, cohort: Cohort, case: Case) -> tuple[Path, Review] | None:
        """The decision about a case and the file that holds it; the log in the cohort's folder comes before all others.

        Raises:
            GenaugError: BAD_PARAMETER for one that says no more than an id that several of the cases have.
        """
        own = cohort.root / REVIEWS
        said: list[Review] = []
        decision = None
        for path, logged in ((own, self._own[cohort.root]), *self._further):
            lines = logged.get(case.id, [])
            counting = decisions_about(lines, case)
            if lines:
                self._counted[path, case.id] = self._counted.get((path, case.id), False) or bool(counting)
            if counting:
                said += counting
                decision = path, counting[-1]
        if decision is not None:
            path, review = decision
            # The log in a cohort's folder is about its cases, whatever else is exported.
            if review.record_sha256 is None and path != own:
                self._require_only_one(path, case)
            self._note_dispute(said)
        return decision

    def notes(self) -> list[str]:
        """The decisions that count for no case, although they name one, and where reviewers do not agree."""
        others = [
            f"The review of {case_id} in {path} is of another case of that name and does not count."
            for (path, case_id), counted in self._counted.items()
            if not counted
        ]
        return others + self._disputes

    def _note_dispute(self, said: list[Review]) -> None:
        """Who overruled whom, where a case is accepted that another reviewer has rejected, or with an older mask."""
        last = said[-1]
        if last.decision != "accepted":
            return
        words = {review.reviewer: review.decision for review in said}
        rejecting = [reviewer for reviewer, decision in words.items() if decision == "rejected"]
        if rejecting:
            self._disputes.append(
                f"{last.case_id} is accepted by {last.reviewer}, who decided last, and rejected by"
                f" {', '.join(rejecting)}."
            )
        newest = max(review.mask_version for review in said)
        if newest > last.mask_version:
            self._disputes.append(
                f"{last.case_id} goes with version {last.mask_version} of its label map, which {last.reviewer} accepted"
                f" last, although there is a version {newest}."
            )

    def _require_only_one(self, path: Path, case: Case) -> None:
        owners = self._owners[case.id]
        if len(owners) > 1:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                path,
                f"a decision about '{case.id}', a case of {' and of '.join(map(str, owners))}",
                "decisions that say by the hash of its Record which case was looked at",
                f"Put the file into the folder of the cohort that it is about, as {REVIEWS}, and leave it out here; or"
                " review the case again.",
            )


def _by_case(path: Path) -> dict[str, list[Review]]:
    """The lines of a review file about each case id, in their order."""
    found: dict[str, list[Review]] = {}
    for review in read_reviews(path):
        found.setdefault(review.case_id, []).append(review)
    return found


def _common_channels(cohorts: Sequence[Cohort]) -> tuple[dict[str, str], list[str]]:
    first = cohorts[0].channels if cohorts else {}
    common = {name: kind for name, kind in first.items() if all(name in cohort.channels for cohort in cohorts)}
    dropped = sorted({name for cohort in cohorts for name in cohort.channels} - set(common))
    if cohorts and not common:
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "channels",
            "; ".join(f"{cohort.name}: {', '.join(cohort.channels)}" for cohort in cohorts),
            "a channel that every cohort has",
            "Export cohorts of the same contrasts together.",
        )
    notes = [f"Channels left out because not every cohort has them: {', '.join(dropped)}."] if dropped else []
    return common, notes


def _unnamed(cohorts: Sequence[Cohort], names: Mapping[int, str]) -> list[str]:
    """That the labels of a cohort get the names of another one's, which may be those of other structures."""
    unnamed = [one.name for one in cohorts if not one.label_names and any(case.label is not None for case in one.cases)]
    if not names or not unnamed:
        return []
    called = ", ".join(f"{value}={name}" for value, name in names.items())
    return [
        f"The labels of {', '.join(unnamed)} have no names and were given those of the others, {called}; where they"
        " mark something else, name them: genaug cohort --label VALUE=NAME."
    ]


def _merged_labels(cohorts: Sequence[Cohort]) -> dict[int, str]:
    merged: dict[int, str] = {}
    for cohort in cohorts:
        for value, name in cohort.label_names.items():
            if merged.setdefault(value, name) != name:
                raise GenaugError(
                    Reason.WRONG_LABELS,
                    cohort.name,
                    f"label {value} called '{name}'",
                    f"'{merged[value]}', as in the other cohorts",
                    "Give the same label the same name and value everywhere.",
                )
    return dict(sorted(merged.items()))
