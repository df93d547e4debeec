"""The Review panel: synthetic cases one after the other, decisions by keyboard, corrected masks, blinded test."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import slicer

from GenerativeAugmentLib import sampleData
from GenerativeAugmentLib.caseViewer import CaseViewer
from GenerativeAugmentLib.cohortFiles import labelNames
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.panels.base import Panel
from GenerativeAugmentLib.panels.blindedSection import BlindedSection
from GenerativeAugmentLib.parameters import frozen, isCohort
from GenerativeAugmentLib.reviewQueue import REASONS, UNREVIEWED, Agreement, ReviewQueue, agreement, reasonTitle

EDITOR_TAG = "GenerativeAugmentReview"


class ReviewPanel(Panel):
    """The queue of one reviewer. Nothing here needs the worker, so there is no Apply."""

    name = "review"
    uiName = "ReviewPanel.ui"
    hasJob = False
    needsWorker = False

    @property
    def title(self) -> str:
        """What the chooser shows."""
        return _("Review")

    @property
    def applyToolTip(self) -> str:
        """Why there is nothing to apply."""
        return _("Decisions are stored at once; there is nothing to apply here.")

    def setup(self, parentLayout: Any) -> None:
        """Load the form."""
        super().setup(parentLayout)
        self.queue: ReviewQueue | None = None
        self._openedFor: tuple[Path, str] | None = None
        self._filling = False
        self._editor: Any = None
        self._toDiscard = -1
        self._channel = ""
        self.viewer = CaseViewer(self._update)
        self.ui.reasonSelector.addItem(_("None"), "")
        for reason in REASONS:
            self.ui.reasonSelector.addItem(reasonTitle(reason), reason)
        difficulties = (_("1, easy"), "2", "3", "4", _("5, hard"))
        self.ui.difficultySelector.addItem(_("Not given"), 0)
        for value, text in enumerate(difficulties, 1):
            self.ui.difficultySelector.addItem(text, value)
        self._connectButtons()
        self.blinded = BlindedSection(self.ui, self.viewer, self.services.showStatus, self._update)
        self.ui.blindedGroupBox.toggled.connect(lambda checked: self._update())
        self._update()

    def _connectButtons(self) -> None:
        for button, act in (
            (self.ui.openButton, self._open),
            (self.ui.sampleButton, self._useSample),
            (self.ui.previousButton, lambda: self._go("previous")),
            (self.ui.nextButton, lambda: self._go("next")),
            (self.ui.acceptButton, lambda: self._decide("accepted")),
            (self.ui.rejectButton, lambda: self._decide("rejected")),
            (self.ui.needsEditButton, lambda: self._decide("needs_edit")),
            (self.ui.storeButton, self._store),
            (self.ui.discardButton, self._discard),
            (self.ui.startTestButton, self._startTest),
        ):
            button.clicked.connect(lambda checked=False, act=act: act())
        self.ui.editButton.toggled.connect(self._onEdit)
        self.ui.channelSelector.connect("currentIndexChanged(int)", self._onChannel)

    def onParametersChanged(self) -> None:
        """Decisions never get into the log of another cohort or under another name, and no change of a mask is lost."""
        if self.queue is not None and self._openedFor != self._wanted():
            if self._refusesToLeave():
                self.parameters.cohortFolder, self.parameters.reviewer = self._openedFor
            else:
                self._close()
        self._update()

    def isReady(self) -> tuple[bool, str]:
        """There is no job; the buttons say themselves whether they can be pressed."""
        return False, ""

    def enter(self) -> None:
        """The case has the views to itself."""
        self.viewer.present()

    def exit(self) -> None:
        """No effect stays active behind another panel or module, and the views are the user's again."""
        self._leaveEditor()
        self.viewer.putAside()

    def onSceneClosed(self) -> None:
        """The case goes with the scene; the queue is opened again where it was."""
        self._keepChange()
        self.viewer.forget()
        self._close()

    def cleanup(self) -> None:
        """Take the case out of the scene."""
        self._keepChange()
        self._close()
        super().cleanup()

    # queue

    def _wanted(self) -> tuple[Path, str]:
        return Path(self.parameters.cohortFolder), self.parameters.reviewer.strip()

    def _open(self) -> None:
        complete, reason = self.parameters.isValid()
        if not complete:
            self.services.showStatus(reason)
            return
        if self._refusesToLeave():
            return
        try:
            self.queue = ReviewQueue(*self._wanted())
        except JobError as error:
            self.services.showStatus(error.message)
            return
        self._openedFor = self._wanted()
        done = self.queue.firstUnreviewed() is None
        self.services.showStatus(_("You have decided about every case.") if done else "")
        self._show()

    def _close(self) -> None:
        self._leaveEditor()
        if self.blinded.running:
            self.blinded.stop()
        self.viewer.clear()
        self.queue = self._openedFor = None
        self._update()

    def _keepChange(self) -> None:
        """The case goes and nobody can be asked: a change of its mask that was not stored is kept in a file."""
        if self.queue is None or not self.viewer.maskChanged or self.viewer.segmentation is None:
            return
        case = self.queue.current
        try:
            path = self.queue.keepDraft(case.id, self.viewer.keepMask)
        except JobError as error:
            text = error.message
        else:
            text = _("The changed mask of {case} was not stored; {path} keeps it for the next review.")
            text = text.format(case=case.id, path=path)
        logging.warning("GenerativeAugment: %s", text)
        self.services.log(text)
        self.services.showStatus(text)

    def _useSample(self) -> None:
        try:
            self.parameters.cohortFolder = sampleData.sampleFolder(sampleData.REVIEW)
            if not isCohort(self.parameters.realCohort):
                self.parameters.realCohort = sampleData.sampleFolder(sampleData.COHORT)
        except JobError as error:
            self.services.showStatus(error.message)

    def _show(self) -> None:
        """The current case in the views, and what was said about it in the form."""
        if self.queue is None:
            return
        self._toDiscard = -1
        self._leaveEditor()
        case = self.queue.current
        self._fillChannels(list(case.images))
        try:
            image = case.images.get(self.ui.channelSelector.currentData)
            if image is None:
                raise JobError(
                    "missing_file", case.id, _("no image"), _("at least one image"), _("Make the case again.")
                )
            self.viewer.show(case.title, image, self.queue.latestMask(case.id), self._labelNames())
        except JobError as error:
            self.viewer.clear()
            self.services.showStatus(error.message)
        self._takeUpChange(case.id)
        standing = self.queue.standing(case.id)
        self._fill(
            standing.reason if standing else "",
            (standing.difficulty or 0) if standing else 0,
            standing.comment if standing else "",
        )
        self._update()

    def _takeUpChange(self, caseId: str) -> None:
        """Go on with the change of a mask that was left."""
        draft = self.queue.draft(caseId)
        if self.viewer.segmentation is None or not draft.is_file():
            return
        try:
            self.viewer.takeUpMask(draft)
        except JobError as error:
            self.services.showStatus(error.message)
        else:
            text = _("The mask has a change that was not stored: store it (S), or discard it (D).")
            self.services.showStatus(text)

    def _fill(self, reason: str, difficulty: int, comment: str) -> None:
        self.ui.reasonSelector.currentIndex = max(0, self.ui.reasonSelector.findData(reason))
        self.ui.difficultySelector.currentIndex = self.ui.difficultySelector.findData(difficulty)
        self.ui.commentEdit.text = comment

    def _fillChannels(self, channels: list[str]) -> None:
        """Offer the case's channels; the chosen one stays, where the case has it."""
        chosen = self.ui.channelSelector.currentData
        self._filling = True
        self.ui.channelSelector.clear()
        for channel in channels:
            self.ui.channelSelector.addItem(channel, channel)
        self.ui.channelSelector.currentIndex = max(0, self.ui.channelSelector.findData(chosen)) if channels else -1
        self._filling = False
        self.ui.channelSelector.setVisible(len(channels) > 1)
        self._channel = self.ui.channelSelector.currentData or ""

    def _onChannel(self, index: int) -> None:
        """Another channel, also while the mask is edited and while something is typed about the case."""
        if self._filling or index < 0 or self.queue is None:
            return
        if self.viewer.volume is None:
            self._show()
            return
        channel = self.ui.channelSelector.itemData(index)
        try:
            self.viewer.exchangeImage(self.queue.current.images[channel])
        except JobError as error:
            self.services.showStatus(error.message)
            self._chooseChannel(self._channel)
        else:
            self._channel = channel

    def _chooseChannel(self, channel: str) -> None:
        self._filling = True
        self.ui.channelSelector.currentIndex = self.ui.channelSelector.findData(channel)
        self._filling = False

    def _go(self, direction: str) -> None:
        if self.queue is None or self._refusesToLeave():
            return
        moved = self.queue.next() if direction == "next" else self.queue.previous()
        if moved is None:
            self.services.showStatus(
                _("This is the last case.") if direction == "next" else _("This is the first case.")
            )
            return
        self.services.showStatus("")
        self._show()

    def _decide(self, decision: str) -> None:
        if self.queue is None or self._refusesToLeave():
            return
        try:
            if self.queue.correctedMeanwhile():
                self._show()
                text = _("Another reviewer has corrected this mask meanwhile: look at it, and decide about that one.")
                self.services.showStatus(text)
                return
            self.queue.decide(
                decision,
                self.ui.reasonSelector.currentData,
                self.ui.commentEdit.text.strip(),
                self.ui.difficultySelector.currentData or None,
            )
        except JobError as error:
            self.services.showStatus(error.message)
            return
        self.services.showStatus("")
        if self.parameters.autoAdvance and self.queue.nextUnreviewed() is not None:
            self._show()
            return
        if self.queue.firstUnreviewed() is None:
            self.services.showStatus(_("You have decided about every case. Export them in the Export panel."))
        self._update()

    def _refusesToLeave(self) -> bool:
        """Whether a changed mask keeps the case where it is; nothing that was drawn is lost without a word."""
        if self.viewer.maskChanged:
            self._toDiscard = -1
            self._update()
            self.services.showStatus(_("The mask was changed: store it (S), or discard the change (D)."))
        return self.viewer.maskChanged

    # mask

    def _labelNames(self) -> dict[int, str]:
        return {} if self.queue is None else labelNames(self.queue.cohort)

    def _onEdit(self, checked: bool) -> None:
        self._toDiscard = -1
        if not checked:
            self._leaveEditor()
            self._update()
            return
        if self.viewer.segmentation is None:
            self.ui.editButton.checked = False
            self.services.showStatus(_("This case has no mask."))
            return
        changed = self.viewer.maskChanged
        editor = self._editorWidget()
        node = slicer.mrmlScene.GetSingletonNode(EDITOR_TAG, "vtkMRMLSegmentEditorNode")
        if node is None:
            node = slicer.vtkMRMLSegmentEditorNode()
            node.SetSingletonTag(EDITOR_TAG)
            node.SetSaveWithScene(False)
            node = slicer.mrmlScene.AddNode(node)
        editor.setMRMLSegmentEditorNode(node)
        editor.setSegmentationNode(self.viewer.segmentation)
        editor.setSourceVolumeNode(self.viewer.volume)
        editor.setupViewObservations()
        # Opening the editor may bring the mask onto the grid of the volume, which is no change of it.
        if not changed:
            self.viewer.watchMask()
        editor.setVisible(True)
        self._update()

    def _editorWidget(self) -> Any:
        if self._editor is None:
            self._editor = slicer.qMRMLSegmentEditorWidget(self.ui.editorContainer)
            self._editor.setMRMLScene(slicer.mrmlScene)
            self._editor.segmentationNodeSelectorVisible = False
            self._editor.sourceVolumeNodeSelectorVisible = False
            self._editor.switchToSegmentationsButtonVisible = False
            self.ui.editorContainer.layout().addWidget(self._editor)
        return self._editor

    def _leaveEditor(self) -> None:
        if self.ui.editButton.checked:
            self.ui.editButton.checked = False
            return
        if self._editor is not None:
            self._editor.setActiveEffect(None)
            self._editor.removeViewObservations()
            self._editor.setSegmentationNode(None)
            self._editor.setVisible(False)

    def _store(self) -> None:
        if self.queue is None or self.viewer.segmentation is None:
            return
        self._toDiscard = -1
        names, case = self._labelNames(), self.queue.current
        try:
            if self.queue.correctedMeanwhile():
                # It would be below this one without ever having been looked at.
                text = _(
                    "Another reviewer has corrected this mask meanwhile. Store again to put yours in its place as the "
                    "next version, or discard yours to see the other one."
                )
                self.services.showStatus(text)
                self._update()
                return
            version = self.queue.storeCorrectedMask(case.id, lambda path: self.viewer.writeMask(path, names))
        except JobError as error:
            self.services.showStatus(error.message)
            return
        self.viewer.watchMask()
        self._dropDraft(case.id)
        self.services.showStatus(
            _("Stored as version {version} of the mask of {case}.").format(version=version, case=case.id)
        )
        self._update()

    def _discard(self) -> None:
        """Take the change back at the second click; the first asks, beside Apply: the key is a single letter."""
        if self.queue is None:
            return
        if self._toDiscard != self.viewer.changes:
            # What is drawn from now on is asked about again.
            self._toDiscard = self.viewer.changes
            self.services.showStatus(
                _("Discard once more to lose what was drawn since the mask was stored, which cannot be undone.")
            )
            self._update()
            return
        self.viewer.maskChanged = False
        self.services.showStatus("")
        self._dropDraft(self.queue.current.id)
        self._show()

    def _showDiscard(self) -> None:
        button = self.ui.discardButton
        text = _("Really discard (D)") if self._toDiscard == self.viewer.changes else _("Discard (D)")
        if button.text != text:
            # A button loses its key when it gets another text.
            key = button.shortcut
            button.text = text
            button.setShortcut(key)

    def _dropDraft(self, caseId: str) -> None:
        try:
            self.queue.dropDraft(caseId)
        except JobError as error:
            self.services.log(error.message)

    # blinded test

    def _startTest(self) -> None:
        complete, reason = self.parameters.isValid()
        if complete and not isCohort(self.parameters.realCohort):
            complete, reason = False, _("Choose a cohort of real cases.")
        if not complete:
            self.services.showStatus(reason)
            return
        if self._refusesToLeave():
            return
        self._leaveEditor()
        self.viewer.clear()
        self.queue = self._openedFor = None
        try:
            self.blinded.start(frozen(self.parameters))
        except JobError as error:
            self.services.showStatus(error.message)
        self._update()

    # what is shown

    def _update(self) -> None:
        queue = self.queue
        shown = queue is not None and self.viewer.volume is not None
        self.ui.caseGroupBox.enabled = queue is not None
        # Their keys hold in the whole window, and effects of the editor take the same ones in the slice views.
        decides = shown and not self.ui.editButton.checked
        for button in (self.ui.acceptButton, self.ui.rejectButton, self.ui.needsEditButton):
            button.enabled = decides
        hasMask = shown and self.viewer.segmentation is not None
        self.ui.editButton.enabled = hasMask
        self.ui.storeButton.enabled = hasMask and self.viewer.maskChanged
        self.ui.discardButton.enabled = hasMask and self.viewer.maskChanged
        self._showDiscard()
        self.ui.openButton.enabled = not self.blinded.running
        self.ui.caseLabel.text = "" if queue is None else describeCase(queue)
        self.ui.countsLabel.text = "" if queue is None else describeCounts(queue)
        self.ui.agreementLabel.text = (
            _("Open a queue first.") if queue is None else describeAgreement(agreement(queue.reviews))
        )


