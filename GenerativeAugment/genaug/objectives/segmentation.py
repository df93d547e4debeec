"""Terms of a segmenter that plays along, see networks.segmenter (Red-GAN, Qasim 2020)."""

from __future__ import annotations

from torch import Tensor, nn

from genaug.objectives.base import Batch, Outputs, Play, judged, named
from genaug.objectives.reconstruction import label_errors


def segmentation(
    outputs: Outputs, batch: Batch, play: Play, critic: str = "segmenter", fake: str = "generated"
) -> Tensor:
    """What the network minimises: the segmenter should find in its fakes the label maps they were made for."""
    logits = play.critics[critic](judged(named(fake, outputs, batch), batch, fake))
    return label_errors(logits, named("label_map", outputs, batch), batch)


def critic_segmentation(critic: nn.Module, outputs: Outputs, batch: Batch, play: Play, real: str = "target") -> Tensor:
    """What the segmenter minimises: it learns from real cases alone, so that no fake can teach it to be lenient."""
    logits = critic(judged(named(real, outputs, batch), batch, real))
    return label_errors(logits, named("label_map", outputs, batch), batch)
