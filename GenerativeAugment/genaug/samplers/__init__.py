"""Samplers: plain functions (denoise, x, sigmas, *, noise, callback, ...) -> x0, and the registry that names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from genaug.denoiser import Denoise
from genaug.errors import GenaugError, Reason
from genaug.samplers.ancestral import ancestral
from genaug.samplers.ddim import ddim
from genaug.samplers.dpmpp import dpmpp_2m
from genaug.samplers.flow import flow_heun
from genaug.samplers.heun import heun
from genaug.samplers.noise import CaseNoise, WindowNoise, draw_initial
from genaug.samplers.predictor_corrector import predictor_corrector
from genaug.samplers.stepping import Callback, Noise
from genaug.schedule import Schedule, Spacing

__all__ = [
    "SAMPLERS",
    "Callback",
    "CaseNoise",
    "Noise",
    "Sampler",
    "WindowNoise",
    "ancestral",
    "ddim",
    "dpmpp_2m",
    "draw_initial",
    "find_sampler",
    "flow_heun",
    "heun",
    "predictor_corrector",
]


@dataclass(frozen=True)
class Sampler:
    """A sampler with what a recipe or a user interface needs to know of it.

    Attributes:
        name: in recipes and jobs.
        function: the loop.
        summary: one line for people.
        steps: default number of steps.
        spacing: default spacing of the noise levels.
        calls_per_step: network calls of every step but the last, which takes one.
        options: names of the numbers that the function takes besides.
    """

    name: str
    function: Callable[..., Tensor]
    summary: str
    steps: int
    spacing: Spacing
    calls_per_step: int = 1
    options: tuple[str, ...] = ()

    def network_calls(self, steps: int) -> int:
        """Most network function evaluations (NFE) of so many steps, by which samplers are fairly compared.

        Heun's method needs one less for every step that it leaves to Euler.
        """
        return self.calls_per_step * (steps - 1) + 1

    def sample(
        self,
        denoise: Denoise,
        schedule: Schedule,
        noise: Noise,
        *,
        steps: int | None = None,
        spacing: Spacing | None = None,
        callback: Callback | None = None,
        **options: float,
    ) -> Tensor:
        """Draw the initial noise and run the loop.

        Args:
            denoise: the model, see `denoiser.guided`.
            schedule: the one it was trained on.
            noise: see CaseNoise; its first draw is where sampling starts.
            steps: default `self.steps`, or all that the schedule has, where that is less.
            spacing: default `self.spacing`.
            callback: told (done, total) before the first step and after each; stops the sampling by raising.
            options: see `self.options`.

        Returns:
            x0, of the noise's shape.

        Raises:
            GenaugError: BAD_PARAMETER, for steps, spacing or an option that there is not.
        """
        for option in options:
            if option not in self.options:
                raise GenaugError(
                    Reason.BAD_PARAMETER,
                    f"sampler {self.name}",
                    f"the option {option}",
                    f"one of: {', '.join(self.options)}" if self.options else "no options",
                    "Remove the option or choose another sampler.",
                )
        sigmas = schedule.sigmas_for(
            min(self.steps, schedule.steps) if steps is None else steps, spacing or self.spacing
        )
        x = draw_initial(noise, float(sigmas[0]))
        return self.function(denoise, x, sigmas, noise=noise, callback=callback, **options)


# Of the first three spacings, quadratic timesteps follow the exact flow of Gaussian mixtures best at second order:
# schedules for training end at sigma 70 and more, where Karras' levels spend many steps on which little depends. DDIM
# keeps the even timesteps of its paper and of MONAI. Several methods are one of the loops on levels of their own: a
# rectified flow by Euler, a distilled student and FastDPM are DDIM; a denoising diffusion GAN draws from the ancestral
# posterior, which is exact for steps of any length when the clean estimate is a draw and not a mean.
_ALL = (
    Sampler("ancestral", ancestral, "DDPM, every step with fresh noise; slow, the reference", 1000, "uniform"),
    Sampler("ddim", ddim, "DDIM; eta 0 is deterministic, eta 1 is ancestral", 50, "uniform", options=("eta",)),
    Sampler("dpmpp_2m", dpmpp_2m, "DPM-Solver++ 2M; accurate in few steps", 20, "quadratic"),
    Sampler("heun", heun, "Heun's method of EDM; two network calls a step", 18, "quadratic", calls_per_step=2),
    Sampler("fastdpm_step", ddim, "FastDPM, steps dense at low noise", 20, "quadratic", options=("eta",)),
    Sampler("fastdpm_var", ddim, "FastDPM, a short schedule of its own variances", 20, "variance", options=("eta",)),
    Sampler(
        "predictor_corrector",
        predictor_corrector,
        "Score-based: a step down, then Langevin dynamics; slow, varied",
        200,
        "karras",
        calls_per_step=2,
        options=("snr",),
    ),
    Sampler("flow_euler", ddim, "Rectified flow, straight ahead in even steps", 20, "flow"),
    Sampler("flow_heun", flow_heun, "Rectified flow, second order; two network calls a step", 10, "flow", 2),
    Sampler("posterior", ancestral, "Few big steps of a denoising diffusion GAN", 4, "trailing"),
    Sampler("distilled", ddim, "The steps a distilled student has learnt: 8, 4, 2 or 1", 4, "trailing"),
)

SAMPLERS: Mapping[str, Sampler] = MappingProxyType({sampler.name: sampler for sampler in _ALL})


def find_sampler(name: str) -> Sampler:
    """The sampler of that name.

    Raises:
        GenaugError: BAD_PARAMETER, listing those that exist.
    """
    if name not in SAMPLERS:
        raise GenaugError(
            Reason.BAD_PARAMETER, "sampler", repr(name), f"one of: {', '.join(SAMPLERS)}", "Name one of these samplers."
        )
    return SAMPLERS[name]
