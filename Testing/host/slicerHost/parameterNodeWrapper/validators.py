"""Conditions on a parameter's value, checked when it is assigned."""

import abc
from collections.abc import Container
from dataclasses import dataclass


class Validator(abc.ABC):
    """Base of all validators."""

    @abc.abstractmethod
    def validate(self, value) -> None:
        """Raise ValueError for a value that must not be."""


@dataclass(frozen=True)
class NotNone(Validator):
    """A value has to be there."""

    def validate(self, value) -> None:
        if value is None:
            raise ValueError("The value must not be None")


@dataclass(frozen=True)
class IsInstance(Validator):
    """The value is None or of a class."""

    classtype: type | tuple[type, ...]

    def validate(self, value) -> None:
        if value is not None and not isinstance(value, self.classtype):
            raise TypeError(f"The value must be of type {self.classtype}, it is {value!r} of type {type(value)}")


@dataclass(frozen=True)
class WithinRange(Validator):
    """minimum <= value <= maximum."""

    minimum: float
    maximum: float

    def validate(self, value) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"The value must be within [{self.minimum}, {self.maximum}], it is {value}")


@dataclass(frozen=True)
class Minimum(Validator):
    """value >= minimum."""

    minimum: float

    def validate(self, value) -> None:
        if value < self.minimum:
            raise ValueError(f"The value must be {self.minimum} or more, it is {value}")


@dataclass(frozen=True)
class Maximum(Validator):
    """value <= maximum."""

    maximum: float

    def validate(self, value) -> None:
        if value > self.maximum:
            raise ValueError(f"The value must be {self.maximum} or less, it is {value}")


@dataclass(frozen=True)
class Choice(Validator):
    """The value is one of a list."""

    choices: Container

    def validate(self, value) -> None:
        if value not in self.choices:
            raise ValueError(f"The value must be one of {self.choices}, it is {value!r}")


@dataclass(frozen=True)
class Exclude(Validator):
    """The value is none of a list."""

    excludedValues: Container

    def validate(self, value) -> None:
        if value in self.excludedValues:
            raise ValueError(f"The value must not be one of {self.excludedValues}, it is {value!r}")


@dataclass(frozen=True)
class RangeBounds(Validator):
    """A FloatRange lies within bounds."""

    minimum: float
    maximum: float

    def validate(self, value) -> None:
        if value.minimum < self.minimum or value.maximum > self.maximum:
            raise ValueError(f"The range must lie within [{self.minimum}, {self.maximum}], it is {value}")
