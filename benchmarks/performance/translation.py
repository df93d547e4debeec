"""Translation of a whole volume: our windows beside MONAI's SlidingWindowInferer on the same windows and weights."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import numpy as np
import torch
from genaug.channels_last import faster_layout, to_layout
from genaug.convolution import route_convolutions, sampling
from genaug.networks import Batch, Signature, System, activate, build_system
from genaug.recipe import load_recipe
from genaug.translation import MICRO_BATCH
from genaug.windows import apply_windows, importance
from monai.inferers import SlidingWindowInferer
from torch import Tensor

from benchmarks.performance.row import Result, Spec, timed
from benchmarks.performance.timing import interleaved

SIZE = (256, 256, 128)
WINDOW = (64, 64, 128)
OVERLAP = 0.25
"""A size and an overlap for which both put their windows on the same lattice."""
ALLOWED = 1e-3
REPETITIONS = 2
"""A repetition takes the better part of a minute."""
NOTE = (
    "Gained by channels last, which spares convolutions the reordering of what they read and write, with an instance "
    "norm that stays in that order; and by two windows a call, which MONAI can be told, too (see seconds_a_window)."
)


def phantom(size: tuple[int, ...]) -> Tensor:
    """(1, *size): an ellipsoid body of smooth texture in [-1, 1], with nothing around it."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, 1, *(n // 8 for n in size), generator=rng)
    texture = torch.nn.functional.interpolate(coarse, size=size, mode="trilinear", align_corners=True)[0]
    axes = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in size), indexing="ij")
    body = sum((axis / 0.8) ** 2 for axis in axes) < 1
    return torch.where(torch.as_tensor(body), (0.4 * texture).clamp(-1, 1), torch.tensor(-1.0))


def translator(window: tuple[int, ...], features: tuple[int, ...] | None = None) -> System:
    """The recipe's network in 3D, its weights from a seed."""
    network = load_recipe("unet-l1").resolve(3).stages["translator"].network
    if features is not None:
        network = network.model_copy(update={"options": {"features": list(features)}})
    torch.manual_seed(0)
    return build_system(network, Signature(3, window, 1, 0, 1)).eval().requires_grad_(False)


def ours(system: System, volume: Tensor, window: tuple[int, ...]) -> Callable[[], Tensor]:
    """As `translation` does it with a loaded package."""
    own = copy.deepcopy(system)
    route_convolutions(own)
    to_layout(own, faster_layout())

    def run() -> Tensor:
        with sampling():
            return apply_windows(_function(own), volume, window, OVERLAP, MICRO_BATCH)

    return run


def peer(system: System, volume: Tensor, window: tuple[int, ...], batch: int = 1) -> Callable[[], Tensor]:
    """MONAI's inferer, its Gaussian weights without their floor, so that both blend alike; they are made beforehand."""
    inferer = SlidingWindowInferer(window, batch, OVERLAP, mode="gaussian", sigma_scale=0.125)
    bells = [torch.from_numpy(np.asarray(bell)).float() for bell in importance(window)]
    inferer.roi_weight_map = torch.einsum("i,j,k->ijk", *bells)
    function = _function(copy.deepcopy(system))

    def run() -> Tensor:
        with torch.no_grad():
            return torch.as_tensor(inferer(volume[None], function))[0]

    return run


def _function(system: System) -> Callable[[Tensor], Tensor]:
    def function(windows: Tensor) -> Tensor:
        batch = Batch(windows[:, :1], source=windows)
        return activate(system.generate(windows, batch), 1)  # type: ignore[operator]

    return function


def difference(one: Tensor, other: Tensor) -> dict[str, float]:
    """The largest, of values in [-1, 1].

    Raises:
        RuntimeError: it is more than allowed.
    """
    largest = float((one - other).abs().max())
    if not largest <= ALLOWED:
        raise RuntimeError(f"the two ways differ by {largest:.3g} where {ALLOWED:g} is allowed")
    return {"largest": largest, "allowed": ALLOWED}


def measure() -> list[Result]:
    """The volume, and how MONAI's time depends on the windows that it takes at once."""
    system, volume = translator(WINDOW), phantom(SIZE)
    small = phantom(WINDOW)
    ours(system, small, WINDOW)(), peer(system, small, WINDOW)()
    results: dict[str, Tensor] = {}
    mine, theirs = ours(system, volume, WINDOW), peer(system, volume, WINDOW)
    times = interleaved(
        lambda: results.update(ours=mine()), lambda: results.update(peer=theirs()), REPETITIONS, warm_ups=0
    )
    quarter = phantom((112, 112, 128))
    return [
        timed(
            "translation-256",
            f"translation of {'×'.join(map(str, SIZE))} voxels by the U-Net of unet-l1, "
            f"windows of {'×'.join(map(str, WINDOW))}",
            "MONAI SlidingWindowInferer, one window at a time",
            "exact",
            times,
            1.2,
            error=difference(results["ours"], results["peer"]),
            detail={
                "windows": 25,
                "overlap": OVERLAP,
                "memory_layout": faster_layout(),
                "seconds_a_window": {
                    "ours": _once(ours(system, quarter, WINDOW)) / 4,
                    **{f"monai sw_batch_size {n}": _once(peer(system, quarter, WINDOW, n)) / 4 for n in (1, 2, 4)},
                },
            },
            note=NOTE,
        )
    ]


def _once(run: Callable[[], Tensor]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


SPEC = Spec("translation", ("translation-256",), measure)
