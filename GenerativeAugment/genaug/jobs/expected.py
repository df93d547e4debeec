"""The peak of jobs that do not sample themselves, from the sizes of their images: said before they start."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from genaug.case import Case
from genaug.errors import GenaugError
from genaug.imageio import voxel_count
from genaug.progress import Reporter
from genaug.record import Record
from genaug.stated import Peak, resident, state

ROOM = 80 << 20
"""Libraries that are loaded once such a job runs: image readers, SciPy, code."""

TORCH = 320 << 20
"""What torch and MONAI take where they are not loaded yet."""

INSERTING, READING, DESCRIBING, EVALUATING = 40, 24, 32, 48
"""Bytes a voxel of the largest image while lesions are inserted into it, it is read and written, described, scored."""


def state_from_sizes(
    cases: Iterable[Case], per_voxel: int, reporter: Reporter, at_once: int = 1, held: int = 0
) -> None:
    """State the peak of a job that looks at its cases one after another, or at some of them at once.

    Args:
        cases: of which the headers are read; an image that cannot be read is left to the job to refuse.
        per_voxel: bytes that the work takes.
        reporter: told.
        at_once: cases that are worked on at the same time.
        held: bytes beside, whatever the cases are.
    """
    largest = max((_voxels(path) for case in cases for path in case.images.values()), default=0)
    present = resident()
    words = f"{largest * per_voxel * at_once / 1e6:.0f} MB of them for the largest image"
    state(Peak(bytes=present + ROOM + held + largest * per_voxel * at_once, of=words), reporter)


def evaluation_bytes() -> int:
    """What an evaluation holds whatever its cases are: torch where it is not loaded, and the images it compares."""
    from genaug.evaluation.diversity import WORKING_BYTES

    return WORKING_BYTES + (0 if "monai" in sys.modules else TORCH)


def state_replay(record: Record, files: Sequence[Path], package: Path | None, reporter: Reporter) -> None:
    """State the peak of making a case again, its former files beside the new ones.

    Args:
        record: of the case.
        files: the case as it is now.
        package: that made it; None where none did.
        reporter: told.
    """
    largest = max((_voxels(file) for file in files), default=0)
    network = _network_bytes(record, package) if package is not None and package.is_dir() else 0
    present = resident()
    words = f"{network / 1e6:.0f} MB of them for the network, {largest * INSERTING / 1e6:.0f} MB for the images"
    state(Peak(bytes=present + ROOM + network + largest * INSERTING, of=words), reporter)


def _network_bytes(record: Record, package: Path) -> int:
    """What sampling takes with the recorded batch, all other stages at their usual settings."""
    from genaug.generation_memory import package_bytes
    from genaug.package import load_package
    from genaug.recipe import Sampler
    from genaug.slabs import SlabPlan

    loaded = load_package(package)
    known = record.parameters
    sampler = Sampler.model_validate(known["sampler"]) if "sampler" in known else loaded.info.recipe.sampler
    cases = int(known.get("micro_batch", known.get("windows_at_once", 2)))
    slabs = record.machine.get("slabs")
    plan = None if slabs is None else SlabPlan.model_validate(slabs)
    return package_bytes(loaded, sampler, cases, plan)


def _voxels(path: Path) -> int:
    try:
        return voxel_count(path)
    except GenaugError:
        return 0
