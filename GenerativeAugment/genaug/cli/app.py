"""The group of commands. Each is imported when it is called, so `genaug --help` costs little more than Python."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from genaug import __version__
from genaug.cli.messages import AS_JSON, fail, show_failed
from genaug.errors import GenaugError, Reason

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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; a mistyped command is told with the nearest, as click does for options."""
        if args and args[0] not in COMMANDS and (near := get_close_matches(args[0], COMMANDS)):
            ctx.fail(f"No such command '{args[0]}'. (Did you mean '{near[0]}'?)")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, from the table instead of the commands."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does; also notes `--json`, which must be known even where the rest cannot be parsed."""
        ctx.meta[AS_JSON] = "--json" in args
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Whatever goes wrong ends here: as one message, the exit code of its reason, and as JSON where asked for."""
        as_json: bool = ctx.meta[AS_JSON]
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.exceptions.Abort):
            raise
        except click.ClickException as error:
            if as_json:
                show_failed(_misused(error))
            raise
        except (Exception, KeyboardInterrupt) as error:
            from genaug.jobs.failures import known

            command = f"{ctx.info_name} {ctx.invoked_subcommand}"
            explained = known(error, command)
            if explained is not None:
                fail(explained, as_json)
            if as_json:
                show_failed(_defect(error, command))
            raise


def _misused(error: click.ClickException) -> GenaugError:
    return GenaugError(
        Reason.BAD_PARAMETER,
        "command line",
        error.format_message(),
        "arguments and options as --help describes them",
        "Correct the command line.",
    )


def _defect(error: BaseException, command: str) -> GenaugError:
    return GenaugError(
        Reason.INTERNAL,
        command,
        f"{type(error).__name__}: {error}",
        "the command to run to its end",
        "This is a defect of genaug. Please report it with the traceback on stderr.",
    )


@click.command(cls=LazyGroup, name="genaug", context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="genaug")
def main() -> None:
    """Turn a handful of annotated cases into a measured and traceable augmented cohort.

    Every command that computes builds a job folder and runs it, so it can be run again with `genaug run`.
    """
