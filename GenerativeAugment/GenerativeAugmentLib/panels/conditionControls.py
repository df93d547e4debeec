"""What a new case is asked to be: one row of the form for each condition that the model declares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from GenerativeAugmentLib import exchange
from GenerativeAugmentLib.catalogueFile import Condition, ModelEntry
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.jobBuilders.followed import labelGeometry, labelProblem
from GenerativeAugmentLib.parameters import SynthesizeParameters, isSet

STEPS = 100
"""In which the arrows of a spin box go through a covariate's range."""


class ConditionControl:
    """A row. A new kind of condition is a subclass and a line in CONTROLS.

    Args:
        condition: what the model declares.
        ui: the form.
        onChosen: told the name and, as text, the value that the user chose; "" for none.
    """

    def __init__(self, condition: Condition, ui: Any, onChosen: Callable[[str, str], None]) -> None:
        self.condition, self.ui, self.onChosen = condition, ui, onChosen

    def show(self, parameters: SynthesizeParameters) -> None:
        """Show what the parameters say."""

    def problem(self, parameters: SynthesizeParameters, entry: ModelEntry, grid: dict[str, Any]) -> str:
        """Why the model cannot do what is asked, "" when it can."""
        return ""

    def remove(self) -> None:
        """Another model is chosen."""


class _FormRow(ConditionControl):
    """A row that the form has already, which its parameter is connected to."""

    widgets: tuple[str, ...] = ()

    def __init__(self, condition: Condition, ui: Any, onChosen: Callable[[str, str], None]) -> None:
        super().__init__(condition, ui, onChosen)
        self._setVisible(True)

    def remove(self) -> None:
        """Hide it."""
        self._setVisible(False)

    def _setVisible(self, visible: bool) -> None:
        for name in self.widgets:
            getattr(self.ui, name).setVisible(visible)


class LabelMapControl(_FormRow):
    """The label map or segmentation to follow."""

    widgets = ("labelSelectorLabel", "labelSelector")

    def problem(self, parameters: SynthesizeParameters, entry: ModelEntry, grid: dict[str, Any]) -> str:
        """Whether it fits the model."""
        if parameters.labelNode is None:
            return _("Choose the label map or segmentation to make an image for.")
        refused = labelProblem(parameters.labelNode, entry, grid)
        return "" if refused is None else refused.message


class ImageControl(_FormRow):
    """The image in which the model fills what the label map covers."""

    widgets = ("imageSelectorLabel", "imageSelector")

    def problem(self, parameters: SynthesizeParameters, entry: ModelEntry, grid: dict[str, Any]) -> str:
        """Whether it lies on the voxels of the label map."""
        if parameters.imageNode is None:
            return _("Choose the image in which the label map is filled.")
        labels, image = parameters.labelNode, parameters.imageNode
        if labels is None or labels.IsA("vtkMRMLSegmentationNode"):
            return ""
        difference = exchange.describeDifference(exchange.volumeGeometry(image), labelGeometry(labels))
        return "" if not difference else f"{image.GetName()}: {difference}"


class _CovariateRow(ConditionControl):
    """A row that is made for a covariate."""

    def __init__(self, condition: Condition, ui: Any, onChosen: Callable[[str, str], None]) -> None:
        super().__init__(condition, ui, onChosen)
        self.widget = self.made()
        self.widget.objectName = f"{condition.name}Condition"
        self.widget.toolTip = self.explanation()
        ui.conditionsLayout.addRow(f"{condition.name}:", self.widget)

    def made(self) -> Any:
        """The widget."""
        raise NotImplementedError

    def explanation(self) -> str:
        """Its tool tip."""
        return _("What a new case is asked to be; without a choice it is as a training case was.")

    def remove(self) -> None:
        """Take the row out of the form."""
        self.ui.conditionsLayout.removeRow(self.widget)

    def chosen(self, text: str) -> None:
        """The user chose a value."""
        self.onChosen(self.condition.name, text)

    def show(self, parameters: SynthesizeParameters) -> None:
        """Show the chosen value."""
        blocked = self.widget.blockSignals(True)
        self.showText(parameters.conditions.get(self.condition.name, ""))
        self.widget.blockSignals(blocked)

    def showText(self, text: str) -> None:
        """Show a value, "" for none."""
        raise NotImplementedError


