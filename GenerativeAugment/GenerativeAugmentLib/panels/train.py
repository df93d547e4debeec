"""The Train panel: a recipe on a cohort, its curves and pictures while it runs, stop and resume."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import qt

from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.jobBuilders.cohort import (
    channelNames,
    cohortContent,
    isUnfinished,
    modelFolder,
    trainingFolder,
    trainJob,
)
from GenerativeAugmentLib.jobCenter import Outcome, PlannedJob
from GenerativeAugmentLib.lossCurve import SUFFIX, drawCurves, newestCurves, readCurves
from GenerativeAugmentLib.modelFit import INFO
from GenerativeAugmentLib.panels.base import Panel
from GenerativeAugmentLib.parameters import frozen, isCohort, isSet
from GenerativeAugmentLib.recipes import RecipeInfo, listRecipes

CURVE_SECONDS = 1.0
"""Least time between two looks at the curves."""

CURVE_SIZE = (380, 170)
PREVIEW_WIDTH = 380

PREVIEWS = "previews"
"""Where a training keeps its pictures, in its folder."""


class TrainPanel(Panel):
    """Recipe, cohort, the few settings that matter, and how the training goes."""

    name = "train"
    uiName = "TrainPanel.ui"

    @property
    def title(self) -> str:
        """What the chooser shows."""
        return _("Train")

    @property
    def applyToolTip(self) -> str:
        """What Apply does."""
        return _("Train the recipe on the cohort, or go on where the training of this model was stopped.")

    def setup(self, parentLayout: Any) -> None:
        """Load the form."""
        super().setup(parentLayout)
        self._recipes = {recipe.name: recipe for recipe in listRecipes()}
        self._filling = False
        self._curveTime = 0.0
        self._curveState: tuple[Path, int] | None = None
        self._model = Path()
        self._finished: Path | None = None
        self._content: tuple[Any, tuple[str, dict[str, str], bool] | None, str] = (None, None, "")
        for recipe in self._recipes.values():
            self.ui.recipeSelector.addItem(recipe.title, recipe.name)
        self.ui.recipeSelector.currentIndex = -1
        self.ui.recipeSelector.connect("currentIndexChanged(int)", self._onRecipeChosen)
        self.ui.initialModelSelector.connect("currentIndexChanged(int)", self._onInitialChosen)
        self.ui.addModelButton.clicked.connect(lambda checked=False: self._addModel())
        self.ui.progressGroupBox.setVisible(False)
        self.ui.addModelButton.setVisible(False)

    def connectParameters(self) -> None:
        """Show what the new parameter node says."""
        self._fillModels()
        super().connectParameters()

    @property
    def recipe(self) -> RecipeInfo | None:
        """The chosen recipe; None when there is none of that name."""
        return self._recipes.get(self.parameters.recipe)

    def onParametersChanged(self) -> None:
        """Show what the recipe needs, and what is in the cohort and in the model's folder."""
        self._filling = True
        self.ui.recipeSelector.currentIndex = self.ui.recipeSelector.findData(self.parameters.recipe)
        self.ui.initialModelSelector.currentIndex = max(
            0, self.ui.initialModelSelector.findData(self.parameters.initialModel)
        )
        self._filling = False
        recipe = self.recipe
        self.ui.recipeInfoLabel.text = "" if recipe is None else describeRecipe(recipe)
        translates = recipe is not None and recipe.task == "translation"
        for widget in (self.ui.sourceChannelsLabel, self.ui.sourceChannelsEdit):
            widget.setVisible(translates)
        self._readCohort()
        self._suggestChannels()
        self._showState()

    def onModelsChanged(self) -> None:
        """Offer the models to start from that are there now."""
        self._fillModels()
        self.onParametersChanged()

    def isReady(self) -> tuple[bool, str]:
        """Whether recipe and cohort go together, and there is a place for the model."""
        complete, reason = self.parameters.isValid()
        if not complete:
            return complete, reason
        recipe, (_key, content, problem) = self.recipe, self._content
        if recipe is None:
            return False, _("There is no recipe {name}: choose another.").format(name=self.parameters.recipe)
        if problem:
            return False, problem
        sources = channelNames(self.parameters.sourceChannels)
        if recipe.task == "translation" and not sources:
            return False, _("Enter the channels that the translation starts from.")
        if content is None:
            return True, ""
        _line, channels, labelled = content
        wanted = [*channelNames(self.parameters.channels), *(sources if recipe.task == "translation" else [])]
        unknown = [name for name in wanted if name not in channels]
        if unknown:
            text = _("The cohort has no channel {names}; it has {channels}.")
            return False, text.format(names=", ".join(unknown), channels=", ".join(channels))
        if "label_map" in recipe.conditions and not labelled:
            return False, _("This recipe needs label maps, and no case of the cohort has one.")
        return True, ""

    def apply(self) -> PlannedJob:
        """Plan the training."""
        parameters, recipe = frozen(self.parameters), self.recipe
        # `isReady` has made sure of it.
        assert recipe is not None
        initial = self.services.catalogue.entry(parameters.initialModel).folder if parameters.initialModel else None
        return trainJob(parameters, recipe, self.services.parameterNode.device, initial)

    def onStarted(self, planned: PlannedJob) -> None:
        """Show curves and pictures from now on; those of a training that goes on are there already."""
        self._model = Path(planned.context["model"])
        self._curveTime, self._curveState, self._finished = 0.0, None, None
        self.ui.curveLabel.clear()
        self.ui.previewLabel.clear()
        self.ui.addModelButton.setVisible(False)
        self.ui.progressGroupBox.setVisible(True)
        self._drawCurves()
        previews = list((trainingFolder(self._model) / PREVIEWS).glob("*.png"))
        if previews:
            self._showPreview(max(previews, key=lambda path: path.stat().st_mtime_ns))

    def onProgress(self, done: float, total: float, note: str) -> None:
        """Draw the curves, not more often than they can change."""
        if time.monotonic() - self._curveTime >= CURVE_SECONDS:
            self._curveTime = time.monotonic()
            self._drawCurves()

    def onProduct(self, role: str, path: Path) -> None:
        """Show a preview."""
        if role == "preview":
            self._showPreview(path)

    def onFinished(self, outcome: Outcome) -> None:
        """Draw the whole curves, and offer the model."""
        self._drawCurves()
        self._finished = self._model
        self.ui.addModelButton.setVisible(True)
        self._showState()

    def onFailed(self, error: JobError) -> None:
        """What was trained stays; say how to go on."""
        self._drawCurves()
        self._showState()

    def _readCohort(self) -> None:
        """Look at the cohort when it is another, or was changed."""
        path = Path(self.parameters.cohortFolder)
        if not isCohort(path):
            self._content = (None, None, "")
            self.ui.cohortInfoLabel.text = ""
            return
        manifest = path / "cohort.json" if path.is_dir() else path
        key = (path, manifest.stat().st_mtime_ns if manifest.is_file() else 0)
        if self._content[0] != key:
            try:
                self._content = (key, cohortContent(path), "")
            except JobError as error:
                self._content = (key, None, error.message)
        content = self._content[1]
        self.ui.cohortInfoLabel.text = "" if content is None else content[0]

    def _suggestChannels(self) -> None:
        """The first channel to the second, where a translation can only be between two."""
        content, recipe = self._content[1], self.recipe
        if content is None or recipe is None or recipe.task != "translation" or len(content[1]) != 2:
            return
        if not self.parameters.sourceChannels and not self.parameters.channels:
            source, target = content[1]
            self.parameters.channels = target
            self.parameters.sourceChannels = source

    def _fillModels(self) -> None:
        self._filling = True
        self.ui.initialModelSelector.clear()
        self.ui.initialModelSelector.addItem(_("Nothing"), "")
        for entry in self.services.catalogue.models():
            if self.services.catalogue.licenceAccepted(entry):
                self.ui.initialModelSelector.addItem(entry.title, entry.name)
        self._filling = False

    def _onRecipeChosen(self, index: int) -> None:
        if self._filling or index < 0:
            return
        self.parameters.recipe = self.ui.recipeSelector.itemData(index)

    def _onInitialChosen(self, index: int) -> None:
        if not self._filling and index >= 0:
            self.parameters.initialModel = self.ui.initialModelSelector.itemData(index)

    def _showState(self) -> None:
        """Whether Apply begins anew or goes on."""
        text = ""
        if isSet(self.parameters.outputFolder) and isCohort(self.parameters.cohortFolder) and self.parameters.recipe:
            model = modelFolder(self.parameters)
            if (model / INFO).is_file():
                text = _("The model is in {folder}.")
            elif isUnfinished(model):
                text = _("A training of this model was stopped: Apply goes on with it. Its files are in {folder}.")
                model = trainingFolder(model)
            else:
                text = _("The model will be in {folder}.")
            text = text.format(folder=model)
        self.ui.stateLabel.text = text

    def _drawCurves(self) -> None:
        path = newestCurves(trainingFolder(self._model))
        if path is None:
            return
        try:
            state = (path, path.stat().st_mtime_ns)
            if state == self._curveState:
                return
            curves = readCurves(path)
        except OSError as error:
            # It is being replaced by its next version; the next look finds that.
            self.services.log(_("The curves could not be read just now: {error}").format(error=error))
            return
        self._curveState = state
        title = _("Stage {stage}, iteration {iteration}").format(
            stage=path.name.removesuffix(SUFFIX),
            iteration=max((round(curve[-1][0]) for curve in curves.values()), default=0),
        )
        self.ui.curveLabel.setPixmap(drawCurves(curves, title, *CURVE_SIZE))

    def _showPreview(self, path: Path) -> None:
        picture = qt.QPixmap(str(path))
        if not picture.isNull():
            self.ui.previewLabel.setPixmap(picture.scaledToWidth(PREVIEW_WIDTH, qt.Qt.SmoothTransformation))

    def _addModel(self) -> None:
        if self._finished is None:
            return
        try:
            entry = self.services.catalogue.importPackage(self._finished)
        except JobError as error:
            self.services.showStatus(error.message)
            return
        self.ui.addModelButton.setVisible(False)
        self.services.modelsChanged()
        self.services.showStatus(_("{title} is among the models now.").format(title=entry.title))


def describeRecipe(recipe: RecipeInfo) -> str:
    """What a recipe suits and what it does not, in a few lines."""
    iterations = ", ".join(f"{stage} {count}" for stage, count in recipe.iterations.items())
    return "\n".join(
        (
            recipe.distinct,
            _("Suits: {text}").format(text=recipe.suits),
            _("Does not suit: {text}").format(text=recipe.unsuited),
            _("Iterations: {iterations}. {citation}").format(iterations=iterations, citation=recipe.citation),
        )
    )
