"""The part of JSON Schema that the catalog uses, since Slicer does not bring a validator.

https://json-schema.org/draft/2020-12. A keyword that is not known here raises, so that no rule of a schema is passed
over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}

_ANNOTATIONS = {"$schema", "$id", "$defs", "title", "description"}


def schemaProblems(value: Any, schema: dict) -> list[str]:
    """What is wrong with `value`, each with its place, such as "models[0].licence: 3 is no string"; empty when sound.

    Raises:
        ValueError: for a keyword this validator does not know.
    """
    return list(_problems(value, schema, schema, ""))


def _problems(value: Any, schema: dict, root: dict, place: str) -> Iterator[str]:
    if "$ref" in schema:
        yield from _problems(value, _resolved(schema["$ref"], root), root, place)
    unknown = set(schema) - set(_CHECKS) - _STRUCTURE - _ANNOTATIONS - {"$ref"}
    if unknown:
        raise ValueError(f"schema keyword {sorted(unknown)[0]!r} is not supported")
    for keyword, check in _CHECKS.items():
        if keyword in schema:
            problem = check(value, schema[keyword])
            if problem:
                yield f"{place or 'top level'}: {problem}"
    if isinstance(value, dict):
        yield from _inObject(value, schema, root, place)
    if isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield from _problems(item, schema["items"], root, f"{place}[{index}]")


def _inObject(value: dict, schema: dict, root: dict, place: str) -> Iterator[str]:
    if "propertyNames" in schema:
        for key in value:
            yield from _problems(key, schema["propertyNames"], root, f"{place}.{key}" if place else key)
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    for key, item in value.items():
        inner = f"{place}.{key}" if place else key
        if key in known:
            yield from _problems(item, known[key], root, inner)
        elif isinstance(others, dict):
            yield from _problems(item, others, root, inner)
        elif not others:
            yield f"{inner}: not a known key"


def _resolved(reference: str, root: dict) -> dict:
    found = root
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def _type(value: Any, expected: str | list[str]) -> str:
    names = [expected] if isinstance(expected, str) else expected
    # bool is an int in Python and not in JSON.
    fits = any(isinstance(value, _TYPES[name]) and (name == "boolean") == isinstance(value, bool) for name in names)
    return "" if fits else f"{value!r} is no {' or '.join(names)}"


def _required(value: Any, keys: list[str]) -> str:
    missing = [key for key in keys if isinstance(value, dict) and key not in value]
    return f"{', '.join(missing)} missing" if missing else ""


def _pattern(value: Any, pattern: str) -> str:
    wrong = isinstance(value, str) and not re.search(pattern, value)
    return f"{value!r} does not match {pattern}" if wrong else ""


def _bound(fits: Callable[[Any, Any], bool], kind: tuple[type, ...], words: str) -> Callable[[Any, Any], str]:
    def check(value: Any, limit: Any) -> str:
        applies = isinstance(value, kind) and not isinstance(value, bool)
        return f"{value!r} {words} {limit}" if applies and not fits(value, limit) else ""

    return check


_STRUCTURE = {"properties", "propertyNames", "additionalProperties", "items"}

_CHECKS: dict[str, Callable[[Any, Any], str]] = {
    "type": _type,
    "const": lambda value, only: "" if value == only else f"{value!r} is not {only!r}",
    "enum": lambda value, allowed: "" if value in allowed else f"{value!r} is none of {allowed}",
    "required": _required,
    "pattern": _pattern,
    "minLength": _bound(lambda value, limit: len(value) >= limit, (str,), "is shorter than"),
    "minItems": _bound(lambda value, limit: len(value) >= limit, (list,), "has fewer entries than"),
    "maxItems": _bound(lambda value, limit: len(value) <= limit, (list,), "has more entries than"),
    "minimum": _bound(lambda value, limit: value >= limit, (int, float), "is less than"),
    "exclusiveMinimum": _bound(lambda value, limit: value > limit, (int, float), "is not more than"),
}
