"""One call of a denoiser for one volume: MONAI's network as it is, and the same network on our route."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from genaug.convolution import current_route, problem, route_convolutions, sampling
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn

from benchmarks.performance.row import Result, Spec, timed
from benchmarks.performance.timing import Times, interleaved

GOALS = {16: 2.5, 24: 2.5, 32: 1.15}
"""Edge of the code in voxels to the ratio wanted."""

CHANNELS = 4
BATCHES = (2, 4)
FEW = 3
"""Repetitions of what only stands in the detail."""

TOLERANCE = 1e-4
"""Largest difference, as a share of the largest value."""

Call = Callable[[], Tensor]


def network() -> nn.Module:
    """MONAI's denoiser of 7.2 million weights, random ones everywhere.

    As it is made, its output layer and the last one of every block are zero, so that whatever happens inside is lost.
    """
    torch.manual_seed(0)
    made: nn.Module = DiffusionModelUNet(
        spatial_dims=3,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        channels=(32, 64, 128),
        attention_levels=(False, False, True),
        num_res_blocks=1,
        num_head_channels=32,
    )
    for module in made.modules():
        if isinstance(module, (nn.Conv3d, nn.Linear)) and not module.weight.any():
            module.reset_parameters()
    return made.eval()


def both(plain: nn.Module, edge: int, batch: int = 1) -> tuple[Call, Call]:
    """Our call and the peer's, of the same network for the same noisy codes."""
    routed = copy.deepcopy(plain)
    route_convolutions(routed)
    generator = torch.Generator().manual_seed(edge)
    x = torch.randn(batch, CHANNELS, edge, edge, edge, generator=generator)
    timesteps = torch.full((batch,), 500.0)

    @torch.no_grad()
    def ours() -> Tensor:
        with sampling():
            return torch.as_tensor(routed(x, timesteps))

    @torch.no_grad()
    def peer() -> Tensor:
        return torch.as_tensor(plain(x, timesteps))

    return ours, peer


def difference(ours: Tensor, peer: Tensor) -> float:
    """Largest difference as a share of the peer's largest value; AssertionError above TOLERANCE."""
    found = float((ours - peer).abs().max() / peer.abs().max())
    assert found <= TOLERANCE, f"the calls differ by {found:.1e}"
    return found


def measure() -> list[Result]:
    """All three sizes, and how the time grows with voxels and with the batch."""
    assert current_route() == "onednn", problem() or "oneDNN's convolutions are not the faster ones here"
    plain = network()
    rows, ours_seconds = [], {}
    for edge, goal in GOALS.items():
        ours, peer = both(plain, edge)
        apart = difference(ours(), peer())
        times = interleaved(ours, peer)
        ours_seconds[edge] = times[0].median
        rows.append(
            timed(
                f"denoiser-{edge}",
                f"one denoiser call, batch 1, {edge}³ codes",
                "MONAI DiffusionModelUNet as it is",
                "exact",
                times,
                goal,
                error={"relative difference": apart, "allowed": TOLERANCE},
                detail={
                    "route": current_route(),
                    "weights": sum(p.numel() for p in plain.parameters()),
                    "seconds per sample by batch": {batch: _per_sample(plain, edge, batch) for batch in BATCHES},
                },
            )
        )
    first = min(ours_seconds)
    growth = {
        edge: math.log(seconds / ours_seconds[first]) / math.log((edge / first) ** 3)
        for edge, seconds in ours_seconds.items()
        if edge != first
    }
    for row in rows:
        row.detail["exponent of the voxels, from 16³"] = growth
    return rows


def _per_sample(plain: nn.Module, edge: int, batch: int) -> dict[str, float]:
    times: tuple[Times, Times] = interleaved(*both(plain, edge, batch), repetitions=FEW, warm_ups=1)
    return {"ours": times[0].median / batch, "peer": times[1].median / batch}


SPEC = Spec("denoiser", tuple(f"denoiser-{edge}" for edge in GOALS), measure)
