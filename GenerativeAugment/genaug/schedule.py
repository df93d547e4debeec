"""Noise schedules: how much of an image is left at each of the T timesteps a denoiser is trained on.

Training works in variance-preserving (VP) coordinates, x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise
(Ho et al. 2020, arXiv:2006.11239). Sampling works in variance-exploding (VE) coordinates, x_0 + sigma * noise, into
which x_t / sqrt(alpha_bar_t) falls with sigma = sqrt((1 - alpha_bar) / alpha_bar) (Karras et al. 2022,
arXiv:2206.00364). All tables are float64 on the CPU; tensors keep their own type and device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor

from genaug.errors import GenaugError, Reason
from genaug.files import invalid
from genaug.strict import Frozen

Prediction = Literal["epsilon", "v", "x0", "flow"]
"""What the network's output means: the noise; v = sqrt(alpha_bar) noise - sqrt(1 - alpha_bar) x0 (Salimans and Ho 2022,
arXiv:2202.00512); the clean image; or noise - x0, the velocity of the straight path from the image to the noise (Liu et
al. 2023, arXiv:2209.03003)."""

Spacing = Literal["uniform", "karras", "quadratic", "trailing", "flow", "variance"]
"""How few steps are spread over the T: evenly; as Karras et al. with rho = 7; densely where noise is low; evenly, the
last step from T / steps - 1 to the clean image, so that half as many steps stop at every second of the same levels;
evenly in the time sigma / (1 + sigma) of a rectified flow; or as a schedule of so many steps whose variances rise
linearly (VAR of FastDPM, Kong and Ping 2021, arXiv:2106.00132, whose STEP is uniform or quadratic)."""

LARGEST_FINAL_SIGMA = 1e5
"""Beyond this, x_0 = x - sigma * noise has lost in float32 what it is meant to find (rounding of 6e-8 sigma)."""

SMALLEST_FINAL_SIGMA = 3.0
"""Below this, more than 0.3 of the image's amplitude is left at the last timestep and sampling must not start from
noise alone."""

_KARRAS_RHO = 7.0
_COSINE_OFFSET = 0.008
_LARGEST_COSINE_BETA = 0.999
_DEFAULT_BETAS: Mapping[str, Mapping[str, float]] = {
    "linear": {"beta_start": 1e-4, "beta_end": 0.02},
    "scaled_linear": {"beta_start": 0.0015, "beta_end": 0.0195},
    "cosine": {},
    "flow": {},
    "geometric": {},
}
_GEOMETRIC = (0.01, 50.0)


class ScheduleConfig(Frozen):
    """What a schedule is built from and what is written to disk with a model.

    Attributes:
        kind: "linear" in beta (Ho et al. 2020), "scaled_linear", linear in sqrt(beta) (latent diffusion, Rombach et al.
            2022, arXiv:2112.10752), "cosine" in alpha_bar (Nichol and Dhariwal 2021, arXiv:2102.09672), "flow", linear
            in sigma / (1 + sigma), the time of a rectified flow (Liu et al. 2023, arXiv:2209.03003), or "geometric" in
            sigma from 0.01 to 50 (the VE SDE of Song et al. 2021, arXiv:2011.13456).
        steps: number T of timesteps in training.
        beta_start: variance added at the first timestep; only the linear schedules have one. Left out, it and
            `beta_end` are those of the paper (linear) or of MONAI's latent diffusion bundles (scaled_linear).
        beta_end: variance added at the last timestep.
    """

    kind: Literal["linear", "scaled_linear", "cosine", "flow", "geometric"] = "scaled_linear"
    steps: int = Field(default=1000, ge=2, le=100_000)
    beta_start: float | None = Field(default=None, gt=0, le=1)
    beta_end: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="before")
    @classmethod
    def _fill_betas(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        given = {key: value for key, value in data.items() if value is not None}
        return {**_DEFAULT_BETAS.get(str(given.get("kind", "scaled_linear")), {}), **given}

    @model_validator(mode="after")
    def _check_betas(self) -> ScheduleConfig:
        if not _DEFAULT_BETAS[self.kind]:
            if self.beta_start is not None or self.beta_end is not None:
                raise ValueError(
                    f"a {self.kind} schedule follows from its steps alone; leave out beta_start and beta_end"
                )
        elif self.beta_start is None or self.beta_end is None or self.beta_start > self.beta_end:
            raise ValueError(f"beta_start {self.beta_start} must not exceed beta_end {self.beta_end}")
        return self


class Schedule:
    """The tables of one noise schedule and the arithmetic between x_0, noise, x_t and what networks predict.

    Args:
        config: see ScheduleConfig.

    Attributes:
        alpha_bar: (T,) float64, remaining signal power after timestep t = 0 .. T - 1, strictly falling.
        sigmas: (T,) float64, noise standard deviation in VE coordinates, strictly rising.

    Raises:
        GenaugError: BAD_RECIPE, when the last timestep is not noise, or is nothing but noise (zero terminal SNR).
    """

    def __init__(self, config: ScheduleConfig) -> None:
        self.config = config
        self.alpha_bar = _alpha_bar(config)
        self.sigmas = ((1 - self.alpha_bar) / self.alpha_bar).sqrt()
        _require_usable_end(config, float(self.sigmas[-1]))
        self._signal = self.alpha_bar.sqrt()
        self._noise = (1 - self.alpha_bar).sqrt()
        self._log_sigmas = self.sigmas.log().numpy()

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Schedule:
        """Build from a plain dictionary, as recipes and model packages hold it; see ScheduleConfig for the keys.

        Raises:
            GenaugError: BAD_RECIPE, naming every key at fault.
        """
        try:
            return cls(ScheduleConfig.model_validate(dict(values)))
        except ValidationError as error:
            raise invalid(error, "schedule", "noise schedule", Reason.BAD_RECIPE) from error

    def to_dict(self) -> dict[str, Any]:
        """The dictionary that `from_dict` takes, with every default spelled out."""
        return self.config.model_dump(exclude_none=True)

    @property
    def steps(self) -> int:
        """Number T of timesteps in training."""
        return self.config.steps

    def add_noise(self, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t in VP coordinates.

        Args:
            x0: (B, C, ...) clean images or latents.
            noise: the same shape, standard normal.
            t: (B,) integers in [0, T).
        """
        signal, spread = self._coefficients(t, x0)
        return signal * x0 + spread * noise

    def target(self, prediction: Prediction, x0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What a network of this kind should answer for `add_noise(x0, noise, t)`; shapes as there."""
        if prediction == "epsilon":
            return noise
        if prediction == "x0":
            return x0
        if prediction == "flow":
            return noise - x0
        signal, spread = self._coefficients(t, x0)
        return signal * noise - spread * x0

    def x0_from(self, prediction: Prediction, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The clean image that a network's `output` at `x_t` (VP coordinates) stands for."""
        if prediction == "x0":
            return output
        signal, spread = self._coefficients(t, x_t)
        if prediction == "epsilon":
            return (x_t - spread * output) / signal
        if prediction == "flow":
            return (x_t - spread * output) / (signal + spread)
        return signal * x_t - spread * output

    def noise_from(self, prediction: Prediction, output: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The noise that a network's `output` at `x_t` (VP coordinates) stands for."""
        if prediction == "epsilon":
            return output
        signal, spread = self._coefficients(t, x_t)
        if prediction == "x0":
            return (x_t - signal * output) / spread
        if prediction == "flow":
            return (x_t + signal * output) / (signal + spread)
        return spread * x_t + signal * output

    def convert(self, output: Tensor, x_t: Tensor, t: Tensor, source: Prediction, wanted: Prediction) -> Tensor:
        """A network's `output` of kind `source` at `x_t`, said in terms of another kind."""
        if source == wanted:
            return output
        x0, noise = self.x0_from(source, output, x_t, t), self.noise_from(source, output, x_t, t)
        return self.target(wanted, x0, noise, t)

    def timestep_of(self, sigma: float) -> float:
        """The timestep, fractional where none fits, whose noise level is `sigma`; linear in log(sigma) between two.

        Raises:
            ValueError: `sigma` lies outside what the network was trained on.
        """
        low, high = float(self.sigmas[0]), float(self.sigmas[-1])
        # The tolerance admits a sigma that went through float32 and nothing else.
        if not low * (1 - 1e-6) <= sigma <= high * (1 + 1e-6):
            raise ValueError(f"sigma {sigma:g} lies outside the trained range [{low:g}, {high:g}]")
        return float(np.interp(np.log(sigma), self._log_sigmas, np.arange(self.steps, dtype=np.float64)))

    def sigma_of(self, timesteps: Tensor) -> Tensor:
        """Noise levels, float64, of fractional timesteps in [0, T - 1]; the inverse of `timestep_of`."""
        at = timesteps.detach().to("cpu", torch.float64).numpy()
        if at.size and not (at.min() >= 0 and at.max() <= self.steps - 1):
            raise ValueError(f"timesteps {at.min():g} to {at.max():g} lie outside [0, {self.steps - 1}]")
        return torch.as_tensor(np.exp(np.interp(at, np.arange(self.steps, dtype=np.float64), self._log_sigmas)))

    def sigmas_for(self, steps: int, spacing: Spacing = "uniform") -> Tensor:
        """The noise levels a sampler walks down.

        The first is that of timestep T - 1, the last but one that of timestep 0 (for `steps` >= 2), then comes 0; in
        the spacings "trailing" and "flow" the step to 0 is as long as the others. "uniform" over all T steps is the
        training schedule itself, reversed.

        Args:
            steps: number of steps, 1 to T.
            spacing: see Spacing.

        Returns:
            (steps + 1,) float64 on the CPU, strictly falling.

        Raises:
            GenaugError: BAD_PARAMETER, when `steps` or `spacing` is not among these.
        """
        if not 1 <= steps <= self.steps:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                "steps",
                f"{steps} sampling steps",
                f"1 to {self.steps}, the timesteps the model was trained on",
                "Choose a number of steps in this range; 10 to 50 suit most samplers.",
            )
        left = torch.linspace(1, 0, steps, dtype=torch.float64)
        if spacing == "karras":
            low, high = self.sigmas[0] ** (1 / _KARRAS_RHO), self.sigmas[-1] ** (1 / _KARRAS_RHO)
            sigmas = (low + left * (high - low)) ** _KARRAS_RHO
        elif spacing in ("uniform", "quadratic"):
            sigmas = self.sigma_of((self.steps - 1) * (left if spacing == "uniform" else left**2))
        elif spacing == "trailing":
            sigmas = self.sigma_of(self.steps * torch.arange(steps, 0, -1, dtype=torch.float64) / steps - 1)
        elif spacing == "flow":
            first, last = (float(sigma / (1 + sigma)) for sigma in (self.sigmas[-1], self.sigmas[0]))
            time = torch.linspace(first, max(last, first / steps), steps, dtype=torch.float64)
            sigmas = time / (1 - time)
        elif spacing == "variance":
            sigmas = _of_linear_variances(float(self.sigmas[0]), float(self.sigmas[-1]), steps)
        else:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                "spacing",
                repr(spacing),
                f"one of {', '.join(get_args(Spacing))}",
                "Name one of these, or leave it out for the sampler's own.",
            )
        return torch.cat([sigmas, sigmas.new_zeros(1)])

    def _coefficients(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(alpha_bar) and sqrt(1 - alpha_bar) at `t`, shaped (B, 1, ...) to multiply `like`."""
        # Looked up on the CPU because some devices have no float64; and a negative index would silently wrap around.
        index = t.detach().cpu()
        if index.shape != like.shape[:1] or index.is_floating_point() or bool((index < 0).any()):
            raise ValueError(f"t must be {like.shape[0]} integers in [0, {self.steps}), got {t}")
        shape = (-1, *[1] * (like.ndim - 1))
        signal, noise = (
            table[index].reshape(shape).to(like.device, like.dtype) for table in (self._signal, self._noise)
        )
        return signal, noise


def _of_linear_variances(low: float, high: float, steps: int) -> Tensor:
    """Falling sigmas of a schedule of `steps` variances eta_s = eta_0 (1 + c s) that goes from `low` to `high`.

    Its first variance is the training's, and the slope c is the one that leaves as much of the signal at the end as the
    training does (Kong and Ping 2021, section 3.2). One step has no slope and goes from `high` alone.
    """
    if steps == 1:
        return torch.tensor([high], dtype=torch.float64)
    first, wanted = low**2 / (1 + low**2), -math.log1p(high**2)
    rise = torch.arange(steps, dtype=torch.float64)
    lower, upper = 0.0, (1 / first - 1) / (steps - 1)
    for _ in range(200):
        slope = (lower + upper) / 2
        left = float(torch.log1p(-first * (1 + slope * rise)).sum())
        lower, upper = (slope, upper) if left > wanted else (lower, slope)
    kept = torch.cumsum(torch.log1p(-first * (1 + lower * rise)), 0)
    sigmas = torch.expm1(-kept).sqrt()
    sigmas[-1], sigmas[0] = high, low
    return sigmas.flip(0)


def _alpha_bar(config: ScheduleConfig) -> Tensor:
    """Remaining signal power, (T,) float64: of most schedules the cumulative product of 1 - beta."""
    if config.kind == "flow":
        time = torch.arange(1, config.steps + 1, dtype=torch.float64) / (config.steps + 1)
        return (1 - time) ** 2 / ((1 - time) ** 2 + time**2)
    if config.kind == "geometric":
        low, high = (math.log(sigma) for sigma in _GEOMETRIC)
        return 1 / (1 + torch.linspace(low, high, config.steps, dtype=torch.float64).exp() ** 2)
    if config.kind == "cosine":
        time = torch.arange(config.steps + 1, dtype=torch.float64) / config.steps
        ideal = torch.cos((time + _COSINE_OFFSET) / (1 + _COSINE_OFFSET) * torch.pi / 2) ** 2
        # The ideal curve ends at 0, an infinite sigma; the paper bounds beta instead.
        betas = (1 - ideal[1:] / ideal[:-1]).clamp(max=_LARGEST_COSINE_BETA)
    else:
        power = 1.0 if config.kind == "linear" else 0.5
        start, end = float(config.beta_start or 0) ** power, float(config.beta_end or 0) ** power
        betas = torch.linspace(start, end, config.steps, dtype=torch.float64) ** (1 / power)
    return torch.cumprod(1 - betas, dim=0)


def _require_usable_end(config: ScheduleConfig, sigma: float) -> None:
    """Raise BAD_RECIPE unless the last timestep is noise with a trace of signal."""
    values = ", ".join(f"{key} {value}" for key, value in config.model_dump(exclude_none=True).items())
    if not sigma <= LARGEST_FINAL_SIGMA:
        raise GenaugError(
            Reason.BAD_RECIPE,
            "schedule",
            f"no signal left at the last timestep (sigma {sigma:g} with {values})",
            f"a final sigma of at most {LARGEST_FINAL_SIGMA:g}",
            "Schedules of zero terminal SNR have no finite noise level to sample from; lower beta_end or the steps.",
        )
    if sigma < SMALLEST_FINAL_SIGMA:
        raise GenaugError(
            Reason.BAD_RECIPE,
            "schedule",
            f"{(1 + sigma**2) ** -0.5:.0%} of the image left at the last timestep (sigma {sigma:.3g} with {values})",
            f"a final sigma of at least {SMALLEST_FINAL_SIGMA:g}, because sampling starts from noise alone",
            "Raise beta_end or the steps, or take the cosine schedule, which ends in noise at any number of steps.",
        )
