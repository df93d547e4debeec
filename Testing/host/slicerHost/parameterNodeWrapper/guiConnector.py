"""What every connector of a widget with a parameter is."""

import abc
from collections.abc import Callable

from .annotations import split


class GuiConnector(abc.ABC):
    """One widget that shows one parameter."""

    def __init__(self, widget):
        self._widget = widget
        self._callback: Callable[[], None] | None = None

    @staticmethod
    @abc.abstractmethod
    def canRepresent(widget, datatype) -> bool:
        """True if this connector is for the widget and the type."""

    @classmethod
    def create(cls, widget, datatype) -> "GuiConnector":
        return cls(widget, datatype)

    def widget(self):
        return self._widget

    def onChanged(self, callback: Callable[[], None] | None) -> None:
        self._callback = callback
        if callback is None:
            self._disconnect()
        else:
            self._connect()

    def changed(self) -> None:
        if self._callback is not None:
            self._callback()

    @abc.abstractmethod
    def _connect(self) -> None: ...

    @abc.abstractmethod
    def _disconnect(self) -> None: ...

    @abc.abstractmethod
    def read(self): ...

    @abc.abstractmethod
    def write(self, value) -> None: ...


class SignalConnector(GuiConnector):
    """A connector for a widget with one attribute and one signal."""

    attribute = ""
    signal = ""

    def __init__(self, widget, datatype):
        super().__init__(widget)
        self._kind, self._annotations = split(datatype)

    def _connect(self):
        getattr(self._widget, self.signal).connect(self.changed)

    def _disconnect(self):
        getattr(self._widget, self.signal).disconnect(self.changed)

    def read(self):
        return getattr(self._widget, self.attribute)

    def write(self, value):
        setattr(self._widget, self.attribute, value)
