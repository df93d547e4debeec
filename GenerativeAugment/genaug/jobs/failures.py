"""Turning whatever a job raised into the one form in which failures travel."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

from genaug.errors import Cancelled, GenaugError, Reason

# What PyTorch's allocators say; on the CPU and on MPS they raise a plain RuntimeError.
_OUT_OF_MEMORY_TEXTS = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")


def explain(error: BaseException, folder: Path, log: Path) -> GenaugError:
    """The GenaugError for `error`; anything unexpected becomes INTERNAL and points to `log`."""
    if isinstance(error, GenaugError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return Cancelled(folder, "an interrupt from the keyboard")
    if is_out_of_memory(error):
        return _out_of_memory(error, folder)
    if isinstance(error, OSError):
        explained = _explain_os_error(error)
        if explained is not None:
            return explained
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("genaug"):
        return GenaugError(
            Reason.MISSING_DEPENDENCY,
            error.name,
            "a package that is not installed",
            "every package genaug needs",
            f"Install it into this Python ({sys.executable}), for instance with `pip install {error.name}`.",
        )
    return GenaugError(
        Reason.INTERNAL,
        folder,
        f"{type(error).__name__}: {error}",
        "the job to run to its end",
        f"This is a defect of genaug. Please report it with {log}, which holds the traceback.",
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that host or device memory did not suffice. Never imports torch."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _OUT_OF_MEMORY_TEXTS)


def _out_of_memory(error: BaseException, folder: Path) -> GenaugError:
    first_line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return GenaugError(
        Reason.OUT_OF_MEMORY,
        folder,
        first_line,
        "enough memory for the job",
        "Lower the batch size, the window or the resolution (max_voxels, spacing), close other programs that use the"
        " device, or run with device cpu.",
    )


def _explain_os_error(error: OSError) -> GenaugError | None:
    """For causes the user can act on, wherever they arose; None for the others."""
    subject = error.filename if isinstance(error.filename, str) else "output"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return GenaugError(
            Reason.DISK_FULL,
            subject,
            "no space left on the device",
            "room for the output",
            "Free disk space or choose another output folder, then run the job again.",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return GenaugError(
            Reason.NO_PERMISSION,
            subject,
            error.strerror or "access denied",
            "a readable input and a writable output",
            "Change its rights or choose another folder.",
        )
    return None
