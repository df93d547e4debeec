"""Properties that a stand-in widget only has to remember."""

from PySide6 import QtCore


def stored(name: str, kind: type | str, default, changed: str | None = None, writable: bool = True) -> QtCore.Property:
    """A Qt property kept in the widget; `changed` names a method to call after a new value.

    kind: the Qt type, "QStringList" for a list of strings (which reads back as a tuple, as in PythonQt).
    """
    key = f"_{name}"

    def read(self):
        value = self.__dict__.get(key, default)
        return tuple(value) if kind == "QStringList" else value

    def write(self, value):
        value = convert(kind, value, name)
        if value == read(self):
            return
        self.__dict__[key] = value
        if changed:
            getattr(self, changed)()

    return QtCore.Property(kind, read, write if writable else None)


def setter(name: str):
    """The method setName of a property, for those properties that have one in the application."""

    def set_(self, value):
        setattr(self, name, value)

    set_.__name__ = f"set{name[0].upper()}{name[1:]}"
    return set_


def convert(kind: type | str, value, name: str):
    """The value as the property keeps it; AttributeError for what PythonQt would not take."""
    if kind == "QStringList":
        if isinstance(value, str) or not all(isinstance(text, str) for text in value):
            raise AttributeError(f"Property '{name}' of type 'QStringList' does not accept {value!r}")
        return tuple(value)
    if kind is float and isinstance(value, int):
        return float(value)
    if kind is int and hasattr(value, "value"):
        return int(value.value)  # an enumeration
    if not isinstance(kind, type) or isinstance(value, kind):
        return value
    raise AttributeError(f"Property '{name}' of type '{kind.__name__}' does not accept {value!r}")
