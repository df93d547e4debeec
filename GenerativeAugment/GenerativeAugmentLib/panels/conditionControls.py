"""What a new case is asked to be, in the Synthesize panel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import qt

from GenerativeAugmentLib import exchange
from GenerativeAugmentLib.catalogueFile import ModelEntry
from GenerativeAugmentLib.errors import _
from GenerativeAugmentLib.jobBuilders.followed import labelGeometry, labelProblem
from GenerativeAugmentLib.panels.conditionForm import ConditionControl, MadeRow
from GenerativeAugmentLib.parameters import SynthesizeParameters, isSet

STEPS = 100
"""In which the arrows of a spin box go through a covariate's range."""


@dataclass(frozen=True)
class ChosenModel:
    """What the rows are about.

    Attributes:
        entry: the model.
        grid: its space, see `modelFit.gridOf`.
    """

    entry: ModelEntry
    grid: dict[str, Any]


class LabelMapControl(ConditionControl):
    """The label map or segmentation to follow."""

    widgets = ("labelSelectorLabel", "labelSelector")

    def problem(self, parameters: SynthesizeParameters, about: ChosenModel) -> str:
        """Whether it fits the model."""
        if parameters.labelNode is None:
            return _("Choose the label map or segmentation to make an image for.")
        refused = labelProblem(parameters.labelNode, about.entry, about.grid)
        return "" if refused is None else refused.message


class ImageControl(ConditionControl):
    """The image in which the model fills what the label map covers."""

    widgets = ("imageSelectorLabel", "imageSelector")

    def problem(self, parameters: SynthesizeParameters, about: ChosenModel) -> str:
        """Whether it lies on the voxels of the label map."""
        if parameters.imageNode is None:
            return _("Choose the image in which the label map is filled.")
        labels, image = parameters.labelNode, parameters.imageNode
        if labels is None or labels.IsA("vtkMRMLSegmentationNode"):
            return ""
        difference = exchange.describeDifference(exchange.volumeGeometry(image), labelGeometry(labels))
        return "" if not difference else f"{image.GetName()}: {difference}"


class _CovariateRow(MadeRow):
    """A covariate, whose value is a text; "" for none."""

    def explanation(self) -> str:
        """Its tool tip."""
        return _("What a new case is asked to be; without a choice it is as a training case was.")

    def canShow(self, value: str) -> bool:
        """Whether the row has a place for a value, which may have been chosen for another model."""
        return True

    def show(self, parameters: SynthesizeParameters, about: ChosenModel) -> None:
        """Show the chosen value; one that the row cannot show is forgotten, so that no job asks for it unseen."""
        value = self.valueIn(parameters)
        if value and not self.canShow(value):
            self.chosen("")
        super().show(parameters, about)

    def valueIn(self, parameters: SynthesizeParameters) -> str:
        """The chosen value."""
        # The wrapper's dictionary takes no default.
        return dict(parameters.conditions).get(self.condition.name, "")


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

    def canShow(self, value: str) -> bool:
        """Whether it is a level."""
        return value in self.condition.levels

    def showValue(self, value: str) -> None:
        """Choose the level."""
        self.widget.currentIndex = max(0, self.widget.findData(value))


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
        # The box rounds the ends of its range, and none of a covariate's values lies outside.
        inside = min(max(value, self.condition.low), self.condition.high)
        self.chosen("" if value <= self.widget.minimum else repr(inside))

    def canShow(self, value: str) -> bool:
        """Whether it is a number in the range."""
        try:
            return self.condition.low <= float(value) <= self.condition.high
        except ValueError:
            return False

    def showValue(self, value: str) -> None:
        """Show the number."""
        self.widget.value = float(value) if value else self.widget.minimum


class TextControl(_CovariateRow):
    """A sentence, which the text encoder reads that the model was trained with."""

    widgets = ("textEncoderLabel", "textEncoderEdit")

    def made(self) -> Any:
        """A line."""
        line = qt.QLineEdit()
        line.connect("textEdited(QString)", self.chosen)
        return line

    def problem(self, parameters: SynthesizeParameters, about: ChosenModel) -> str:
        """Whether the encoder is there."""
        missing = self.valueIn(parameters) and not isSet(parameters.textEncoder)
        return _("Choose the folder of the text encoder that the model was trained with.") if missing else ""

    def showValue(self, value: str) -> None:
        """Show the sentence."""
        if self.widget.text != value:
            self.widget.text = value


CONTROLS: dict[str, type[ConditionControl]] = {
    "label_map": LabelMapControl,
    "image": ImageControl,
    "class": ClassControl,
    "number": NumberControl,
    "text": TextControl,
}
"""One line a kind of condition."""
