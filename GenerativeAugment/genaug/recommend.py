"""Which recipe fits a cohort, and why: plain rules over its fingerprint, so that every advice can be checked.

The thresholds are reported experience or, where none was reported, judgement; each says which.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from pydantic import Field

from genaug.errors import GenaugError, Reason
from genaug.fingerprint import Fingerprint, Label
from genaug.strict import Frozen

Task = Literal["synthesis", "conditioned", "translation", "lesions"]
"""New cases; cases on given label maps; one channel from another; lesions in existing images."""

Recipe = Literal[
    "wgan-gp",
    "vae",
    "rhvae",
    "ddpm",
    "ldm",
    "pix2pix",
    "mustgan",
    "mm-gan",
    "cyclegan",
    "spade",
    "carvemix",
    "label-to-image",
]
"""Methods of `genaug methods`."""

TOO_FEW_FOR_A_VAE = 20
# Judgement: the smallest reported gain is RHVAE's on 50 + 50 subjects (ADNI, balanced accuracy 66.3 to 74.3), and
# below 20 nothing remains to hold out.

TOO_FEW_FOR_DIFFUSION = 50
# 50 cases at 256³ failed (pfriedri/wdm-3d, issue 16); small data favours RHVAE, CarveMix and label-to-image.

ENOUGH_FOR_LATENT_DIFFUSION = 100
# Judgement: between the failing 50 and the 150 small MR volumes of this project's own benchmark (docs/RESULTS.md).

FEW_ENOUGH_TO_BE_COPIED = 1000
# Latent diffusion memorised up to 41.7 % of the training images in CT, 19.6 % in MR (arXiv 2402.01054).

ENOUGH_FOR_A_GAN_ALONE = 3000
# "At least 3000 images or mode collapse" (HA-GAN, README).

DESCRIBED_SHARE = 0.2
DESCRIBED_LABELS = 5
# Judgement: from either on a label map describes an image well enough to be turned into one.

STEADY_PRESENCE, STEADY_VOLUME, STEADY_PLACE = 0.9, 16.0, 0.2
# A label is steady, as anatomy is, when at least that part of the label maps has it, its largest volume is at most that
# many times its smallest, and its centroid stays within that part of the image. Measured: the factor is 2.4 for the
# hippocampus (200 cases) and below 11 for 146 of 148 brain regions (IXI, 30 cases), 56 for MS lesions (20 cases) and 92
# for sarcomas (36 cases).

STRAY_SHARE = 0.1
# Of many labels a few may vary more without being findings: the two regions above are the tips of the ventricles.

ENOUGH_TO_TELL = 5
# Judgement: fewer label maps may look alike by chance.

PIXEL_DIFFUSION_VOXELS = {"cpu": 64**2, "cuda": 128**2}
# Judgement: beyond that a denoiser at full resolution takes seconds a step; a latent one has 64 times fewer voxels.

MOST_FOR_ONE_SOURCE = 2
# Channels: one to make, one to make it from.

LARGE_FOR_A_CPU = 96**3
# Judgement: a training step of a small 3D network takes tens of seconds on two cores from here on.


class Recommendation(Frozen):
    """What to do, why, what else would do (recipe to when), and what to beware of."""

    recipe: Recipe
    reason: str
    alternatives: dict[Recipe, str] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)


@dataclass(frozen=True)
class _Facts:
    """What the rules look at."""

    task: Task
    cases: int
    dimension: int
    labelled: int
    described: bool
    steady: tuple[str, ...]
    varying: tuple[str, ...]
    voxels: float
    on_cpu: bool
    channels: int
    pairing: str
    incomplete: bool

    @property
    def anatomy(self) -> bool:
        """Whether the label maps show anatomy and nothing else."""
        return bool(self.steady) and not self.varying and self.labelled >= ENOUGH_TO_TELL

    @property
    def untold(self) -> bool:
        """Whether there are too few label maps to tell anatomy from findings."""
        return bool(self.steady) and not self.varying and self.labelled < ENOUGH_TO_TELL

    @property
    def pixel_diffusion(self) -> bool:
        return self.voxels <= PIXEL_DIFFUSION_VOXELS["cpu" if self.on_cpu else "cuda"]


@dataclass(frozen=True)
class _Rule:
    recipe: Recipe
    applies: Callable[[_Facts], bool]
    reason: str


# The first rule that applies is the advice; later ones that apply too are alternatives. `recommend` fills in what
# stands in braces.
_RULES: dict[Task, tuple[_Rule, ...]] = {
    "translation": (
        _Rule(
            "mm-gan",
            lambda facts: facts.incomplete,
            "Cases lack one of the {channels} channels or another; a model that was trained on any subset makes a "
            "missing one from those there are, as far as these lie on one grid.",
        ),
        _Rule(
            "cyclegan",
            lambda facts: facts.pairing == "unpaired",
            "The channels are of different cases or not on one grid; a cycle needs no pairs, but may invent or hide "
            "findings. Registered pairs are worth more.",
        ),
        _Rule(
            "pix2pix",
            lambda facts: facts.pairing == "paired",
            "The channels are paired on one grid ({cases} cases), and on small paired data pix2pix beats diffusion and "
            "flow matching (arXiv 2507.14575).",
        ),
        _Rule(
            "mustgan",
            lambda facts: facts.pairing == "paired" and facts.channels > MOST_FOR_ONE_SOURCE,
            "With {channels} channels several can be sources; each gets a stream of its own, and they are weighed "
            "voxel by voxel.",
        ),
    ),
    "lesions": (
        _Rule(
            "carvemix",
            lambda facts: True,
            "Carved and procedural lesions need no training, and {labelled} annotated cases are enough to begin with.",
        ),
    ),
    "conditioned": (
        _Rule(
            "spade",
            lambda facts: facts.labelled >= TOO_FEW_FOR_A_VAE,
            "{labelled} label maps let a network learn the appearance of every region, and the result fits the map.",
        ),
        _Rule(
            "label-to-image",
            lambda facts: True,
            "Contrast drawn for each label needs no training; {labelled} label maps are enough.",
        ),
    ),
    "synthesis": (
        _Rule(
            "label-to-image",
            lambda facts: facts.cases < TOO_FEW_FOR_DIFFUSION and facts.described,
            "{few} The label maps hold {labels} and cover {share} of the image, enough to draw images from them.",
        ),
        _Rule(
            "carvemix",
            lambda facts: facts.cases < TOO_FEW_FOR_DIFFUSION and bool(facts.varying),
            "{few} {varying} from case to case in presence, size or place, as findings do, which can be carved out and "
            "placed elsewhere.",
        ),
        _Rule(
            "carvemix",
            lambda facts: facts.cases < TOO_FEW_FOR_DIFFUSION and facts.untold and not facts.described,
            "{few} Whether the label maps mark findings or anatomy cannot be told from {labelled} of them; findings "
            "can be carved out and placed elsewhere.",
        ),
        _Rule(
            "ldm",
            lambda facts: facts.cases >= ENOUGH_FOR_LATENT_DIFFUSION and not facts.pixel_diffusion,
            "{cases} cases are enough for a latent diffusion model, which has the best image quality of what exists "
            "here, and its latent space keeps {dimension}D affordable.",
        ),
        _Rule(
            "ddpm",
            lambda facts: facts.cases >= ENOUGH_FOR_LATENT_DIFFUSION and facts.pixel_diffusion,
            "{cases} cases are enough for diffusion, and images this small need no lossy latent space.",
        ),
        _Rule(
            "rhvae",
            lambda facts: facts.cases < TOO_FEW_FOR_DIFFUSION,
            "{cases} cases are very few; this variational autoencoder draws near what it has seen instead of from a "
            "prior that they do not fill (arXiv 2105.00026: 50 + 50 subjects gained).",
        ),
        _Rule(
            "vae",
            lambda facts: True,
            "{cases} cases are few; a variational autoencoder gains on such data where diffusion copies or fails.",
        ),
        _Rule(
            "wgan-gp",
            lambda facts: facts.cases >= TOO_FEW_FOR_DIFFUSION,
            "One pass a case makes it the fastest; watch the diversity, for GANs on few cases collapse.",
        ),
        _Rule(
            "label-to-image",
            lambda facts: facts.cases < TOO_FEW_FOR_DIFFUSION and facts.anatomy and not facts.described,
            "Images can be drawn from the label maps without training, but these cover only {share} of the image, and "
            "what they leave out becomes one region.",
        ),
    ),
}


def recommend(fingerprint: Fingerprint, device: str = "cpu", task: Task | None = None) -> Recommendation:
    """The recipe for a cohort.

    Args:
        fingerprint: of the cohort; only the cases and label maps of its train part are counted. What images and labels
            look like is taken from all cases.
        device: "cpu", "cuda", "cuda:0", "mps".
        task: what is wanted. None takes "translation" for paired channels of different modalities, else "synthesis".

    Raises:
        GenaugError: BAD_PARAMETER for an unknown task; UNPAIRED when the task needs paired channels or label maps that
            the cohort does not have.
    """
    facts = _facts(fingerprint, device, task)
    _require_possible(fingerprint, facts)
    few = _too_few(facts.cases)
    share, labels = fingerprint.foreground_share, len(fingerprint.labels)
    fitting = [rule for rule in _RULES[facts.task] if rule.applies(facts)]
    words = {
        "cases": facts.cases,
        "labelled": facts.labelled,
        "dimension": facts.dimension,
        "channels": facts.channels,
        "few": few,
        "labels": f"{labels} label{'s' if labels != 1 else ''}",
        "share": "none" if share is None else f"{share.median:.0%}",
        "varying": f"{_named(facts.varying)} var{'y' if len(facts.varying) > 1 else 'ies'}",
    }
    first, *others = ((rule.recipe, rule.reason.format(**words)) for rule in fitting)
    return Recommendation(
        recipe=first[0],
        reason=first[1],
        alternatives=dict(others),
        warnings=_warnings(fingerprint, facts, first[0], few),
    )


def _facts(fingerprint: Fingerprint, device: str, task: Task | None) -> _Facts:
    if task is not None and task not in get_args(Task):
        raise GenaugError(
            Reason.BAD_PARAMETER, "task", f"'{task}'", f"one of {', '.join(get_args(Task))}", "Correct the task."
        )
    modalities = {channel.modality for channel in fingerprint.channels.values()}
    default: Task = "translation" if fingerprint.pairing == "paired" and len(modalities) > 1 else "synthesis"
    labelled = fingerprint.labelled_parts["train"]
    # A method that draws on label maps needs one that it may draw on.
    share = fingerprint.foreground_share if labelled else None
    described = share is not None and (share.median >= DESCRIBED_SHARE or len(fingerprint.labels) >= DESCRIBED_LABELS)
    steady, varying = _told_apart(fingerprint) if labelled else ((), ())
    return _Facts(
        task=task or default,
        cases=fingerprint.parts["train"],
        dimension=fingerprint.dimension,
        labelled=labelled,
        described=described,
        steady=steady,
        varying=varying,
        voxels=max(math.prod(axis.median for axis in channel.size) for channel in fingerprint.channels.values()),
        on_cpu=device.split(":")[0] == "cpu",
        channels=len(fingerprint.channels),
        pairing=fingerprint.pairing,
        incomplete=_incomplete(fingerprint),
    )


def _incomplete(fingerprint: Fingerprint) -> bool:
    """Whether cases lack a channel of three or more, and have two of them all the same."""
    held = [channel.cases for channel in fingerprint.channels.values()]
    return (
        fingerprint.pairing == "unpaired"
        and len(held) > MOST_FOR_ONE_SOURCE
        and min(held) < fingerprint.cases
        and sum(held) >= 2 * fingerprint.cases
    )


def _told_apart(fingerprint: Fingerprint) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the labels that look like anatomy and of those that look like findings."""
    labels = fingerprint.labels.values()
    steady = tuple(label.name for label in labels if _is_steady(label, fingerprint.labelled))
    varying = tuple(label.name for label in labels if not _is_steady(label, fingerprint.labelled))
    return steady, varying if len(varying) > STRAY_SHARE * len(labels) else ()


