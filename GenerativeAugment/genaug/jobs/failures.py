"""Turning whatever a job raised into the one form in which failures travel."""

from __future__ import annotations

import sys
from pathlib import Path

from genaug.causes import is_out_of_memory, system_error
from genaug.errors import Cancelled, GenaugError, Reason


def explain(error: BaseException, folder: Path, log: Path) -> GenaugError:
    """The GenaugError for `error`; anything unexpected becomes INTERNAL and points to `log`."""
    return known(error, folder) or GenaugError(
        Reason.INTERNAL,
        folder,
        f"{type(error).__name__}: {error}",
        "the job to run to its end",
        f"This is a defect of genaug. Please report it with {log}, which holds the traceback.",
    )


def known(error: BaseException, subject: str | Path) -> GenaugError | None:
    """The GenaugError for a cause the user can act on, wherever it arose; None for a defect.

    Args:
        error: what was raised.
        subject: what it is about, where the error does not say.
    """
    if isinstance(error, GenaugError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Cancelled(subject, "an interrupt from the keyboard")
    if is_out_of_memory(error):
        return _out_of_memory(error, subject)
    if isinstance(error, OSError):
        return system_error(error, error.filename if isinstance(error.filename, (str, Path)) else subject)
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        name = error.object.encode("utf-8", "backslashreplace").decode("utf-8")
        return GenaugError(
            Reason.BAD_PARAMETER,
            subject,
            f"a name that is no UTF-8, in {name[:200]!r}",
            "names of files and folders in UTF-8",
            "Rename the file or folder whose name is shown with a \\udc.",
        )
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("genaug"):
        return GenaugError(
            Reason.MISSING_DEPENDENCY,
            error.name,
            "a package that is not installed",
            "every package genaug needs",
            f"Install it into this Python ({sys.executable}), for instance with `pip install {error.name}`.",
        )
    return None


def _out_of_memory(error: BaseException, subject: str | Path) -> GenaugError:
    first_line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return GenaugError(
        Reason.OUT_OF_MEMORY,
        subject,
        first_line,
        "enough memory for the job",
        "Lower the batch size, the window or the resolution (max_voxels, spacing), close other programs that use the"
        " device, or run with device cpu.",
    )
