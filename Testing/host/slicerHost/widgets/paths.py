"""Paths, combo box and text of CTK."""

import fnmatch
import re
from pathlib import PurePath

from PySide6 import QtCore, QtGui, QtWidgets

from .stored import stored


class ctkComboBox(QtWidgets.QComboBox):
    """A combo box with a text for "nothing chosen"."""

    returnRelease = QtCore.Signal()

    defaultText = stored("defaultText", str, "", "_onDefaultText")
    defaultIcon = stored("defaultIcon", "QIcon", None)
    forceDefault = stored("forceDefault", bool, False)
    elideMode = stored("elideMode", int, 3)
    scrollWheelEffect = stored("scrollWheelEffect", int, 1)

    def _userData(self) -> str:
        return str(self.currentData or "")

    def setCurrentUserDataAsString(self, text: str) -> None:
        self.setCurrentIndex(self.findData(text))

    currentUserDataAsString = QtCore.Property(str, _userData, setCurrentUserDataAsString)

    def _onDefaultText(self) -> None:
        QtWidgets.QComboBox.setPlaceholderText(self, self.defaultText)


class ctkPathLineEdit(QtWidgets.QWidget):
    """A line for a file or folder, with its history and a button that opens a dialog."""

    currentPathChanged = QtCore.Signal(str)
    validInputChanged = QtCore.Signal(bool)

    Dirs, Files, Drives, NoSymLinks = 0x1, 0x2, 0x4, 0x8
    AllEntries, Readable, Writable, Executable = 0x7, 0x10, 0x20, 0x40
    Modified, Hidden, System, AllDirs = 0x80, 0x100, 0x200, 0x400
    CaseSensitive, NoDotAndDotDot, NoDot, NoDotDot, NoFilter = 0x800, 0x1000, 0x2000, 0x4000, -1
    ShowDirsOnly, DontResolveSymlinks, DontConfirmOverwrite, DontUseSheet = 0x1, 0x2, 0x4, 0x8
    DontUseNativeDialog, ReadOnly, HideNameFilterDetails = 0x10, 0x20, 0x40
    AdjustToContents, AdjustToContentsOnFirstShow, AdjustToMinimumContentsLength = 0, 1, 2

    filters = stored("filters", int, AllEntries | NoDotAndDotDot | Readable | Executable)
    options = stored("options", int, 0)
    nameFilters = stored("nameFilters", "QStringList", (), "_onText")
    label = stored("label", str, "")
    settingKey = stored("settingKey", str, "", "retrieveHistory")
    showBrowseButton = stored("showBrowseButton", bool, True, "_onButtons")
    showHistoryButton = stored("showHistoryButton", bool, True)
    sizeAdjustPolicy = stored("sizeAdjustPolicy", int, AdjustToMinimumContentsLength)
    minimumContentsLength = stored("minimumContentsLength", int, 17)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._valid = False
        self._combo = QtWidgets.QComboBox()
        self._combo.setEditable(True)
        self._combo.setSizePolicy(QtWidgets.QSizePolicy.Expanding, QtWidgets.QSizePolicy.Fixed)
        self._combo.setSizeAdjustPolicy(QtWidgets.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        self._button = QtWidgets.QToolButton()
        self._button.setText("...")
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._combo)
        layout.addWidget(self._button)
        self._combo.editTextChanged.connect(lambda _text: self._onText())
        self._button.clicked.connect(lambda _checked: self.browse())

    def comboBox(self) -> QtWidgets.QComboBox:
        return self._combo

    def setCurrentPath(self, path: str) -> None:
        if not isinstance(path, str):
            raise AttributeError(f"Property 'currentPath' of type 'QString' does not accept {path!r}")
        self._combo.setEditText(path)

    currentPath = QtCore.Property(str, lambda self: self._combo.currentText, setCurrentPath)

    def _isAccepted(self, path: str) -> bool:
        patterns = [glob for text in self.nameFilters for glob in re.findall(r"[*?][^\s()]*", text)]
        return bool(path) and (not patterns or any(fnmatch.fnmatch(PurePath(path).name, glob) for glob in patterns))

    def _onText(self) -> None:
        """No path, and one that no name filter accepts, is shown but not announced."""
        before, self._valid = self._valid, self._isAccepted(self.currentPath)
        if self._valid:
            self.currentPathChanged.emit(self.currentPath)
        if self._valid != before:
            self.validInputChanged.emit(self._valid)

    def _onButtons(self) -> None:
        self._button.setVisible(self.showBrowseButton)

    def browse(self) -> None:
        dialog = QtWidgets.QFileDialog
        if self.filters & self.Files:
            path = dialog.getOpenFileName(self, self.label, self.currentPath, ";;".join(self.nameFilters))
        else:
            path = dialog.getExistingDirectory(self, self.label, self.currentPath)
        if path:
            self.setCurrentPath(path)

    def retrieveHistory(self) -> None:
        history = QtCore.QSettings().value(self.settingKey) if self.settingKey else None
        blocker = QtCore.QSignalBlocker(self._combo)
        path = self.currentPath
        self._combo.clear()
        self._combo.addItems([history] if isinstance(history, str) else list(history or ()))
        self._combo.setEditText(path)
        blocker.unblock()

    def addCurrentPathToHistory(self) -> None:
        if self.settingKey and self.currentPath:
            settings = QtCore.QSettings()
            history = settings.value(self.settingKey) or ()
            history = (history,) if isinstance(history, str) else history
            settings.setValue(self.settingKey, [self.currentPath, *(h for h in history if h != self.currentPath)][:10])
            self.retrieveHistory()


