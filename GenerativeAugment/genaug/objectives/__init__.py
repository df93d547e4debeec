"""The objective axis: loss terms by the name a recipe gives them.

A term is a function of what the forward pass left (`Outputs`), the batch, and the play: the critics and the step.
The two players have terms of the same name for the same game: "adversarial" in `LOSSES` is what the network minimises,
in `CRITIC_LOSSES` what the critic does.
"""

from __future__ import annotations

from genaug.objectives.adversarial import (
    adversarial,
    critic_adversarial,
    feature_matching,
    gradient_penalty,
    mismatched,
    r1,
)
from genaug.objectives.auxiliary import auxiliary, critic_auxiliary
from genaug.objectives.base import CriticTerm, LossTerm, Play
from genaug.objectives.cycle import critic_remembering, cycle, identity, kept
from genaug.objectives.denoising import denoising
from genaug.objectives.distillation import distillation
from genaug.objectives.fields import smoothness
from genaug.objectives.latent import (
    commitment,
    likelihood,
    margin,
    mmd,
    next_code,
    read_vector,
    sampled_kl,
    told_kl,
)
from genaug.objectives.origin import critic_origin, origin
from genaug.objectives.reconstruction import cross_entropy, gradient_difference, kl, l1, l2, ssim
from genaug.objectives.segmentation import critic_segmentation, segmentation
from genaug.objectives.texture import perceptual, style
from genaug.objectives.translation import streams

__all__ = ["CRITIC_LOSSES", "LOSSES", "CriticTerm", "LossTerm", "Play"]

LOSSES: dict[str, LossTerm] = {
    "l1": l1,
    "l2": l2,
    "ssim": ssim,
    "gradient_difference": gradient_difference,
    "cross_entropy": cross_entropy,
    "kl": kl,
    "sampled_kl": sampled_kl,
    "told_kl": told_kl,
    "read_vector": read_vector,
    "mmd": mmd,
    "commitment": commitment,
    "margin": margin,
    "likelihood": likelihood,
    "next_code": next_code,
    "adversarial": adversarial,
    "feature_matching": feature_matching,
    "auxiliary": auxiliary,
    "origin": origin,
    "segmentation": segmentation,
    "smoothness": smoothness,
    "denoising": denoising,
    "distillation": distillation,
    "cycle": cycle,
    "identity": identity,
    "kept": kept,
    "perceptual": perceptual,
    "style": style,
    "streams": streams,
}

CRITIC_LOSSES: dict[str, CriticTerm] = {
    "adversarial": critic_adversarial,
    "remembering": critic_remembering,
    "gradient_penalty": gradient_penalty,
    "r1": r1,
    "mismatched": mismatched,
    "auxiliary": critic_auxiliary,
    "origin": critic_origin,
    "segmentation": critic_segmentation,
}
