"""The order in which the Tab key goes through a form: as it is read.

Qt has widgets in the order in which they came into the window. Panels are loaded, and rows and buttons made, after what
stands below them, and would all come last.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import qt


def orderTabs(form: Any) -> None:
    """Let Tab go through the parts of a form in the order in which they came into it."""
    _chain(list(_focusable(form)))


def tabAfter(former: Any, widgets: Sequence[Any]) -> None:
    """Let Tab go from a widget through others, which were made later than what stands below them."""
    last = list(_focusable(former))[-1:]
    _chain([*last, *(part for widget in widgets for part in _focusable(widget))])


def _chain(widgets: Sequence[Any]) -> None:
    for former, widget in itertools.pairwise(widgets):
        qt.QWidget.setTabOrder(former, widget)


def _focusable(widget: Any) -> Iterator[Any]:
    """A widget where it can have the focus, then its parts; what has no layout has no parts of its own right."""
    if widget.focusPolicy != qt.Qt.NoFocus:
        yield widget
    if widget.layout() is not None:
        for child in widget.children():
            if child.isWidgetType():
                yield from _focusable(child)