def _is_steady(label: Label, labelled: int) -> bool:
    """Whether a label looks the same from case to case."""
    volume = label.volume_mm3
    return (
        label.cases >= STEADY_PRESENCE * labelled
        and volume.maximum <= STEADY_VOLUME * volume.minimum
        and all(max(axis.maximum - axis.median, axis.median - axis.minimum) <= STEADY_PLACE for axis in label.place)
    )


def _named(labels: tuple[str, ...]) -> str:
    """The labels' names, at most five of them, in the beginning of a sentence."""
    names = ", ".join(name.removeprefix("label ") for name in labels[:5])
    return f"Label{'s' if len(labels) > 1 else ''} {names}{f' and {len(labels) - 5} more' if len(labels) > 5 else ''}"


def _require_possible(fingerprint: Fingerprint, facts: _Facts) -> None:
    if facts.task == "translation" and fingerprint.pairing == "single":
        raise GenaugError(
            Reason.UNPAIRED,
            fingerprint.name,
            f"the one channel {', '.join(fingerprint.channels)}",
            "two channels, of the same cases or of different ones",
            "Add images of the contrast or modality that is wanted.",
        )
    if facts.task in ("lesions", "conditioned") and facts.labelled == 0:
        raise GenaugError(
            Reason.UNPAIRED,
            fingerprint.name,
            "no label map in the train part" if fingerprint.labelled else "no label map",
            f"label maps for task '{facts.task}'",
            "Segment at least one case that models may learn from.",
        )


