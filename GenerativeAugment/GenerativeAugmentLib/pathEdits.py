"""What ctkPathLineEdit leaves open: to hear that one was emptied, and to browse for a file where a folder is usual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from GenerativeAugmentLib.errors import _
from GenerativeAugmentLib.tabOrder import orderTabs

FILE_FILTER = "fileFilter"
"""Property of a path field in a form, such as "Archives (*.zip)": it takes a folder, or a file of such a name."""

FILE_BUTTON = "fileButton"


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


def addFileButtons(ui: Any) -> None:
    """Give a second button to the path fields that take folders and files.

    The field's own button opens one dialog only, which shows either folders or files; it is left to the folders.
    """
    for pathEdit in pathEdits(ui):
        nameFilter = pathEdit.property(FILE_FILTER)
        if nameFilter:
            _addFileButton(pathEdit, nameFilter)


def _addFileButton(pathEdit: Any, nameFilter: str) -> None:
    button = qt.QToolButton()
    button.objectName = FILE_BUTTON
    button.text = _("File...")
    button.toolTip = _("Choose a file instead of a folder: {kinds}.").format(kinds=nameFilter)
    # As the button beside it, so that the field gets no higher.
    button.setSizePolicy(qt.QSizePolicy.Fixed, qt.QSizePolicy.Ignored)
    button.clicked.connect(lambda checked=False: _browse(pathEdit, nameFilter))
    pathEdit.layout().addWidget(button)
    orderTabs(pathEdit)


def _browse(pathEdit: Any, nameFilter: str) -> None:
    path = qt.QFileDialog.getOpenFileName(pathEdit, _("Choose a file"), pathEdit.currentPath, nameFilter)
    if path:
        pathEdit.currentPath = path
