"""The variational autoencoder whose encoder judges what its decoder makes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from genaug.networks.autoencoders import VectorAutoencoder
from genaug.networks.base import Batch, Outputs, activate, draw, join, posterior_draw


class IntrospectiveAutoencoder(VectorAutoencoder):
    """IntroVAE (Huang 2018, arXiv:1807.06358): a GAN whose critic is the divergence of the encoder's posterior.

    Encoder and decoder are two players, and yet they take their steps together with one optimiser: the encoder is shown
    fakes that carry no gradient, which is its own game, and a copy of it that carries none judges the same fakes for
    the decoder. So each weight gets the gradient of its own player's loss and of no other.

    Real cases and fakes are blanked outside the same fields of view, as for every critic: the edges that are carried on
    beyond a real one would tell it from a fake.
    """

    @staticmethod
    def seen(batch: Batch) -> Tensor:
        """The cases within their fields of view and what is known of them as the encoder's channels."""
        within = batch if batch.inside is None else replace(batch, target=batch.target * batch.inside)
        return VectorAutoencoder.seen(within)

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """Reconstruction by one draw, and the posteriors of fakes as the encoder and as the decoder must see them.

        Fakes are decoded draws of the prior and of the posterior, as in equations 11 and 12 of the paper.
        """
        mean, log_variance = self.encode(self.corrupted(batch, generator))
        code = posterior_draw(mean, log_variance, generator)
        free = torch.cat([draw(tuple(code.shape), code, generator), code.detach()])
        twice = join([replace(batch, source=None, label_map=None)] * 2)
        fakes = activate(self.generate(free, twice), self.signature.image_channels)
        fake_mean, fake_log_variance = self.encode(replace(twice, target=fakes.detach()))
        fooled_mean, fooled_log_variance = self.judged(replace(twice, target=fakes))
        return {
            **self.made(code, batch),
            "mean": mean,
            "log_variance": log_variance,
            "fake_mean": fake_mean,
            "fake_log_variance": fake_log_variance,
            "fooled_mean": fooled_mean,
            "fooled_log_variance": fooled_log_variance,
        }

    def judged(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What `encode` gives, by an encoder whose weights learn nothing from it."""
        features = _as_it_is(self.down, self.seen(batch)).flatten(1)
        mean, log_variance = _as_it_is(self.posterior, features).float().chunk(2, dim=1)
        return mean, log_variance.clamp(-20, 10)


def _as_it_is(module: nn.Module, x: Tensor) -> Tensor:
    """A module's output, by which its weights do not change."""
    weights = {name: value.detach() for name, value in module.named_parameters()}
    return torch.as_tensor(functional_call(module, weights, (x,)))