def _too_few(cases: int) -> str:
    return (
        f"too few cases: use lesion mixing or label-to-image instead of diffusion ({cases} of at least "
        f"{TOO_FEW_FOR_DIFFUSION})."
    )


def _warnings(fingerprint: Fingerprint, facts: _Facts, recipe: Recipe, few: str) -> list[str]:
    diffusion = recipe in ("ldm", "ddpm")
    trained = recipe not in ("carvemix", "label-to-image")
    table = (
        (
            facts.cases == 0,
            "No case is in the train part, so no method has anything to learn from: check the split. The advice is for "
            "a few cases of this kind.",
        ),
        (facts.task == "synthesis" and trained and facts.cases < TOO_FEW_FOR_DIFFUSION, few),
        (
            facts.task == "synthesis" and facts.labelled == 0 and facts.cases < TOO_FEW_FOR_DIFFUSION,
            "No case to learn from is annotated; one label map already makes lesion mixing or label-to-image possible.",
        ),
        (
            fingerprint.labelled > 0 and not fingerprint.labels,
            f"The label maps are empty, all {fingerprint.labelled} of them; a model trained on them marks nothing. "
            "Check that they are the right files.",
        ),
        (
            facts.anatomy
            and (facts.task == "lesions" or (facts.task == "synthesis" and facts.cases < TOO_FEW_FOR_DIFFUSION)),
            f"{_named(facts.steady)} look{'' if len(facts.steady) > 1 else 's'} like anatomy (in nearly every case, of "
            "similar size and at a similar place): carving would take it for a lesion.",
        ),
        (
            recipe in ("vae", "rhvae") and facts.cases < TOO_FEW_FOR_A_VAE,
            f"Fewer than {TOO_FEW_FOR_A_VAE} cases are too few for any network of images; expect copies of them.",
        ),
        (
            diffusion and facts.cases < FEW_ENOUGH_TO_BE_COPIED,
            f"With fewer than {FEW_ENOUGH_TO_BE_COPIED} cases diffusion models copy training images: keep a test part "
            "and read the copy check before using the result.",
        ),
        (
            recipe == "wgan-gp" and facts.cases < ENOUGH_FOR_A_GAN_ALONE,
            f"GANs were reported to collapse below {ENOUGH_FOR_A_GAN_ALONE} images.",
        ),
        (
            trained and facts.on_cpu and facts.voxels > LARGE_FOR_A_CPU,
            f"{facts.voxels:.3g} voxels a case are slow to train on a CPU: use a GPU or a coarser grid.",
        ),
        (
            trained and not {"validation", "test"} & {part for part, count in fingerprint.parts.items() if count},
            "The cohort has no validation or test part: split it by patient first, or nothing can be measured.",
        ),
        (
            fingerprint.synthetic > 0,
            f"{fingerprint.synthetic} of {fingerprint.cases} cases are synthetic; a model trained on them learns their "
            "generator's errors.",
        ),
        (
            fingerprint.pairing == "unpaired" and facts.task == "synthesis",
            "Not every case has every channel on one grid; train on one channel, complete the cases, or make one "
            "channel from another, which needs no pairs (task translation).",
        ),
        (
            recipe == "cyclegan" and facts.cases < TOO_FEW_FOR_A_VAE,
            f"A cycle is held by its critics alone, which fewer than {TOO_FEW_FOR_A_VAE} cases hardly inform.",
        ),
    )
    return [text for applies, text in table if applies]
