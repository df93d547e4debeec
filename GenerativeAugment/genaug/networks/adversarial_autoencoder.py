"""Autoencoders that are judged: by what they reconstruct, by what they decode from the prior, by their codes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genaug.networks.autoencoders import VectorAutoencoder
from genaug.networks.base import Batch, Outputs, Signature, draw, posterior_draw


class AdversarialAutoencoder(VectorAutoencoder):
    """The vector autoencoder with everything that a critic may look at.

    Besides the outputs of the autoencoder: `code` (B, latent) of the batch's cases, `prior` as many normal vectors, and
    `sampled`, the cases that are decoded from those. With `decoder_alone` there is also `shown`: the reconstructions,
    decoded once more from codes that carry no gradient. What a critic says of these teaches the decoder and not the
    encoder, which then has its likeness and its prior alone to please.

    Args:
        signature: shapes to build for.
        stochastic: whether codes are drawn from a posterior, as in VAE-GAN (Larsen 2016, arXiv:1512.09300), or are the
            encoder's answer itself, whose distribution a critic of codes holds to the prior, as in alpha-GAN (Rosca
            2017, arXiv:1706.04987).
        decoder_alone: whether there are reconstructions that teach the decoder alone; costs a second decoding.
        latent, start, channels, blocks, haar_levels, encoder_channels: see VectorAutoencoder.
    """

    def __init__(
        self,
        signature: Signature,
        stochastic: bool = True,
        latent: int = 32,
        start: int = 32,
        channels: Sequence[int] = (64, 24),
        blocks: int = 1,
        haar_levels: int = 1,
        encoder_channels: Sequence[int] = (32, 64, 64, 64),
        decoder_alone: bool = False,
    ) -> None:
        super().__init__(signature, latent, start, channels, blocks, haar_levels, encoder_channels)
        self.stochastic, self.decoder_alone = stochastic, decoder_alone

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """Reconstructions of the batch's cases, and new ones from the prior."""
        mean, log_variance = self.encode(batch)
        code = posterior_draw(mean, log_variance, generator) if self.stochastic else mean
        prior = draw(tuple(mean.shape), mean, generator)
        outputs = {
            **self.made(code, batch),
            "mean": mean,
            "log_variance": log_variance,
            "prior": prior,
            "sampled": self.made(prior, batch)["generated"],
        }
        if self.decoder_alone:
            again = self.made(code.detach(), batch) if torch.is_grad_enabled() else outputs
            outputs["shown"] = again["generated"]
        return outputs


class CodeCritic(nn.Module):
    """One number per code, which tells the codes of an encoder from those drawn from the prior."""

    def __init__(self, signature: Signature, latent: int = 32, hidden: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(latent, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, hidden),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden, 1),
        )

    def forward(self, code: Tensor) -> Tensor:
        """Scores (B, 1) for codes (B, latent)."""
        return torch.as_tensor(self.layers(code))
