"""The group of commands. Each is imported when it is called, so `genaug --help` costs little more than Python."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import click

from genaug import __version__
from genaug.cli.messages import USER_ERROR, show_error
from genaug.errors import GenaugError

COMMANDS = {
    "methods": "List the generative methods, or describe one.",
    "cohort": "Read cases from disk, split them by patient, write the manifest.",
    "fingerprint": "Describe a cohort and recommend a method, with the reason.",
    "train": "Train a method on a cohort; gives a model package.",
    "synthesize": "Make new cases from a model package.",
    "translate": "Translate volumes to another contrast or modality.",
    "insert": "Insert lesions into healthy images; keeps the masks.",
    "evaluate": "Score a synthetic cohort against a real one.",
    "export": "Lay out real and synthetic cases for training a segmentation.",
    "replay": "Make a case again from its record and compare it voxel by voxel.",
    "run": "Run a job folder.",
    "worker": "Serve jobs from stdin, as the Slicer module does.",
}


class LazyGroup(click.Group):
    """Knows the names and one-line descriptions of its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the work, not of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The attribute `command` of the module of that name."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"genaug.cli.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, from the table instead of the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """A GenaugError ends as one message and the exit code for user errors."""
        try:
            return super().invoke(ctx)
        except GenaugError as error:
            show_error(error)
            sys.exit(USER_ERROR)


@click.command(cls=LazyGroup, name="genaug", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="genaug")
def main() -> None:
    """Turn a handful of annotated cases into a measured and traceable augmented cohort.

    Every command that computes builds a job folder and runs it, so it can be run again with `genaug run`.
    """
