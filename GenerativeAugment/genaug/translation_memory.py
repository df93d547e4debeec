"""What a translation will hold at most, and how it keeps to a limit: by fewer windows at once, or not at all."""

from __future__ import annotations

import math

import numpy as np

from genaug.acceleration import is_wanted
from genaug.case import Case
from genaug.cohort import Cohort
from genaug.generation_memory import package_bytes, sampling_on_gpu
from genaug.grid import Grid, geometry
from genaug.imageio import Header, read_header
from genaug.limits import refused
from genaug.package import Package
from genaug.parameters import TranslationParameters
from genaug.peak import FRAGMENTS, LIBRARIES, gpu_bytes
from genaug.progress import Reporter
from genaug.recipe import Sampler
from genaug.stated import Peak, resident, state

READING = 8
"""Bytes a voxel of the source beside its own, while it is read and mapped, and of a result on its way into its file."""


def windows_at_once(
    package: Package,
    inputs: Cohort,
    parameters: TranslationParameters,
    sampler: Sampler,
    usual: int,
    reporter: Reporter,
) -> int:
    """Windows of a network call, as many as usual if they keep to `parameters.max_memory`, else one. States the peak.

    Args:
        package: loaded.
        inputs: what is translated; of every case its header is read.
        parameters: of the job, with its limit.
        sampler: that draws the cases.
        usual: windows of a call without a limit.
        reporter: told of the expected peak, or why it is not known.

    Raises:
        GenaugError: BAD_PARAMETER with the number that is needed, when nothing keeps to the limit, or when it is not
            known whether something does; what reading the headers raises.
    """
    limit = parameters.max_memory
    volumes = max((_volume_bytes(package, case) for case in inputs.cases), default=0)
    least: Peak | None = None
    for batch in range(usual, 0, -1):
        try:
            sampled = package_bytes(package, sampler, batch)
        except (RuntimeError, NotImplementedError) as error:
            if limit is not None:
                raise refused(package, int(limit), None) from error
            reporter.log(f"memory: not known beforehand, {type(error).__name__} where shapes alone were computed")
            return usual
        least = _peak(package, sampled, volumes, batch)
        if limit is None or least.bytes <= limit:
            state(least, reporter)
            return batch
    assert least is not None and limit is not None
    raise refused(package, int(limit), least)


def _peak(package: Package, sampled: int, volumes: int, batch: int) -> Peak:
    if package.device.type == "cuda":
        tries = package.info.grid.dimension == 3 and is_wanted()
        found = gpu_bytes(package.device, sampling_on_gpu(package, sampled), tries)
        return Peak(bytes=found, of=f"of the GPU's memory, windows at once: {batch}")
    present = resident()
    parts = f"{present / 1e6:.0f} MB of them held already, {volumes / 1e6:.0f} MB for the largest volume"
    total = round(present + LIBRARIES + FRAGMENTS * (sampled + volumes))
    return Peak(bytes=total, of=f"{parts}, windows at once: {batch}")


def _volume_bytes(package: Package, case: Case) -> int:
    """Sources as they are and in model space, the result in model space, and one being read or written."""
    info = package.info
    sources = [name for name in info.roles.source if name in case.images] or list(case.images)[:1]
    headers = [read_header(case.image(name)) for name in sources]
    if not headers:
        return 0
    voxels = math.prod(headers[0].shape)
    own = sum(voxels * np.dtype(header.dtype).itemsize for header in headers)
    inside = _model_voxels(info.grid, headers[0])
    # A 2D result is put together from its planes, so it is there twice.
    results = len(info.roles.target) * (1 if info.grid.dimension == 3 else 2)
    return own + 4 * inside * (len(info.roles.source) + results) + READING * max(voxels, inside)


def _model_voxels(grid: Grid, header: Header) -> int:
    """Of the volume at the model's spacing, padded to whole windows."""
    axes, _ = geometry.axes_towards(header.affine, grid.orientation)
    spacing = np.linalg.norm(header.affine[:3, :3], axis=0)
    sizes = []
    for axis, source in enumerate(axes):
        length = int(header.shape[source])
        if axis < grid.dimension:
            length = max(grid.size[axis], math.ceil(length * float(spacing[source]) / grid.spacing[axis]) + 1)
            length += -length % grid.multiple_of
        sizes.append(length)
    return math.prod(sizes)
