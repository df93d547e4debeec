"""Reading and writing of small files and whole folders, with nothing half-written left behind."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from GenerativeAugmentLib.errors import JobError, _

WRITING = ".writing-"
"""Start of the names under which things are written until they are complete."""

BUSY_S = 1.0
"""How long a file that another program has open may delay its replacement on Windows."""

_REPLACES_OPEN_FILES = os.name != "nt"

_KEPT = 50
"""Characters of a name that its temporary one has too: with all of a long one it would be too long."""

_GONE = {errno.ENOENT, errno.ENOTDIR}

_NO_SPACE = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


def userPath(path: Path | str) -> Path:
    """A path as the user means it: "~" is his folder, and what is relative begins in the application's working folder.

    Jobs run in folders of their own, so nothing relative of a user's may get into one. An empty path stays empty.
    """
    path = Path(path)
    return path if path == Path() else path.expanduser().absolute()


def readJson(path: Path, expected: str) -> dict:
    """A JSON object.

    Args:
        path: the file.
        expected: what it should hold, for the error.

    Raises:
        JobError: "missing_file", or "unreadable_file" with the place of the fault.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise JobError("missing_file", str(path), _("no such file"), expected, _("Check the path.")) from error
    except (OSError, ValueError, RecursionError) as error:
        raise JobError(
            "unreadable_file", str(path), str(error), expected, _("Check the file and its rights.")
        ) from error
    if not isinstance(value, dict):
        found = _("a JSON {kind}").format(kind=type(value).__name__)
        raise JobError("unreadable_file", str(path), found, expected, _("Check that this is the right file."))
    return value


def writeText(path: Path, text: str) -> None:
    """Write UTF-8 text with LF line ends, aside and then renamed.

    Raises:
        JobError: "disk_full" or "no_permission".
    """
    path = Path(path)
    temporary = aside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        rename(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise explained(error, path) from error


def writeJson(path: Path, value: dict) -> None:
    """Write indented JSON; raises as `writeText`, ValueError for NaN and infinity, which JSON does not have."""
    writeText(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextlib.contextmanager
def writingFolder(path: Path) -> Iterator[Path]:
    """Yield a hidden folder beside `path`, which becomes `path` on success and vanishes on any failure.

    Raises:
        JobError: "bad_parameter" when `path` is not empty; "disk_full" or "no_permission".
    """
    path = Path(path)
    temporary = aside(path)
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise JobError(
                "bad_parameter",
                str(path),
                _("a folder that is not empty"),
                _("a new or empty folder"),
                _("Choose another folder; nothing is ever overwritten."),
            )
        temporary.mkdir(parents=True)
        yield temporary
        if path.exists():
            path.rmdir()
        rename(temporary, path)
    except OSError as error:
        raise explained(error, path) from error
    finally:
        if temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)


def aside(path: Path) -> Path:
    """A free hidden name beside `path`, with its suffixes; `tempfile` would make what only the user may read."""
    return path.with_name(f"{WRITING}{uuid.uuid4().hex[:8]}-{path.name[-_KEPT:]}")


def rename(source: Path, target: Path) -> None:
    """Give a file or folder another name, in the place of a file that has it.

    On Windows nothing can be renamed or replaced that somebody reads. A worker, a virus scanner or an indexer is done
    in a moment, for which this waits.

    Raises:
        OSError: whatever the system says, of an open file after BUSY_S.
    """
    until = time.monotonic() + BUSY_S
    while True:
        try:
            source.replace(target)
        except PermissionError:
            if _REPLACES_OPEN_FILES or time.monotonic() >= until:
                raise
            time.sleep(0.02)
        else:
            return


def sha256File(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def explained(error: OSError, path: Path) -> JobError:
    """The JobError for an operating system's refusal, about the file it names or else about `path`."""
    named = str(error.filename or path)
    subject = str(path) if WRITING in named else named
    if error.errno in _NO_SPACE:
        return JobError(
            "disk_full",
            subject,
            _("no space left on the disk"),
            _("room for the files"),
            _("Free disk space or choose another folder, then try again."),
        )
    if error.errno in _GONE:
        return JobError(
            "missing_file",
            subject,
            error.strerror or str(error),
            _("a folder that is still there"),
            _("Put it back where it was, or connect its drive again, then try again."),
        )
    return JobError(
        "no_permission",
        subject,
        error.strerror or str(error),
        _("a folder that can be written"),
        _("Choose another folder or change its rights."),
    )
