"""What a student of a denoiser learns: to go in one step where its teacher goes in two."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from genaug.networks.denoising import DenoisingSystem
from genaug.objectives.base import Batch, Lacking, Outputs, Play, mean_inside


def distillation(outputs: Outputs, batch: Batch, play: Play) -> Tensor:
    """Mean squared error to what would take the student where two DDIM steps of half the length take the teacher.

    Algorithm 2 of Salimans and Ho 2022 (arXiv:2202.00512), in the parameterisation of both: for v the error of x0 times
    SNR + 1, their second weighting.

    Args:
        outputs: `noised` at `timesteps`, from which one step goes to `following`.
        batch: the conditions.
        play: with the teacher, a denoiser of the same schedule and prediction.
    """
    teacher = play.teacher
    if not isinstance(teacher, DenoisingSystem):
        raise Lacking("distillation needs a stage that follows a denoiser, its teacher")
    with torch.no_grad():
        x0 = leap(teacher, outputs["noised"], outputs["timesteps"], outputs["following"], batch)
        truth = teacher.schedule.convert(x0, outputs["noised"], outputs["timesteps"], "x0", teacher.prediction)
    return mean_inside(F.mse_loss(outputs["prediction"], truth, reduction="none"), batch)


def leap(teacher: DenoisingSystem, noised: Tensor, timesteps: Tensor, following: Tensor, batch: Batch) -> Tensor:
    """The clean image by which one DDIM step ends where two of the teacher's do.

    Args:
        teacher: the denoiser.
        noised: (B, C, *S) in VP coordinates.
        timesteps: (B,) where the step begins.
        following: (B,) where it ends, -1 for the clean image; the timestep in the middle must be one.
        batch: the conditions.

    Raises:
        ValueError: there is no timestep in the middle.
    """
    # Where shapes alone are computed there is no value to be odd.
    if not timesteps.is_meta and bool(((timesteps + following) % 2).any()):
        raise ValueError(
            "a step of an odd number of timesteps has no middle; take levels that divide half the schedule"
        )
    middle = (timesteps + following) // 2
    table = torch.cat([torch.zeros(1, dtype=torch.float64), teacher.schedule.sigmas])

    def level(at: Tensor) -> Tensor:
        return table[at.cpu() + 1].to(noised.device, noised.dtype).view(-1, *[1] * (noised.ndim - 1))

    t, m, s = level(timesteps), level(middle), level(following)
    x = noised * (1 + t**2).sqrt()
    between = torch.lerp(teacher.clean(noised, timesteps, batch), x, m / t)
    end = torch.lerp(teacher.clean(between / (1 + m**2).sqrt(), middle, batch), between, s / m)
    # end = x0 + (s / t) (x - x0), solved for x0.
    return (end - s / t * x) / (1 - s / t)
