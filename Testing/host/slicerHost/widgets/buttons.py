"""Buttons and boxes of CTK (CTK/Libs/Widgets)."""

from PySide6 import QtCore, QtGui, QtWidgets

from .stored import setter, stored


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A heading that shows and hides what is below it: checked means expanded."""

    contentsCollapsed = QtCore.Signal(bool)

    collapsedHeight = stored("collapsedHeight", int, 10, "_update")
    contentsFrameShape = stored("contentsFrameShape", int, 0)
    contentsFrameShadow = stored("contentsFrameShadow", int, 16)
    contentsLineWidth = stored("contentsLineWidth", int, 1)
    contentsMidLineWidth = stored("contentsMidLineWidth", int, 0)
    buttonTextAlignment = stored("buttonTextAlignment", int, 0x84)
    indicatorAlignment = stored("indicatorAlignment", int, 0x81)
    flat = stored("flat", bool, False, "_update")

    def __init__(self, *arguments):
        text = arguments[0] if arguments and isinstance(arguments[0], str) else ""
        parent = arguments[-1] if arguments and not isinstance(arguments[-1], str) else None
        super().__init__(parent)
        self.setText(text)
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(self._onToggled)
        self._update()

    def _isCollapsed(self) -> bool:
        return not self.isChecked()

    def _setCollapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    collapsed = QtCore.Property(bool, _isCollapsed, _setCollapsed)

    def _headingHeight(self) -> int:
        return self.fontMetrics().height() + 8

    def _onToggled(self, expanded: bool) -> None:
        self._update()
        self.contentsCollapsed.emit(not expanded)

    def _update(self) -> None:
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(self.isChecked())
        self.setContentsMargins(0, self._headingHeight(), 0, 0)
        height = self._headingHeight() + self.collapsedHeight
        self.setMaximumHeight(16777215 if self.isChecked() else height)
        self.updateGeometry()
        self.update()

    def childEvent(self, event) -> None:
        if event.added() and isinstance(event.child(), QtWidgets.QWidget) and not self.isChecked():
            event.child().setVisible(False)
        super().childEvent(event)

    def hitButton(self, position) -> bool:
        return position.y() <= self._headingHeight()

    def paintEvent(self, event) -> None:
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width, self._headingHeight())
        painter.drawControl(QtWidgets.QStyle.CE_PushButtonBevel, option)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(6, 4, 14, self._headingHeight() - 8)
        kind = QtWidgets.QStyle.PE_IndicatorArrowDown if self.isChecked() else QtWidgets.QStyle.PE_IndicatorArrowRight
        painter.drawPrimitive(kind, arrow)
        heading = QtCore.QRect(26, 0, self.width - 30, self._headingHeight())
        painter.drawText(heading, int(QtCore.Qt.AlignVCenter), self.text)


class ctkCollapsibleGroupBox(QtWidgets.QGroupBox):
    """A group box that folds up; unlike the button it is checkable by its title."""

    collapsedHeight = stored("collapsedHeight", int, 14, "_update")

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(lambda _checked: self._update())

    def _isCollapsed(self) -> bool:
        return not self.isChecked()

    def _setCollapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    collapsed = QtCore.Property(bool, _isCollapsed, _setCollapsed)

    def _update(self) -> None:
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(self.isChecked())
        height = self.fontMetrics().height() + self.collapsedHeight
        self.setMaximumHeight(16777215 if self.isChecked() else height)


class ctkCheckBox(QtWidgets.QCheckBox):
    """A check box whose indicator may be an icon."""

    indicatorIcon = stored("indicatorIcon", QtGui.QIcon, QtGui.QIcon())
    indicatorIconSize = stored("indicatorIconSize", QtCore.QSize, QtCore.QSize())


class ctkPushButton(QtWidgets.QPushButton):
    """A push button with alignment of text and icon."""

    buttonTextAlignment = stored("buttonTextAlignment", int, 0x84)
    iconAlignment = stored("iconAlignment", int, 0x81)
    elideMode = stored("elideMode", int, 3)


class ctkCheckablePushButton(ctkPushButton):
    """A push button with a check box in it."""

    checkBoxToggled = QtCore.Signal(bool)
    checkStateChanged = QtCore.Signal(int)

    indicatorAlignment = stored("indicatorAlignment", int, 0x81)
    checkBoxControlsButton = stored("checkBoxControlsButton", bool, True)
    checkBoxControlsButtonToggleState = stored("checkBoxControlsButtonToggleState", bool, False)
    checkBoxUserCheckable = stored("checkBoxUserCheckable", bool, True)
    checkState = stored("checkState", int, 0, "_onCheckState")

    def _onCheckState(self) -> None:
        self.checkStateChanged.emit(self.checkState)
        self.checkBoxToggled.emit(self.checkState != 0)


class ctkMessageBox(QtWidgets.QMessageBox):
    """A message box that can be told not to come again."""

    dontShowAgain = stored("dontShowAgain", bool, False)
    dontShowAgainVisible = stored("dontShowAgainVisible", bool, False)
    dontShowAgainSettingsKey = stored("dontShowAgainSettingsKey", str, "")
    dontShowAgainButtonRoles = stored("dontShowAgainButtonRoles", "QVariantList", ())
    setDontShowAgain = setter("dontShowAgain")
