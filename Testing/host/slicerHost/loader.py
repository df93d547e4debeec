"""Loads .ui files strictly.

The application's loader skips what it does not know with a warning on the console. Here a widget class, property or
connection that does not exist raises, because nobody reads that warning.
"""

import xml.etree.ElementTree as ElementTree

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import signals

_customWidgets: dict[str, type[QtWidgets.QWidget]] = {}


class UiError(RuntimeError):
    """A .ui file says something that the application does not know."""


def registerCustomWidgets(classes: tuple[type[QtWidgets.QWidget], ...]) -> None:
    """Make ctk and qMRML stand-ins known to the loader."""
    _customWidgets.update({cls.__name__: cls for cls in classes})


class UiLoader(QtUiTools.QUiLoader):
    """qt.QUiLoader as in the application, where the designer plugins of CTK and Slicer are loaded."""

    def __init__(self, parent: QtCore.QObject | None = None):
        super().__init__(parent)
        for cls in _customWidgets.values():
            self.registerCustomWidget(cls)

    def createWidget(self, className: str, parent=None, name: str = ""):
        if className in _customWidgets:
            widget = _customWidgets[className](parent)
            widget.setObjectName(name)
            return widget
        if className not in self.availableWidgets():
            raise UiError(f"Widget class {className} of {name} is unknown")
        return super().createWidget(className, parent, name)

    def load(self, device: QtCore.QIODevice, parent=None):
        """The form's top widget. Flags of stand-ins and all connections are set here, Qt knows nothing of them."""
        tree = ElementTree.fromstring(bytes(device.readAll().data()))
        connections = _takeConnections(tree)
        flags = _takeFlags(tree)
        self._checkClasses(tree)
        buffer = QtCore.QBuffer()
        buffer.setData(ElementTree.tostring(tree))
        buffer.open(QtCore.QIODevice.ReadOnly)
        top = super().load(buffer, parent)
        if top is None:
            raise UiError(f"The form cannot be loaded: {self.errorString()}")
        named = {widget.objectName: widget for widget in (top, *top.findChildren(QtCore.QObject))}
        for element in tree.iter("widget"):
            _checkProperties(element, named[element.get("name")])
        for name, property_, value in flags:
            _setProperty(named[name], property_, value)
        for widget in named.values():
            if isinstance(widget, QtWidgets.QWidget) and widget.toolTip:
                widget.toolTip = widget.toolTip  # what Qt has set has not passed the tool tip wrapper
        for connection in connections:
            _connect(connection, named)
        return top

    def _checkClasses(self, tree: ElementTree.Element) -> None:
        known = {*self.availableWidgets(), *_customWidgets, "Line"}
        names: set[str] = set()
        for element in tree.iter("widget"):
            if element.get("class") not in known:
                raise UiError(f"Widget class {element.get('class')} of {element.get('name')} is unknown")
            if element.get("name") in names:
                raise UiError(f"Two widgets are called {element.get('name')}")
            names.add(element.get("name"))


def _takeConnections(tree: ElementTree.Element) -> list[dict[str, str]]:
    found = []
    for connections in tree.findall("connections"):
        for connection in connections:
            found.append({part.tag: part.text for part in connection if part.tag != "hints"})
        tree.remove(connections)
    return found


def _takeFlags(tree: ElementTree.Element) -> list[tuple[str, str, int]]:
    """Enumerations and flags of stand-ins, whose properties are plain numbers."""
    found = []
    for widget in tree.iter("widget"):
        cls = _customWidgets.get(widget.get("class"))
        for element in list(widget.findall("property")) if cls else []:
            value = element.find("set") if element.find("set") is not None else element.find("enum")
            if value is None or not any(element.get("name") in vars(base) for base in _standIns(cls)):
                continue
            number = 0
            for part in value.text.split("|"):
                number |= _constant(cls, part)
            found.append((widget.get("name"), element.get("name"), number))
            widget.remove(element)
    return found


def _standIns(cls: type) -> list[type]:
    return [base for base in cls.__mro__ if base.__module__.startswith("slicerHost")]


def _constant(cls: type, text: str) -> int:
    scope, _, name = text.rpartition("::")
    owner = getattr(QtCore, scope) if scope == "Qt" else getattr(QtWidgets, scope, cls)
    if not hasattr(owner, name):
        raise UiError(f"{text} is unknown")
    value = getattr(owner, name)
    return int(getattr(value, "value", value))


def _checkProperties(element: ElementTree.Element, widget: QtWidgets.QWidget) -> None:
    metaObject = widget.metaObject()
    for property_ in element.findall("property"):
        name = property_.get("name")
        dynamic = property_.get("stdset") == "0"
        if not dynamic and metaObject.indexOfProperty(name) < 0 and not _isDesignerOnly(element, name):
            raise UiError(f"{element.get('class')} {element.get('name')} has no property {name}")
        if not dynamic and not _isVisible(type(widget), name):
            raise UiError(f"{element.get('class')} {element.get('name')} has no property {name} in Qt 5.15")


def _isDesignerOnly(element: ElementTree.Element, name: str) -> bool:
    """Properties that uic understands and the class does not have."""
    return element.get("class") == "Line" and name == "orientation"


def _isVisible(cls: type, name: str) -> bool:
    try:
        getattr(cls, name)
    except AttributeError:
        return False
    return True


def _setProperty(widget: QtWidgets.QWidget, name: str, value: int) -> None:
    setattr(widget, name, value)


def _connect(connection: dict[str, str], named: dict[str, QtCore.QObject]) -> None:
    try:
        sender, receiver = named[connection["sender"]], named[connection["receiver"]]
    except KeyError as error:
        raise UiError(f"A connection names {error}, which the form does not have") from error
    slot = connection["slot"].partition("(")[0]
    method = getattr(receiver, slot, None)
    if not callable(method):
        raise UiError(f"{signals.className(receiver)} {receiver.objectName} has no slot {connection['slot']}")
    if not signals.connect(sender, connection["signal"], method):
        raise UiError(f"{signals.className(sender)} {sender.objectName} has no signal {connection['signal']}")
