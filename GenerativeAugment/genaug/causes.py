"""Causes that lie outside genaug: memory, disk and rights, recognised in whatever form they are raised."""

from __future__ import annotations

import errno
import re
import sys
from pathlib import Path

from genaug.errors import GenaugError, Reason

# What PyTorch's allocators say; on the CPU and on MPS they raise a plain RuntimeError.
_OUT_OF_MEMORY_TEXTS = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")

_FULL = {
    errno.ENOSPC: "no space left on the device",
    errno.EDQUOT: "no space left in the quota",
    errno.EFBIG: "a file larger than the file system or a limit allows",
}
# What NumPy says of a write that the system cut short; it does not pass on why.
_CUT_SHORT = re.compile(r"\d+ requested and \d+ written")

_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)

_FILE_FOR_FOLDER = (errno.ENOTDIR, errno.EEXIST)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that host or device memory did not suffice. Never imports torch."""
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _OUT_OF_MEMORY_TEXTS)


def system_error(error: OSError, subject: str | Path) -> GenaugError | None:
    """DISK_FULL, NO_PERMISSION or BAD_PARAMETER about `subject`; None for what the user cannot act on."""
    if error.errno in _FULL or _CUT_SHORT.fullmatch(str(error)):
        return GenaugError(
            Reason.DISK_FULL,
            subject,
            _FULL.get(error.errno or errno.ENOSPC, _FULL[errno.ENOSPC]),
            "room for the output",
            "Free disk space or choose another output folder, then run the job again.",
        )
    if error.errno in _DENIED:
        return GenaugError(
            Reason.NO_PERMISSION,
            subject,
            (error.strerror or "access denied").lower(),
            "a readable input and a writable output",
            "Change its rights or choose another folder.",
        )
    if error.errno == errno.ENAMETOOLONG:
        return GenaugError(
            Reason.BAD_PARAMETER,
            subject,
            "a name that is too long for the file system",
            "a shorter name",
            "Choose a shorter name, or a folder nearer to the root.",
        )
    if error.errno in _FILE_FOR_FOLDER:
        return file_for_folder(subject)
    return None


def file_for_folder(subject: str | Path) -> GenaugError:
    """BAD_PARAMETER about `subject`: it, or what lies above it, is a file."""
    return GenaugError(
        Reason.BAD_PARAMETER,
        subject,
        "a file where a folder has to be",
        "a folder, or a path that is still free",
        "Choose another path; nothing is ever overwritten.",
    )
