"""Autoencoders: with one vector per volume (the VAE), or with a small code volume (the first stage of an LDM)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from monai.networks.blocks import ResidualUnit
from monai.networks.nets import AutoencoderKL
from torch import Tensor, nn

from genaug.networks.base import Autoencoder, Batch, Outputs, Signature, activate, draw, posterior_draw, spread
from genaug.networks.generator import NORM, UpPath, with_vector
from genaug.networks.haar import to_features
from genaug.networks.template import TemplateHead
from genaug.networks.template_slabs import Headed
from genaug.slabs import decoded, slab_plan, whole


class VectorAutoencoder(Autoencoder):
    """Variational autoencoder with a vector code (Kingma and Welling 2014); its decoder is the GANs' generator.

    What is known of the case reaches encoder and decoder, as in the conditional VAE (Sohn 2015).

    Args:
        corruption: standard deviation of the noise that is added to what the encoder sees in training, on the scale of
            [-1, 1]; what is to be reconstructed stays clean (Im 2017, arXiv:1511.06406).
    """

    def __init__(
        self,
        signature: Signature,
        latent: int = 32,
        start: int = 32,
        channels: Sequence[int] = (64, 24),
        blocks: int = 1,
        haar_levels: int = 1,
        encoder_channels: Sequence[int] = (32, 64, 64, 64),
        deform: bool = False,
        corruption: float = 0.0,
    ) -> None:
        super().__init__(signature)
        d = signature.dimension
        self.latent, self.corruption = latent, corruption
        before = encoder_channels[0]
        layers: list[nn.Module] = [to_features(signature.channels + signature.vector_length, before, d, haar_levels)]
        size = [n // 2**haar_levels for n in signature.window]
        for level, after in enumerate(encoder_channels):
            layers.append(ResidualUnit(d, before, after, strides=2 if level else 1, norm=NORM, act="leakyrelu"))
            size = [-(-n // 2) if level else n for n in size]
            before = after
        self.down = nn.Sequential(*layers)
        self.summary = before * math.prod(size)
        self.posterior = nn.Linear(self.summary, 2 * latent)
        self.up = UpPath(signature, latent + signature.vector_length, start, channels, blocks, haar_levels, deform)

    def code_length(self) -> int:
        """The whole code."""
        return self.latent

    def start_at(self, mean: Tensor) -> None:
        """Make the mean target what a zero output means."""
        self.up.head.start_at(mean)

    def noise_shape(self) -> tuple[int, ...]:
        """(latent,): the prior is the standard normal."""
        return (self.latent,)

    def generate(self, noise: Tensor, batch: Batch) -> Tensor:
        """Raw output (B, C, *window) for codes (B, latent)."""
        return torch.as_tensor(self.up(with_vector(noise, batch)))

    def codes(self, batch: Batch) -> Tensor:
        """Means of the posterior, (B, latent)."""
        return self.encode(batch)[0]

    def encode(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the posterior, (B, latent) each."""
        return self.moments(self.features(batch))

    def features(self, batch: Batch) -> Tensor:
        """What the encoder makes of the cases and of what is known of them, (B, summary)."""
        return torch.as_tensor(self.down(self.seen(batch)).flatten(1))

    @staticmethod
    def seen(batch: Batch) -> Tensor:
        """The cases and what is known of them as the encoder's channels."""
        x = batch.target
        return x if batch.vector is None else torch.cat([x, spread(batch.vector, x.shape[2:])], dim=1)

    def moments(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the posterior, (B, latent) each, for the encoder's features."""
        mean, log_variance = self.posterior(features).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-20, 10)

    def corrupted(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The batch as the encoder sees it in training: with noise on its target, where that is asked for."""
        if not self.corruption:
            return batch
        noise = draw(tuple(batch.target.shape), batch.target, generator)
        return replace(batch, target=batch.target + self.corruption * noise)

    def made(self, code: Tensor, batch: Batch) -> Outputs:
        """What is decoded from a code, and the code itself, for the objective terms."""
        raw = self.generate(code, batch)
        return {"raw": raw, "generated": activate(raw, self.signature.image_channels), "code": code}

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """Reconstruction of the target by one draw from its posterior."""
        mean, log_variance = self.encode(self.corrupted(batch, generator))
        code = posterior_draw(mean, log_variance, generator)
        return {**self.made(code, batch), "mean": mean, "log_variance": log_variance}


class SpatialAutoencoder(Autoencoder):
    """MONAI's AutoencoderKL behind a Haar front: the code is a volume at 1 / 2^(levels) of the resolution.

    Used as the first stage of latent diffusion (Rombach 2022): `encode` gives the means that the second stage learns,
    `decode` takes them back.
    """

    centered = True

    def __init__(
        self,
        signature: Signature,
        latent_channels: int = 4,
        channels: Sequence[int] = (32, 64),
        res_blocks: int = 1,
        groups: int = 8,
        haar_levels: int = 1,
        deform: bool = False,
    ) -> None:
        super().__init__(signature)
        d = signature.dimension
        width = channels[0]
        self.factor = 2 ** (len(channels) - 1 + haar_levels)
        self.code_size = signature.reduced(self.factor)
        self.latent_channels = latent_channels
        self.front = to_features(signature.channels, width, d, haar_levels)
        self.back = TemplateHead(width, signature, haar_levels, deform)
        self.network = AutoencoderKL(
            spatial_dims=d,
            in_channels=width,
            out_channels=width,
            num_res_blocks=(res_blocks,) * len(channels),
            channels=tuple(channels),
            attention_levels=(False,) * len(channels),
            latent_channels=latent_channels,
            norm_num_groups=groups,
            with_encoder_nonlocal_attn=False,
            with_decoder_nonlocal_attn=False,
        )
        self.code_mean: Tensor
        self.register_buffer("code_mean", torch.zeros(self.noise_shape()))

    def start_at(self, mean: Tensor) -> None:
        """Make the mean target what a zero output means."""
        self.back.start_at(mean)

    def center(self, mean: Tensor) -> None:
        """From now on measure codes from `mean` (latent_channels, *code size), the mean of what `encode` gives now."""
        self.code_mean.add_(mean)

    def noise_shape(self) -> tuple[int, ...]:
        """(latent_channels, *code size)."""
        return (self.latent_channels, *self.code_size)

    def codes(self, batch: Batch) -> Tensor:
        """Means of the posterior, (B, latent_channels, *code size)."""
        return self.encode(batch.target)[0]

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the posterior, (B, latent_channels, *code size) each."""
        mean, deviation = self.network.encode(self.front(x))
        return mean - self.code_mean, deviation

    def decode(self, codes: Tensor) -> Tensor:
        """Raw output (B, C, *window), slab by slab inside `slabs.in_slabs`."""
        asked = slab_plan()
        if asked is not None:
            plan, folder = asked
            fields = (decoded(self.network, code[None] + self.code_mean, plan, folder) for code in codes)
            return whole((Headed(field, self.back) for field in fields), plan, codes)
        return torch.as_tensor(self.back(self.network.decode(codes + self.code_mean)))

    def generate(self, noise: Tensor, batch: Batch) -> Tensor:
        """Raw output for codes given as noise."""
        return self.decode(noise)

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """Reconstruction of the target by one draw from its posterior."""
        mean, deviation = self.encode(batch.target)
        raw = self.decode(mean + deviation * draw(tuple(mean.shape), mean, generator))
        return {
            "raw": raw,
            "generated": activate(raw, self.signature.image_channels),
            "mean": mean,
            "log_variance": 2 * deviation.clamp(min=1e-10).log(),
        }
