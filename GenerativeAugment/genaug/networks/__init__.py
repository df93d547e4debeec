"""The network axis: systems and critics by the name a recipe gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import nn

from genaug.errors import GenaugError, Reason
from genaug.networks.adversarial_autoencoder import AdversarialAutoencoder, CodeCritic
from genaug.networks.attention import AttentionCritic, AttentionGenerator
from genaug.networks.autoencoders import SpatialAutoencoder, VectorAutoencoder
from genaug.networks.autoregressive import AutoregressivePrior
from genaug.networks.auxiliary import AuxiliaryCritic, ProjectionCritic
from genaug.networks.base import (
    Autoencoder,
    Batch,
    Growing,
    OnePass,
    Outputs,
    Remembering,
    Signature,
    System,
    activate,
    join,
)
from genaug.networks.cascade import CascadeTranslator
from genaug.networks.conditional_autoencoder import CodeTranslator
from genaug.networks.contrasts import ContrastDraws
from genaug.networks.control import ControlledDenoiser
from genaug.networks.counterfactual import CounterfactualWarper
from genaug.networks.critics import Critic, PatchCritic
from genaug.networks.cycle import CyclePair
from genaug.networks.deconvolution import DeconvolutionGenerator, NormedCritic
from genaug.networks.deformable import DeformableDenoiser
from genaug.networks.denoising import DenoisingSystem
from genaug.networks.dense import DenseCritic, DenseGenerator
from genaug.networks.diffusion_gan import DiffusionGan, StepCritic
from genaug.networks.flow_prior import FlowPrior
from genaug.networks.fusion import FusionTranslator
from genaug.networks.generator import LatentGenerator
from genaug.networks.global_local import GlobalLocalTranslator
from genaug.networks.hamiltonian import HamiltonianAutoencoder
from genaug.networks.iaf import FlowAutoencoder
from genaug.networks.independent import IndependentAutoencoder
from genaug.networks.infill import HoleCritic, HoleFiller
from genaug.networks.introspective import IntrospectiveAutoencoder
from genaug.networks.mixture import GeneratorMixture, OriginCritic
from genaug.networks.multiscale import MultiScaleCritic
from genaug.networks.pool import PoolCritic
from genaug.networks.priors import GaussianPrior, MixturePrior
from genaug.networks.progressive import GrowingPatchCritic, ProgressiveCritic, ProgressiveGenerator
from genaug.networks.quantised import QuantisedAutoencoder
from genaug.networks.riemannian import RiemannianAutoencoder
from genaug.networks.segmenter import Segmenter
from genaug.networks.slices import SliceAutoencoder
from genaug.networks.spade import SpadeGenerator
from genaug.networks.style import StyleGenerator
from genaug.networks.syndiff import SynDiff
from genaug.networks.translators import Translator
from genaug.networks.wavelets import WaveletDenoiser
from genaug.recipe import Network

__all__ = [
    "CRITICS",
    "SYSTEMS",
    "Autoencoder",
    "Batch",
    "Growing",
    "OnePass",
    "Outputs",
    "Remembering",
    "Signature",
    "SpatialAutoencoder",
    "System",
    "Unfit",
    "activate",
    "build_critic",
    "build_system",
    "follow",
    "join",
]

Built = TypeVar("Built", bound=nn.Module)


class Unfit(GenaugError):
    """A network's options are names it knows, and do not go together or with the window."""


SYSTEMS: dict[str, type[System]] = {
    "latent_generator": LatentGenerator,
    "deconvolution_generator": DeconvolutionGenerator,
    "dense_generator": DenseGenerator,
    "attention_generator": AttentionGenerator,
    "progressive_generator": ProgressiveGenerator,
    "style_generator": StyleGenerator,
    "generator_mixture": GeneratorMixture,
    "adversarial_autoencoder": AdversarialAutoencoder,
    "hole_filler": HoleFiller,
    "counterfactual_warper": CounterfactualWarper,
    "vector_autoencoder": VectorAutoencoder,
    "spatial_autoencoder": SpatialAutoencoder,
    "introspective_autoencoder": IntrospectiveAutoencoder,
    "independent_autoencoder": IndependentAutoencoder,
    "flow_autoencoder": FlowAutoencoder,
    "hamiltonian_autoencoder": HamiltonianAutoencoder,
    "riemannian_autoencoder": RiemannianAutoencoder,
    "quantised_autoencoder": QuantisedAutoencoder,
    "slice_autoencoder": SliceAutoencoder,
    "gaussian_prior": GaussianPrior,
    "mixture_prior": MixturePrior,
    "flow_prior": FlowPrior,
    "autoregressive_prior": AutoregressivePrior,
    "translator": Translator,
    "cycle_pair": CyclePair,
    "cascade_translator": CascadeTranslator,
    "fusion_translator": FusionTranslator,
    "global_local_translator": GlobalLocalTranslator,
    "code_translator": CodeTranslator,
    "contrast_draws": ContrastDraws,
    "spade": SpadeGenerator,
    "denoiser": DenoisingSystem,
    "wavelet_denoiser": WaveletDenoiser,
    "controlled_denoiser": ControlledDenoiser,
    "deformable_denoiser": DeformableDenoiser,
    "diffusion_gan": DiffusionGan,
    "syndiff": SynDiff,
}

CRITICS: dict[str, type[nn.Module]] = {
    "critic": Critic,
    "patch_critic": PatchCritic,
    "normed_critic": NormedCritic,
    "dense_critic": DenseCritic,
    "attention_critic": AttentionCritic,
    "auxiliary_critic": AuxiliaryCritic,
    "projection_critic": ProjectionCritic,
    "progressive_critic": ProgressiveCritic,
    "growing_patch_critic": GrowingPatchCritic,
    "origin_critic": OriginCritic,
    "code_critic": CodeCritic,
    "hole_critic": HoleCritic,
    "segmenter": Segmenter,
    "pool_critic": PoolCritic,
    "multiscale_critic": MultiScaleCritic,
    "step_critic": StepCritic,
}


def build_system(network: Network, signature: Signature) -> System:
    """The system a recipe asks for; raises BAD_RECIPE when kind or options are unknown or do not fit the window."""
    return _build(SYSTEMS, network, signature)


def build_critic(network: Network, signature: Signature) -> nn.Module:
    """The critic a recipe asks for; raises BAD_RECIPE when kind or options are unknown or do not fit the window."""
    return _build(CRITICS, network, signature)


def follow(system: System, teacher: System, stage: str) -> None:
    """Start a stage's network from the one that it follows; raises BAD_RECIPE when the two are not alike."""
    try:
        system.follow(teacher)
    except ValueError as error:
        raise GenaugError(
            Reason.BAD_RECIPE,
            f"stage {stage}",
            str(error),
            "a network with the options of the one that it follows",
            "Give both the same network options.",
        ) from error


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
        refusal = Unfit if isinstance(error, ValueError) else GenaugError
        raise refusal(
            Reason.BAD_RECIPE,
            network.kind,
            str(error),
            f"options that fit a {signature.dimension}D window of {signature.window}",
            "Correct the network's `options` in the recipe, or the window.",
        ) from error
