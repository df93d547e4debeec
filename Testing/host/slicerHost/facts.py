"""What a running Slicer answered: the names each class shows and the signatures of its Python functions."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SURFACE_FILE = Path(__file__).parents[1] / "surface.json"


@dataclass(frozen=True)
class Surface:
    """The public names of one class, inherited ones included."""

    attributes: frozenset[str]
    methods: frozenset[str]
    signals: frozenset[str]
    complete: bool  # False where the application's list was cut off

    @property
    def names(self) -> frozenset[str]:
        return self.attributes | self.methods | self.signals


@cache
def _document() -> dict:
    return json.loads(SURFACE_FILE.read_text(encoding="utf-8"))


def classNames(package: str) -> list[str]:
    """Names of the classes known in a package: "qt", "ctk" or "slicer"."""
    prefix = package + "."
    return [name.removeprefix(prefix) for name in _document()["classes"] if name.startswith(prefix)]


def knows(name: str) -> bool:
    """True where the surface has a class, for instance "qt.QLabel"."""
    return name in _document()["classes"]


@cache
def surface(name: str) -> Surface:
    """The surface of a class, for instance "qt.QLabel"."""
    entry = _document()["classes"][name]
    base = surface(entry["addsTo"]) if "addsTo" in entry else Surface(frozenset(), frozenset(), frozenset(), True)
    return Surface(
        attributes=base.attributes | _words(entry.get("attributes")),
        methods=base.methods | _words(entry.get("methods")) | _words(entry.get("names")),
        signals=base.signals | _words(entry.get("signals")),
        complete=entry.get("complete", True),
    )


def application() -> Surface:
    """The surface of slicer.app, with the static names of its class."""
    shown, static = surface("slicer.app"), surface("qt.QApplication")
    return Surface(shown.attributes, shown.methods | (static.methods - shown.names), shown.signals, True)


def signatures(module: str) -> dict[str, str]:
    """Name to signature, for "slicer.util", "slicer.packaging" or a class of ScriptedLoadableModule."""
    return _document()["signatures"][module]


def _words(text: str | None) -> frozenset[str]:
    return frozenset((text or "").split())
