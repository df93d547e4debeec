"""A 3D case as a stack of planes, each with its own code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from genaug.networks.autoencoders import VectorAutoencoder
from genaug.networks.base import Autoencoder, Batch, Outputs, Signature


class SliceAutoencoder(Autoencoder):
    """A 2D variational autoencoder for every plane of a 3D case (Volokitin 2020, arXiv:2007.04780).

    By itself it makes planes that have nothing to do with each other; a prior of the stacked codes, as a stage in its
    latent space, makes them one anatomy.

    Args:
        signature: of 3D cases; the planes lie along the last axis.
        path: as of VectorAutoencoder, for the planes.

    Raises:
        ValueError: for 2D cases.
    """

    def __init__(self, signature: Signature, **path: Any) -> None:
        super().__init__(signature)
        if signature.dimension != 3:
            raise ValueError("planes can be taken of 3D cases only")
        self.planes = signature.window[-1]
        self.plane = VectorAutoencoder(replace(signature, dimension=2, window=signature.window[:-1]), **path)

    def start_at(self, mean: Tensor) -> None:
        """Make the mean plane what a zero output means."""
        self.plane.start_at(mean.mean(dim=-1))

    def noise_shape(self) -> tuple[int, ...]:
        """(latent, planes)."""
        return (self.plane.latent, self.planes)

    def generate(self, noise: Tensor, batch: Batch) -> Tensor:
        """Raw output (B, C, *window) for codes (B, latent, planes)."""
        raw = self.plane.generate(noise.movedim(-1, 1).flatten(0, 1), self.apart(batch))
        return self._stacked(raw)

    def codes(self, batch: Batch) -> Tensor:
        """Means of the planes' posteriors, (B, latent, planes)."""
        return self._stacked(self.plane.codes(self.apart(batch)))

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """Reconstruction of every plane by one draw from its posterior; the posteriors are (B * planes, latent)."""
        outputs = self.plane(self.apart(batch), generator)
        return {**outputs, **{name: self._stacked(outputs[name]) for name in ("raw", "generated")}}

    def apart(self, batch: Batch) -> Batch:
        """The planes as cases of their own, those of a case one after another."""
        vector = batch.vector
        return Batch(
            target=batch.target.movedim(-1, 1).flatten(0, 1),
            vector=None if vector is None else vector.repeat_interleave(self.planes, dim=0),
        )

    def _stacked(self, planes: Tensor) -> Tensor:
        # (B * planes, ...) to (B, ..., planes).
        return torch.unflatten(planes, 0, (-1, self.planes)).movedim(1, -1)
