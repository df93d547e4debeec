"""Single methods that PythonQt answers differently."""

import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets

from . import signals

# Methods that answer a list; PythonQt makes tuples of all lists (PythonQtConversion.cpp).
_LISTS = {
    QtCore.QObject: "children dynamicPropertyNames",
    QtCore.QDir: "entryList",
    QtCore.QItemSelectionModel: "selectedIndexes selectedRows selectedColumns",
    QtCore.QProcess: "arguments",
    QtCore.QProcessEnvironment: "keys toStringList",
    QtCore.QSettings: "allKeys childKeys childGroups",
    QtWidgets.QWidget: "actions",
    QtWidgets.QButtonGroup: "buttons",
    QtWidgets.QDialogButtonBox: "buttons",
    QtWidgets.QFileDialog: "selectedFiles",
    QtWidgets.QListWidget: "selectedItems findItems",
    QtWidgets.QSplitter: "sizes",
    QtWidgets.QTableWidget: "selectedItems findItems selectedRanges",
    QtWidgets.QTreeWidget: "selectedItems findItems",
}


def addMissingNames() -> None:
    """What PythonQt calls by another name than PySide6; to be done before the names are sifted."""
    setattr(QtWidgets.QWidget, "raise", QtWidgets.QWidget.raise_)


def install() -> None:
    """Change the methods in place."""
    QtCore.QObject.name = QtCore.QObject.objectName  # PythonQtClassInfo.cpp maps the one to the other
    QtCore.QObject.className = _className
    QtCore.QObject.delete = _delete
    QtCore.QObject.findChild = findChild
    QtCore.QObject.findChildren = findChildren
    QtCore.QObject.__getattr__ = _getMissing
    for cls, names in _LISTS.items():
        for name in names.split():
            setattr(cls, name, _answeringTuple(getattr(cls, name)))
    QtCore.QSettings.value = _answeringTuple(QtCore.QSettings.value)
    for name in ("getOpenFileName", "getSaveFileName", "getOpenFileNames"):
        setattr(QtWidgets.QFileDialog, name, _withoutFilter(getattr(QtWidgets.QFileDialog, name)))
    _wrapToolTips()


def _answeringTuple(method):
    def answer(self, *arguments):
        value = method(self, *arguments)
        return tuple(value) if isinstance(value, list) else value

    return answer


def _withoutFilter(function):
    """PySide6 answers the chosen filter as well; in C++ that is an argument, which PythonQt leaves alone."""

    def answer(*arguments):
        chosen = function(*arguments)[0]
        return tuple(chosen) if isinstance(chosen, list) else chosen

    return staticmethod(answer)


def _wrapToolTips() -> None:
    """The application turns every plain tool tip into rich text, so that long ones wrap (ctkToolTipTrapper.cpp)."""
    setToolTip = QtWidgets.QWidget.setToolTip

    def setRichToolTip(self, text: str) -> None:
        setToolTip(self, richToolTip(text))

    QtWidgets.QWidget.setToolTip = setRichToolTip
    QtWidgets.QWidget.toolTip.setter = setRichToolTip


def richToolTip(text: str) -> str:
    """What a widget's tool tip reads back as."""
    if not text or QtGui.Qt.mightBeRichText(text):
        return text
    return QtGui.Qt.convertFromPlainText(text, QtCore.Qt.WhiteSpaceNormal)


def _className(self) -> str:
    return self.metaObject().className()


def _delete(self) -> None:
    shiboken6.delete(self)


def _getMissing(self, name: str):
    """exec_ for exec, dynamic properties and children by their name, as PythonQtInstanceWrapper.cpp has them."""
    if not name.startswith("__"):
        if name.endswith("_") and hasattr(type(self), name[:-1]):
            return getattr(self, name[:-1])
        if name.encode() in self.dynamicPropertyNames():
            return self.property(name)
        for child in self.children():
            if child.objectName == name:
                return child
        constant = getattr(type(self), name, None)
        if constant is not None:
            return constant
    raise AttributeError(f"{signals.className(self)} has no attribute named '{name}'")


def findChild(self, kind, name: str | None = None):
    """First descendant of a class, given as class or by its C++ name."""
    found = findChildren(self, kind, name)
    return found[0] if found else None


def findChildren(self, kind, name: str | None = None) -> tuple:
    """Descendants of a class, given as class or by its C++ name."""
    found = []
    for child in self.children():
        fits = child.inherits(kind) if isinstance(kind, str) else isinstance(child, kind)
        if fits and (name is None or child.objectName == name):
            found.append(child)
        found.extend(findChildren(child, kind, name))
    return tuple(found)
