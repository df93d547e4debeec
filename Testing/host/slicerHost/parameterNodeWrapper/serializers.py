"""How values of each type are written into a parameter node and read back."""

import enum
import pathlib
import typing
from collections.abc import Callable

import slicer

from .annotations import split
from .validators import IsInstance, NotNone, Validator

PATHS = (pathlib.Path, pathlib.PosixPath, pathlib.WindowsPath)
PATHS += (pathlib.PurePath, pathlib.PurePosixPath, pathlib.PureWindowsPath)


class Serializer:
    """Writes one value, as text, under one name."""

    def __init__(self, validators: list[Validator]):
        self.validators = validators

    def default(self):
        raise NotImplementedError

    def represents(self, valueType: type) -> bool:
        """True if values of that class may be written; needed to choose among the types of a union."""
        raise NotImplementedError

    def validate(self, value) -> None:
        for validator in self.validators:
            validator.validate(value)

    def isIn(self, node, name: str) -> bool:
        return bool(node.HasParameter(name))

    def write(self, node, name: str, value) -> None:
        raise NotImplementedError

    def read(self, node, name: str):
        raise NotImplementedError

    def remove(self, node, name: str) -> None:
        node.UnsetParameter(name)


class TextSerializer(Serializer):
    """For every type whose text says it all: int, float, str, bool, paths."""

    def __init__(self, kind: type, default, read: Callable[[str], object], accepts: type | tuple[type, ...]):
        super().__init__([NotNone(), IsInstance(accepts)])
        self._kind, self._default, self._read = kind, default, read

    def default(self):
        return self._default

    def represents(self, valueType: type) -> bool:
        return valueType is self._kind or (self._kind in PATHS and valueType in PATHS)

    def write(self, node, name, value):
        self.validate(value)
        node.SetParameter(name, str(value))

    def read(self, node, name):
        return self._read(node.GetParameter(name))


class NoneSerializer(Serializer):
    """The None of Optional."""

    def default(self):
        return None

    def represents(self, valueType):
        return valueType is type(None)

    def write(self, node, name, value):
        node.SetParameter(name, "True")

    def read(self, node, name):
        return None


class NodeSerializer(Serializer):
    """A node reference; the empty parameter of the same name says that a value, maybe None, is there."""

    def __init__(self, kind: type):
        super().__init__([IsInstance(kind)])

    def default(self):
        return None

    def represents(self, valueType):
        return issubclass(valueType, slicer.vtkMRMLNode)

    def write(self, node, name, value):
        self.validate(value)
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, None if value is None else value.GetID())

    def read(self, node, name):
        return node.GetNodeReference(name)

    def remove(self, node, name):
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class EnumSerializer(Serializer):
    """An enumeration, stored by name."""

    def __init__(self, kind: type[enum.Enum]):
        super().__init__([IsInstance(kind)])
        self._kind = kind

    def default(self):
        return next(iter(self._kind))

    def represents(self, valueType):
        return issubclass(valueType, enum.Enum)

    def write(self, node, name, value):
        self.validate(value)
        node.SetParameter(name, value.name)

    def read(self, node, name):
        try:
            return self._kind[node.GetParameter(name)]
        except KeyError as error:
            raise ValueError(f"{error} in the parameter node is no name of {self._kind!r}") from error


class UnionSerializer(Serializer):
    """One of several types; the place in the union is part of the name."""

    def __init__(self, options: list[Serializer]):
        super().__init__([])
        self._options = options

    def default(self):
        optional = len(self._options) == 2 and isinstance(self._options[1], NoneSerializer)
        return None if optional else self._options[0].default()

    def validate(self, value):
        super().validate(value)
        self._choose(value)

    def _choose(self, value) -> int:
        refusal: Exception = TypeError(f"{value!r} of type {type(value)} is of no type of the union")
        for index, option in enumerate(self._options):
            if option.represents(type(value)):
                try:
                    option.validate(value)
                    return index
                except (TypeError, ValueError) as error:
                    refusal = error
        raise refusal

    def isIn(self, node, name):
        return any(option.isIn(node, f"{name}.{index}") for index, option in enumerate(self._options))

    def write(self, node, name, value):
        index = self._choose(value)
        with slicer.util.NodeModify(node):
            self.remove(node, name)
            self._options[index].write(node, f"{name}.{index}", value)

    def read(self, node, name):
        for index, option in enumerate(self._options):
            if option.isIn(node, f"{name}.{index}"):
                return option.read(node, f"{name}.{index}")
        raise KeyError(f"There is no value of the name {name}")

    def remove(self, node, name):
        for index, option in enumerate(self._options):
            option.remove(node, f"{name}.{index}")


def serializerFor(annotated: typing.Any) -> tuple[Serializer, list]:
    """The serializer of a type with its validators, and the annotations that are none."""
    from . import collectionsOf, packs

    kind, annotations = split(annotated)
    validators = [annotation for annotation in annotations if isinstance(annotation, Validator)]
    serializer = _scalar(kind) or collectionsOf.create(kind) or packs.create(kind)
    if serializer is None:
        raise TypeError(f"A parameter cannot be of the type {kind}")
    serializer.validators = serializer.validators + validators
    return serializer, [annotation for annotation in annotations if annotation not in validators]


def _scalar(kind: typing.Any) -> Serializer | None:
    if kind is bool:
        return TextSerializer(bool, False, lambda text: text == "True", bool)
    if kind is int:
        return TextSerializer(int, 0, int, int)
    if kind is float:
        return TextSerializer(float, 0, float, (int, float))
    if kind is str:
        return TextSerializer(str, "", str, str)
    if kind in PATHS:
        return TextSerializer(kind, kind(), kind, kind)
    if kind is type(None):
        return NoneSerializer([])
    if typing.get_origin(kind) is typing.Union:
        return UnionSerializer([serializerFor(option)[0] for option in typing.get_args(kind)])
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return EnumSerializer(kind)
    if isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode):
        return NodeSerializer(kind)
    return None
