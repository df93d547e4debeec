"""Why a worker is gone, in words: from its exit code and the last lines it wrote to its standard error."""

from __future__ import annotations

import re
import signal

from GenerativeAugmentLib.errors import JobError, _

_TELLING_LINES = 40
"""How far back a cause is looked for; a warning from long ago is none."""

_MISSING = re.compile(r"ModuleNotFoundError: No module named '?([\w.]+)'?")
_BROKEN = re.compile(
    r"ImportError: (.*(?:DLL load failed|cannot open shared object|undefined symbol|Library not loaded).*)"
)
_MEMORY = re.compile(
    r"MemoryError|out of memory|bad_alloc|not enough memory|can(?:not|'t) allocate memory|oom-?kill", re.IGNORECASE
)
_FATAL = re.compile(r"Fatal Python error: (.+)")
_LAUNCHER = "exit abnormally"
"""What Slicer's launchers say of a program that was ended by a signal, which they do not pass on."""

_ENDED_FROM_OUTSIDE = [
    -getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT") if hasattr(signal, name)
]

_WINDOWS_CODES = {
    0xC0000005: "access violation",
    0xC000001D: "illegal instruction",
    0xC00000FD: "stack overflow",
    0xC0000135: "a library was not found",
    0xC0000142: "a library could not be initialized",
    0xC0000374: "heap corruption",
    0xC0000409: "buffer overrun",
}
_WINDOWS_NO_MEMORY = (0xC0000017, 0xC000012D)


def causeOfEnd(exitCode: int | None, errors: str, subject: str) -> JobError:
    """The error for a worker that ended before its job did, although nobody asked it to.

    Args:
        exitCode: minus the signal's number where one ended it.
        errors: the last lines of its standard error.
        subject: what it was doing, for instance the job's title.
    """
    recent = "\n".join(errors.splitlines()[-_TELLING_LINES:])
    broken = _last(_BROKEN, recent)
    if broken is not None:
        return _notInstalled(subject, _("a package that does not load ({error})").format(error=broken), errors)
    missing = _last(_MISSING, recent)
    if missing is not None:
        return _notInstalled(subject, _("the package '{name}' is missing").format(name=missing), errors)
    how = describeExit(exitCode)
    if exitCode in _ENDED_FROM_OUTSIDE:
        return JobError(
            "worker_killed",
            subject,
            _("the worker was ended from outside ({how})").format(how=how),
            _("the job to run to its end"),
            _("Run the job again when nothing ends the worker, such as a logout or a task manager."),
            errors,
        )
    said = _MEMORY.search(recent) is not None or exitCode in _WINDOWS_NO_MEMORY
    if said or _wasKilledSilently(exitCode, recent):
        found = _("the worker ended for lack of memory ({how})")
        likely = _("the worker was ended from outside, most likely by the system for lack of memory ({how})")
        return JobError(
            "out_of_memory",
            subject,
            (found if said else likely).format(how=how),
            _("enough memory for the job"),
            _(
                "Lower the resolution, the number of cases or the batch size, close other programs that use the memory,"
                " or choose another device."
            ),
            errors,
        )
    lastWords = _last(_FATAL, recent) or next(iter(reversed(recent.splitlines())), "")
    found = _("the worker ended by itself ({how})").format(how=how)
    return JobError(
        "worker_crashed",
        subject,
        f"{found}: {lastWords.strip()}" if lastWords else found,
        _("the job to run to its end"),
        _("Run the job again; if it ends like this once more, report it with the lines of the log."),
        errors,
    )


def describeExit(exitCode: int | None) -> str:
    """An exit code in words."""
    if exitCode is None:
        return _("without an exit code")
    if exitCode < 0:
        try:
            name = signal.Signals(-exitCode).name
        except ValueError:
            name = str(-exitCode)
        return _("by signal {name}").format(name=name)
    if exitCode in _WINDOWS_CODES:
        return f"{_WINDOWS_CODES[exitCode]}, 0x{exitCode:X}"
    return _("exit code {code}").format(code=f"0x{exitCode:X}" if exitCode > 0xFFFF else exitCode)


def _wasKilledSilently(exitCode: int | None, recent: str) -> bool:
    if exitCode in (-9, 137):
        return True
    # Python tells of every fault of its own; what ends it without a word, from outside, is the system's memory guard.
    return _LAUNCHER in recent and _FATAL.search(recent) is None and "Traceback" not in recent


def _notInstalled(subject: str, found: str, errors: str) -> JobError:
    return JobError(
        "not_installed",
        subject,
        found,
        _("everything the worker needs in the Python that runs it"),
        _("Install what is missing with the button beside the environment line, or choose another Python environment."),
        errors,
    )


def _last(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.findall(text)
    return found[-1] if found else None
