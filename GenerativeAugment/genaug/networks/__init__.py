"""The network axis: systems and critics by the name a recipe gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import nn

from genaug.errors import GenaugError, Reason
from genaug.networks.autoencoders import SpatialAutoencoder, VectorAutoencoder
from genaug.networks.base import Autoencoder, Batch, Growing, OnePass, Outputs, Signature, System, activate, join
from genaug.networks.critics import Critic, PatchCritic
from genaug.networks.cycle import CyclePair
from genaug.networks.denoising import DenoisingSystem
from genaug.networks.generator import LatentGenerator
from genaug.networks.pool import PoolCritic
from genaug.networks.spade import SpadeGenerator
from genaug.networks.translators import Translator
from genaug.recipe import Network

__all__ = [
    "CRITICS",
    "SYSTEMS",
    "Autoencoder",
    "Batch",
    "Growing",
    "OnePass",
    "Outputs",
    "Signature",
    "SpatialAutoencoder",
    "System",
    "activate",
    "build_critic",
    "build_system",
    "join",
]

Built = TypeVar("Built", bound=nn.Module)

SYSTEMS: dict[str, Callable[..., System]] = {
    "latent_generator": LatentGenerator,
    "vector_autoencoder": VectorAutoencoder,
    "spatial_autoencoder": SpatialAutoencoder,
    "translator": Translator,
    "cycle_pair": CyclePair,
    "spade": SpadeGenerator,
    "denoiser": DenoisingSystem,
}

CRITICS: dict[str, Callable[..., nn.Module]] = {
    "critic": Critic,
    "patch_critic": PatchCritic,
    "pool_critic": PoolCritic,
}


def build_system(network: Network, signature: Signature) -> System:
    """The system a recipe asks for; raises BAD_RECIPE when kind or options are unknown or do not fit the window."""
    return _build(SYSTEMS, network, signature)


def build_critic(network: Network, signature: Signature) -> nn.Module:
    """The critic a recipe asks for; raises BAD_RECIPE when kind or options are unknown or do not fit the window."""
    return _build(CRITICS, network, signature)


def _build(kinds: Mapping[str, Callable[..., Built]], network: Network, signature: Signature) -> Built:
    if network.kind not in kinds:
        raise GenaugError(
            Reason.BAD_RECIPE,
            network.kind,
            "no such network",
            f"one of {', '.join(kinds)}",
            "Correct `kind` in the recipe.",
        )
    try:
        return kinds[network.kind](signature, **network.options)
    except (TypeError, ValueError) as error:
        raise GenaugError(
            Reason.BAD_RECIPE,
            network.kind,
            str(error),
            f"options that fit a {signature.dimension}D window of {signature.window}",
            "Correct the network's `options` in the recipe, or the window.",
        ) from error
