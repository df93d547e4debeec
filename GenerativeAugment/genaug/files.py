"""Writing without leaving anything half-written, JSON in and out with errors that name the place, what is in a tree.

Every file and folder is made aside, under a hidden name in the same folder, and renamed when it is complete, so a
reader sees the old state or the new one and an interrupted job leaves nothing behind that looks finished.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from genaug.causes import system_error
from genaug.errors import GenaugError, Reason

Model = TypeVar("Model", bound=BaseModel)

MOST_FAULTS = 50
"""Keys at fault that a message names: a list of thousands of cases may have one in each."""

BUSY_SECONDS = 5.0
"""How long a file that another program has open may delay its replacement on Windows."""

_REPLACES_OPEN_FILES = os.name != "nt"

_KEPT = 50
"""Characters of a name that its temporary one has too: with all of a long one it would be too long."""

LONGEST_VALUE = 60
"""Characters of a wrong value that a message shows; longer ones, such as a whole file, are left out."""


def _umask() -> int:
    """The process's mask for new files; it can only be read by setting it, so it is read once, before any thread."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _umask()


def folders_below(root: Path) -> list[tuple[Path, list[Path]]]:
    """`root` and every folder below it, each with the files in it, also links that lead nowhere; in order of the names.

    Linked folders are read too, and every folder once: at its own place, else at the first link to it. What is hidden
    is left out: what macOS puts beside every file and what is being written is not meant to be read. Of a file there
    are none.

    Raises:
        GenaugError: NO_PERMISSION for a folder that cannot be listed.
    """
    found: dict[Path, list[Path]] = {}
    seen: set[Path] = set()
    waiting, links = [root] if root.is_dir() else [], list[Path]()
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        real = folder.resolve()
        if real in seen:
            continue
        seen.add(real)
        found[folder] = []
        try:
            with os.scandir(folder) as listed:
                entries = sorted((entry for entry in listed if entry.name[0] != "."), key=lambda entry: entry.name)
        except OSError as error:
            _raise_explained(error, folder)
            raise
        for entry in entries:
            kind = found[folder] if not entry.is_dir() else links if entry.is_symlink() else waiting
            kind.append(folder / entry.name)
    return sorted(found.items())


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a temporary file name with the same suffixes; rename it to `path` on success.

    On any failure the temporary file is removed, and so are the folders that were made for it.

    Raises:
        GenaugError: DISK_FULL or NO_PERMISSION, naming `path`.
    """
    temporary: Path | None = None
    made: list[Path] = []
    complete = False
    try:
        made = _missing_parents(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix stays last, because image writers choose the format by it.
        handle, name = tempfile.mkstemp(prefix=".writing-", suffix=f"-{path.name[-_KEPT:]}", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        temporary.chmod(0o666 & ~_UMASK)
        yield temporary
        _rename(temporary, path)
        complete = True
    except OSError as error:
        _raise_explained(error, path)
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if not complete:
            _remove_empty(made)


@contextmanager
def writing_folder(path: Path, replace: bool = False) -> Iterator[Path]:
    """Like `writing`, for a folder. An existing non-empty `path` is refused unless `replace`.

    An error about a file in the temporary folder is passed on with the name that the file was to get.
    """
    temporary: Path | None = None
    made: list[Path] = []
    complete = False
    try:
        if path.exists() and not replace and any(path.iterdir()):
            raise GenaugError(
                Reason.BAD_PARAMETER,
                path,
                "a folder that is not empty",
                "a new or empty folder",
                "Choose another output folder or remove this one first; nothing is ever overwritten.",
            )
        made = _missing_parents(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".writing-{path.name[:_KEPT]}-", dir=path.parent))
        temporary.chmod(0o777 & ~_UMASK)
        yield temporary
        if path.exists():
            _exchange(temporary, path)
        else:
            _rename(temporary, path)
        complete = True
    except OSError as error:
        _raise_explained(error, path)
        raise
    except GenaugError as error:
        if temporary is not None and Path(error.subject).is_relative_to(temporary):
            # The file as the user would have found it: the hidden one is gone when the message is read.
            final = path / Path(error.subject).relative_to(temporary)
            raise GenaugError(error.reason, final, error.found, error.expected, error.remedy) from error
        raise
    finally:
        if temporary is not None and temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)
        if not complete:
            _remove_empty(made)


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write atomically. What libraries serialise goes through here: their own writers lose the system's error number.

    Raises:
        GenaugError: DISK_FULL or NO_PERMISSION, naming `path`.
    """
    with writing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with LF line ends, atomically."""
    with writing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; NaN and infinity are refused because JSON has neither."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path, model: type[Model], reason: Reason = Reason.UNREADABLE_FILE) -> Model:
    """Read `path` and validate it strictly against `model`.

    Raises:
        GenaugError: MISSING_FILE, NO_PERMISSION, or `reason` with every key at fault.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise GenaugError(
            Reason.MISSING_FILE, path, "no such file", f"{_called(model)}, as JSON", "Check the path."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        explained = system_error(error, path) if isinstance(error, OSError) else None
        raise explained or GenaugError(
            reason, path, str(error), "readable UTF-8 JSON", "Check the file and its rights."
        ) from error
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise invalid(error, path, _called(model), reason) from error


def _called(model: type[BaseModel]) -> str:
    """What a model's files are called by people: "package info" for PackageInfo."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", model.__name__.lstrip("_")).lower()


def _dotted(place: tuple[int | str, ...]) -> str:
    return ".".join(map(str, place)) or "top level"


def invalid(
    error: ValidationError,
    subject: str | Path,
    expected: str,
    reason: Reason,
    named: Callable[[tuple[int | str, ...]], str] = _dotted,
) -> GenaugError:
    """A GenaugError that lists the keys at fault, from pydantic's report; of very many the first.

    Args:
        error: the report.
        subject: what was validated.
        expected: what it should have been.
        reason: the code.
        named: what the user calls the key at a place; "" for what is said without one.
    """
    faults = error.errors(include_url=False)
    found = "; ".join(_told(fault, named) for fault in faults[:MOST_FAULTS])
    if len(faults) > MOST_FAULTS:
        found += f"; and {len(faults) - MOST_FAULTS} more"
    remedy = "Correct or remove the named keys."
    if any(fault["loc"][:1] == ("schema_version",) for fault in faults):
        remedy = "Update genaug if a newer version of it wrote this, else write it anew."
    return GenaugError(reason, subject, found, f"a valid {expected}", remedy)


def _told(fault: ErrorDetails, named: Callable[[tuple[int | str, ...]], str]) -> str:
    """The key, what is wrong with it, and what it holds where that is short; names keep their capitals."""
    place = f"{named(fault['loc'])}: ".removeprefix(": ")
    if fault["type"] == "extra_forbidden":
        return f"{place}not a key that is known here"
    # A sentence of pydantic's begins with a capital; one of a validator of ours may begin with a name.
    own = fault["type"] == "value_error"
    said = fault["msg"].removeprefix("Value error, ") if own else f"{fault['msg'][:1].lower()}{fault['msg'][1:]}"
    held = f" (found {fault['input']!r})" if isinstance(fault["input"], (int, float, str)) else ""
    return f"{place}{said}{held if len(held) <= LONGEST_VALUE else ''}"


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _missing_parents(path: Path) -> list[Path]:
    """The folders above `path` that do not exist yet, deepest first."""
    return list(takewhile(lambda parent: not parent.exists(), path.parents))


def _remove_empty(folders: list[Path]) -> None:
    """Remove the folders, deepest first, up to the first that holds something or was never made."""
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:
            return


def _rename(source: Path, target: Path) -> None:
    """Rename a file or folder, on Windows as soon as nobody has the target or a file in it open.

    There, whoever reads a file keeps it from being replaced: a form that draws the curves of a training, a virus
    scanner, an indexer. They are done in a moment, and no training shall end for that.
    """
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            source.replace(target)
        except PermissionError:
            if _REPLACES_OPEN_FILES or time.monotonic() >= until:
                raise
            time.sleep(0.02)
        else:
            return


def _exchange(new: Path, path: Path) -> None:
    """Put a folder in the place of the one at `path`, which is there again where that fails."""
    discarded = Path(tempfile.mkdtemp(prefix=f".replaced-{path.name[:_KEPT]}-", dir=path.parent))
    former = discarded / path.name
    try:
        _rename(path, former)
        try:
            _rename(new, path)
        except OSError:
            _rename(former, path)
            raise
    except OSError:
        # Only when it is empty: what could not be put back stays.
        _remove_empty([discarded])
        raise
    # The new one is in its place, whatever of the former one is still open.
    shutil.rmtree(discarded, ignore_errors=True)


def _raise_explained(error: OSError, path: Path) -> None:
    """Raise a GenaugError for the causes a user can act on; return for the others."""
    explained = system_error(error, path)
    if explained is not None:
        raise explained from error
