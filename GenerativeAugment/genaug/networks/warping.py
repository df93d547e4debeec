"""Images bent by displacement fields, and fields that can be undone.

A field of displacements u, (B, d, *S) in voxels, moves an image so that what is seen at x was at x + u(x). A stationary
velocity field v is integrated over unit time into the displacement of a diffeomorphism: it never folds, and the
integral of -v undoes it (Arsigny 2006; Ashburner 2007, A fast diffeomorphic image registration algorithm).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from genaug.networks.base import single_precision

SQUARINGS = 6
"""Halvings of the velocity before it is taken for a displacement; each squaring doubles the time again."""


def enlarged(x: Tensor, size: Sequence[int]) -> Tensor:
    """Maps (B, C, *S) at another size, linearly interpolated between the centres of their voxels."""
    mode = "bilinear" if len(size) == 2 else "trilinear"
    return F.interpolate(x, size=tuple(size), mode=mode, align_corners=False)


def warp(images: Tensor, displacement: Tensor) -> Tensor:
    """Images seen at `position + displacement`, linearly interpolated, edge values beyond the edge.

    In single precision whatever autocast says: half precision cannot tell the positions of a long axis apart.

    Args:
        images: (B, C, *S), or (1, C, *S) for the same one seen by all fields.
        displacement: (B, d, *S), in voxels.

    Returns:
        (B, C, *S) float32.
    """
    cases, dimension = displacement.shape[:2]
    size = displacement.shape[2:]
    with single_precision(images):
        identity = torch.eye(dimension, dimension + 1, device=images.device)
        grid = F.affine_grid(identity.expand(cases, -1, -1), [cases, 1, *size], align_corners=True)
        # grid_sample counts from -1 to 1, last axis first.
        span = torch.tensor([(max(n, 2) - 1) / 2 for n in size], device=images.device)
        moved = (displacement.float() / span.view(-1, *[1] * dimension)).flip(1).movedim(1, -1)
        source = images.float().expand(cases, *images.shape[1:])
        return F.grid_sample(source, grid + moved, padding_mode="border", align_corners=True)


def warp_rows(images: Tensor, displacement: Tensor, first: int) -> Tensor:
    """The rows from `first` on of what `warp` gives, within rounding.

    Args:
        images: (1, C, *S), whole.
        displacement: (1, d, n, ...), in voxels, of n rows: planes along the first spatial axis.
        first: number of the first row.

    Returns:
        (1, C, n, ...) float32.
    """
    size, rows = images.shape[2:], displacement.shape[2]
    axes = [torch.linspace(-1, 1, n, device=images.device) for n in size]
    axes[0] = axes[0][first : first + rows]
    # grid_sample counts from -1 to 1, last axis first.
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], dim=-1)
    span = torch.tensor([(max(n, 2) - 1) / 2 for n in size], device=images.device)
    moved = (displacement.float() / span.view(-1, *[1] * len(size))).flip(1).movedim(1, -1)
    return F.grid_sample(images.float(), grid[None] + moved, padding_mode="border", align_corners=True)


def compose(first: Tensor, second: Tensor) -> Tensor:
    """The displacement of seeing by `first` what was seen by `second`: x goes to x + first(x), then by second."""
    return first + warp(second, first)


def integrate(velocity: Tensor, squarings: int = SQUARINGS) -> Tensor:
    """The displacement (B, d, *S) that a stationary velocity field, in voxels per unit time, gives in unit time.

    Scaling and squaring: a small step is its own displacement, and twice the time is the displacement composed with
    itself (Arsigny 2006, A log-Euclidean framework for statistics on diffeomorphisms).
    """
    displacement: Tensor = velocity.float() / 2**squarings
    for _ in range(squarings):
        displacement = compose(displacement, displacement)
    return displacement


def jacobian_determinant(displacement: Tensor) -> Tensor:
    """(B, *S): how much of the seen image a voxel takes up; above zero everywhere where nothing folds.

    By central differences, one-sided at the edge.
    """
    dimension = displacement.shape[1]
    axes = tuple(range(2, 2 + dimension))
    columns = torch.stack(torch.gradient(displacement.float(), dim=axes), dim=2)
    matrix = columns.movedim((1, 2), (-2, -1)) + torch.eye(dimension, device=displacement.device)
    return torch.as_tensor(torch.linalg.det(matrix))
