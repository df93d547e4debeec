"""The Train panel: a recipe on a cohort, its curves and pictures while it runs, stop and resume."""

from __future__ import annotations

import time
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import qt

from GenerativeAugmentLib.cohortContent import CohortContent, cohortContent
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.jobBuilders.cohort import (
    isUnfinished,
    modelFolder,
    trainingFolder,
    trainJob,
)
from GenerativeAugmentLib.jobCenter import Outcome, PlannedJob
from GenerativeAugmentLib.lossCurve import SUFFIX, drawCurves, newestCurves, readCurves
from GenerativeAugmentLib.modelFit import INFO
from GenerativeAugmentLib.panels.base import Panel
from GenerativeAugmentLib.panels.conditionForm import ConditionsForm
from GenerativeAugmentLib.panels.trainingControls import CONTROLS, ChosenRecipe, channelsProblem, conditionsOf
from GenerativeAugmentLib.parameters import CohortSource, Purpose, frozen, isCohort, isSet
from GenerativeAugmentLib.recipes import (
    FAMILIES,
    TASKS,
    RecipeInfo,
    adviceTitle,
    familyTitle,
    listRecipes,
    needs,
    taskTitle,
)

CURVE_SECONDS = 1.0
"""Least time between two looks at the curves."""

CURVE_SIZE = (380, 170)
PREVIEW_WIDTH = 380

CONDITIONS_ROW = 7
"""Of the form, before which what a recipe is conditioned on comes."""

LIST_ROWS = 7
"""Recipes that are seen at once."""

PREVIEWS = "previews"
"""Where a training keeps its pictures, in its folder."""

PURPOSES = {
    "synthesis": Purpose.SYNTHESIS,
    "translation": Purpose.TRANSLATION,
    "label_to_image": Purpose.CONDITIONED,
    "infill": Purpose.LESIONS,
}
"""What a cohort is described for, to advise about a task."""


