"""Reviewing synthetic cases: each reviewer's way through a cohort, and corrected masks as new versions.

The log is `reviewLog`, the statistics are `agreement`, the test with hidden origin is `blindedTest`; what a panel needs
of them can be had from here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from GenerativeAugmentLib.agreement import Agreement, agreement, wilsonInterval
from GenerativeAugmentLib.blindedTest import BlindedTest, BlindedTestResult
from GenerativeAugmentLib.cohortFiles import CaseEntry, cohortCases, manifestPath, readCohort
from GenerativeAugmentLib.cohorts import safeName
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.files import aside, explained, rename, sha256File
from GenerativeAugmentLib.reviewLog import (
    DECISIONS,
    REASONS,
    REVIEWS,
    UNREVIEWED,
    Review,
    appendReview,
    readReviews,
    reasonTitle,
    refused,
)

__all__ = [
    "DECISIONS",
    "REASONS",
    "REVIEWS",
    "UNREVIEWED",
    "Agreement",
    "BlindedTest",
    "BlindedTestResult",
    "Review",
    "ReviewQueue",
    "agreement",
    "appendReview",
    "readReviews",
    "reasonTitle",
    "wilsonInterval",
]


class ReviewQueue:
    """The synthetic cases of a cohort in order, and what one reviewer said about each.

    Reviewers share one log. Each has their own queue through all cases, which begins where they stopped, or where a
    change of a mask is left that they have not stored; corrected label maps are everybody's.

    Args:
        cohortFolder: folder with a cohort.json, or that file.
        reviewer: whose decisions these are.

    Raises:
        JobError: as `cohorts.readCohort`; "empty_cohort" without a synthetic case; "bad_parameter" without a name.
    """

    def __init__(self, cohortFolder: Path, reviewer: str) -> None:
        if not reviewer.strip():
            raise refused("reviewer", repr(reviewer), _("a name"), _("Enter the reviewer's name or initials."))
        self.reviewer = reviewer.strip()
        manifest = manifestPath(cohortFolder)
        # As the cohort's paths are: masks are named relative to it.
        self.path = manifest.parent.resolve() / REVIEWS
        cohort = readCohort(manifest)
        self.cohort = cohort
        self.cases = [case for case in cohortCases(cohort) if case.origin == "synthetic"]
        if not self.cases:
            raise JobError(
                "empty_cohort",
                str(manifest),
                _("{count} cases, none of them synthetic").format(count=len(cohort["cases"])),
                _("at least one synthetic case"),
                _("Choose the folder of a synthesis, a translation or a lesion insertion."),
            )
        self._byId = {case.id: case for case in self.cases}
        self._records: dict[str, str | None] = {}
        self.reviews: list[Review] = []
        self.refresh()
        drafts = (index for index, case in enumerate(self.cases) if self.draft(case.id).is_file())
        self._index = next(drafts, self._firstUnreviewedIndex() or 0)

    @property
    def current(self) -> CaseEntry:
        """The case to look at."""
        return self.cases[self._index]

    @property
    def position(self) -> int:
        """Index of the current case."""
        return self._index

    def refresh(self) -> None:
        """Read the log again: what other reviewers have added counts from now on.

        What was said about another case of the same name, which a later job has replaced, does not count.
        """
        self.reviews = [review for review in readReviews(self.path) if self._isAboutOurs(review)]

    def correctedMeanwhile(self) -> bool:
        """Read the log again: whether somebody has stored another mask of the current case since it was last read."""
        before = self.maskVersion(self.current.id)
        self.refresh()
        return self.maskVersion(self.current.id) > before

    def next(self) -> CaseEntry | None:
        """Go to the case after this one; None, staying, at the last."""
        return self._go(self._index + 1)

    def previous(self) -> CaseEntry | None:
        """Go to the case before this one; None, staying, at the first."""
        return self._go(self._index - 1)

    def nextUnreviewed(self) -> CaseEntry | None:
        """Go to the next case without a decision, from the start after the last; None, staying, when all are done."""
        count = len(self.cases)
        for step in range(1, count + 1):
            index = (self._index + step) % count
            if self.state(self.cases[index].id) == UNREVIEWED:
                return self._go(index)
        return None

    def goTo(self, caseId: str) -> CaseEntry:
        """Go to a case by its id; JobError "bad_parameter" when there is none."""
        self._index = self.cases.index(self._case(caseId))
        return self.current

    def firstUnreviewed(self) -> CaseEntry | None:
        """The first case this reviewer has not decided about; None when all are done. The position stays."""
        index = self._firstUnreviewedIndex()
        return None if index is None else self.cases[index]

    def state(self, caseId: str) -> str:
        """The reviewer's standing decision about a case, or "unreviewed"."""
        review = self.standing(caseId)
        return review.decision if review else UNREVIEWED

    def standing(self, caseId: str) -> Review | None:
        """The reviewer's last line about a case."""
        mine = [review for review in self._about(caseId) if review.reviewer == self.reviewer]
        return mine[-1] if mine else None

    def counts(self) -> dict[str, int]:
        """How many cases stand where, for this reviewer, with every key of DECISIONS and "unreviewed"."""
        states = [self.state(case.id) for case in self.cases]
        return {state: states.count(state) for state in (*DECISIONS, UNREVIEWED)}

    def reviewers(self) -> list[str]:
        """Everybody in the log, in order of appearance."""
        return list(dict.fromkeys(review.reviewer for review in self.reviews))

    def decide(self, decision: str, reason: str = "", comment: str = "", difficulty: int | None = None) -> Review:
        """Append a decision about the current case, on the label map version that `latestMask` gives for it.

        Raises:
            JobError: "bad_parameter"; "disk_full" or "no_permission", and then nothing was decided.
        """
        return self._append(self.current.id, decision, reason, comment, difficulty, self._corrected(self.current.id))

    def maskVersion(self, caseId: str) -> int:
        """0 for the label map as it was made, else the number of its last correction."""
        corrected = self._corrected(caseId)
        return corrected.mask_version if corrected else 0

    def latestMask(self, caseId: str) -> Path | None:
        """The label map that stands: the last correction, else the one the case was made with; None without any.

        Raises:
            JobError: "missing_file", or "wrong_labels" when a corrected file is no longer what was reviewed.
        """
        corrected = self._corrected(caseId)
        if corrected is None:
            return self._case(caseId).label
        path = Path(os.path.normpath(self.path.parent / corrected.mask))
        if not path.is_file():
            raise JobError(
                "missing_file",
                str(path),
                _("no such file"),
                _("version {version} of the mask of {case}").format(version=corrected.mask_version, case=caseId),
                _("Restore the file, or correct the mask again."),
            )
        found = sha256File(path)
        if found != corrected.mask_sha256:
            raise JobError(
                "wrong_labels",
                str(path),
                f"SHA-256 {found[:16]}",
                _("SHA-256 {hash}, as stored by {reviewer} at {time}").format(
                    hash=corrected.mask_sha256[:16], reviewer=corrected.reviewer, time=corrected.time
                ),
                _("The file was changed outside the review: restore it, or correct the mask again."),
            )
        return path

    def storeCorrectedMask(self, caseId: str, writer: Callable[[Path], None]) -> int:
        """Store a corrected label map beside the case as a new version, which no later one overwrites.

        The line that names it repeats this reviewer's standing decision, and is "needs_edit" where there is none: a
        mask that was drawn is not yet a case that was accepted.

        Args:
            caseId: which case.
            writer: writes the label map to the path it is given, which ends in ".nrrd".

        Returns:
            The version.

        Raises:
            JobError: "disk_full" or "no_permission", and whatever `writer` raises; then no file is left behind.
        """
        case = self._case(caseId)
        self.refresh()
        folder = _folderOf(case, self.path.parent)
        version = self.maskVersion(caseId) + 1
        target = folder / f"label.v{version}.nrrd"
        written = False
        try:
            # A crash between file and line leaves a file that no line names; it is kept, and the next one counts on.
            while not _claimed(target):
                version += 1
                target = folder / f"label.v{version}.nrrd"
            temporary = aside(target)
            try:
                writer(temporary)
                digest = sha256File(temporary)
                rename(temporary, target)
                written = True
            finally:
                temporary.unlink(missing_ok=True)
                if not written:
                    target.unlink(missing_ok=True)
        except OSError as error:
            raise explained(error, target) from error
        mask = Path(os.path.relpath(target, self.path.parent)).as_posix()
        standing = self.standing(caseId)
        corrected = Review(caseId, self.reviewer, "needs_edit", mask_version=version, mask=mask, mask_sha256=digest)
        if standing is None:
            self._append(caseId, "needs_edit", "mask does not fit", "", None, corrected)
        else:
            said = (standing.decision, standing.reason, standing.comment, standing.difficulty)
            self._append(caseId, *said, corrected)
        return version

    def draft(self, caseId: str) -> Path:
        """Where a changed mask of this reviewer is kept that was not stored: a segmentation that Slicer opens."""
        folder = _folderOf(self._case(caseId), self.path.parent)
        return folder / f"label.unsaved-{safeName(self.reviewer)}.seg.nrrd"

    def keepDraft(self, caseId: str, writer: Callable[[Path], None]) -> Path:
        """Keep a changed mask that nobody has asked to store; it is no version, and the log does not name it.

        Args:
            caseId: which case.
            writer: writes the segmentation to the path it is given, which ends in ".seg.nrrd".

        Returns:
            The file; a former one is replaced.

        Raises:
            JobError: "disk_full" or "no_permission", and whatever `writer` raises; a former file then stays.
        """
        target = self.draft(caseId)
        temporary = aside(target)
        try:
            writer(temporary)
            rename(temporary, target)
        except OSError as error:
            raise explained(error, target) from error
        finally:
            temporary.unlink(missing_ok=True)
        return target

    def dropDraft(self, caseId: str) -> None:
        """The change was stored or discarded.

        Raises:
            JobError: "no_permission".
        """
        try:
            self.draft(caseId).unlink(missing_ok=True)
        except OSError as error:
            raise explained(error, self.draft(caseId)) from error

    def _append(
        self, caseId: str, decision: str, reason: str, comment: str, difficulty: int | None, corrected: Review | None
    ) -> Review:
        review = Review(
            caseId,
            self.reviewer,
            decision,
            reason,
            comment,
            difficulty,
            datetime.now(timezone.utc).isoformat(timespec="seconds"),
            corrected.mask_version if corrected else 0,
            corrected.mask if corrected else None,
            corrected.mask_sha256 if corrected else None,
            self._recordHash(self._case(caseId)),
        )
        appendReview(self.path, review)
        self.reviews.append(review)
        return review

    def _corrected(self, caseId: str) -> Review | None:
        """The line, of any reviewer, that names the highest version of the case's label map above 0."""
        named = [review for review in self._about(caseId) if review.mask_version > 0]
        return max(named, key=lambda review: review.mask_version, default=None)

    def _isAboutOurs(self, review: Review) -> bool:
        case = self._byId.get(review.case_id)
        if case is None or review.record_sha256 is None:
            return True
        there = case.record is not None and case.record.is_file()
        return there and self._recordHash(case) == review.record_sha256

    def _recordHash(self, case: CaseEntry) -> str | None:
        """What tells the case apart from every other one of its name; None for a case without a Record."""
        if case.id not in self._records:
            if case.record is not None and not case.record.is_file():
                expected = _("the record of {case}").format(case=case.id)
                raise JobError("missing_file", str(case.record), _("no such file"), expected, _("Restore the file."))
            self._records[case.id] = None if case.record is None else sha256File(case.record)
        return self._records[case.id]

    def _about(self, caseId: str) -> list[Review]:
        self._case(caseId)
        return [review for review in self.reviews if review.case_id == caseId]

    def _case(self, caseId: str) -> CaseEntry:
        if caseId not in self._byId:
            raise refused(
                "case", caseId, _("a case of {path}").format(path=self.path.parent), _("Choose a case of the list.")
            )
        return self._byId[caseId]

    def _firstUnreviewedIndex(self) -> int | None:
        indices = (index for index, case in enumerate(self.cases) if self.state(case.id) == UNREVIEWED)
        return next(indices, None)

    def _go(self, index: int) -> CaseEntry | None:
        if not 0 <= index < len(self.cases):
            return None
        self._index = index
        return self.current


def _claimed(path: Path) -> bool:
    """Whether the name was free, and is now this queue's: another reviewer may store a mask at the same moment."""
    try:
        path.open("xb").close()
    except FileExistsError:
        return False
    return True


def _folderOf(case: CaseEntry, otherwise: Path) -> Path:
    """Where a case's files lie."""
    first = case.label or next(iter(case.images.values()), None)
    return otherwise if first is None else first.parent
