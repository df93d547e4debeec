"""Annotations that say more than the type, and the way to take them apart."""

import types
import typing
from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Default:
    """The value a parameter starts with, or a function that makes it."""

    _value: object = None
    generator: Callable[[], object] | None = None

    @property
    def value(self) -> object:
        return self.generator() if self.generator else self._value


@dataclass(frozen=True)
class Decimals:
    """Decimal places of the widget."""

    value: int


@dataclass(frozen=True)
class SingleStep:
    """Step of the widget."""

    value: float


def split(annotated: typing.Any) -> tuple[typing.Any, list]:
    """The bare type, with unions in one spelling, and its annotations."""
    annotations: list = []
    if typing.get_origin(annotated) is typing.Annotated:
        annotated, *annotations = typing.get_args(annotated)
    if isinstance(annotated, types.UnionType):
        annotated = typing.Union[typing.get_args(annotated)]  # noqa: UP007
    return annotated, annotations


def bareType(annotated: typing.Any) -> typing.Any:
    """The type without its annotations."""
    return split(annotated)[0]


def first(annotations: Iterable, kind: type):
    """The first annotation of a class, or None."""
    return next((annotation for annotation in annotations if isinstance(annotation, kind)), None)


def nodeTypes(annotated: typing.Any) -> tuple[str, ...]:
    """Class names of a MRML node type or a union of such; empty for any other type."""
    import slicer

    bare = bareType(annotated)
    isUnion = typing.get_origin(bare) is typing.Union
    options = [bareType(option) for option in typing.get_args(bare)] if isUnion else [bare]
    nodes = [option for option in options if isinstance(option, type) and issubclass(option, slicer.vtkMRMLNode)]
    if len(nodes) + (type(None) in options) != len(options):
        return ()
    return tuple(node.__name__ for node in nodes)
