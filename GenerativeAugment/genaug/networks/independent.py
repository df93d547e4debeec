"""The variational autoencoder that keeps what is known of a case apart from the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from genaug.networks.autoencoders import VectorAutoencoder
from genaug.networks.base import Batch, Outputs, Signature, activate, posterior_draw
from genaug.recipe import Sampler
from genaug.samplers import Callback, Noise


class IndependentAutoencoder(VectorAutoencoder):
    """ICVAE (Pesteie 2019, doi:10.1109/TMI.2019.2914656): two blocks of the code that do not depend on each other.

    The free block has the standard normal prior. The told block has a prior that class and numbers give: a Gaussian
    whose mean and variance are learnt from them. The encoder sees the case alone and the decoder the code alone, so
    what is known reaches a new case through the told block only.

    Args:
        latent: numbers of the free block.
        told: numbers of the told block.
        path: as of VectorAutoencoder.
    """

    def __init__(self, signature: Signature, latent: int = 24, told: int = 8, **path: Any) -> None:
        super().__init__(replace(signature, vector=()), latent + told, **path)
        self.signature, self.free, self.told = signature, latent, told
        known = signature.vector_length
        self.prior = nn.Sequential(nn.Linear(known, 32), nn.LeakyReLU(0.2), nn.Linear(32, 2 * told)) if known else None
        self.reader = nn.Linear(told, known) if known else None

    def features(self, batch: Batch) -> Tensor:
        """What the encoder makes of the cases alone."""
        return super().features(replace(batch, vector=None))

    def generate(self, noise: Tensor, batch: Batch) -> Tensor:
        """Raw output for codes (B, latent + told) alone."""
        return torch.as_tensor(self.up(noise))

    def told_prior(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, told) of the told block for what is known of the cases; 0 where nothing can be."""
        if self.prior is None or batch.vector is None:
            nothing = batch.target.new_zeros(len(batch.target), self.told)
            return nothing, nothing
        mean, log_variance = self.prior(batch.vector).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-10, 10)

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """Reconstruction by one draw of both blocks, and what can be read of the class in the told one."""
        mean, log_variance = self.encode(self.corrupted(batch, generator))
        code = posterior_draw(mean, log_variance, generator)
        prior_mean, prior_log_variance = self.told_prior(batch)
        outputs = {
            **self.made(code, batch),
            "mean": mean[:, : self.free],
            "log_variance": log_variance[:, : self.free],
            "told_mean": mean[:, self.free :],
            "told_log_variance": log_variance[:, self.free :],
            "prior_mean": prior_mean,
            "prior_log_variance": prior_log_variance,
        }
        if self.reader is not None:
            outputs["read"] = self.reader(code[:, self.free :])
        return outputs

    def sample(self, noise: Noise, batch: Batch, sampler: Sampler, callback: Callback | None = None) -> Tensor:
        """The free block from the standard normal, the told one from what is asked for."""
        drawn = self.truncated(noise(), sampler.truncation)
        mean, log_variance = self.told_prior(batch)
        told = mean + (0.5 * log_variance).exp() * drawn[:, self.free :]
        raw = self.generate(torch.cat([drawn[:, : self.free], told], dim=1), batch)
        if callback is not None:
            callback(1, 1)
        return activate(raw, self.signature.image_channels)
