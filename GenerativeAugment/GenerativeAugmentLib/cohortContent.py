"""What a training finds in a cohort, as far as its cohort.json says; the images are not looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from GenerativeAugmentLib.catalogueFile import Condition
from GenerativeAugmentLib.cohortFiles import MANIFEST, CaseEntry, cohortCases, manifestPath, readCohort
from GenerativeAugmentLib.cohortSplit import TRAIN, describeSplit, drawnPatients
from GenerativeAugmentLib.errors import _

MOST_LEVELS = 64
"""Words that a class can have, as the worker counts them; what has more is a text, or an identifier."""


@dataclass(frozen=True, eq=False)
class CohortContent:
    """A cohort, for a form.

    Attributes:
        text: a line about it.
        channels: channel to modality.
        cases: those that train.
        covariates: what is known of them, by name; of kind "text" where there are too many words for a class.
    """

    text: str
    channels: dict[str, str]
    cases: tuple[CaseEntry, ...]
    covariates: tuple[Condition, ...]

    @property
    def unlabelled(self) -> int:
        """Number of cases without a label map."""
        return sum(case.label is None for case in self.cases)

    def lacking(self, channels: Sequence[str]) -> int:
        """Number of cases without one of these channels."""
        return sum(not set(channels) <= set(case.images) for case in self.cases)


def cohortContent(cohort: Path) -> CohortContent | None:
    """What is in a cohort; None for what has no manifest that this side reads: the worker may still read it.

    Raises:
        JobError: "unreadable_file" for a damaged cohort.json.
    """
    manifest = manifestPath(cohort)
    if manifest.name != MANIFEST or not manifest.is_file():
        return None
    content = readCohort(manifest)
    cases, split = cohortCases(content), content.get("split", {})
    labelled = sum(case.label is not None for case in cases)
    channels = dict(content["channels"])
    named = ", ".join(f"{channel} ({modality})" for channel, modality in channels.items())
    text = _("{cases} cases, {labelled} with label maps; patients: {split}; channels {channels}").format(
        cases=len(cases),
        labelled=labelled,
        split=describeSplit(drawnPatients(cases), split),
        channels=named or _("none"),
    )
    training = tuple(case for case in cases if split.get(case.patient, TRAIN) == TRAIN)
    names = sorted({name for case in training for name in case.covariates})
    return CohortContent(text, channels, training, tuple(_covariate(name, training) for name in names))


def describeCovariate(covariate: Condition) -> str:
    """A covariate and its values, in a few words."""
    if covariate.kind == "number":
        text = _("{name}: {low:.3g} to {high:.3g}")
    else:
        text = _("{name}: {levels}") if len(covariate.levels) <= 4 else _("{name}: {count} different words")
    return text.format(
        name=covariate.name,
        low=covariate.low,
        high=covariate.high,
        levels=", ".join(covariate.levels),
        count=len(covariate.levels),
    )


def _covariate(name: str, cases: Sequence[CaseEntry]) -> Condition:
    """What its values are, as the worker will take them."""
    values = [case.covariates[name] for case in cases if name in case.covariates]
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        return Condition("number", name, low=min(values), high=max(values))
    levels = tuple(sorted({str(value) for value in values}))
    return Condition("text" if len(levels) > MOST_LEVELS else "class", name, levels)
