"""The Lesions panel: lesions into a volume, with a look at before and after."""

from __future__ import annotations

from typing import Any

import slicer

from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.jobBuilders.lesions import controlPoints, lesionsJob
from GenerativeAugmentLib.jobCenter import Outcome, PlannedJob
from GenerativeAugmentLib.labelMaps import nodeValues, segmentNames
from GenerativeAugmentLib.panels.base import Panel
from GenerativeAugmentLib.panels.modelChooser import ModelChooser
from GenerativeAugmentLib.parameters import LesionSource, Placement, frozen
from GenerativeAugmentLib.sliceViews import Flicker, addDifference, differenceLegend, jumpInto, showForeground


class LesionsPanel(Panel):
    """Host, tissue, source, size, contrast, number and place."""

    name = "lesions"
    uiName = "LesionsPanel.ui"
    watched = ("hostVolume", "tissueNode", "points")

    @property
    def title(self) -> str:
        """What the chooser shows."""
        return _("Lesions")

    @property
    def applyToolTip(self) -> str:
        """What Apply does."""
        return _("Insert the lesions; the result is a new volume and a segmentation, beside the volume.")

    def setup(self, parentLayout: Any) -> None:
        """Load the form."""
        super().setup(parentLayout)
        self.flicker = Flicker()
        self._result: dict[str, str] = {}
        self._differenceId = ""
        self._listedTissue: str | None = None
        self._listing = False
        self._tissueProblem = ""
        self.models = ModelChooser(
            self.services.catalogue,
            self.ui.modelSelector,
            self.ui.modelInfoLabel,
            lambda entry: entry.task == "synthesis" and entry.makesLabels,
            self._onModelChosen,
        )
        self.ui.segmentSelector.connect("currentIndexChanged(int)", self._onSegmentChosen)
        self.ui.placeButton.clicked.connect(lambda checked=False: self._startPlacing())
        self.ui.flickerButton.toggled.connect(self._onFlicker)
        self.ui.differenceButton.toggled.connect(self._onDifference)
        self.ui.differenceLabel.setVisible(False)
        self._updateResult()

    def connectParameters(self) -> None:
        """Show what the new parameter node says."""
        self._listedTissue = None
        self.models.refresh()
        super().connectParameters()

    def onParametersChanged(self) -> None:
        """Show what the source and the placement need."""
        parameters = self.parameters
        source, points = parameters.source, parameters.placement is Placement.POINTS
        if source is LesionSource.MODEL:
            self.models.choose(parameters.model)
        self._listSegments()
        procedural, model = source is LesionSource.PROCEDURAL, source is LesionSource.MODEL
        asCarved = parameters.ownContrast and not procedural
        self._show(procedural, "shapeLabel", "shapeSelector")
        self._show(source is LesionSource.BANK, "bankFolderLabel", "bankFolderEdit")
        self._show(model, "modelLabel", "modelSelector", "modelInfoLabel")
        self._show(model, "modelCasesLabel", "modelCasesSpinBox")
        self._show(not procedural, "bankValueLabel", "bankValueSpinBox", "ownContrastLabel", "ownContrastCheckBox")
        self._show(points, "pointsLabel", "pointsSelector", "placeLabel", "placeButton")
        self._show(points, "outsideLabel", "allowOutsideCheckBox")
        self.ui.countSpinBox.enabled = not points
        for name in ("contrastUnitSelector", "contrastLowSpinBox", "contrastHighSpinBox"):
            getattr(self.ui, name).enabled = not asCarved

    def onNodesChanged(self) -> None:
        """The tissue may have other segments."""
        self._listedTissue = None

    def onModelsChanged(self) -> None:
        """Offer the models that are there now."""
        self.models.refresh()

    def exit(self) -> None:
        """Nothing flickers behind another panel."""
        self.ui.flickerButton.checked = False

    def isReady(self) -> tuple[bool, str]:
        """Whether there is a host with a tissue, a source and a place."""
        parameters = self.parameters
        if parameters.source is LesionSource.MODEL and self.models.problem():
            return False, self.models.problem()
        if self._tissueProblem:
            return False, self._tissueProblem
        complete, reason = parameters.isValid()
        if complete and parameters.placement is Placement.POINTS:
            try:
                controlPoints(parameters.points)
            except JobError as error:
                return False, error.remedy
        return complete, reason

    def apply(self) -> PlannedJob:
        """Plan the insertion."""
        parameters = frozen(self.parameters)
        model = parameters.source is LesionSource.MODEL
        entry = self.services.catalogue.entry(parameters.model) if model else None
        return lesionsJob(parameters, entry, self.services.parameterNode.device)

    def onFinished(self, outcome: Outcome) -> None:
        """Show the result, and offer to compare it with what was there before."""
        self.ui.flickerButton.checked = self.ui.differenceButton.checked = False
        # Outlines only, for what is inside them is what was asked for.
        after, lesions = self.services.results.show(outcome.imported, fill=0.0)
        if after is not None:
            self._result = {"before": outcome.planned.context["host"], "after": after.GetID()}
            if lesions is not None:
                jumpInto(lesions, after)
        self._updateResult()

    def onUndone(self) -> None:
        """The result may be gone."""
        self._updateResult()

    def onSceneClosed(self) -> None:
        """Let go of the result."""
        self._result = {}
        self._updateResult()

    def cleanup(self) -> None:
        """Stop flickering."""
        self.flicker.stop()
        super().cleanup()

    def _show(self, visible: bool, *names: str) -> None:
        for name in names:
            getattr(self.ui, name).setVisible(visible)

    def _listSegments(self) -> None:
        """Offer the segments of the tissue, or the labels of a label map, when the node is another or has others."""
        node = self.parameters.tissueNode
        listed = "" if node is None else node.GetID()
        if listed != self._listedTissue:
            self._listedTissue = listed
            self._tissueProblem, segments = _listedSegments(node)
            self._listing = True
            self.ui.segmentSelector.clear()
            for value, name in segments:
                self.ui.segmentSelector.addItem(name, value)
            self._listing = False
        index = self.ui.segmentSelector.findData(self.parameters.tissueSegment)
        if index < 0 and self.ui.segmentSelector.count:
            self.parameters.tissueSegment = self.ui.segmentSelector.itemData(0)
            return
        if not self.ui.segmentSelector.count and self.parameters.tissueSegment:
            self.parameters.tissueSegment = ""
            return
        self._listing = True
        self.ui.segmentSelector.currentIndex = index
        self._listing = False

    def _onSegmentChosen(self, index: int) -> None:
        if not self._listing and index >= 0:
            self.parameters.tissueSegment = self.ui.segmentSelector.itemData(index)

    def _onModelChosen(self, name: str) -> None:
        self.parameters.model = name

    def _startPlacing(self) -> None:
        """The next click in a view sets a point of the list; a list is added when there is none."""
        if self.parameters.points is None:
            node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", _("Lesion"))
            node.CreateDefaultDisplayNodes()
            self.parameters.points = node
        markups = slicer.modules.markups.logic()
        markups.SetActiveList(self.parameters.points)
        markups.StartPlaceMode(False)

    def _nodes(self) -> tuple[Any, Any]:
        """Before and after; None where it is gone."""
        before, after = (slicer.mrmlScene.GetNodeByID(self._result.get(key, "")) for key in ("before", "after"))
        return before, after

    def _updateResult(self) -> None:
        complete = all(node is not None for node in self._nodes())
        self.ui.resultGroupBox.setVisible(complete)
        if not complete:
            self.ui.flickerButton.checked = self.ui.differenceButton.checked = False
            self._differenceId = ""

    def _onFlicker(self, checked: bool) -> None:
        before, after = self._nodes()
        if checked and before is not None and after is not None:
            self.flicker.start(before, after)
        else:
            self.flicker.stop()

    def _onDifference(self, checked: bool) -> None:
        before, after = self._nodes()
        if before is None or after is None:
            return
        difference = slicer.mrmlScene.GetNodeByID(self._differenceId)
        if checked and difference is None:
            try:
                difference = addDifference(before, after)
            except JobError as error:
                self.ui.differenceButton.checked = False
                self.services.showStatus(error.message)
                return
            self._differenceId = difference.GetID()
        showForeground(difference if checked else None)
        self.ui.differenceLabel.setVisible(checked)
        if checked:
            self.ui.differenceLabel.text = differenceLegend(difference)


def _listedSegments(node: Any) -> tuple[str, list[tuple[str, str]]]:
    """Why the tissue cannot be used, "" when it can, and its segments."""
    try:
        return "", _segments(node)
    except JobError as error:
        return error.message, []


def _segments(node: Any) -> list[tuple[str, str]]:
    """What the parameters call each segment or label, and its name."""
    if node is None:
        return []
    if node.IsA("vtkMRMLSegmentationNode"):
        return list(segmentNames(node.GetSegmentation()).items())
    return [(str(value), _("label {value}").format(value=value)) for value in nodeValues(node)]