class ctkDirectoryButton(QtWidgets.QWidget):
    """A button that shows a folder and lets another one be chosen."""

    directoryChanged = QtCore.Signal(str)
    directorySelected = QtCore.Signal(str)

    caption = stored("caption", str, "")
    acceptMode = stored("acceptMode", int, 0)
    options = stored("options", int, 1)
    elideMode = stored("elideMode", int, 3)
    text = stored("text", str, "", "_show")
    icon = stored("icon", QtGui.QIcon, QtGui.QIcon(), "_show")

    def __init__(self, parent=None):
        super().__init__(parent)
        self._directory = "."
        self._button = QtWidgets.QPushButton()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._button)
        self._button.clicked.connect(lambda _checked: self.browse())
        self._show()

    def _setDirectory(self, folder: str) -> None:
        path = QtCore.QDir(folder).absolutePath()
        changed = path != QtCore.QDir(self._directory).absolutePath()
        if changed:
            self._directory = path
            self._show()
        self.directorySelected.emit(path)
        if changed:
            self.directoryChanged.emit(path)

    directory = QtCore.Property(str, lambda self: self._directory, _setDirectory)

    def _show(self) -> None:
        self._button.setText(self.text or self._directory)
        self._button.setIcon(self.icon)

    def browse(self) -> None:
        path = QtWidgets.QFileDialog.getExistingDirectory(self, self.caption, self._directory)
        if path:
            self.directory = path


class ctkFittedTextBrowser(QtWidgets.QTextBrowser):
    """A text browser as high as its text, with a part that can be unfolded."""

    collapsed = stored("collapsed", bool, True, "_show")
    showDetailsText = stored("showDetailsText", str, "Show details...", "_show")
    hideDetailsText = stored("hideDetailsText", str, "Hide details.", "_show")
    disableMouseScroll = stored("disableMouseScroll", bool, True)

    _full = ""
    _isHtml = False

    def setCollapsibleText(self, text: str) -> None:
        self._full, self._isHtml = text, "<" in text
        self._show()

    def setCollapsibleHtml(self, text: str) -> None:
        self._full, self._isHtml = text, True
        self._show()

    def setCollapsiblePlainText(self, text: str) -> None:
        self._full, self._isHtml = text, False
        self._show()

    def collapsibleText(self) -> str:
        return self._full

    def _show(self) -> None:
        first, _, rest = self._full.partition("<br>" if self._isHtml else "\n")
        text = first if self.collapsed and rest else self._full
        (self.setHtml if self._isHtml else self.setPlainText)(text)
