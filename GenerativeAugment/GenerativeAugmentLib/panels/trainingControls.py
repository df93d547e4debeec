"""What a recipe is conditioned on, in the Train panel: which channels and covariates of the cohort it learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import qt

from GenerativeAugmentLib.catalogueFile import Condition
from GenerativeAugmentLib.cohortContent import CohortContent, describeCovariate
from GenerativeAugmentLib.errors import _
from GenerativeAugmentLib.jobBuilders.cohort import listedNames
from GenerativeAugmentLib.panels.conditionForm import ConditionControl, MadeRow
from GenerativeAugmentLib.parameters import TrainParameters, isSet
from GenerativeAugmentLib.recipes import RecipeInfo

LIST_ROWS = 4
"""As many rows of a list are seen at once."""

ENCODER_WEIGHTS = "model.safetensors"
"""What the worker opens in the folder of a text encoder."""


@dataclass(frozen=True)
class ChosenRecipe:
    """What the rows are about.

    Attributes:
        recipe: the method.
        content: of the cohort, None where only the worker reads it.
    """

    recipe: RecipeInfo
    content: CohortContent | None


class LabelMapsControl(ConditionControl):
    """Nothing to choose: every case has to have a label map."""

    def problem(self, parameters: TrainParameters, about: ChosenRecipe) -> str:
        """Whether every case has one."""
        content = about.content
        if content is None or not content.unlabelled:
            return ""
        if content.unlabelled == len(content.cases):
            return _("This recipe needs label maps, and no case of the cohort has one.")
        text = _("This recipe needs a label map of every case, and {count} of {total} have none.")
        return text.format(count=content.unlabelled, total=len(content.cases))


class _ChecksRow(MadeRow):
    """A list of names of the cohort to check; a line to enter them where they are not known."""

    def made(self) -> Any:
        """The list, or the line."""
        if not self.condition.levels:
            line = qt.QLineEdit()
            line.connect("textEdited(QString)", lambda text: self.chosen(listedNames(text)))
            return line
        box = qt.QListWidget()
        for name in self.condition.levels:
            item = qt.QListWidgetItem(name)
            item.setData(qt.Qt.UserRole, name)
            item.setCheckState(qt.Qt.Unchecked)
            box.addItem(item)
        rows = min(LIST_ROWS, len(self.condition.levels))
        box.setFixedHeight(rows * box.sizeHintForRow(0) + 2 * box.frameWidth)
        box.itemChanged.connect(lambda item: self.chosen(self._checked()))
        return box

    def explain(self, name: str, text: str) -> None:
        """Show a text for a name."""
        for item in self._items():
            if item.data(qt.Qt.UserRole) == name:
                item.setText(text)

    def showValue(self, value: Sequence[str]) -> None:
        """Check these names."""
        if not self.condition.levels:
            if listedNames(self.widget.text) != list(value):
                self.widget.text = ", ".join(value)
            return
        for item in self._items():
            isChosen = item.data(qt.Qt.UserRole) in value
            item.setCheckState(qt.Qt.Checked if isChosen else qt.Qt.Unchecked)

    def _items(self) -> list[Any]:
        return [self.widget.item(row) for row in range(self.widget.count)]

    def _checked(self) -> list[str]:
        return [item.data(qt.Qt.UserRole) for item in self._items() if item.checkState() == qt.Qt.Checked]


class SourceControl(_ChecksRow):
    """The channels that a translation starts from; every case has to have them."""

    def label(self) -> str:
        """What stands before it."""
        return _("Made from:")

    def explanation(self) -> str:
        """Its tool tip."""
        return _("Channels that the translation starts from.")

    def valueIn(self, parameters: TrainParameters) -> list[str]:
        """The chosen channels."""
        return listedNames(parameters.sourceChannels)

    def chosen(self, value: Sequence[str]) -> None:
        """The user chose channels."""
        super().chosen(", ".join(value))

    def problem(self, parameters: TrainParameters, about: ChosenRecipe) -> str:
        """Whether there are sources, something to make of them, and cases that have both."""
        recipe, content, sources = about.recipe, about.content, self.valueIn(parameters)
        if not sources:
            return _("Choose the channels that the translation starts from.") if recipe.needsSources else ""
        if content is None:
            return ""
        unknown = unknownNames(sources, content.channels)
        if unknown:
            return _noChannel(unknown, content)
        made = listedNames(parameters.channels) or [name for name in content.channels if name not in sources]
        if not made:
            return _("Every channel is a source: enter the channel to make.")
        return self.missing(content, sources, made, recipe)

    def missing(self, content: CohortContent, sources: list[str], made: list[str], recipe: RecipeInfo) -> str:
        """Whether cases have what they need."""
        lacking = 0 if recipe.unpaired else content.lacking([*sources, *made])
        text = _(
            "{count} of {total} cases lack one of {channels}: choose a recipe that does without, or other channels."
        )
        names = ", ".join(dict.fromkeys([*sources, *made]))
        return text.format(count=lacking, total=len(content.cases), channels=names) if lacking else ""


class SourcesControl(SourceControl):
    """Channels of which a case may lack some."""

    def explanation(self) -> str:
        """Its tool tip."""
        return _("Channels that the translation starts from. A case may lack some of them, both now and later.")

    def missing(self, content: CohortContent, sources: list[str], made: list[str], recipe: RecipeInfo) -> str:
        """Whether cases have what is made, and at least one source."""
        lacking = content.lacking(made)
        if lacking:
            text = _("{count} of {total} cases lack {channels}, which is what is to be made.")
            return text.format(count=lacking, total=len(content.cases), channels=", ".join(made))
        empty = sum(not set(sources) & set(case.images) for case in content.cases)
        text = _("{count} of {total} cases have none of the sources.")
        return text.format(count=empty, total=len(content.cases)) if empty else ""


class CovariatesControl(_ChecksRow):
    """Class and numbers that the model is told of a case; all where none is checked."""

    def label(self) -> str:
        """What stands before it."""
        return _("Covariates:")

    def explanation(self) -> str:
        """Its tool tip."""
        return _("What the model is told of a case, and can be asked for afterwards. None checked: all of them.")

    def made(self) -> Any:
        """The list, or a line that says what an empty one means."""
        widget = super().made()
        if not self.condition.levels:
            widget.placeholderText = _("all")
        return widget

    def show(self, parameters: TrainParameters, about: ChosenRecipe) -> None:
        """With the values that the cases have."""
        super().show(parameters, about)
        blocked = self.widget.blockSignals(True)
        if about.content is not None and self.condition.levels:
            for covariate in about.content.covariates:
                self.explain(covariate.name, describeCovariate(covariate))
        self.widget.blockSignals(blocked)

    def valueIn(self, parameters: TrainParameters) -> list[str]:
        """The chosen ones."""
        return list(parameters.covariates)

    def problem(self, parameters: TrainParameters, about: ChosenRecipe) -> str:
        """Whether there are some, and each is a class or a number."""
        if about.content is None:
            return ""
        known = {covariate.name: covariate for covariate in about.content.covariates}
        if not known:
            return _(
                "This recipe needs a class or a number of every case, and the cohort has none: enter covariates in the"
                " Data panel, or build the cohort with a table of them, a column for the case and one for each."
            )
        asked = self.valueIn(parameters)
        unknown = unknownNames(asked, known)
        if unknown:
            text = _("The cohort has no covariate {names}; it has {known}.")
            return text.format(names=", ".join(unknown), known=", ".join(known))
        told = asked or [name for name in known if not ("text" in about.recipe.conditions and name == parameters.text)]
        texts = [name for name in told if known[name].kind == "text"]
        text = _("{names} has too many different words for a class: check other covariates.")
        return text.format(names=", ".join(texts)) if texts else ""


class SentencesControl(MadeRow):
    """The covariate that holds a sentence about every case, and the encoder that reads it."""

    widgets = ("textEncoderLabel", "textEncoderEdit")

    def made(self) -> Any:
        """The covariates that are words, or another name."""
        box = qt.QComboBox()
        box.setEditable(True)
        box.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        for name in self.condition.levels:
            box.addItem(name)
        box.connect("currentTextChanged(QString)", lambda text: self.chosen(text.strip()))
        return box

    def label(self) -> str:
        """What stands before it."""
        return _("Text:")

    def explanation(self) -> str:
        """Its tool tip."""
        return _("Covariate that holds a sentence about every case, such as the impression of a report.")

    def valueIn(self, parameters: TrainParameters) -> str:
        """The chosen one."""
        return parameters.text

    def showValue(self, value: str) -> None:
        """Show its name."""
        if self.widget.currentText.strip() != value:
            self.widget.setCurrentText(value)

    def problem(self, parameters: TrainParameters, about: ChosenRecipe) -> str:
        """Whether sentences and encoder are there."""
        content, asked = about.content, parameters.text
        words = [] if content is None else [one.name for one in content.covariates if one.kind != "number"]
        if content is not None and not words:
            return _("This recipe needs a sentence about every case, and the cohort has no covariate of words.")
        if not asked:
            return _("Choose the covariate that holds a sentence about every case.")
        if content is not None and asked not in words:
            text = _("The cohort has no text {name}; it has {known}.")
            return text.format(name=asked, known=", ".join(words))
        folder = Path(parameters.textEncoder)
        if not isSet(folder):
            return _("Choose the folder of a text encoder, a model of sentence-transformers.")
        if not (folder / ENCODER_WEIGHTS).is_file():
            return _("{folder} holds no {file}: choose the folder of a text encoder.").format(
                folder=folder, file=ENCODER_WEIGHTS
            )
        return ""


CONTROLS: dict[str, type[ConditionControl]] = {
    "label_map": LabelMapsControl,
    "image": SourceControl,
    "images": SourcesControl,
    "covariates": CovariatesControl,
    "text": SentencesControl,
    # The planes beside a plane are there wherever it is.
    "neighbours": ConditionControl,
}
"""One line a condition of a recipe."""


def conditionsOf(recipe: RecipeInfo, content: CohortContent | None) -> tuple[Condition, ...]:
    """What a training on a cohort is asked for, each with the names to choose from, by the parameter that keeps it."""
    channels = () if content is None else tuple(content.channels)
    covariates = () if content is None else content.covariates
    choices = {
        "image": ("sourceChannels", channels),
        "images": ("sourceChannels", channels),
        "covariates": ("covariates", tuple(one.name for one in covariates)),
        "text": ("text", tuple(one.name for one in covariates if one.kind != "number")),
    }
    return tuple(Condition(kind, *choices.get(kind, (kind, ()))) for kind in recipe.asked)


def channelsProblem(parameters: TrainParameters, content: CohortContent | None) -> str:
    """Why the channels to make cannot be made; "" when they can."""
    unknown = [] if content is None else unknownNames(listedNames(parameters.channels), content.channels)
    return _noChannel(unknown, content) if unknown else ""


def unknownNames(asked: Sequence[str], known: Any) -> list[str]:
    """Those of the names that are not known."""
    return [name for name in asked if name not in known]


def _noChannel(unknown: list[str], content: CohortContent) -> str:
    text = _("The cohort has no channel {names}; it has {channels}.")
    return text.format(names=", ".join(unknown), channels=", ".join(content.channels))