class ClassControl(_CovariateRow):
    """One of a few words."""

    def made(self) -> Any:
        """A combo box of the levels."""
        box = qt.QComboBox()
        box.addItem(_("As a training case"), "")
        for level in self.condition.levels:
            box.addItem(level, level)
        box.connect("currentIndexChanged(int)", lambda index: self.chosen(box.itemData(index)))
        return box

    def showText(self, text: str) -> None:
        """Choose the level."""
        self.widget.currentIndex = max(0, self.widget.findData(text))


class NumberControl(_CovariateRow):
    """A number in the range of the training cases; one step below it stands for none."""

    def made(self) -> Any:
        """A spin box."""
        box = qt.QDoubleSpinBox()
        span = self.condition.high - self.condition.low
        step = span / STEPS if span > 0 else 1.0
        box.setDecimals(3 if span < STEPS else 1)
        box.setRange(self.condition.low - step, self.condition.high)
        box.setSingleStep(step)
        box.setSpecialValueText(_("As a training case"))
        box.connect("valueChanged(double)", self._onValue)
        return box

    def explanation(self) -> str:
        """With the range."""
        text = _("{explanation} Training cases had {low:g} to {high:g}.")
        return text.format(explanation=super().explanation(), low=self.condition.low, high=self.condition.high)

    def _onValue(self, value: float) -> None:
        self.chosen("" if value <= self.widget.minimum else repr(max(value, self.condition.low)))

    def showText(self, text: str) -> None:
        """Show the number."""
        self.widget.value = float(text) if text else self.widget.minimum


class TextControl(_CovariateRow):
    """A sentence, which the text encoder reads that the model was trained with."""

    encoder = ("textEncoderLabel", "textEncoderEdit")

    def made(self) -> Any:
        """A line."""
        line = qt.QLineEdit()
        line.connect("textEdited(QString)", self.chosen)
        for name in self.encoder:
            getattr(self.ui, name).setVisible(True)
        return line

    def problem(self, parameters: SynthesizeParameters, entry: ModelEntry, grid: dict[str, Any]) -> str:
        """Whether the encoder is there."""
        asked = parameters.conditions.get(self.condition.name, "")
        missing = asked and not isSet(parameters.textEncoder)
        return _("Choose the folder of the text encoder that the model was trained with.") if missing else ""

    def remove(self) -> None:
        """Take the row and that of the encoder away."""
        super().remove()
        for name in self.encoder:
            getattr(self.ui, name).setVisible(False)

    def showText(self, text: str) -> None:
        """Show the sentence."""
        if self.widget.text != text:
            self.widget.text = text


CONTROLS: dict[str, type[ConditionControl]] = {
    "label_map": LabelMapControl,
    "image": ImageControl,
    "class": ClassControl,
    "number": NumberControl,
    "text": TextControl,
}
"""One line a kind of condition."""


class ConditionsForm:
    """The rows for the conditions of the chosen model.

    Args:
        ui: the form.
        onChosen: see ConditionControl.
    """

    def __init__(self, ui: Any, onChosen: Callable[[str, str], None]) -> None:
        self._ui, self._onChosen = ui, onChosen
        self._asked: tuple[Condition, ...] = ()
        self._controls: list[ConditionControl] = []
        for names in (LabelMapControl.widgets, ImageControl.widgets, TextControl.encoder):
            for name in names:
                getattr(ui, name).setVisible(False)

    def follow(self, parameters: SynthesizeParameters, entry: ModelEntry | None) -> None:
        """Show the rows of a model, and in them what the parameters say."""
        asked = () if entry is None else entry.asked
        if asked != self._asked:
            for control in self._controls:
                control.remove()
            self._asked = asked
            self._controls = [CONTROLS[one.kind](one, self._ui, self._onChosen) for one in asked]
        for control in self._controls:
            control.show(parameters)

    def problem(self, parameters: SynthesizeParameters, entry: ModelEntry, grid: dict[str, Any]) -> str:
        """Why the model cannot do what is asked, "" when it can."""
        try:
            problems = (control.problem(parameters, entry, grid) for control in self._controls)
            return next((problem for problem in problems if problem), "")
        except JobError as error:
            return error.message
