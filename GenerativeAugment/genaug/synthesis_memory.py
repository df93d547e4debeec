"""What a synthesis will hold at most, and how it keeps to a limit: by decoding in slabs, or not at all."""

from __future__ import annotations

import math

from genaug.cohort import Cohort
from genaug.generation_memory import package_bytes, sampling_on_gpu
from genaug.imageio import voxel_count
from genaug.limits import refused
from genaug.networks.autoencoders import SpatialAutoencoder
from genaug.package import Package
from genaug.parameters import SynthesisParameters
from genaug.peak import FRAGMENTS, LIBRARIES, gpu_bytes
from genaug.progress import Reporter
from genaug.recipe import Sampler
from genaug.slabs import PLANS, SlabPlan
from genaug.stated import Peak, resident, state

FINISHING = 6
"""Copies of a case, in float32, that are made of it on its way into its files."""

GIVEN = 24
"""Bytes a voxel of a given case while it is read and brought to model space."""


def synthesis_plan(
    package: Package,
    parameters: SynthesisParameters,
    sampler: Sampler,
    cases: int,
    reporter: Reporter,
    given: Cohort | None = None,
) -> SlabPlan | None:
    """How to decode, the fastest way that keeps to `parameters.max_memory`; None for at once. States what it takes.

    Without a limit everything is decoded at once, so that what is made does not depend on what else the machine does.

    Args:
        package: loaded.
        parameters: of the job, with its limit.
        sampler: that draws.
        cases: of one network batch.
        reporter: told of the expected peak, or why it is not known.
        given: cases that are followed.

    Raises:
        GenaugError: BAD_PARAMETER with the number that is needed, when nothing keeps to the limit, or when it is not
            known whether something does.
    """
    limit, workers = parameters.max_memory, min(parameters.workers, parameters.count)
    least: Peak | None = None
    for plan in _plans(package):
        try:
            sampled = package_bytes(package, sampler, cases, plan)
        except (RuntimeError, NotImplementedError) as error:
            if limit is not None:
                raise refused(package, int(limit), None) from error
            reporter.log(f"memory: not known beforehand, {type(error).__name__} where shapes alone were computed")
            return None
        found = _peak(package, sampled, cases, given, plan, workers)
        if limit is None or found.bytes <= limit:
            state(found, reporter)
            return plan
        least = found if least is None or found.bytes < least.bytes else least
    assert least is not None and limit is not None
    raise refused(package, int(limit), least)


def _plans(package: Package) -> tuple[SlabPlan | None, ...]:
    """Ways to decode, the fastest first."""
    slabs = any(isinstance(system, SpatialAutoencoder) for system in package.systems.values())
    return (None, *PLANS) if slabs else (None,)


def _peak(
    package: Package, sampled: int, cases: int, given: Cohort | None, plan: SlabPlan | None, workers: int
) -> Peak:
    if package.device.type == "cuda":
        working = sampling_on_gpu(package, sampled)
        return Peak(bytes=gpu_bytes(package.device, working, False), of=f"of the GPU's memory, {_in_words(plan)}")
    info = package.info
    case = 4 * math.prod(info.grid.size) * (len(info.roles.target) + info.roles.label_channels)
    written = cases * case + FINISHING * 4 * math.prod(info.grid.size) * max(1, len(info.roles.target))
    followed = cases * _largest(given) * GIVEN if given is not None and info.roles.given_labels else 0
    present = resident()
    one = round(present + LIBRARIES + FRAGMENTS * (max(sampled, written) + followed))
    # Another worker imports what this process has imported, and loads the same model.
    total = workers * one
    shared = "" if workers == 1 else f", of {workers} workers with {one / 1e6:.0f} MB each"
    return Peak(bytes=total, of=f"{present / 1e6:.0f} MB of them held before the first case{shared}, {_in_words(plan)}")


def _largest(given: Cohort) -> int:
    """Voxels of the largest label map."""
    return max((voxel_count(case.label) for case in given.cases if case.label is not None), default=0)


def _in_words(plan: SlabPlan | None) -> str:
    if plan is None:
        return "decoded at once"
    return "decoded in slabs, through a temporary file" if plan.spill else "decoded in slabs"
