"""What the command line says when something is wrong, and with which exit code it ends."""

from __future__ import annotations

from typing import NoReturn

import click

from genaug.errors import GenaugError, Reason

INTERNAL_ERROR = 1
USER_ERROR = 2
INTERRUPTED = 130

AS_JSON = "genaug.as_json"
"""Key in the context's `meta`: whether the command was asked for JSON."""


def exit_code(reason: Reason) -> int:
    """130 after a clean stop, 1 for a defect of genaug, 2 for what the user can act on."""
    return {Reason.CANCELLED: INTERRUPTED, Reason.INTERNAL: INTERNAL_ERROR}.get(reason, USER_ERROR)


def fail(error: GenaugError, as_json: bool) -> NoReturn:
    """End the process with one message on stderr and, where JSON was asked for, the failed event on stdout."""
    if as_json:
        show_failed(error)
    click.echo(
        f"genaug: {error.reason.value}: {error.subject}\n"
        f"  found:    {error.found}\n"
        f"  expected: {error.expected}\n"
        f"  remedy:   {error.remedy}",
        err=True,
    )
    raise SystemExit(exit_code(error.reason))


def show_failed(error: GenaugError) -> None:
    """The failed event on stdout, as the worker would send it."""
    from genaug.jobs.events import Failed, to_line

    click.echo(to_line(Failed.of(error)))
