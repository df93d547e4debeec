"""MONAI's inferer with the networks of one of our latent packages, which the inferer takes for its own."""

from __future__ import annotations

import torch
from genaug.generation import CodeScale
from genaug.networks import Batch, Signature, build_system
from genaug.networks.autoencoders import SpatialAutoencoder
from genaug.networks.base import activate
from genaug.networks.denoising import DenoisingSystem
from genaug.package import Package
from monai.inferers import LatentDiffusionInferer
from monai.networks.schedulers import DDIMScheduler, DDPMScheduler
from monai.networks.schedulers.scheduler import Scheduler
from torch import Tensor, nn

BETAS = {"scaled_linear": "scaled_linear_beta", "linear": "linear_beta"}
PREDICTIONS = {"v": "v_prediction", "epsilon": "epsilon", "x0": "sample"}


class AsUNet(nn.Module):
    """Our denoiser called as MONAI's is."""

    def __init__(self, system: DenoisingSystem) -> None:
        super().__init__()
        self.system = system

    def forward(self, x: Tensor, timesteps: Tensor, context: Tensor | None = None) -> Tensor:
        """The prediction for x (B, C, *S)."""
        return self.system.predict(x, timesteps, {})


class AsAutoencoder(nn.Module):
    """Our autoencoder decoding as MONAI's does, from standardised codes."""

    def __init__(self, system: SpatialAutoencoder, scale: CodeScale) -> None:
        super().__init__()
        self.system, self.scale = system, scale

    def decode_stage_2_outputs(self, codes: Tensor) -> Tensor:
        """Cases (B, C, *window) in model space."""
        return activate(self.system.decode(self.scale.unscale(codes)), self.system.signature.image_channels)


class ToOwnTimesteps(DDIMScheduler):  # type: ignore[misc]
    """MONAI's DDIM, whose every step leads to the timestep that is denoised next.

    As it is, it leads to `1000 // steps` timesteps below, which is not where its list goes on (`linspace` of 999 to 0).
    """

    def step(
        self,
        model_output: Tensor,
        timestep: int,
        sample: Tensor,
        eta: float = 0.0,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See DDIMScheduler, without `eta`."""
        later = self.timesteps[self.timesteps < timestep]
        now = self.alphas_cumprod[timestep]
        following = self.alphas_cumprod[later[0]] if len(later) else self.final_alpha_cumprod
        clean = now**0.5 * sample - (1 - now) ** 0.5 * model_output
        noise = now**0.5 * model_output + (1 - now) ** 0.5 * sample
        return following**0.5 * clean + (1 - following) ** 0.5 * noise, clean


class Peer:
    """A MONAI loop over the package's own weights, on networks that run as torch runs them by default.

    Attributes:
        noise_shape: of one case's code.
    """

    def __init__(self, package: Package) -> None:
        autoencoder, denoiser = (_plain(package, name) for name in package.info.stages)
        assert isinstance(autoencoder, SpatialAutoencoder) and isinstance(denoiser, DenoisingSystem)
        assert package.info.code_scale is not None
        self.noise_shape = denoiser.noise_shape()
        self._schedule, self._prediction = denoiser.schedule.config, PREDICTIONS[denoiser.prediction]
        self._unet, self._autoencoder = AsUNet(denoiser), AsAutoencoder(autoencoder, package.info.code_scale)

    def noise(self, seeds: list[int]) -> Tensor:
        """The noise that our sampler starts from, (B, *noise_shape)."""
        return torch.stack([torch.randn(self.noise_shape, generator=torch.Generator().manual_seed(s)) for s in seeds])

    def scheduler(self, kind: type[Scheduler], steps: int) -> Scheduler:
        """A scheduler of MONAI's on the noise schedule that the package was trained on."""
        config = self._schedule
        made = kind(
            num_train_timesteps=config.steps,
            schedule=BETAS[config.kind],
            beta_start=config.beta_start,
            beta_end=config.beta_end,
            prediction_type=self._prediction,
            clip_sample=False,
        )
        assert isinstance(made, (DDIMScheduler, DDPMScheduler))
        made.set_timesteps(steps)
        return made

    @torch.no_grad()
    def __call__(self, noise: Tensor, scheduler: Scheduler) -> Tensor:
        """Cases (B, C, *window) in model space from noise."""
        inferer = LatentDiffusionInferer(scheduler, scale_factor=1.0)
        return torch.as_tensor(inferer.sample(noise, self._autoencoder, self._unet, scheduler, verbose=False))


def _plain(package: Package, stage: str) -> nn.Module:
    """The stage's network built anew, with the package's weights and nothing of our routes."""
    loaded = package.systems[stage]
    recipe = package.info.recipe.stages[stage]
    system = build_system(recipe.network, Signature.from_dict(package.info.stages[stage].signature))
    system.load_state_dict(loaded.state_dict())
    return system.eval().requires_grad_(False)


def empty_batch(package: Package, count: int = 1) -> Batch:
    """What our `generate` is told to fill."""
    info = package.info
    return Batch(torch.zeros(count, len(info.roles.target) + info.roles.label_channels, *info.grid.size))
