"""Command-line options from pydantic models, so that command line, job.json and console always take the same keys."""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import click
from pydantic import BaseModel, ByteSize, ValidationError
from pydantic.fields import FieldInfo

from genaug.errors import GenaugError, Reason
from genaug.files import invalid
from genaug.nested import join, within

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

PATH = click.Path(path_type=Path, readable=False)
"""A path as an option. Whether it is there and may be read is for the job to say, with its reason code."""


def model_options(model: type[BaseModel], skip: Collection[str] = ()) -> Callable[[Decorated], Decorated]:
    """One option for each field of `model` that is not in `skip`.

    The command receives them by field name; `given` keeps those that were used, and the model's defaults stand for
    the others. Strings, numbers, Literals, flags and lists look as usual; a table is given as KEY=VALUE, repeatedly,
    with points between the keys of tables within it, and anything deeper as JSON.
    """

    def decorate(command: Decorated) -> Decorated:
        for name, field in reversed(model.model_fields.items()):
            if name not in skip:
                command = _option(name, field)(command)
        return command

    return decorate


def given(values: dict[str, Any]) -> dict[str, Any]:
    """The options that were used, as JSON values."""
    used = {name: value for name, value in values.items() if value is not None and value != ()}
    return {name: _plain(value) for name, value in used.items()}


@contextmanager
def options_told(kind: str) -> Iterator[None]:
    """Within it, what is wrong with a value of a new job is said of the option: nobody has seen a job.json yet.

    Raises:
        GenaugError: BAD_PARAMETER, naming the options; any other as it is.
    """
    try:
        yield
    except GenaugError as error:
        if not isinstance(error.__cause__, ValidationError):
            raise
        found = invalid(error.__cause__, kind, "options", Reason.BAD_PARAMETER, _flag).found
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "command line",
            found,
            "values as --help describes them",
            f"Correct the option; see `genaug {kind} --help`.",
        ) from error


def _flag(place: tuple[int | str, ...]) -> str:
    """The option that a key of a job's parameters comes from, what lies deeper in a table behind it.

    Of all of them together "", since what is said then names them itself.
    """
    if not place:
        return ""
    option, *inner = map(str, place)
    return " ".join(part for part in (f"--{option.replace('_', '-')}", ".".join(inner)) if part)


def job_options(command: Decorated) -> Decorated:
    """The options that every job has."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
        click.option("--job-folder", type=PATH, help="Where to keep the job; new or empty."),
    ):
        command = option(command)
    return command


def random_options(command: Decorated) -> Decorated:
    """The options of jobs that draw random numbers on a device."""
    for option in (
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps."),
        click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same voxels."),
    ):
        command = option(command)
    return command


def _option(name: str, field: FieldInfo) -> Callable[[Decorated], Decorated]:
    flag = "--" + name.replace("_", "-")
    kind = _without_none(field.annotation)
    if kind is bool:
        return click.option(f"{flag}/--no-{flag[2:]}", name, default=None, help=_help(field))
    settings = _click_type(kind)
    return click.option(flag, name, default=None, help=_help(field, settings.get("multiple", False)), **settings)


def _click_type(kind: Any) -> dict[str, Any]:
    origin, arguments = get_origin(kind), tuple(map(_without_none, get_args(kind)))
    if kind in (int, float, str):
        return {"type": kind}
    if kind is ByteSize:
        return {"type": str, "metavar": "SIZE"}
    if kind is Path:
        return {"type": PATH}
    if origin is Literal:
        return _choice(arguments)
    repeated = origin is list or (origin is tuple and arguments[1:] == (Ellipsis,))
    if repeated and arguments[0] in (int, float, str):
        return {"type": arguments[0], "multiple": True}
    if origin is tuple and Ellipsis not in arguments and set(arguments) <= {int, float, str}:
        return {"type": tuple(arguments)}
    if origin is dict:
        return {"type": _pair_reader(arguments[1]), "multiple": True, "metavar": "KEY=VALUE"}
    return {"type": _json, "metavar": "JSON"}


def _choice(values: tuple[Any, ...]) -> dict[str, Any]:
    """A Literal; numbers come back as numbers."""
    by_name = {str(value): value for value in values}

    def pick(ctx: click.Context, param: click.Parameter, name: str | None) -> Any:
        return None if name is None else by_name[name]

    return {"type": click.Choice(list(by_name)), "callback": pick}


def _without_none(annotation: Any) -> Any:
    """X for `X | None` and for `Annotated[X, ...]`; any other union is left to JSON."""
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        annotation = kinds[0] if len(kinds) == 1 else annotation
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _help(field: FieldInfo, repeatable: bool = False) -> str:
    default = field.get_default(call_default_factory=False)
    told = (field.description or "") + ("; repeatable" if repeatable else "")
    if field.is_required() or default in (None, ()) or field.default_factory:
        return told
    return f"{told} [default: {' '.join(map(str, default)) if isinstance(default, tuple) else default}]"


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value.resolve())
    if isinstance(value, tuple) and value and all(isinstance(item, _KeyValue) for item in value):
        table: dict[str, Any] = {}
        for item in value:
            try:
                join(table, {item.key: item.value})
            except ValueError as error:
                raise click.BadParameter(str(error)) from error
        return table
    return list(value) if isinstance(value, tuple) else value


class _KeyValue:
    def __init__(self, key: str, value: Any) -> None:
        self.key, self.value = key, value


def _pair_reader(kind: Any) -> Callable[[str], _KeyValue]:
    """How the values of a table are read: what may hold further tables, covariates, and all others."""
    if kind is Any:
        return _nested_pair
    return _covariate_pair if kind == float | str else _pair


def _split_pair(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE")
    return key, value


def _pair(text: str) -> _KeyValue:
    """KEY=VALUE; the value is JSON where it parses as such, else text."""
    key, value = _split_pair(text)
    try:
        return _KeyValue(key, json.loads(value))
    except json.JSONDecodeError:
        return _KeyValue(key, value)


def _nested_pair(text: str) -> _KeyValue:
    """As `_pair`; points in the key lead into tables within the table."""
    pair = _pair(text)
    ((first, value),) = within(pair.key, pair.value).items()
    return _KeyValue(first, value)


def _covariate_pair(text: str) -> _KeyValue:
    """KEY=VALUE; a value is a number or a text as it would be in a table of covariates, where "true" is a class."""
    from genaug.readers.table import covariate_value

    key, value = _split_pair(text)
    found = covariate_value(value)
    return _KeyValue(key, value if found is None else found)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise click.BadParameter(f"{text!r} is not JSON: {error}") from error
