"""Gives PySide6 classes the manners of PythonQt.

Every Qt property becomes an attribute, the setters stay, whatever the application's Qt 5.15 does not show disappears,
and a new attribute on a C++ object is refused. The classes are changed in place, because Qt itself hands out objects
(a spin box's line edit, a window's layout) that no subclass of ours could reach.
"""

import enum
import inspect
from collections.abc import Callable, Iterable

from PySide6 import QtCore, QtGui, QtWidgets

from . import facts

_KEEP = frozenset({"staticMetaObject"})  # PySide6 itself needs it
BOUND = (QtCore.SignalInstance, QtCore.MetaFunction)  # PySide6 keeps these as attributes of the object
_dressed: set[type] = set()


class PropertyAttribute:
    """A Qt property, read and written without parentheses."""

    def __init__(self, name: str, getter: Callable | None, setter: Callable | None):
        self.name = name
        self.getter = getter
        self.setter = setter

    def __get__(self, instance, owner=None):
        if instance is None:
            return self
        value = self.getter(instance) if self.getter is not None else instance.property(self.name)
        return tuple(value) if isinstance(value, list) else value

    def __set__(self, instance, value) -> None:
        metaObject = instance.metaObject()
        property_ = metaObject.property(metaObject.indexOfProperty(self.name))
        if not property_.isWritable():
            raise AttributeError(f"Property '{self.name}' of {type(instance).__name__} object is not writable")
        try:
            if self.setter is not None:
                self.setter(instance, value)
                return
            accepted = instance.setProperty(self.name, value)
        except (TypeError, ValueError) as error:
            raise AttributeError(self._refusal(property_, value)) from error
        if not accepted:
            raise AttributeError(self._refusal(property_, value))

    def _refusal(self, property_, value) -> str:
        kind = type(value).__name__
        return f"Property '{self.name}' of type '{property_.typeName()}' does not accept an object of type {kind}"


class Hidden:
    """A name PySide6 has and PythonQt does not.

    A method is found and refuses to be called: before Qt calls a virtual function it looks for an override in Python,
    and does not expect an error there.
    """

    def __init__(self, name: str, isMethod: bool):
        self.name = name
        self.isMethod = isMethod

    def __get__(self, instance, owner=None):
        if self.isMethod:
            return HiddenMethod(f"{(owner or type(instance)).__name__}.{self.name}")
        raise AttributeError(f"{(owner or type(instance)).__name__} has no attribute named '{self.name}' in PythonQt")

    def __set__(self, instance, value) -> None:
        raise AttributeError(f"{type(instance).__name__} has no attribute named '{self.name}' in PythonQt")


class HiddenMethod:
    """What one gets for a method that PythonQt does not have."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, *arguments, **named):
        raise AttributeError(f"There is no method {self.name} in PythonQt")


def pysideClass(name: str) -> type:
    """The PySide6 class of a name, from whichever of its modules has it."""
    for module in (QtCore, QtGui, QtWidgets):
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(f"PySide6 has no class {name}")


def dress(names: Iterable[str]) -> None:
    """Dress the named classes and all their bases."""
    classes = {pysideClass(name): facts.surface(f"qt.{name}") if facts.knows(f"qt.{name}") else None for name in names}
    classes[QtWidgets.QApplication] = facts.application()
    bases = {base for cls in classes for base in cls.__mro__ if base.__module__.startswith("PySide6")}
    for cls in sorted(bases - _dressed, key=lambda cls: len(cls.__mro__)):
        own = classes.get(cls)
        below = [own] if own else [known for other, known in classes.items() if known and issubclass(other, cls)]
        below = [known for known in below if known.complete]
        _dressOne(cls, below)
        _dressed.add(cls)


def _dressOne(cls: type, known: list[facts.Surface]) -> None:
    if known:
        _hideUnknown(cls, frozenset().union(*(surface.names for surface in known)))
    if issubclass(cls, QtCore.QObject):
        attributes = frozenset().union(*(surface.attributes for surface in known)) if known else None
        _turnPropertiesIntoAttributes(cls, attributes)
    cls.__setattr__ = _setAttribute


def _hideUnknown(cls: type, allowed: frozenset[str]) -> None:
    properties = _propertyNames(cls)
    for name, value in list(vars(cls).items()):
        if name.startswith("_") or name in _KEEP or name in allowed or _isEnumeration(value):
            continue
        if name.removesuffix("_") in allowed:
            delattr(cls, name)  # exec_ is found as exec, see patches.py
            continue
        setattr(cls, name, Hidden(name, inspect.isroutine(value) and name not in properties))


def _isEnumeration(value: object) -> bool:
    return isinstance(value, enum.Enum) or (isinstance(value, type) and issubclass(value, enum.Enum))


def _turnPropertiesIntoAttributes(cls: type, attributes: frozenset[str] | None) -> None:
    for index, name in enumerate(_propertyNames(cls)):
        inherited = index < cls.staticMetaObject.propertyOffset()
        getter = vars(cls).get(name)
        # A subclass that overrides a getter (QPushButton.sizeHint) would show the method again.
        if (inherited and not callable(getter)) or (attributes is not None and name not in attributes):
            continue
        setter = _instanceMethod(cls, f"set{name[0].upper()}{name[1:]}")
        setattr(cls, name, PropertyAttribute(name, _instanceMethod(cls, name), setter))


def _propertyNames(cls: type) -> list[str]:
    """Names of all Qt properties, the inherited ones first."""
    if not issubclass(cls, QtCore.QObject):
        return []
    metaObject = cls.staticMetaObject
    return [metaObject.property(index).name() for index in range(metaObject.propertyCount())]


def _instanceMethod(cls: type, name: str) -> Callable | None:
    """A method as the class has it; None for static ones, such as those of QApplication."""
    found = inspect.getattr_static(cls, name, None)
    return None if isinstance(found, staticmethod | Hidden | PropertyAttribute) else found


def isDeclared(cls: type, name: str) -> bool:
    """False for the private slots and signals that PySide6 digs out of the meta-object, and for hidden names."""
    found = inspect.getattr_static(cls, name, None)
    return found is not None and not isinstance(found, Hidden)


def _setAttribute(self, name: str, value) -> None:
    cls = type(self)
    descriptor = inspect.getattr_static(cls, name, None)
    if isinstance(value, BOUND):
        if isDeclared(cls, name):
            self.__dict__[name] = value
    elif isinstance(descriptor, QtCore.Property):
        if descriptor.fset is None:
            raise AttributeError(f"Property '{name}' of {cls.__name__} object is not writable")
        descriptor.fset(self, value)
    elif hasattr(type(descriptor), "__set__"):
        descriptor.__set__(self, value)
    elif isinstance(self, QtCore.QObject) and name.encode() in self.dynamicPropertyNames():
        self.setProperty(name, value)
    elif not cls.__module__.startswith("PySide6"):
        self.__dict__[name] = value  # a class derived in Python
    elif descriptor is not None:
        raise AttributeError(f"Slot or signal '{name}' can not be overwritten on {cls.__name__} object")
    else:
        raise AttributeError(
            f"'{name}' does not exist on {cls.__name__} and creating new attributes on C++ objects is not allowed"
        )
