"""@parameterPack: several parameters as one, with validators of their own."""

import typing
from dataclasses import dataclass, replace

import slicer

from .annotations import Default, bareType, first
from .serializers import Serializer, serializerFor
from .validators import IsInstance, NotNone


@dataclass(frozen=True)
class Member:
    """One parameter of a pack or of a wrapper."""

    basename: str
    serializer: Serializer
    default: Default
    unalteredType: typing.Any


def membersOf(cls: type) -> dict[str, Member]:
    """The annotated parameters of a class."""
    members = {}
    for name, annotated in typing.get_type_hints(cls, include_extras=True).items():
        serializer, annotations = serializerFor(annotated)
        default = first(annotations, Default)
        if hasattr(cls, name):
            default = Default(getattr(cls, name))
        members[name] = Member(name, serializer, default or Default(serializer.default()), annotated)
    return members


def isParameterPack(thing: object) -> bool:
    """True for a pack class and for its instances."""
    return getattr(thing, "_is_parameterPack", False)


def nestedParameterNames(pack) -> list[str]:
    """Names of the parameters, those of packs within the pack with a dot."""
    names = []
    for name, member in bareType(pack).allParameters.items():
        kind = bareType(member.unalteredType)
        names += [f"{name}.{inner}" for inner in nestedParameterNames(kind)] if isParameterPack(kind) else [name]
    return names


def parameterPack(cls: type | None = None):
    """Class decorator; usable with and without parentheses."""
    return parameterPack if cls is None else _makePack(cls)


def _makePack(cls: type) -> type:
    # Asked for once: all packs of a class share their defaults, as in the application.
    members = {name: replace(one, default=Default(one.default.value)) for name, one in membersOf(cls).items()}
    if not members:
        raise ValueError(f"The parameter pack {cls.__name__} has no parameters")
    for name, member in members.items():
        member.serializer.validate(member.default.value)
        setattr(cls, name, _memberProperty(member))
    _reserve(cls, {"allParameters": members, "_is_parameterPack": True})
    _reserve(cls, {"getValue": _getValue, "setValue": _setValue, "dataType": classmethod(_dataType)})
    own = cls.__dict__.get("__init__")

    def initialize(self, *arguments, **named):
        if own is None:
            _fill(self, arguments, named)
        else:
            _fill(self, (), {})
            own(self, *arguments, **named)

    cls.__init__ = initialize
    for name, method in (("__eq__", _equal), ("__repr__", _describe), ("__str__", _describe)):
        if name not in cls.__dict__:
            setattr(cls, name, method)
    return cls


def _reserve(cls: type, attributes: dict) -> None:
    for name, value in attributes.items():
        if hasattr(cls, name):
            raise ValueError(f"The name '{name}' is reserved in {cls.__name__}")
        setattr(cls, name, value)


def _memberProperty(member: Member) -> property:
    def write(self, value):
        member.serializer.validate(value)
        self.__dict__["_values"][member.basename] = value

    return property(lambda self: self.__dict__["_values"][member.basename], write)


def _fill(pack, arguments: tuple, named: dict) -> None:
    pack.__dict__["_values"] = {}
    given = dict(zip(pack.allParameters, arguments, strict=False))
    for name in named:
        if name not in pack.allParameters:
            raise TypeError(f"{type(pack).__name__} has no parameter '{name}'")
        if name in given:
            raise TypeError(f"{type(pack).__name__} got two values for '{name}'")
    given.update(named)
    for name, member in pack.allParameters.items():
        value = given.get(name, member.default.value) if name not in given else given[name]
        member.serializer.validate(value)
        pack.__dict__["_values"][name] = value


def _equal(self, other) -> bool:
    return type(self) is type(other) and self.__dict__["_values"] == other.__dict__["_values"]


def _describe(self) -> str:
    return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.__dict__['_values'].items())})"


def _getValue(self, name: str):
    top, _, rest = name.partition(".")
    if not hasattr(self, top):
        raise ValueError(f"{self} has no member '{top}'")
    return getattr(self, top).getValue(rest) if rest else getattr(self, top)


def _setValue(self, name: str, value) -> None:
    top, _, rest = name.partition(".")
    if not hasattr(self, top):
        raise ValueError(f"{self} has no member '{top}'")
    if rest:
        getattr(self, top).setValue(rest, value)
    else:
        setattr(self, top, value)


def _dataType(cls, name: str):
    top, _, rest = name.partition(".")
    if top not in cls.allParameters:
        raise ValueError(f"{cls.__name__} has no member '{top}'")
    kind = cls.allParameters[top].unalteredType
    return bareType(kind).dataType(rest) if rest else kind


class PackSerializer(Serializer):
    """Each parameter under name.parameter."""

    def __init__(self, kind: type):
        super().__init__([NotNone(), IsInstance(kind)])
        self._kind = kind
        self._observed = _observedClass(kind)

    def default(self):
        return self._kind()

    def represents(self, valueType):
        return issubclass(valueType, self._kind)

    def isIn(self, node, name):
        member = next(iter(self._kind.allParameters.values()))
        return member.serializer.isIn(node, f"{name}.{member.basename}")

    def write(self, node, name, value):
        self.validate(value)
        with slicer.util.NodeModify(node):
            for member in self._kind.allParameters.values():
                part = value.__dict__["_values"][member.basename]
                member.serializer.write(node, f"{name}.{member.basename}", part)

    def readValues(self, node, name: str) -> dict:
        members = self._kind.allParameters.values()
        return {member.basename: member.serializer.read(node, f"{name}.{member.basename}") for member in members}

    def read(self, node, name):
        return self._observed(node, self, name)

    def remove(self, node, name):
        for member in self._kind.allParameters.values():
            member.serializer.remove(node, f"{name}.{member.basename}")


def _observedClass(kind: type) -> type:
    """A pack as the wrapper hands it out: every assignment goes to the parameter node, unknown names raise."""

    class ObservedParameterPack(kind):
        def __init__(self, node, serializer: PackSerializer, name: str):
            state = {"_node": node, "_serializer": serializer, "_name": name, "_saving": False}
            self.__dict__.update(state, _values=serializer.readValues(node, name))

        def __setattr__(self, name: str, value) -> None:
            if not hasattr(self, name):
                raise AttributeError(f"The pack {kind.__name__} has no attribute '{name}' and takes no new ones")
            super().__setattr__(name, value)
            self._save()

        def _save(self) -> None:
            state = self.__dict__
            if state["_saving"]:
                return
            state["_saving"] = True
            try:
                with slicer.util.NodeModify(state["_node"]):
                    try:
                        state["_serializer"].write(state["_node"], state["_name"], self)
                    finally:
                        state["_values"] = state["_serializer"].readValues(state["_node"], state["_name"])
            finally:
                state["_saving"] = False

        def setValue(self, name: str, value) -> None:
            super().setValue(name, value)
            self._save()

        def __eq__(self, other) -> bool:
            return isinstance(other, kind) and self.__dict__["_values"] == other.__dict__["_values"]

    ObservedParameterPack.__name__ = f"Observed{kind.__name__}"
    return ObservedParameterPack


def create(kind: typing.Any) -> Serializer | None:
    """The serializer of a pack class; None for other types."""
    return PackSerializer(kind) if isinstance(kind, type) and isParameterPack(kind) else None
