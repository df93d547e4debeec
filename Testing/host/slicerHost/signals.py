"""PythonQt's way to connect: obj.connect("clicked(bool)", f) answers True or False and never raises.

Source: PythonQt/src/PythonQtStdDecorators.cpp and PythonQtSignalReceiver.cpp.
"""

import inspect
import re
import sys
import types
import warnings
import weakref
from collections.abc import Callable

from PySide6 import QtCore

from .pythonqt import BOUND, isDeclared

_connectNative = QtCore.QObject.connect
_disconnectNative = QtCore.QObject.disconnect
_connectSignalNative = QtCore.SignalInstance.connect
_disconnectSignalNative = QtCore.SignalInstance.disconnect


def install() -> None:
    """Replace connect and disconnect of QObject and of bound signals."""
    native = QtCore.QObject.__getattribute__
    replaced = {"connect": connect, "disconnect": disconnect}

    def getAttribute(self, name):
        # PySide6 answers these two before it looks at the class, so setting them on the class is not enough.
        if name in replaced:
            return types.MethodType(replaced[name], self)
        value = native(self, name)
        if isinstance(value, BOUND) and not isDeclared(type(self), name):
            raise AttributeError(f"{className(self)} has no attribute named '{name}' in PythonQt")
        return value

    QtCore.QObject.__getattribute__ = getAttribute
    QtCore.SignalInstance.connect = _connectSignal
    QtCore.SignalInstance.disconnect = _disconnectSignal


def connect(self: QtCore.QObject, signal: str, receiver: Callable | QtCore.QObject, slot: str | None = None) -> bool:
    """Connect a signal given by its C++ signature; False and a line on stderr for a signal that does not exist."""
    if isinstance(signal, QtCore.QObject):  # PySide6 itself calls it so, in QTimer.singleShot
        return bool(_connectNative(signal, receiver, slot))
    native = nativeSignature(self, signal)
    if native is None:
        print(f"QObject::connect() signal '{signal}' does not exist on {className(self)}", file=sys.stderr)
        return False
    if slot is not None:
        return bool(_connectNative(self, native, receiver, QtCore.SLOT(slot)))
    return bool(_connectNative(self, native, _relay(receiver)))


def disconnect(self: QtCore.QObject, signal: str, receiver=None, slot: str | None = None) -> bool:
    """Disconnect what connect has connected."""
    native = nativeSignature(self, signal)
    if native is None:
        print(f"QObject::disconnect() signal '{signal}' does not exist on {className(self)}", file=sys.stderr)
        return False
    if slot is not None:
        return bool(_disconnectNative(self, native, receiver, QtCore.SLOT(slot)))
    return bool(_disconnectNative(self, native, _relay(receiver)))


def nativeSignature(instance: QtCore.QObject, signal: str) -> str | None:
    """PySide's name for a signal as Slicer code spells it, or None if the object has no such signal."""
    spelled = QtCore.QMetaObject.normalizedSignature(signal.lstrip("2")).data().decode()
    declared = spelled
    if any(spelled in _spellings.get(cls, ()) for cls in type(instance).__mro__):
        declared = re.sub(r"QList<vtkIdType>|vtkIdType|vtk\w+\*", "PyObject", spelled)
    if instance.metaObject().indexOfSignal(declared) < 0:
        return None
    return QtCore.SIGNAL(declared)


def spells(*signatures: str) -> Callable[[type], type]:
    """Class decorator: how C++ spells the signals that carry MRML nodes or item ids, Python objects for PySide6."""

    def remember(cls: type) -> type:
        _spellings[cls] = frozenset(signatures)
        return cls

    return remember


def className(instance: object) -> str:
    """The C++ name of the class, the nearest one for a class derived in Python."""
    return type(instance).__name__


def _connectSignal(self: QtCore.SignalInstance, receiver: Callable) -> bool:
    return bool(_connectSignalNative(self, _relay(receiver)))


def _disconnectSignal(self: QtCore.SignalInstance, receiver: Callable | None = None) -> bool:
    with warnings.catch_warnings(record=True) as notConnected:
        warnings.simplefilter("always", RuntimeWarning)
        answer = _disconnectSignalNative(self, *([] if receiver is None else [_relay(receiver)]))
    return bool(answer) and not notConnected


def _relay(receiver: Callable) -> Callable:
    """What PySide6 gets to call for a receiver.

    PythonQt cuts arguments for plain functions and methods only; all else gets every argument of the signal. And it
    keeps what it calls alive, while PySide6 forgets a method together with its object.
    """
    owner = getattr(receiver, "__self__", None)
    if not callable(receiver) or (isinstance(receiver, types.FunctionType) and not _takesEverything(receiver)):
        return receiver
    if type(owner).__module__.startswith(__package__):
        return receiver  # the host's own widgets are not to keep themselves alive
    key = (id(receiver), None) if owner is None else (id(owner), getattr(receiver, "__func__", receiver))
    relay = _relays.get(key)
    if relay is None:
        relay = _relays[key] = _makeRelay(receiver)
    return relay


def _takesEverything(function: Callable) -> bool:
    return bool(function.__code__.co_flags & inspect.CO_VARARGS)


def _makeRelay(receiver: Callable) -> Callable:
    function = getattr(receiver, "__func__", None)
    count = None
    if function is not None and hasattr(function, "__code__") and not _takesEverything(function):
        count = function.__code__.co_argcount - 1
    nothing = object()

    def relay(a=nothing, b=nothing, c=nothing, d=nothing):
        given = [value for value in (a, b, c, d) if value is not nothing]
        return receiver(*given[:count])

    return relay


# A relay lives as long as its connection and keeps its receiver alive, so the identity in the key stays good.
_relays: weakref.WeakValueDictionary[tuple, Callable] = weakref.WeakValueDictionary()
_spellings: dict[type, frozenset[str]] = {}
