"""The blinded test of the Review panel, which asks whether a case is real or synthetic."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from GenerativeAugmentLib.blindedTest import Balanced
from GenerativeAugmentLib.caseViewer import CaseViewer
from GenerativeAugmentLib.cohortFiles import CaseEntry, cohortCases, manifestPath, readCohort
from GenerativeAugmentLib.cohorts import safeName
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.parameters import ReviewParameters
from GenerativeAugmentLib.reviewQueue import BlindedTest, BlindedTestResult

CHANCE = 0.5
USUAL_CONFIDENCE = 3


class BlindedSection:
    """Asks about cases in a hidden order; nothing that is shown tells what a case is.

    Args:
        ui: widgets of the Review panel.
        viewer: shows the cases.
        showStatus: shows a line.
        onChanged: called when a test begins or ends.
    """

    def __init__(
        self, ui: Any, viewer: CaseViewer, showStatus: Callable[[str], None], onChanged: Callable[[], None]
    ) -> None:
        self.ui, self._viewer, self._showStatus, self._onChanged = ui, viewer, showStatus, onChanged
        self._test: BlindedTest | None = None
        self._channel = ""
        self._equalize = True
        levels = (_("Guessed"), _("Unsure"), _("Probable"), _("Sure"), _("Certain"))
        for value, text in enumerate(levels, 1):
            ui.confidenceSelector.addItem(text, value)
        self._resetConfidence()
        ui.realButton.clicked.connect(lambda checked=False: self._answer(True))
        ui.syntheticButton.clicked.connect(lambda checked=False: self._answer(False))
        ui.finishTestButton.clicked.connect(lambda checked=False: self._finish())
        self.update()

    @property
    def running(self) -> bool:
        """Whether a test is under way."""
        return self._test is not None

    def start(self, parameters: ReviewParameters) -> None:
        """Begin a test, or take up the one that was interrupted.

        Raises:
            JobError: for cohorts without cases, or without a common channel; what reading raises.
        """
        real, synthetic = _cases(parameters.realCohort), _cases(parameters.cohortFolder)
        synthetic = [case for case in synthetic if case.origin == "synthetic"]
        known = [case for case in real if case.origin == "real"]
        self._channel = _commonChannel(parameters, real, synthetic)
        chosen = [_drawn(cases, parameters.casesOfEach, parameters.seed) for cases in (known or real, synthetic)]
        self._test = _openTest(parameters, *chosen)
        self._equalize = parameters.equalizeWindow
        self.ui.resultLabel.text = (
            ""
            if known
            else _("All cases of the real cohort are marked as synthetic: the result is for trying out only.")
        )
        self._onChanged()
        self._show()

    def stop(self) -> None:
        """Leave the test; its log can be taken up again."""
        self._test = None
        self._viewer.clear()
        self.update()
        self._onChanged()

    def update(self) -> None:
        """Show where the test is."""
        test = self._test
        asking = test is not None and not test.finished
        for widget in (self.ui.realButton, self.ui.syntheticButton, self.ui.confidenceSelector):
            widget.enabled = asking
        self.ui.finishTestButton.enabled = test is not None and test.position > 0
        self.ui.startTestButton.enabled = test is None
        self.ui.testLabel.text = test.title if asking else ""

    def _show(self) -> None:
        """The case to ask about; its name and its path would tell."""
        test = self._test
        if test is None:
            return
        if test.finished:
            self._finish()
            return
        try:
            self._viewer.show(test.title, test.current.images[self._channel], None, {}, self._equalize)
        except JobError as error:
            # The path in the message would tell.
            self._showStatus(_("{title} cannot be read ({reason}).").format(title=test.title, reason=error.reason))
            self._viewer.clear()
        self.update()

    def _answer(self, isReal: bool) -> None:
        if self._test is None or self._test.finished:
            return
        if self._viewer.volume is None:
            self._showStatus(_("There is no image to judge: finish the test, and check the cohorts."))
            return
        try:
            self._test.answer(isReal, self.ui.confidenceSelector.currentData)
        except JobError as error:
            self._showStatus(error.message)
            return
        self._resetConfidence()
        self._show()

    def _finish(self) -> None:
        if self._test is None:
            return
        try:
            result = self._test.result()
        except JobError as error:
            self._showStatus(error.message)
            return
        note = self.ui.resultLabel.text
        self.ui.resultLabel.text = "\n".join(part for part in (note, describeResult(result)) if part)
        self._showStatus(_("The log of the test is {path}.").format(path=self._test.path))
        self.stop()

    def _resetConfidence(self) -> None:
        self.ui.confidenceSelector.currentIndex = self.ui.confidenceSelector.findData(USUAL_CONFIDENCE)


def describeResult(result: BlindedTestResult) -> str:
    """What a test showed, in a few lines."""
    lines = [_score(_("All"), result.overall), _score(_("Real"), result.real), _score(_("Synthetic"), result.synthetic)]
    right, wrong = result.confidence["right"], result.confidence["wrong"]
    if right is not None and wrong is not None:
        text = _("Mean confidence: {right:.1f} in right answers, {wrong:.1f} in wrong ones (1 to 5)")
        lines.append(text.format(right=right, wrong=wrong))
    return "\n".join([*lines, _verdict(result.balanced)])


def _verdict(balanced: Balanced | None) -> str:
    """Whether the reader can tell, whichever kind there was more of and whichever answer was preferred."""
    if balanced is None:
        return _("Only one kind was asked about: nothing can be said of telling them apart.")
    low, high = balanced.interval
    text = _("Both kinds counted alike: {share:.0%} right (95% interval {low:.0%} to {high:.0%})")
    share = text.format(share=balanced.proportion, low=low, high=high)
    if low <= CHANCE <= high:
        found = _("The interval holds 50%: this reader cannot be said to tell them apart.")
    elif low > CHANCE:
        found = _("The interval lies above 50%: this reader can tell them apart.")
    else:
        found = _("The interval lies below 50%: this reader sees a difference and takes it the wrong way round.")
    return f"{share}\n{found}"


def _score(name: str, score: Any) -> str:
    if not score.total:
        return _("{name}: none asked").format(name=name)
    text = _("{name}: {correct} of {total} right ({share:.0%}; 95% Wilson interval {low:.0%} to {high:.0%})")
    low, high = score.interval
    return text.format(name=name, correct=score.correct, total=score.total, share=score.proportion, low=low, high=high)


def _cases(cohort: Path) -> list[CaseEntry]:
    return [case for case in cohortCases(readCohort(cohort)) if case.images]


def _drawn(cases: list[CaseEntry], count: int, seed: int) -> list[CaseEntry]:
    return random.Random(seed).sample(cases, min(count, len(cases)))


def _commonChannel(parameters: ReviewParameters, real: list[CaseEntry], synthetic: list[CaseEntry]) -> str:
    """The first channel that every case has."""
    every = [*real, *synthetic]
    common = [name for name in (every[0].images if every else ()) if all(name in case.images for case in every)]
    if not common:
        raise JobError(
            "unpaired",
            _("blinded test"),
            _("no channel that all cases of {real} and {synthetic} have").format(
                real=parameters.realCohort, synthetic=parameters.cohortFolder
            ),
            _("a common channel"),
            _("Choose cohorts of the same channels."),
        )
    return common[0]


def _openTest(parameters: ReviewParameters, real: list[CaseEntry], synthetic: list[CaseEntry]) -> BlindedTest:
    """The reader's unfinished test of these cases, else a new one, with its log beside the synthetic cohort."""
    folder = manifestPath(parameters.cohortFolder).parent
    for number in itertools.count(1):
        log = folder / f"blinded-{safeName(parameters.reviewer)}-{number}.jsonl"
        isNew = not log.exists()
        try:
            return BlindedTest(real, synthetic, parameters.seed, log, parameters.reviewer.strip())
        except JobError as error:
            # A log of other cases, or of a test that is closed, stays as it is.
            if isNew or error.reason != "unreadable_file":
                raise
    raise AssertionError("the numbers have no end")
