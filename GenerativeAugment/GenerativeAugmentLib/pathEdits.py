"""What ctkPathLineEdit leaves open: to hear that one was emptied."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def pathEdits(ui: Any) -> list[Any]:
    """The path fields of a form."""
    return [widget for widget in vars(ui).values() if hasattr(widget, "currentPath")]


def onPathChanged(pathEdit: Any, receiver: Callable[[str], object]) -> None:
    """Tell every path that is entered, and "" when the field is emptied."""
    pathEdit.currentPathChanged.connect(receiver)
    onPathEmptied(pathEdit, lambda: receiver(""))


def onPathEmptied(pathEdit: Any, receiver: Callable[[], object]) -> None:
    """Tell that nothing is entered any more, which is no path and therefore not among those that CTK announces."""

    def follow(isValid: bool) -> None:
        if not isValid and not pathEdit.currentPath:
            receiver()

    pathEdit.validInputChanged.connect(follow)
