"""Connectors for truth values, numbers and ranges."""

import ctk
import qt
import slicer

from .annotations import Decimals, Default, SingleStep, bareType, first
from .floatRange import FloatRange
from .guiConnector import SignalConnector
from .validators import Maximum, Minimum, RangeBounds, WithinRange


class BoolInCheckBox(SignalConnector):
    attribute, signal = "checked", "stateChanged"

    @staticmethod
    def canRepresent(widget, datatype):
        return bareType(datatype) is bool and type(widget) in (qt.QCheckBox, ctk.ctkCheckBox)


class BoolInButton(SignalConnector):
    attribute, signal = "checked", "toggled"

    def __init__(self, widget, datatype):
        super().__init__(widget, datatype)
        widget.checkable = True

    @staticmethod
    def canRepresent(widget, datatype):
        return bareType(datatype) is bool and type(widget) in (qt.QPushButton, ctk.ctkCheckablePushButton)


class _Number(SignalConnector):
    """A number within the bounds of its annotations, which override those of the .ui file."""

    attribute, signal = "value", "valueChanged"
    needBounds: tuple[type, ...] = ()
    lowest: float
    highest: float

    def __init__(self, widget, datatype):
        super().__init__(widget, datatype)
        within = first(self._annotations, WithinRange)
        minimum, maximum = first(self._annotations, Minimum), first(self._annotations, Maximum)
        if type(widget) in self.needBounds and within is None and (minimum is None or maximum is None):
            raise RuntimeError(f"A {type(widget).__name__} needs a parameter with both bounds")
        decimals, step = first(self._annotations, Decimals), first(self._annotations, SingleStep)
        if self._kind is int and hasattr(widget, "decimals"):
            widget.decimals = 0
        elif decimals is not None:
            widget.decimals = decimals.value
        if step is not None:
            widget.singleStep = step.value
        bounds = within or minimum
        widget.minimum = bounds.minimum if bounds is not None else self.lowest
        bounds = within or maximum
        widget.maximum = bounds.maximum if bounds is not None else self.highest


class IntInSpinBox(_Number):
    needBounds = (qt.QSlider,)
    lowest, highest = -(2**31), 2**31 - 1

    @staticmethod
    def canRepresent(widget, datatype):
        return bareType(datatype) is int and type(widget) in (qt.QSlider, qt.QSpinBox)


class NumberInSpinBox(_Number):
    needBounds = (ctk.ctkSliderWidget, slicer.qMRMLSliderWidget)
    lowest, highest = float("-inf"), float("inf")
    widgets = (
        *(qt.QDoubleSpinBox, ctk.ctkSliderWidget, ctk.ctkDoubleSpinBox),
        *(slicer.qMRMLSliderWidget, slicer.qMRMLSpinBox),
    )

    @staticmethod
    def canRepresent(widget, datatype):
        return bareType(datatype) in (int, float) and type(widget) in NumberInSpinBox.widgets

    def read(self):
        return int(super().read()) if self._kind is int else super().read()

    def write(self, value):
        super().write(int(value) if self._kind is int else value)


class RangeInRangeWidget(SignalConnector):
    signal = "valuesChanged"

    def __init__(self, widget, datatype):
        super().__init__(widget, datatype)
        bounds = first(self._annotations, RangeBounds)
        if bounds is None:
            raise RuntimeError(f"The parameter of {widget.objectName} needs the annotation RangeBounds")
        if first(self._annotations, Default) is None and not bounds.minimum <= 0 <= bounds.maximum:
            raise RuntimeError("A range parameter whose bounds leave out 0 needs the annotation Default")
        decimals, step = first(self._annotations, Decimals), first(self._annotations, SingleStep)
        if decimals is not None:
            widget.decimals = decimals.value
        if step is not None:
            widget.singleStep = step.value
        widget.setRange(bounds.minimum, bounds.maximum)

    @staticmethod
    def canRepresent(widget, datatype):
        return bareType(datatype) is FloatRange and type(widget) is ctk.ctkRangeWidget

    def read(self):
        return FloatRange(self._widget.minimumValue, self._widget.maximumValue)

    def write(self, value):
        self._widget.setValues(value.minimum, value.maximum)
