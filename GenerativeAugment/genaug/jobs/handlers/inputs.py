"""Looking at a job's inputs before its first output, so that a bad file leaves nothing behind, not even as the last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import quote

from genaug.case import Case
from genaug.cohort import Cohort
from genaug.cohort_check import require_told_channels
from genaug.errors import GenaugError, Reason
from genaug.imageio import read_volume
from genaug.progress import Part, Reporter
from genaug.readers import read_cohort, says_modalities
from genaug.volume import Volume, require_told_modality

CHECKING_SHARE = 0.05
"""Of the bar; reading an image takes little beside what is then made of it."""


def parts(reporter: Reporter) -> tuple[Part, Part]:
    """The bar's stretch for looking at the inputs, and the one for the work."""
    return Part(reporter, 0, CHECKING_SHARE), Part(reporter, CHECKING_SHARE, 1 - CHECKING_SHARE)


def require_cases(cases: Sequence[Case], subject: str | Path) -> None:
    """Raise EMPTY_COHORT when there is nothing to work on."""
    if not cases:
        raise GenaugError(Reason.EMPTY_COHORT, subject, "no case", "at least one case", "Check the cohort's folder.")


def read_alone(path: Path, modality: str | None) -> Volume:
    """An image that is given by itself; `modality` is what the user says of it, None for nothing.

    Raises:
        GenaugError: as `read_volume`; WRONG_MODALITY for what looks like CT where nothing says what it is.
    """
    volume = read_volume(path, modality)
    if modality is None and not path.is_dir():
        require_told_modality(volume, "Say what it is: --modality CT, or --modality MR if it is no CT.")
    return volume


def read_given(path: Path) -> Cohort:
    """A cohort that a job is given, by its manifest or as it was found.

    Raises:
        GenaugError: as `read_cohort`; WRONG_MODALITY for images without a manifest that look like CT where nothing says
            what they are.
    """
    cohort = read_cohort(path)
    if not says_modalities(path):
        require_told_channels(
            cohort,
            (),
            f"Describe the cohort, and give the file that this writes: genaug cohort {quote(str(path))} cohort.json"
            " --modality {channel}=CT, or {channel}=MR if it is no CT.",
        )
    return cohort


def require_sound(cohort: Cohort, cases: Sequence[Case], channel: str | None, reporter: Reporter) -> None:
    """Read the images of one channel, or of all, and the label maps of some of a cohort's cases.

    Raises:
        GenaugError: as `Cohort.check`.
    """
    if channel is not None:
        cases = [case.model_copy(update={"images": {channel: case.image(channel)}}) for case in cases]
    cohort.with_cases(cases).check(paired=False, reporter=reporter)


def require_readable(cases: Sequence[Case], read: Callable[[Case], object], reporter: Reporter) -> None:
    """Read what the work will read of every case, and its label map; what was read is dropped again."""
    for done, case in enumerate(cases, start=1):
        read(case)
        case.label_map()
        reporter.progress(done, len(cases), f"looking at {case.id}")
