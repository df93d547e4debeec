"""@parameterNodeWrapper: typed attributes over a parameter node, and their connection to widgets."""

import weakref

import qt
import slicer
import vtk

from .annotations import bareType
from .connectors import createGuiConnector
from .guiConnector import GuiConnector
from .packs import Member, isParameterPack, membersOf

SlicerParameterNamePropertyName = "SlicerParameterName"


class _Slot:
    """One parameter in one node; keeps the value read last until the node changes, as the application does."""

    def __init__(self, member: Member, name: str, node):
        self.member, self.name, self.node = member, name, node
        if not member.serializer.isIn(node, name):
            member.serializer.write(node, name, member.default.value)
        self._writing = False
        self._value = self._read()
        reference = weakref.ref(self)
        self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: _onModified(reference))

    def __del__(self):
        if hasattr(self, "_tag"):
            self.node.RemoveObserver(self._tag)

    def _read(self):
        if not self.member.serializer.isIn(self.node, self.name):
            self.member.serializer.write(self.node, self.name, self.member.default.value)
        return self.member.serializer.read(self.node, self.name)

    def read(self):
        return self._value

    def write(self, value) -> None:
        self._writing = True
        try:
            with slicer.util.NodeModify(self.node):
                self.member.serializer.write(self.node, self.name, value)
                self._value = self._read()
        finally:
            self._writing = False

    def refresh(self) -> None:
        if not self._writing:
            self._value = self._read()


def _onModified(reference: weakref.ref) -> None:
    slot = reference()
    if slot is not None:
        slot.refresh()


class _Wrapper:
    """What the decorator adds to a class."""

    def __init__(self, parameterNode, prefix: str | None = None):
        self.parameterNode = parameterNode
        self._slots = {name: _Slot(m, f"{prefix or ''}{name}", parameterNode) for name, m in self.allParameters.items()}
        self._connections: dict[int, tuple[dict[str, GuiConnector], int]] = {}
        self._nextTag = 0
        self._updatingGui = False

    def default(self, name: str):
        self._check(name)
        return self._slots[name].member.default

    def isCached(self, name: str) -> bool:
        self._check(name)
        return True

    @classmethod
    def dataType(cls, name: str):
        cls._check(name)
        top, _, rest = name.partition(".")
        kind = cls.allParameters[top].unalteredType
        return bareType(kind).dataType(rest) if rest else kind

    def getValue(self, name: str):
        self._check(name)
        top, _, rest = name.partition(".")
        value = self._slots[top].read()
        return value.getValue(rest) if rest else value

    def setValue(self, name: str, value) -> None:
        self._check(name)
        top, _, rest = name.partition(".")
        if rest:
            self._slots[top].read().setValue(rest, value)
        else:
            self._slots[top].write(value)

    @classmethod
    def _check(cls, name: str) -> None:
        top, _, rest = name.partition(".")
        if top not in cls.allParameters:
            raise ValueError(f"There is no parameter '{top}'; there are {', '.join(cls.allParameters)}")
        while rest:
            pack = bareType(cls.allParameters[top].unalteredType)
            top, _, rest = rest.partition(".")
            if not isParameterPack(pack) or top not in pack.allParameters:
                raise ValueError(f"{pack} has no parameter '{top}'")
            cls = pack

    def connectGui(self, gui) -> int:
        """Connect every widget that names its parameter in the property SlicerParameterName."""
        widgets = gui.findChildren(qt.QWidget) if isinstance(gui, qt.QWidget) else vars(gui).values()
        mapping = {}
        for widget in widgets:
            name = widget.property(SlicerParameterNamePropertyName)
            if name:
                mapping[name] = widget
        return self.connectParametersToGui(mapping)

    def connectParametersToGui(self, mapping: dict) -> int:
        """Connect widgets by hand: parameter name to widget or connector."""
        for name in mapping:
            self._check(name)
        connectors = {
            name: widget if isinstance(widget, GuiConnector) else createGuiConnector(widget, self.dataType(name))
            for name, widget in mapping.items()
        }
        tag, self._nextTag = self._nextTag, self._nextTag + 1
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.onChanged(self._fromGui(name, connector))
        self._connections[tag] = (connectors, self.AddObserver(vtk.vtkCommand.ModifiedEvent, self._toGui))
        return tag

    def disconnectGui(self, tag: int) -> None:
        """Undo a connection; an unknown tag is no error."""
        if tag in self._connections:
            connectors, observer = self._connections.pop(tag)
            for connector in connectors.values():
                connector.onChanged(None)
            self.RemoveObserver(observer)

    def _fromGui(self, name: str, connector: GuiConnector):
        def changed():
            with slicer.util.NodeModify(self):
                if not self._updatingGui:
                    self.setValue(name, connector.read())

        return changed

    def _toGui(self, *_event) -> None:
        if self._updatingGui:
            return
        self._updatingGui = True
        try:
            with slicer.util.NodeModify(self):
                for connectors, _ in list(self._connections.values()):
                    for name, connector in connectors.items():
                        connector.write(self.getValue(name))
        finally:
            self._updatingGui = False

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified) -> None:
        self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event, callback, priority: float = 0.0) -> int:
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()


def isParameterNodeWrapper(thing: object) -> bool:
    """True for a wrapper class and for its instances."""
    return getattr(thing, "_is_parameter_node_wrapper", False)


def parameterNodeWrapper(cls: type | None = None):
    """Class decorator; usable with and without parentheses."""
    return parameterNodeWrapper if cls is None else _wrap(cls)


def _wrap(cls: type) -> type:
    members = membersOf(cls)
    for name in ("allParameters", "_is_parameter_node_wrapper", *vars(_Wrapper)):
        if not name.startswith("__") and (hasattr(cls, name) or name in members):
            raise ValueError(f"The name '{name}' is reserved in a parameterNodeWrapper")
    for name, value in vars(_Wrapper).items():
        if not name.startswith("__") or name == "__init__":
            setattr(cls, name, value)
    cls.allParameters = members
    cls._is_parameter_node_wrapper = True
    for name in members:
        setattr(cls, name, _parameterProperty(name))
    return cls


def _parameterProperty(name: str) -> property:
    return property(lambda self: self._slots[name].read(), lambda self, value: self._slots[name].write(value))
