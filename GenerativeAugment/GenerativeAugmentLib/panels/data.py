"""The Data panel: a cohort from the scene or from disk, what is in it, and the recipe that suits it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import qt
import slicer
import vtk

from GenerativeAugmentLib import pseudonyms, sampleData
from GenerativeAugmentLib.catalogueFile import Condition
from GenerativeAugmentLib.cohorts import MANIFEST, realPatients
from GenerativeAugmentLib.cohortSplit import describeSplit, isDivisible, readSplit, splitCohort, splitPatients
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.jobBuilders.cohort import fingerprintJob, listedNames
from GenerativeAugmentLib.jobCenter import Outcome, PlannedJob
from GenerativeAugmentLib.modalities import MODALITIES
from GenerativeAugmentLib.panels.base import Panel
from GenerativeAugmentLib.panels.conditionForm import ConditionsForm, MadeRow
from GenerativeAugmentLib.parameters import CohortSource, frozen
from GenerativeAugmentLib.recipes import RecipeInfo, adviceTitle, listRecipes
from GenerativeAugmentLib.sceneCases import (
    DraftCase,
    distinct,
    draftCase,
    draftCases,
    draftedModalities,
    sceneCase,
)

MODALITIES_ROW = 1
"""Of the form, before which the modalities of the channels come."""

CASE, PATIENT, CHANNELS, VOLUMES, MASK, FIRST_COVARIATE = range(6)


class ModalityRow(MadeRow):
    """What a channel of the cases shows, where they do not say it themselves."""

    def made(self) -> Any:
        """A combo box of modalities."""
        box = qt.QComboBox()
        box.addItem(_("Choose..."), "")
        for modality in MODALITIES:
            box.addItem(modality, modality)
        box.connect("currentIndexChanged(int)", lambda index: self.chosen(box.itemData(index)))
        return box

    def label(self) -> str:
        """The channel."""
        return _("{channel} is:").format(channel=self.condition.name)

    def explanation(self) -> str:
        """Its tool tip."""
        text = _(
            "Modality of the channel {channel}: what DICOM says, CT where the name says so, else MR, unless the values "
            "look like Hounsfield units."
        )
        return text.format(channel=self.condition.name)

    def problem(self, parameters: Mapping[str, str], about: Mapping[str, str]) -> str:
        """Whether somebody has to say it."""
        name = self.condition.name
        if parameters.get(name) or about.get(name):
            return ""
        return _("Choose the modality of {channel}: its values look like CT, or its cases differ.").format(channel=name)

    def show(self, parameters: Mapping[str, str], about: Mapping[str, str]) -> None:
        """Show what was chosen, else what can be told."""
        name, box = self.condition.name, self.widget
        modality = parameters.get(name) or about.get(name, "")
        blocked = box.blockSignals(True)
        if modality and box.findData(modality) < 0:
            box.addItem(modality, modality)
        box.currentIndex = max(0, box.findData(modality))
        box.blockSignals(blocked)


class DataPanel(Panel):
    """Cases of the scene or a cohort on disk, and its fingerprint."""

    name = "data"
    uiName = "DataPanel.ui"

    @property
    def title(self) -> str:
        """What the chooser shows."""
        return _("Data")

    @property
    def applyToolTip(self) -> str:
        """What Apply does."""
        return _("Write the cases of the scene as a cohort, or read the one on disk; then describe it.")

    def setup(self, parentLayout: Any) -> None:
        """Load the form."""
        super().setup(parentLayout)
        self.drafts: list[DraftCase] = []
        self.modalities: dict[str, str] = {}
        self._modalityRows = ConditionsForm(
            self.ui, {"modality": ModalityRow}, MODALITIES_ROW, self.ui.channelEdit, self._onModalityChosen
        )
        self._filling = False
        self._recommended = ""
        self._cohort = Path()
        self._isWriting = self._splitTwice = False
        table = self.ui.casesTable
        table.verticalHeader().setVisible(False)
        self._showColumns([])
        table.itemChanged.connect(self._onItemChanged)
        self.ui.addCasesButton.clicked.connect(lambda checked=False: self._add(eachContainer=True))
        self.ui.addOneButton.clicked.connect(lambda checked=False: self._add(eachContainer=False))
        self.ui.removeCaseButton.clicked.connect(lambda checked=False: self._remove())
        self.ui.sampleButton.clicked.connect(lambda checked=False: self._useSample())
        self.ui.splitButton.clicked.connect(lambda checked=False: self._split())
        self.ui.trainButton.clicked.connect(lambda checked=False: self._train())
        self._showResult("")

    def onParametersChanged(self) -> None:
        """Show what the source needs."""
        fromScene = self.parameters.source is CohortSource.SCENE
        self.ui.scenePage.setVisible(fromScene)
        self.ui.diskPage.setVisible(not fromScene)
        covariates = listedNames(self.parameters.covariates)
        if covariates != self._covariates:
            self._showColumns(covariates)
            self._fillTable()
        self._splitTwice = False
        self._showSplit()

    def isReady(self) -> tuple[bool, str]:
        """Whether there are cases, or a cohort, and a place for them."""
        if self.parameters.source is CohortSource.SCENE:
            if not self.drafts:
                return False, _("Select volumes, masks or folders in the list, and add them as cases.")
            gone = [draft.caseId for draft in self.drafts if draft.missing]
            if gone:
                return False, _("Remove {cases}: not all of it is in the scene any more.").format(cases=", ".join(gone))
            problem = self._modalityRows.problem(self.modalities, draftedModalities(self.drafts))
            if problem:
                return False, problem
        return self.parameters.isValid()

    def apply(self) -> PlannedJob:
        """Write the cohort where it comes from the scene, and plan its fingerprint."""
        parameters = frozen(self.parameters)
        fromScene = parameters.source is CohortSource.SCENE
        cases = [sceneCase(draft, self._covariates, self.modalities) for draft in self.drafts] if fromScene else []
        return fingerprintJob(parameters, cases, self.services.parameterNode.device)

    def onStarted(self, planned: PlannedJob) -> None:
        """Forget the result of the job before."""
        self._cohort, self._isWriting = Path(planned.context["cohort"]), planned.preparation is not None
        self._showResult("")

    def onFinished(self, outcome: Outcome) -> None:
        """Show the fingerprint and the recommendation."""
        self._takeCohort()
        fingerprint, recommendation = outcome.summary["fingerprint"], outcome.summary["recommendation"]
        recipes = {recipe.name: recipe for recipe in listRecipes()}
        self._showResult(describeRecommendation(recommendation, recipes) + describeFingerprint(fingerprint))
        candidates = [recommendation["recipe"], *recommendation["alternatives"]]
        self._recommended = next((name for name in candidates if name in recipes), "")
        train = self.services.parameterNode.train
        train.advisedCohort = self._cohort
        train.advice = {recommendation["recipe"]: recommendation["reason"], **recommendation["alternatives"]}
        self.ui.trainButton.enabled = bool(self._recommended)

    def onFailed(self, error: JobError) -> None:
        """What was written before it failed stays."""
        self._takeCohort()

    def _takeCohort(self) -> None:
        """A cohort that was written is on the disk from now on, and is not written twice."""
        if self._isWriting and (self._cohort / MANIFEST).is_file() and self.services.parameterNode is not None:
            self._isWriting = False
            self.drafts = []
            self._fillTable()
            self.parameters.cohortFolder = self._cohort
            self.parameters.source = CohortSource.DISK

    def _showResult(self, html: str) -> None:
        self.ui.resultBrowser.html = html
        self.ui.trainButton.enabled = False
        for widget in (self.ui.resultBrowser, self.ui.trainButton):
            widget.setVisible(bool(html))

    def onSceneClosed(self) -> None:
        """The nodes of the cases are gone, and with them whoever waits for the cohort that is made of them."""
        self.drafts = []
        self._isWriting = False
        self._fillTable()

    def _add(self, eachContainer: bool) -> None:
        selected = vtk.vtkIdList()
        self.ui.itemsTree.currentItems(selected)
        items = [selected.GetId(index) for index in range(selected.GetNumberOfIds())]
        channel = self.parameters.channel.strip() or "image"
        try:
            found = draftCases(items, channel) if eachContainer else [draftCase(items, channel)]
        except JobError as error:
            self.services.showStatus(error.message)
            return
        self.drafts += distinct(found, [draft.caseId for draft in self.drafts])
        self._fillTable()
        self.services.showStatus("")

    def _remove(self) -> None:
        rows = {index.row() for index in self.ui.casesTable.selectionModel().selectedRows()}
        self.drafts = [draft for row, draft in enumerate(self.drafts) if row not in rows]
        self._fillTable()
        self.services.showStatus("")

    def _showColumns(self, covariates: list[str]) -> None:
        """A column for everything a case has, and one for each covariate."""
        self._covariates = covariates
        headers = [_("Case"), _("Patient"), _("Channels"), _("Volumes"), _("Mask"), *covariates]
        table = self.ui.casesTable
        table.setColumnCount(len(headers))
        table.setHorizontalHeaderLabels(headers)
        for column in range(len(headers)):
            table.horizontalHeader().setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
        # What is longest gives way; all of it is in the tool tip.
        table.horizontalHeader().setSectionResizeMode(VOLUMES, qt.QHeaderView.Stretch)

    def _fillTable(self) -> None:
        self._filling = True
        self.ui.casesTable.setRowCount(len(self.drafts))
        for row, draft in enumerate(self.drafts):
            texts = (
                draft.caseId,
                draft.patient,
                ", ".join(draft.channels),
                ", ".join(_nodeName(key) for key in draft.imageIds),
                _nodeName(draft.labelId),
                *(draft.covariates.get(name, "") for name in self._covariates),
            )
            for column, text in enumerate(texts):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(text)
                if column in (VOLUMES, MASK):
                    item.setFlags(qt.Qt.ItemIsSelectable | qt.Qt.ItemIsEnabled)
                self.ui.casesTable.setItem(row, column, item)
        self._filling = False
        self._showSplit()

    def _onItemChanged(self, item: Any) -> None:
        if self._filling:
            return
        draft, text = self.drafts[item.row()], item.text().strip()
        if item.column() == CASE:
            draft.caseId = text
        elif item.column() == PATIENT:
            draft.patient = text
        elif item.column() == CHANNELS:
            draft.channels = listedNames(text)
        elif item.column() >= FIRST_COVARIATE:
            draft.covariates[self._covariates[item.column() - FIRST_COVARIATE]] = text
        self._showSplit()
        self.services.changed()

    def _showSplit(self) -> None:
        """Which patients would be kept apart, or are, and where it says who they are."""
        parameters = self.parameters
        self._showPatients()
        self._showModalities()
        fromScene = parameters.source is CohortSource.SCENE
        self.ui.splitButton.setVisible(not fromScene)
        self.ui.splitButton.text = _("Really split again") if self._splitTwice else _("Split by patient")
        try:
            if fromScene:
                shares = (parameters.validationShare, parameters.testShare, parameters.splitSeed)
                drafts = [draft for draft in self.drafts if not draft.missing]
                patients = realPatients([sceneCase(draft) for draft in drafts])
                # One patient can still be described, or lesions be inserted into one; the line below says it.
                split = splitPatients(patients, *shares) if isDivisible(patients, *shares[:2]) else {}
            else:
                patients, split = readSplit(Path(parameters.cohortFolder))
        except JobError:
            # Apply tells what is wrong with a case or a cohort.
            patients, split = set(), {}
        self.ui.splitButton.enabled = bool(patients)
        text = describeSplit(patients, split) if patients else ""
        if fromScene and patients and not split:
            text = _("{split}: too few to keep any apart").format(split=text)
        self.ui.splitLabel.text = text

    def _showPatients(self) -> None:
        """Where it says whom the pseudonyms stand for, when there are some in the list."""
        shown = any(pseudonyms.isPseudonym(draft.patient) for draft in self.drafts)
        text = _("DICOM patients go by pseudonyms. Who is who stands in {file} only, which no job carries along.")
        self.ui.patientsLabel.text = text.format(file=pseudonyms.tablePath()) if shown else ""
        self.ui.patientsLabel.setVisible(shown)

    def _showModalities(self) -> None:
        """A row for each channel of the list; what was chosen for one that is gone is forgotten."""
        told = draftedModalities(self.drafts)
        self.modalities = {channel: modality for channel, modality in self.modalities.items() if channel in told}
        self._modalityRows.follow([Condition("modality", channel) for channel in told], self.modalities, told)

    def _onModalityChosen(self, channel: str, modality: str) -> None:
        self.modalities[channel] = modality
        self.services.changed()

    def _split(self) -> None:
        """Write the split of a cohort on disk; one that has a split already is asked about, beside Apply."""
        parameters = frozen(self.parameters)
        try:
            _patients, split = readSplit(parameters.cohortFolder)
            if split and not self._splitTwice:
                self._splitTwice = True
                self._showSplit()
                question = _(
                    "The patients are split already. Models that were trained on them know those for training."
                )
                self.services.showStatus(question)
                return
            split = splitCohort(
                parameters.cohortFolder, parameters.validationShare, parameters.testShare, parameters.splitSeed
            )
        except JobError as error:
            self.services.showStatus(error.message)
            return
        self._splitTwice = False
        self._showSplit()
        self.services.showStatus(_("Written to the cohort: {split}.").format(split=describeSplit(split, split)))

    def _useSample(self) -> None:
        try:
            self.parameters.cohortFolder = sampleData.sampleFolder(sampleData.COHORT)
        except JobError as error:
            self.services.showStatus(error.message)

    def _train(self) -> None:
        train = self.services.parameterNode.train
        train.cohortFolder = self._cohort
        train.recipe = self._recommended
        train.channels = train.sourceChannels = ""
        self.services.openPanel("train")


def describeRecommendation(recommendation: dict[str, Any], recipes: dict[str, RecipeInfo]) -> str:
    """The recommended method, the alternatives and the warnings, as HTML."""
    best = adviceTitle(recommendation["recipe"], recipes)
    parts = [
        f"<h4>{escape(_('Recommended: {recipe}').format(recipe=best))}</h4>",
        f"<p>{escape(recommendation['reason'])}</p>",
    ]
    if recommendation["warnings"]:
        parts.append(f"<p><b>{escape(_('Beware'))}</b></p>" + _list(recommendation["warnings"]))
    if recommendation["alternatives"]:
        lines = [f"{adviceTitle(name, recipes)}: {reason}" for name, reason in recommendation["alternatives"].items()]
        parts.append(f"<p><b>{escape(_('Alternatives'))}</b></p>" + _list(lines))
    return "".join(parts)


def describeFingerprint(fingerprint: dict[str, Any]) -> str:
    """What is in a cohort, as HTML."""
    divided = ", ".join(f"{count} {part}" for part, count in fingerprint["parts"].items() if count)
    origin = _("{cases} cases of {patients} patients ({parts}); {synthetic} synthetic, {labelled} with label maps")
    lines = [
        origin.format(
            cases=fingerprint["cases"],
            patients=fingerprint["patients"],
            synthetic=fingerprint["synthetic"],
            parts=divided,
            labelled=fingerprint["labelled"],
        )
    ]
    for name, channel in fingerprint["channels"].items():
        text = _("{channel} ({modality}): {size} voxels of {spacing} mm, {orientations}; intensity {low} to {high}")
        lines.append(
            text.format(
                channel=name,
                modality=channel["modality"],
                size=_medians(channel["size"], "{:.0f}"),
                spacing=_medians(channel["spacing_mm"], "{:.3g}"),
                orientations=", ".join(channel["orientations"]),
                low=f"{channel['intensity']['0.5']['median']:.4g}",
                high=f"{channel['intensity']['99.5']['median']:.4g}",
            )
        )
    for label in fingerprint["labels"].values():
        text = _("{label}: in {cases} cases, {volume} ml")
        milliliters = label["volume_mm3"]["median"] / 1000
        volume = f"{milliliters:.0f}" if milliliters >= 10 else f"{milliliters:.2g}"
        lines.append(text.format(label=label["name"], cases=label["cases"], volume=volume))
    return f"<h4>{escape(_('Fingerprint'))}</h4>" + _list(lines)


def _medians(spreads: list[dict[str, float]], form: str) -> str:
    return " x ".join(form.format(spread["median"]) for spread in spreads)


def _list(lines: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"


def _nodeName(key: str) -> str:
    node = slicer.mrmlScene.GetNodeByID(key) if key else None
    return "" if node is None else node.GetName()
