"""The command line `genaug`."""

from genaug.cli.app import main

__all__ = ["main"]
