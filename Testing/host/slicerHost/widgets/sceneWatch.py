"""Watches a MRML object on behalf of a widget, and stops when the widget is gone."""

import weakref
from collections.abc import Callable, Iterable

import shiboken6


class Watch:
    """Observers of one VTK object at a time."""

    def __init__(self, widget, method: Callable[..., None], events: Iterable[int | str]):
        self._widget = weakref.ref(widget)
        self._method = weakref.WeakMethod(method)
        self._events = tuple(events)
        self._watched = None
        self._tags: list[int] = []

    def set(self, watched) -> None:
        """Watch another object, or none."""
        if watched is self._watched:
            return
        for tag in self._tags:
            self._watched.RemoveObserver(tag)
        self._watched = watched
        self._tags = [] if watched is None else [watched.AddObserver(event, self._notify) for event in self._events]

    def _notify(self, *_event) -> None:
        widget, method = self._widget(), self._method()
        if widget is None or method is None or not shiboken6.isValid(widget):
            self.set(None)
        else:
            method()
