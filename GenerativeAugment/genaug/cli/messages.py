"""What the command line says when something is wrong, and with which exit code it ends."""

from __future__ import annotations

import click

from genaug.errors import GenaugError, Reason

INTERNAL_ERROR = 1
USER_ERROR = 2
INTERRUPTED = 130


def exit_code(reason: Reason) -> int:
    """130 after a clean stop, 1 for a defect of genaug, 2 for what the user can act on."""
    return {Reason.CANCELLED: INTERRUPTED, Reason.INTERNAL: INTERNAL_ERROR}.get(reason, USER_ERROR)


def show_error(error: GenaugError) -> None:
    """One message on stderr: what, found, expected, remedy."""
    click.echo(
        f"genaug: {error.reason.value}: {error.subject}\n"
        f"  found:    {error.found}\n"
        f"  expected: {error.expected}\n"
        f"  remedy:   {error.remedy}",
        err=True,
    )
