"""The prior of discrete codes: integer after integer."""

from __future__ import annotations

import torch
from monai.networks.nets import DecoderOnlyTransformer
from torch import Tensor, nn

from genaug.errors import GenaugError, Reason
from genaug.networks.base import Batch, Outputs, Signature, System
from genaug.networks.metric import uniform
from genaug.recipe import Sampler
from genaug.samplers import Callback, Noise


class AutoregressivePrior(System):
    """MONAI's decoder-only transformer over the integers of a code, as in VQ-GAN (Esser 2021, arXiv:2012.09841).

    The vector of class and numbers is attended to.

    Args:
        entries: of the autoencoder's codebooks.
        width: of the transformer, a multiple of `heads`.
        depth: blocks.
        heads: of the attention.
        dropout: of the embedded integers, against learning the training codes by heart.
    """

    def __init__(
        self,
        signature: Signature,
        entries: int = 128,
        width: int = 96,
        depth: int = 3,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(signature)
        self.length, self.entries = signature.channels, entries
        known = signature.vector_length
        self.network = DecoderOnlyTransformer(
            num_tokens=entries + 1,
            max_seq_len=self.length,
            attn_layers_dim=width,
            attn_layers_depth=depth,
            attn_layers_heads=heads,
            with_cross_attention=bool(known),
            embedding_dropout_rate=dropout,
        )
        self.context = nn.Linear(known, width) if known else None

    def fit(self, codes: Batch) -> None:
        """Make sure that the codes are what this prior was built for."""
        if codes.target.is_floating_point() or int(codes.target.max()) >= self.entries:
            raise GenaugError(
                Reason.BAD_RECIPE,
                "autoregressive_prior",
                "other codes",
                f"integers below {self.entries}, the prior's `entries`",
                "Give the codebook and its prior the same `entries`, behind a discrete autoencoder.",
            )

    def noise_shape(self) -> tuple[int, ...]:
        """(integers of a code,)."""
        return (self.length,)

    def logits(self, before: Tensor, batch: Batch) -> Tensor:
        """Of every integer given those before it: (B, n + 1, entries) for the first n, (B, n)."""
        start = before.new_full((len(before), 1), self.entries)
        known = None
        if self.context is not None and batch.vector is not None:
            known = self.context(batch.vector)[:, None]
        return torch.as_tensor(self.network(torch.cat([start, before], dim=1), context=known))[..., : self.entries]

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """Logits for the term `next_code`, which compares them with the codes."""
        return {"logits": self.logits(batch.target[:, :-1], batch)}

    def sample(self, noise: Noise, batch: Batch, sampler: Sampler, callback: Callback | None = None) -> Tensor:
        """Codes (B, n): one call of the network an integer, chosen by its distribution function."""
        chance = uniform(noise())
        codes = torch.empty(len(chance), 0, dtype=torch.long, device=chance.device)
        for place in range(self.length):
            bounds = self.logits(codes, batch)[:, -1].float().softmax(-1).cumsum(-1)
            chosen = torch.searchsorted(bounds, chance[:, place, None].contiguous()).clamp(max=self.entries - 1)
            codes = torch.cat([codes, chosen], dim=1)
            if callback is not None:
                callback(place + 1, self.length)
        return codes
