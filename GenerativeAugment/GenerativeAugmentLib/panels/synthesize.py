"""The Synthesize panel: new cases by a model."""

from __future__ import annotations

from typing import Any

from GenerativeAugmentLib.errors import _
from GenerativeAugmentLib.jobBuilders.synthesize import TASKS, synthesizeJob
from GenerativeAugmentLib.jobCenter import Outcome, PlannedJob
from GenerativeAugmentLib.panels.base import Panel
from GenerativeAugmentLib.panels.conditionControls import CONTROLS, ChosenModel
from GenerativeAugmentLib.panels.conditionForm import ConditionsForm
from GenerativeAugmentLib.panels.modelChooser import ModelChooser
from GenerativeAugmentLib.parameters import frozen

CONDITIONS_ROW = 4
"""Of the form, before which the covariates of a model come."""


class SynthesizePanel(Panel):
    """Model, number, seed, and what the model lets a case be asked to be."""

    name = "synthesize"
    uiName = "SynthesizePanel.ui"
    watched = ("labelNode", "imageNode")

    @property
    def title(self) -> str:
        """What the chooser shows."""
        return _("Synthesize")

    @property
    def applyToolTip(self) -> str:
        """What Apply does."""
        return _("Make new cases; they appear in the scene in a folder of their own.")

    def setup(self, parentLayout: Any) -> None:
        """Load the form."""
        super().setup(parentLayout)
        self.conditions = ConditionsForm(
            self.ui, CONTROLS, CONDITIONS_ROW, self.ui.imageSelector, self._onConditionChosen
        )
        self.models = ModelChooser(
            self.services.catalogue,
            self.ui.modelSelector,
            self.ui.modelInfoLabel,
            lambda entry: entry.task in TASKS,
            self._onModelChosen,
        )

    def connectParameters(self) -> None:
        """Show what the new parameter node says."""
        self.models.refresh()
        super().connectParameters()

    def onParametersChanged(self) -> None:
        """Conditions are shown as the model has them."""
        self.models.choose(self.parameters.model)
        entry = self.models.entry
        self.conditions.follow(() if entry is None else entry.asked, self.parameters, entry)
        for way in ("steps", "guidance", "truncation"):
            self._offer(way, entry is not None and way in entry.askable)

    def onModelsChanged(self) -> None:
        """Offer the models that are there now."""
        self.models.refresh()

    def isReady(self) -> tuple[bool, str]:
        """Whether the model can be used, and can do what is asked."""
        problem = self.models.problem()
        if problem:
            return False, problem
        problem = self.conditions.problem(self.parameters, ChosenModel(self.models.entry, self.models.grid))
        return (False, problem) if problem else self.parameters.isValid()

    def apply(self) -> PlannedJob:
        """Plan the synthesis."""
        return synthesizeJob(
            frozen(self.parameters),
            self.services.catalogue.entry(self.parameters.model),
            self.services.parameterNode.device,
        )

    def onFinished(self, outcome: Outcome) -> None:
        """Show the first case, and say where the cases are that the scene has no room for."""
        self.services.results.show(outcome.imported)
        made, shown = len(outcome.summary["cases"]), len(outcome.imported.cases)
        if shown < made:
            text = _("{shown} of {made} cases are in the scene, all of them in {folder}.")
            self.services.showStatus(text.format(shown=shown, made=made, folder=outcome.planned.output))

    def _offer(self, name: str, possible: bool) -> None:
        """Let a setting be made only where the model has a use for it; what was set for another one is forgotten."""
        getattr(self.ui, f"{name}SpinBox").enabled = possible
        if not possible and getattr(self.parameters, name):
            setattr(self.parameters, name, type(getattr(self.parameters, name))())

    def _onConditionChosen(self, name: str, text: str) -> None:
        self.parameters.conditions[name] = text

    def _onModelChosen(self, name: str) -> None:
        self.parameters.model = name