def describeCase(queue: ReviewQueue) -> str:
    """Which case it is, and where it stands."""
    case = queue.current
    version = queue.maskVersion(case.id)
    mask = _("corrected mask, version {version}").format(version=version) if version else _("original mask")
    text = _("Case {number} of {count}: {case}, {state}, {mask}")
    return text.format(
        number=queue.position + 1,
        count=len(queue.cases),
        case=case.id,
        state=stateTitle(queue.state(case.id)),
        mask=mask,
    )


def describeCounts(queue: ReviewQueue) -> str:
    """How many cases stand where."""
    return ", ".join(f"{count} {stateTitle(state)}" for state, count in queue.counts().items() if count)


def describeAgreement(found: Agreement) -> str:
    """How far reviewers agree, in a few lines."""
    if found.raw is None:
        return _("No case has been decided about by two reviewers yet.")
    text = _("{reviewers} on {cases} cases: {raw:.0%} of decisions agree; {method}'s kappa {kappa}")
    kappa = _("not defined, all said the same") if found.kappa is None else f"{found.kappa:.2f}"
    lines = [
        text.format(
            reviewers=", ".join(found.reviewers),
            cases=len(found.cases),
            raw=found.raw,
            method=found.method,
            kappa=kappa,
        )
    ]
    if found.disagreements:
        lines.append(_("They differ about {cases}.").format(cases=", ".join(found.disagreements)))
    return "\n".join(lines)


def stateTitle(state: str) -> str:
    """What to call a decision in the user's language."""
    titles = {
        "accepted": _("accepted"),
        "rejected": _("rejected"),
        "needs_edit": _("needs edit"),
        UNREVIEWED: _("not reviewed"),
    }
    return titles.get(state, state)
