"""The command `genaug worker`."""

from __future__ import annotations

import click


@click.command("worker")
def command() -> None:
    """Run job folders as they come in on stdin and tell their events on stdout.

    One command a line: a job folder, {"run": FOLDER, "id": ID}, {"cancel": ID} or {"quit": true}. Ends with stdin.
    """
    from genaug.worker import serve

    serve()
