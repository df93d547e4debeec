"""The rows of a form for what a case is made for: one for each condition that a model declares, or a recipe."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from GenerativeAugmentLib.catalogueFile import Condition
from GenerativeAugmentLib.errors import JobError
from GenerativeAugmentLib.tabOrder import tabAfter


class ConditionControl:
    """A row. A new kind of condition is a subclass and a line in the mapping that the form is given.

    Class attributes:
        widgets: names of widgets of the form that are shown with it.

    Args:
        condition: what is declared.
        ui: the form.
        row: of the layout `conditionsLayout`, before which a row is inserted that the form does not have yet.
        onChosen: told the name of the condition and the value that the user chose.
    """

    widgets: tuple[str, ...] = ()

    def __init__(self, condition: Condition, ui: Any, row: int, onChosen: Callable[[str, Any], None]) -> None:
        self.condition, self.ui, self.onChosen = condition, ui, onChosen
        self._setVisible(True)

    def show(self, parameters: Any, about: Any) -> None:
        """Show what the parameters say."""

    def problem(self, parameters: Any, about: Any) -> str:
        """Why what is asked is not possible, "" when it is.

        Args:
            parameters: the panel's pack.
            about: model or recipe, as the panel gives it to ConditionsForm.
        """
        return ""

    def remove(self) -> None:
        """Another model or recipe is chosen."""
        self._setVisible(False)

    def _setVisible(self, visible: bool) -> None:
        for name in self.widgets:
            getattr(self.ui, name).setVisible(visible)


class MadeRow(ConditionControl):
    """A row that is made for a condition."""

    def __init__(self, condition: Condition, ui: Any, row: int, onChosen: Callable[[str, Any], None]) -> None:
        super().__init__(condition, ui, row, onChosen)
        self.widget = self.made()
        self.widget.objectName = f"{condition.name}Condition"
        self.widget.toolTip = self.explanation()
        ui.conditionsLayout.insertRow(row, self.label(), self.widget)
        # At once: the layout would count a row that is shown later without the gap above it.
        for shown in (self.widget, ui.conditionsLayout.labelForField(self.widget)):
            shown.setVisible(True)

    def made(self) -> Any:
        """The widget."""
        raise NotImplementedError

    def label(self) -> str:
        """What stands before it."""
        return f"{self.condition.name}:"

    def explanation(self) -> str:
        """Its tool tip."""
        raise NotImplementedError

    def remove(self) -> None:
        """Take the row out of the form."""
        super().remove()
        self.ui.conditionsLayout.removeRow(self.widget)

    def chosen(self, value: Any) -> None:
        """The user chose a value."""
        self.onChosen(self.condition.name, value)

    def show(self, parameters: Any, about: Any) -> None:
        """Show the chosen value."""
        blocked = self.widget.blockSignals(True)
        self.showValue(self.valueIn(parameters))
        self.widget.blockSignals(blocked)

    def valueIn(self, parameters: Any) -> Any:
        """What the parameters say."""
        raise NotImplementedError

    def showValue(self, value: Any) -> None:
        """Show a value."""
        raise NotImplementedError


class ConditionsForm:
    """The rows for the conditions of what is chosen.

    Args:
        ui: the form.
        controls: kind of condition to its row.
        row: of the form, before which the rows come that it does not have yet.
        former: widget of the row above them.
        onChosen: see ConditionControl.
    """

    def __init__(
        self,
        ui: Any,
        controls: Mapping[str, type[ConditionControl]],
        row: int,
        former: Any,
        onChosen: Callable[[str, Any], None],
    ) -> None:
        self._ui, self._controls, self._row, self._former, self._onChosen = ui, controls, row, former, onChosen
        self._asked: tuple[Condition, ...] = ()
        self.rows: list[ConditionControl] = []
        for control in controls.values():
            for name in control.widgets:
                getattr(ui, name).setVisible(False)

    def follow(self, asked: Sequence[Condition], parameters: Any, about: Any) -> None:
        """Have a row for each condition, and show in them what the parameters say."""
        if tuple(asked) != self._asked:
            for row in self.rows:
                row.remove()
            self._asked = tuple(asked)
            # The last one first, for each is inserted before the one after it.
            made = [self._controls[one.kind](one, self._ui, self._row, self._onChosen) for one in reversed(asked)]
            self.rows = made[::-1]
            tabAfter(self._former, [row.widget for row in self.rows if isinstance(row, MadeRow)])
        for row in self.rows:
            row.show(parameters, about)

    def problem(self, parameters: Any, about: Any) -> str:
        """Why what is asked is not possible, "" when it is."""
        try:
            problems = (row.problem(parameters, about) for row in self.rows)
            return next((problem for problem in problems if problem), "")
        except JobError as error:
            return error.message
