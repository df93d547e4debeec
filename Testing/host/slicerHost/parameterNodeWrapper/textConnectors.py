"""Connectors for choices, texts and paths."""

import enum
import pathlib
import typing

import ctk
import qt

from .annotations import bareType, first
from .guiConnector import SignalConnector
from .serializers import PATHS
from .validators import Choice


class _Chosen(SignalConnector):
    """One of several values in a combo box."""

    signal = "currentIndexChanged"
    choices: list[tuple[str, typing.Any]]

    def read(self):
        return self.choices[self._widget.currentIndex][1]

    def write(self, value):
        values = [choice for _, choice in self.choices]
        if value not in values:
            raise ValueError(f"{value!r} is none of {values}")
        self._widget.currentIndex = values.index(value)


class ChoiceInComboBox(_Chosen):
    def __init__(self, widget, datatype):
        super().__init__(widget, datatype)
        choice = first(self._annotations, Choice)
        if choice is None:
            raise RuntimeError(f"The parameter of the combo box {widget.objectName} needs the annotation Choice")
        self.choices = [(str(value), value) for value in choice.choices]
        widget.clear()
        widget.addItems([label for label, _ in self.choices])

    @staticmethod
    def canRepresent(widget, datatype):
        return bareType(datatype) in (int, float, str, bool) and type(widget) in (qt.QComboBox, ctk.ctkComboBox)


class EnumInComboBox(_Chosen):
    def __init__(self, widget, datatype):
        super().__init__(widget, datatype)
        label = getattr(self._kind, "label", lambda value: value.name)
        self.choices = [(label(value), value) for value in self._kind]
        selected = self.read()
        widget.clear()
        widget.addItems([text for text, _ in self.choices])
        self.write(selected)

    @staticmethod
    def canRepresent(widget, datatype):
        kind = bareType(datatype)
        isEnum = isinstance(kind, type) and issubclass(kind, enum.Enum)
        return isEnum and type(widget) in (qt.QComboBox, ctk.ctkComboBox)


class TextInLineEdit(SignalConnector):
    attribute, signal = "text", "textChanged"

    @staticmethod
    def canRepresent(widget, datatype):
        return bareType(datatype) is str and type(widget) is qt.QLineEdit

    def write(self, value):
        if value != self._widget.text:  # writing moves the cursor
            self._widget.text = value


class TextInLabel(SignalConnector):
    attribute = "text"

    @staticmethod
    def canRepresent(widget, datatype):
        return bareType(datatype) is str and type(widget) is qt.QLabel

    def _connect(self):
        pass  # a label never changes by itself

    _disconnect = _connect


class TextInTextEdit(SignalConnector):
    attribute, signal = "plainText", "textChanged"

    @staticmethod
    def canRepresent(widget, datatype):
        return bareType(datatype) is str and type(widget) is qt.QTextEdit


class PathInLineEdit(SignalConnector):
    attribute, signal = "currentPath", "currentPathChanged"

    @staticmethod
    def canRepresent(widget, datatype):
        return bareType(datatype) in PATHS and type(widget) is ctk.ctkPathLineEdit

    def read(self) -> pathlib.PurePath:
        return self._kind(super().read())

    def write(self, value):
        super().write(str(value))


class PathInDirectoryButton(PathInLineEdit):
    attribute, signal = "directory", "directoryChanged"

    @staticmethod
    def canRepresent(widget, datatype):
        return bareType(datatype) in PATHS and type(widget) is ctk.ctkDirectoryButton
