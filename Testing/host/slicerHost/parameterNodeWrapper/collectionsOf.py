"""Lists, tuples and dictionaries of parameters; a change in the list is a change in the node."""

import collections.abc
import typing

import slicer

from .serializers import Serializer, serializerFor
from .validators import IsInstance, NotNone


class ObservedList(collections.abc.MutableSequence):
    """A list that writes itself to the parameter node when it changes."""

    def __init__(self, node, serializer: "ListSerializer", name: str, values: list):
        self._node, self._serializer, self._name, self._values = node, serializer, name, values

    def _save(self) -> None:
        try:
            self._serializer.write(self._node, self._name, self._values)
        finally:
            self._values = self._serializer.read(self._node, self._name)._values

    def __repr__(self) -> str:
        return f"ObservedList({self._values})"

    def __eq__(self, other) -> bool:
        return self._values == (other._values if isinstance(other, ObservedList) else other)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index):
        return self._values[index]

    def __setitem__(self, index, value) -> None:
        self._values[index] = value
        self._save()

    def __delitem__(self, index) -> None:
        del self._values[index]
        self._save()

    def insert(self, index, value) -> None:
        self._values.insert(index, value)
        self._save()


class ObservedDict(collections.abc.MutableMapping):
    """A dictionary that writes itself to the parameter node when it changes."""

    def __init__(self, node, serializer: "DictSerializer", name: str, values: dict):
        self._node, self._serializer, self._name, self._values = node, serializer, name, values

    def _save(self) -> None:
        try:
            self._serializer.write(self._node, self._name, self._values)
        finally:
            self._values = self._serializer.read(self._node, self._name)._values

    def __repr__(self) -> str:
        return f"ObservedDict({self._values})"

    def __eq__(self, other) -> bool:
        return self._values == (other._values if isinstance(other, ObservedDict) else other)

    def __len__(self) -> int:
        return len(self._values)

    def __iter__(self):
        return iter(self._values)

    def __getitem__(self, key):
        return self._values[key]

    def get(self, key):
        """Without a default, as in the application."""
        return self._values.get(key)

    def pop(self, key):
        """Without a default, as in the application."""
        value = self._values.pop(key)
        self._save()
        return value

    def __setitem__(self, key, value) -> None:
        self._values[key] = value
        self._save()

    def __delitem__(self, key) -> None:
        del self._values[key]
        self._save()


class ListSerializer(Serializer):
    """Length under name.len, elements under name.0, name.1 and so on."""

    def __init__(self, element: Serializer):
        super().__init__([NotNone()])
        self._element = element

    def default(self):
        return []

    def represents(self, valueType):
        return issubclass(valueType, list | ObservedList)

    def isIn(self, node, name):
        return bool(node.HasParameter(f"{name}.len"))

    def write(self, node, name, value):
        self.validate(value)
        for element in value:
            self._element.validate(element)
        before = int(node.GetParameter(f"{name}.len")) if self.isIn(node, name) else 0
        with slicer.util.NodeModify(node):
            for index, element in enumerate(value):
                self._element.write(node, f"{name}.{index}", element)
            node.SetParameter(f"{name}.len", str(len(value)))
            for index in range(len(value), before):
                self._element.remove(node, f"{name}.{index}")

    def read(self, node, name):
        count = int(node.GetParameter(f"{name}.len"))
        return ObservedList(node, self, name, [self._element.read(node, f"{name}.{index}") for index in range(count)])

    def remove(self, node, name):
        if self.isIn(node, name):
            for index in range(int(node.GetParameter(f"{name}.len"))):
                self._element.remove(node, f"{name}.{index}")
            node.UnsetParameter(f"{name}.len")


class TupleSerializer(Serializer):
    """Elements under name.0, name.1 and so on."""

    def __init__(self, elements: list[Serializer]):
        super().__init__([NotNone(), IsInstance(tuple)])
        self._elements = elements

    def default(self):
        return tuple(element.default() for element in self._elements)

    def represents(self, valueType):
        return issubclass(valueType, tuple)

    def validate(self, value):
        super().validate(value)
        if len(value) != len(self._elements):
            raise ValueError(f"The tuple must have {len(self._elements)} elements, it has {len(value)}")
        for element, part in zip(self._elements, value, strict=True):
            element.validate(part)

    def isIn(self, node, name):
        return self._elements[0].isIn(node, f"{name}.0")

    def write(self, node, name, value):
        self.validate(value)
        with slicer.util.NodeModify(node):
            for index, (element, part) in enumerate(zip(self._elements, value, strict=True)):
                element.write(node, f"{name}.{index}", part)

    def read(self, node, name):
        return tuple(element.read(node, f"{name}.{index}") for index, element in enumerate(self._elements))

    def remove(self, node, name):
        for index, element in enumerate(self._elements):
            element.remove(node, f"{name}.{index}")


class DictSerializer(Serializer):
    """Stored as a list of pairs."""

    def __init__(self, key: Serializer, value: Serializer):
        super().__init__([NotNone()])
        self._pairs = ListSerializer(TupleSerializer([key, value]))

    def default(self):
        return {}

    def represents(self, valueType):
        return issubclass(valueType, dict | ObservedDict)

    def isIn(self, node, name):
        return self._pairs.isIn(node, name)

    def write(self, node, name, value):
        self.validate(value)
        self._pairs.write(node, name, list(value.items()))

    def read(self, node, name):
        return ObservedDict(node, self, name, dict(self._pairs.read(node, name)))

    def remove(self, node, name):
        self._pairs.remove(node, name)


def create(kind: typing.Any) -> Serializer | None:
    """The serializer of list[T], tuple[A, B] or dict[K, V]; None for other types."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    elements = [serializerFor(argument)[0] for argument in arguments] if origin in (list, tuple, dict) else []
    if origin is list:
        return ListSerializer(elements[0])
    if origin is tuple:
        return TupleSerializer(elements)
    if origin is dict:
        return DictSerializer(*elements)
    return None
