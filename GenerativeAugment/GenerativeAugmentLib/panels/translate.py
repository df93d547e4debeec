"""The Translate panel: one contrast or modality from another."""

from __future__ import annotations

from typing import Any

from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.jobBuilders.translate import translateJob, translationInputs, translationProblem
from GenerativeAugmentLib.jobCenter import Outcome, PlannedJob
from GenerativeAugmentLib.panels.base import Panel
from GenerativeAugmentLib.panels.modelChooser import ModelChooser
from GenerativeAugmentLib.parameters import frozen


class TranslatePanel(Panel):
    """Model and inputs; what the model cannot take is refused before a job is started."""

    name = "translate"
    uiName = "TranslatePanel.ui"
    watched = ("firstInput", "secondInput", "thirdInput")

    @property
    def title(self) -> str:
        """What the chooser shows."""
        return _("Translate")

    @property
    def applyToolTip(self) -> str:
        """What Apply does."""
        return _("Translate the input; the result appears beside it, on the same voxels.")

    def setup(self, parentLayout: Any) -> None:
        """Load the form."""
        super().setup(parentLayout)
        self._inputs = (
            (self.ui.firstInputLabel, self.ui.firstInputSelector),
            (self.ui.secondInputLabel, self.ui.secondInputSelector),
            (self.ui.thirdInputLabel, self.ui.thirdInputSelector),
        )
        self.models = ModelChooser(
            self.services.catalogue,
            self.ui.modelSelector,
            self.ui.modelInfoLabel,
            lambda entry: entry.task == "translation",
            self._onModelChosen,
        )

    def connectParameters(self) -> None:
        """Show what the new parameter node says."""
        self.models.refresh()
        super().connectParameters()

    def onParametersChanged(self) -> None:
        """As many inputs as the model has source channels, each called as the model calls it."""
        self.models.choose(self.parameters.model)
        entry = self.models.entry
        channels = ("",) if entry is None else entry.sources
        for number, (label, selector) in enumerate(self._inputs):
            label.setVisible(number < max(1, len(channels)))
            selector.setVisible(number < max(1, len(channels)))
            named = len(channels) > 1 and number < len(channels)
            text = _("{channel} (optional):") if named and entry.takesAnySources else "{channel}:"
            label.text = text.format(channel=channels[number]) if named else _("Input volume:")

    def onModelsChanged(self) -> None:
        """Offer the models that are there now."""
        self.models.refresh()

    def isReady(self) -> tuple[bool, str]:
        """Whether the model can take the inputs."""
        problem = self.models.problem()
        if problem:
            return False, problem
        complete, reason = self.parameters.isValid()
        if not complete:
            return complete, reason
        entry = self.models.entry
        try:
            volumes = translationInputs(self.parameters, entry)
        except JobError as error:
            return False, error.message
        for channel, volume in volumes.items():
            refused = translationProblem(entry, self.models.grid, channel, volume, self.parameters.modality)
            if refused is not None:
                return False, f"{refused.subject}: {refused.found} {refused.remedy}"
        return True, ""

    def apply(self) -> PlannedJob:
        """Plan the translation."""
        return translateJob(
            frozen(self.parameters),
            self.services.catalogue.entry(self.parameters.model),
            self.services.parameterNode.device,
        )

    def onFinished(self, outcome: Outcome) -> None:
        """Show the result in place of its input; what is shown over that fits it as well."""
        self.services.results.show(outcome.imported, alone=False)

    def _onModelChosen(self, name: str) -> None:
        self.parameters.model = name
