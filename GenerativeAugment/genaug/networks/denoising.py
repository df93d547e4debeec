"""The denoiser of the diffusion models, in voxels or in the codes of an autoencoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.networks.nets import DiffusionModelUNet
from torch import Tensor, nn

from genaug.denoiser import Conditions, Denoiser, guided
from genaug.networks.base import Batch, Outputs, Signature, System, draw
from genaug.networks.haar import Haar, band_channels
from genaug.recipe import Sampler
from genaug.samplers import Callback, Noise, find_sampler
from genaug.schedule import Prediction, Schedule


class DenoisingSystem(System):
    """MONAI's DiffusionModelUNet under a noise schedule (Ho 2020), optionally seeing its input through a Haar front.

    What a case is made for is joined to its noisy channels; the vector of class, numbers and text is attended to as
    well, as in Pinaya 2022 (arXiv:2209.07162), and tells every block how to answer, together with the time, as the
    class does in Dhariwal 2021 (arXiv:2105.05233): joined, a constant is what the group norms take away first, and
    attended to, it is seen at some levels only.

    Args:
        schedule: `Schedule` as a plain dictionary.
        prediction: "epsilon", "v" (Salimans 2022), "x0" or "flow" (Liu 2023).
        clip: largest absolute value of the denoised estimate while sampling; for voxel space, whose range is known.
        levels: train at so many of the schedule's timesteps only, those of the spacing "trailing", which are then the
            ones to sample at (Jiang 2024, arXiv:2405.14802); all of them if None.
        sees_noise: whether the network is shown the noisy image. At the last level alone that is noise which tells
            nothing, and comes in by the same path as the detail of the source: a network that has to learn to ignore
            it begins by closing that path, and what it makes is blurred for thousands of iterations.

    Raises:
        ValueError: for levels that do not divide the schedule's steps; where the noisy image is not seen, for more
            levels than one, another prediction than x0, and nothing to be conditioned on.
    """

    stepped = True

    def __init__(
        self,
        signature: Signature,
        channels: Sequence[int] = (64, 128, 128),
        attention: Sequence[bool] = (False, False, True),
        res_blocks: int = 1,
        head_channels: int = 32,
        groups: int = 16,
        haar_levels: int = 0,
        schedule: Mapping[str, Any] | None = None,
        prediction: Prediction = "v",
        clip: float | None = None,
        levels: int | None = None,
        sees_noise: bool = True,
    ) -> None:
        super().__init__(signature)
        d = signature.dimension
        self.front, self.back = Haar(haar_levels), Haar(haar_levels, inverse=True)
        self.network = DiffusionModelUNet(
            spatial_dims=d,
            in_channels=band_channels(signature.channels + signature.condition_channels, d, haar_levels),
            out_channels=band_channels(signature.channels, d, haar_levels),
            num_res_blocks=(res_blocks,) * len(channels),
            channels=tuple(channels),
            attention_levels=tuple(attention),
            norm_num_groups=groups,
            num_head_channels=heads(attention, head_channels),
            with_conditioning=bool(signature.vector),
            cross_attention_dim=signature.vector_length or None,
            num_class_embeds=1 if signature.vector else None,
        )
        if signature.vector:
            # MONAI's is a table of classes; a vector of them is a weighted sum of the same rows.
            self.network.class_embedding = nn.Linear(signature.vector_length, 4 * channels[0])
        self.schedule = Schedule.from_dict(schedule or {})
        self.prediction: Prediction = prediction
        self.clip = clip
        if levels is not None and (levels < 1 or self.schedule.steps % levels):
            raise ValueError(f"{levels} levels do not divide the {self.schedule.steps} timesteps of the schedule")
        self.levels = levels
        if not sees_noise and (levels != 1 or prediction != "x0" or not signature.condition_channels):
            raise ValueError("only a clean image that is foretold at one level from a condition needs no noisy image")
        self.sees_noise = sees_noise

    def noise_shape(self) -> tuple[int, ...]:
        """(C, *window) of the space that is denoised."""
        return (self.signature.channels, *self.signature.window)

    def suits(self, sampler: Sampler) -> bool:
        """Whether the sampler stops at the levels that were trained."""
        if self.levels is None:
            return True
        spacing = sampler.options.get("spacing", find_sampler(sampler.name).spacing)
        return bool(spacing == "trailing" and sampler.steps == self.levels)

    def predict(self, x: Tensor, timesteps: Tensor, conditions: Conditions) -> Tensor:
        """The network's prediction for noised x (B, C, *S) at timesteps (B,)."""
        condition, vector = conditions.get("condition"), conditions.get("vector")
        x = x if self.sees_noise else torch.zeros_like(x)
        seen = torch.cat([x, condition], dim=1) if isinstance(condition, Tensor) else x
        told = {"context": vector[:, None], "class_labels": vector} if isinstance(vector, Tensor) else {}
        return torch.as_tensor(self.back(self.network(self.front(seen), timesteps, **told)))

    def draw_timesteps(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A random timestep (B,) for every case, and the one that follows it in sampling, -1 for the clean image."""
        stride = 1 if self.levels is None else self.schedule.steps // self.levels
        drawn = torch.randint(self.schedule.steps // stride, (len(batch.target),), generator=generator)
        timesteps = ((drawn + 1) * stride - 1).to(batch.target.device)
        return timesteps, timesteps - stride

    def forward(self, batch: Batch, generator: torch.Generator) -> Outputs:
        """Prediction and truth at one random timestep per case."""
        timesteps, following = self.draw_timesteps(batch, generator)
        noise = draw(tuple(batch.target.shape), batch.target, generator)
        noised = self.schedule.add_noise(batch.target, noise, timesteps)
        return {
            "prediction": self.predict(noised, timesteps, conditions_of(batch)),
            "truth": self.schedule.target(self.prediction, batch.target, noise, timesteps),
            "noised": noised,
            "timesteps": timesteps,
            "following": following,
        }

    def clean(self, noised: Tensor, timesteps: Tensor, batch: Batch) -> Tensor:
        """The estimate of the clean image for `noised` at timesteps (B,), held to its range."""
        # Half precision under autocast, in which neither noise nor image may be counted back.
        output = self.predict(noised, timesteps, conditions_of(batch)).to(noised.dtype)
        return self.held(self.schedule.x0_from(self.prediction, output, noised, timesteps))

    def held(self, x0: Tensor) -> Tensor:
        """An estimate of the clean image in the range that clean images have, where that is known."""
        return x0 if self.clip is None else x0.clamp(-self.clip, self.clip)

    def sample(self, noise: Noise, batch: Batch, sampler: Sampler, callback: Callback | None = None) -> Tensor:
        """Run the sampler named in the recipe from pure noise down to sigma 0."""
        denoiser = Denoiser(self.predict, self.schedule, self.prediction, self.held)
        nothing = batch.known_where(torch.zeros(len(batch.target), dtype=torch.bool))
        return find_sampler(sampler.name).sample(
            guided(denoiser, conditions_of(batch), conditions_of(nothing), sampler.guidance),
            self.schedule,
            noise,
            steps=sampler.steps,
            callback=callback,
            **sampler.options,
        )


def heads(attention: Sequence[bool], head_channels: int) -> tuple[int, ...]:
    """Channels of a head at every level; the last has heads in any case, because the middle attends there."""
    return tuple(head_channels if attends else 0 for attends in (*attention[:-1], True))


def conditions_of(batch: Batch) -> Conditions:
    """What the cases are made for, as the samplers hand it on."""
    found = {"condition": batch.condition, "vector": batch.vector}
    return {name: value for name, value in found.items() if value is not None}
