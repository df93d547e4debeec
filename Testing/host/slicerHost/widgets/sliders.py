"""Numbers: sliders and spin boxes of CTK."""

from PySide6 import QtCore, QtWidgets

from .stored import setter, stored


def _row(widget: QtWidgets.QWidget, *parts: QtWidgets.QWidget) -> None:
    layout = QtWidgets.QHBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        layout.addWidget(part)


class ctkDoubleSpinBox(QtWidgets.QWidget):
    """A spin box for real numbers."""

    valueChanged = QtCore.Signal(float)
    decimalsChanged = QtCore.Signal(int)
    editingFinished = QtCore.Signal()

    decimalsOption = stored("decimalsOption", int, 0x121)
    sizeHintPolicy = stored("sizeHintPolicy", int, 0)
    invertedControls = stored("invertedControls", bool, False)
    isSettingValue = stored("isSettingValue", bool, False, writable=False)
    alignment = stored("alignment", int, 0x1)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._box = QtWidgets.QDoubleSpinBox()
        _row(self, self._box)
        self._box.valueChanged.connect(self.valueChanged.emit)
        self._box.editingFinished.connect(self.editingFinished.emit)

    def _forward(name: str, kind, writable: bool = True):
        def read(self):
            return getattr(self._box, name)

        def write(self, value):
            setattr(self._box, name, value)
            if name == "decimals":
                self.decimalsChanged.emit(value)

        return QtCore.Property(kind, read, write if writable else None)

    value = _forward("value", float)
    minimum = _forward("minimum", float)
    maximum = _forward("maximum", float)
    singleStep = _forward("singleStep", float)
    decimals = _forward("decimals", int)
    prefix = _forward("prefix", str)
    suffix = _forward("suffix", str)
    frame = _forward("frame", bool)
    readOnly = _forward("readOnly", bool)
    cleanText = _forward("cleanText", str, writable=False)
    del _forward

    setValue = setter("value")
    setDecimals = setter("decimals")
    setReadOnly = setter("readOnly")

    def setValueIfDifferent(self, value: float) -> None:
        self.value = value

    def setValueAlways(self, value: float) -> None:
        self.value = value
        self.valueChanged.emit(value)

    def stepUp(self) -> None:
        self._box.stepUp()

    def stepDown(self) -> None:
        self._box.stepDown()


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider and a spin box for one real number."""

    valueChanged = QtCore.Signal(float)
    valueIsChanging = QtCore.Signal(float)
    decimalsChanged = QtCore.Signal(int)

    minimum = stored("minimum", float, 0.0, "_onRange")
    maximum = stored("maximum", float, 99.0, "_onRange")
    singleStep = stored("singleStep", float, 1.0, "_onRange")
    pageStep = stored("pageStep", float, 10.0)
    decimals = stored("decimals", int, 2, "_onDecimals")
    prefix = stored("prefix", str, "", "_onText")
    suffix = stored("suffix", str, "", "_onText")
    tracking = stored("tracking", bool, True)
    tickInterval = stored("tickInterval", float, 0.0)
    tickPosition = stored("tickPosition", int, 0)
    invertedAppearance = stored("invertedAppearance", bool, False)
    invertedControls = stored("invertedControls", bool, False)
    popupSlider = stored("popupSlider", bool, False)
    spinBoxAlignment = stored("spinBoxAlignment", int, 2)
    spinBoxVisible = stored("spinBoxVisible", bool, True, "_onVisible")

    setDecimals = setter("decimals")
    setSpinBoxVisible = setter("spinBoxVisible")

    def __init__(self, parent=None):
        super().__init__(parent)
        self._current = 0.0
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal)
        self._box = QtWidgets.QDoubleSpinBox()
        _row(self, self._slider, self._box)
        self._slider.setRange(0, 1000)
        self._onRange()
        self._slider.valueChanged.connect(self._onSlider)
        self._box.valueChanged.connect(self.setValue)

    def _value(self) -> float:
        return self._current

    def setValue(self, value: float) -> None:
        value = round(min(max(float(value), self.minimum), self.maximum), self.decimals)
        if value == self._current:
            return
        self._current = value
        self._show()
        self.valueIsChanging.emit(value)
        self.valueChanged.emit(value)

    value = QtCore.Property(float, _value, setValue)

    def reset(self) -> None:
        self.setValue(0.0)

    def _onSlider(self, position: int) -> None:
        self.setValue(self.minimum + position / 1000 * (self.maximum - self.minimum))

    def _onRange(self) -> None:
        self._box.setRange(self.minimum, self.maximum)
        self._box.setSingleStep(self.singleStep)
        self._slider.setSingleStep(max(1, int(1000 * self.singleStep / max(self.maximum - self.minimum, 1e-9))))
        self.setValue(self._current)
        self._show()

    def _onDecimals(self) -> None:
        self._box.setDecimals(self.decimals)
        self.decimalsChanged.emit(self.decimals)

    def _onText(self) -> None:
        self._box.setPrefix(self.prefix)
        self._box.setSuffix(self.suffix)

    def _onVisible(self) -> None:
        self._box.setVisible(self.spinBoxVisible)

    def _show(self) -> None:
        span = max(self.maximum - self.minimum, 1e-9)
        blockers = QtCore.QSignalBlocker(self._slider), QtCore.QSignalBlocker(self._box)
        self._slider.setValue(round(1000 * (self._current - self.minimum) / span))
        self._box.setValue(self._current)
        for blocker in blockers:
            blocker.unblock()


class ctkRangeWidget(QtWidgets.QWidget):
    """Two real numbers, the first not larger than the second."""

    valuesChanged = QtCore.Signal(float, float)
    minimumValueChanged = QtCore.Signal(float)
    maximumValueChanged = QtCore.Signal(float)
    minimumValueIsChanging = QtCore.Signal(float)
    maximumValueIsChanging = QtCore.Signal(float)
    rangeChanged = QtCore.Signal(float, float)

    minimum = stored("minimum", float, 0.0, "_onRange")
    maximum = stored("maximum", float, 99.0, "_onRange")
    singleStep = stored("singleStep", float, 1.0, "_onRange")
    decimals = stored("decimals", int, 2, "_onRange")
    prefix = stored("prefix", str, "", "_onRange")
    suffix = stored("suffix", str, "", "_onRange")
    tracking = stored("tracking", bool, True)
    tickInterval = stored("tickInterval", float, 0.0)
    symmetricMoves = stored("symmetricMoves", bool, False)
    autoSpinBoxWidth = stored("autoSpinBoxWidth", bool, True)
    spinBoxAlignment = stored("spinBoxAlignment", int, 128)
    spinBoxTextAlignment = stored("spinBoxTextAlignment", int, 1)
    customSpinBoxesLimitsMin = stored("customSpinBoxesLimitsMin", float, 0.0)
    customSpinBoxesLimitsMax = stored("customSpinBoxesLimitsMax", float, 0.0)

    setDecimals = setter("decimals")

    def __init__(self, parent=None):
        super().__init__(parent)
        self._values = (33.0, 66.0)
        self._low, self._high = QtWidgets.QDoubleSpinBox(), QtWidgets.QDoubleSpinBox()
        _row(self, self._low, self._high)
        self._onRange()
        self._low.valueChanged.connect(self.setMinimumValue)
        self._high.valueChanged.connect(self.setMaximumValue)

    def setValues(self, minimum: float, maximum: float) -> None:
        low, high = (min(max(float(value), self.minimum), self.maximum) for value in (minimum, maximum))
        before, self._values = self._values, (min(low, high), max(low, high))
        if self._values == before:
            return
        self._show()
        if self._values[0] != before[0]:
            self.minimumValueChanged.emit(self._values[0])
        if self._values[1] != before[1]:
            self.maximumValueChanged.emit(self._values[1])
        self.valuesChanged.emit(*self._values)

    def setMinimumValue(self, value: float) -> None:
        self.setValues(min(value, self._values[1]), self._values[1])

    def setMaximumValue(self, value: float) -> None:
        self.setValues(self._values[0], max(value, self._values[0]))

    minimumValue = QtCore.Property(float, lambda self: self._values[0], setMinimumValue)
    maximumValue = QtCore.Property(float, lambda self: self._values[1], setMaximumValue)

    def setRange(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum

    def reset(self) -> None:
        self.setValues(self.minimum, self.maximum)

    def _onRange(self) -> None:
        for box in (self._low, self._high):
            box.setDecimals(self.decimals)
            box.setRange(self.minimum, self.maximum)
            box.setSingleStep(self.singleStep)
            box.setPrefix(self.prefix)
            box.setSuffix(self.suffix)
        self.setValues(*self._values)
        self._show()
        self.rangeChanged.emit(self.minimum, self.maximum)

    def _show(self) -> None:
        blockers = QtCore.QSignalBlocker(self._low), QtCore.QSignalBlocker(self._high)
        self._low.setValue(self._values[0])
        self._high.setValue(self._values[1])
        for blocker in blockers:
            blocker.unblock()