class TrainPanel(Panel):
    """Cohort, task and recipe, what the recipe is conditioned on, and how the training goes."""

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
        self._content: tuple[Any, CohortContent | None, str] = (None, None, "")
        self._shown: tuple[Any, ...] = ()
        self.conditions = ConditionsForm(self.ui, CONTROLS, CONDITIONS_ROW, self.ui.recipeList, self._onConditionChosen)
        for task in TASKS:
            self.ui.taskSelector.addItem(taskTitle(task), task)
        self.ui.taskSelector.connect("currentIndexChanged(int)", self._onTaskChosen)
        self.ui.familySelector.connect("currentIndexChanged(int)", lambda index: self._onFilterChanged())
        self.ui.searchEdit.connect("textChanged(QString)", lambda text: self._onFilterChanged())
        self.ui.recipeList.connect("currentRowChanged(int)", self._onRecipeChosen)
        self.ui.adviceButton.clicked.connect(lambda checked=False: self._askForAdvice())
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

    @property
    def task(self) -> str:
        """That of the chosen recipe, else the one that was chosen before it."""
        return self.parameters.task if self.recipe is None else self.recipe.task

    @property
    def advised(self) -> dict[str, str]:
        """Recipe to the reason for it, of the chosen task and cohort, the best one first."""
        parameters = self.parameters
        if not isSet(parameters.cohortFolder) or parameters.advisedCohort != parameters.cohortFolder:
            return {}
        return {name: reason for name, reason in parameters.advice.items() if self._hasTask(name, self.task)}

    def onParametersChanged(self) -> None:
        """Show what the recipe needs, and what is in the cohort and in the model's folder."""
        self._filling = True
        self.ui.taskSelector.currentIndex = self.ui.taskSelector.findData(self.task)
        # Nothing is shown for a model that is gone: "Nothing" would look like a choice, and could not be made one.
        self.ui.initialModelSelector.currentIndex = self.ui.initialModelSelector.findData(self.parameters.initialModel)
        self._filling = False
        self._readCohort()
        self._showRecipes()
        self._suggest()
        recipe, content = self.recipe, self._content[1]
        asked = () if recipe is None else conditionsOf(recipe, content)
        self.conditions.follow(asked, self.parameters, None if recipe is None else ChosenRecipe(recipe, content))
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
        if self.ui.initialModelSelector.currentIndex < 0:
            text = _("The model {name} to start from is not installed or not accepted: choose another, or Nothing.")
            return False, text.format(name=self.parameters.initialModel)
        if content is not None and not content.cases:
            return False, _("All patients of the cohort are kept apart: none is left to train on.")
        problem = channelsProblem(self.parameters, content)
        problem = problem or self.conditions.problem(self.parameters, ChosenRecipe(recipe, content))
        return not problem, problem

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
        self.ui.cohortInfoLabel.text = "" if content is None else content.text

    def _hasTask(self, name: str, task: str) -> bool:
        return name in self._recipes and self._recipes[name].task == task

    def _showRecipes(self) -> None:
        """The recipes of the task, those that were advised first, and what is known about the chosen one."""
        advised, recipe = self.advised, self.recipe
        shown = (self.task, self.ui.searchEdit.text, self.ui.familySelector.currentData, tuple(advised))
        if shown != self._shown:
            self._fillFamilies()
            self._fillRecipes(advised)
            self._shown = (*shown[:2], self.ui.familySelector.currentData, *shown[3:])
        self._filling = True
        rows = range(self.ui.recipeList.count)
        names = [self.ui.recipeList.item(row).data(qt.Qt.UserRole) for row in rows]
        name = self.parameters.recipe
        self.ui.recipeList.setCurrentRow(names.index(name) if name and name in names else -1)
        self._filling = False
        self.ui.adviceLabel.text = self._adviceText(advised)
        self.ui.adviceButton.setVisible(not advised)
        self.ui.recipeInfoLabel.text = "" if recipe is None else describeRecipe(recipe)

    def _fillFamilies(self) -> None:
        """Those that the task has; the chosen one stays, where it is among them."""
        chosen, selector = self.ui.familySelector.currentData, self.ui.familySelector
        found = {recipe.family for recipe in self._recipes.values() if recipe.task == self.task}
        self._filling = True
        selector.clear()
        selector.addItem(_("All families"), "")
        for family in FAMILIES:
            if family in found:
                selector.addItem(familyTitle(family), family)
        selector.currentIndex = max(0, selector.findData(chosen or ""))
        self._filling = False

    def _fillRecipes(self, advised: dict[str, str]) -> None:
        family, text = self.ui.familySelector.currentData, self.ui.searchEdit.text
        ordered = [self._recipes[name] for name in advised]
        ordered += [recipe for recipe in self._recipes.values() if recipe.name not in advised]
        found = [recipe for recipe in ordered if recipe.task == self.task and recipe.matches(text)]
        self._filling = True
        self.ui.recipeList.clear()
        for recipe in found:
            if family and recipe.family != family:
                continue
            item = qt.QListWidgetItem(recipe.title)
            if recipe.name in advised:
                item.setText(_advised(recipe.title, recipe.name, self.parameters.advice))
            item.setData(qt.Qt.UserRole, recipe.name)
            item.setToolTip(f"{recipe.title}\n{recipe.distinct}")
            self.ui.recipeList.addItem(item)
        if not self.ui.recipeList.count:
            item = qt.QListWidgetItem(_("No recipe of this task has these words and this family."))
            item.setFlags(qt.Qt.NoItemFlags)
            self.ui.recipeList.addItem(item)
        # Whole rows, so that none is cut in half.
        rowHeight, frame = self.ui.recipeList.sizeHintForRow(0), self.ui.recipeList.frameWidth
        self.ui.recipeList.setFixedHeight(LIST_ROWS * rowHeight + 2 * frame)
        self._filling = False

    def _adviceText(self, advised: dict[str, str]) -> str:
        """Which recipe is recommended and why, be it for another task, and why the chosen one suits; as HTML."""
        if not advised:
            return escape(_("Which one suits the cohort? Its description tells."))
        advice, chosen = self.parameters.advice, self.parameters.recipe
        lines = []
        for name in dict.fromkeys((next(iter(advice)), *((chosen,) if chosen in advised else ()))):
            title = adviceTitle(name, self._recipes)
            if name in self._recipes and name not in advised:
                title = f"{title} ({taskTitle(self._recipes[name].task)})"
            lines.append(f"<b>{escape(_advised(title, name, advice))}.</b> {escape(advice[name])}")
        return "<br>".join(lines)

    def _suggest(self) -> None:
        """What there is no choice about: the second channel from the first of two, the one covariate of words."""
        content, recipe, parameters = self._content[1], self.recipe, self.parameters
        if content is None or recipe is None:
            return
        isUnsaid = not parameters.sourceChannels and not parameters.channels
        if recipe.needsSources and isUnsaid and len(content.channels) == 2:
            source, target = content.channels
            parameters.channels = target
            parameters.sourceChannels = source
        words = [covariate.name for covariate in content.covariates if covariate.kind != "number"]
        if "text" in recipe.conditions and not parameters.text and len(words) == 1:
            parameters.text = words[0]

    def _fillModels(self) -> None:
        self._filling = True
        self.ui.initialModelSelector.clear()
        self.ui.initialModelSelector.addItem(_("Nothing"), "")
        for entry in self.services.catalogue.models():
            if self.services.catalogue.licenceAccepted(entry):
                self.ui.initialModelSelector.addItem(entry.title, entry.name)
        self._filling = False

    def _onTaskChosen(self, index: int) -> None:
        """Another task: its recommended recipe, if it has one."""
        if self._filling or index < 0:
            return
        task, parameters = self.ui.taskSelector.itemData(index), self.parameters
        parameters.recipe = ""
        parameters.task = task
        parameters.recipe = next(iter(self.advised), "")

    def _onFilterChanged(self) -> None:
        if not self._filling:
            self._showRecipes()

    def _onRecipeChosen(self, row: int) -> None:
        name = self.ui.recipeList.item(row).data(qt.Qt.UserRole) if row >= 0 and not self._filling else None
        if name:
            self.parameters.recipe = name

    def _onConditionChosen(self, name: str, value: Any) -> None:
        setattr(self.parameters, name, value)

    def _askForAdvice(self) -> None:
        """The Data panel describes a cohort."""
        data = self.services.parameterNode.data
        if isCohort(self.parameters.cohortFolder):
            data.source = CohortSource.DISK
            data.cohortFolder = self.parameters.cohortFolder
        data.purpose = PURPOSES[self.task]
        self.services.openPanel("data")

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
    """What a recipe is, what it suits and what not, as HTML."""
    iterations = ", ".join(f"{stage} {count}" for stage, count in recipe.iterations.items())
    parts = (
        (recipe.title, recipe.distinct),
        (_("Suits"), recipe.suits),
        (_("Does not suit"), recipe.unsuited),
        (_("Needs"), needs(recipe)),
        (_("Iterations"), iterations),
        (_("Paper"), recipe.citation),
    )
    return "<br>".join(f"<b>{escape(title)}:</b> {escape(text)}" for title, text in parts if text)


def _advised(title: str, name: str, advice: Mapping[str, str]) -> str:
    """The title of a recipe that was advised, with whether it was in the first place."""
    isFirst = next(iter(advice)) == name
    return (_("Recommended: {title}") if isFirst else _("Suits as well: {title}")).format(title=title)
