"""What a reader may be told about a cohort that its files do not say."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from pydantic import Field, ValidationError

from genaug.errors import GenaugError, Reason
from genaug.files import invalid
from genaug.strict import Frozen

BIDS_SUBJECT = re.compile(r"sub-[A-Za-z0-9]+(?=_|$)")
"""How the names of the Brain Imaging Data Structure begin: sessions of one subject are one patient's."""


class ReaderOptions(Frozen):
    """Options of `read_cohort`.

    Attributes:
        name: of the cohort; default is the folder's or file's name.
        modality: of all channels, or of each by name. Default: "CT" for a channel whose name says ct, else "MR"; DICOM
            series say it themselves.
        patient_pattern: regular expression with one group, searched in the case id. Default: the subject of a BIDS name
            ("sub-01_ses-2"), else the id itself.
        label_names: label value to name.
        pattern: where images lie below the folder, with {id}, {channel} and {patient}; a final ".*" stands for any
            image suffix. For DICOM it is matched against the folder of each series.
        label_pattern: where label maps lie, with {id}.
        covariates: a CSV file, relative to the folder or absolute, whose first column is the case or patient id.
    """

    name: str | None = None
    modality: str | dict[str, str] | None = None
    patient_pattern: str | None = None
    label_names: dict[int, str] = Field(default_factory=dict)
    pattern: str | None = None
    label_pattern: str | None = None
    covariates: str | None = None

    @classmethod
    def parse(cls, options: dict[str, Any]) -> ReaderOptions:
        """Validate; None counts as not given. Raises BAD_PARAMETER naming each option at fault."""
        try:
            return cls.model_validate({name: value for name, value in options.items() if value is not None})
        except ValidationError as error:
            raise invalid(error, "reader options", "set of reader options", Reason.BAD_PARAMETER) from error

    def require_only(self, layout: str, *names: str) -> None:
        """Raise BAD_PARAMETER when an option is set that this layout cannot honour."""
        extra = sorted(self.model_fields_set - set(names))
        if extra:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                f"reader option {extra[0]}",
                f"a value for layout '{layout}'",
                f"only {', '.join(names)}" if names else "no option, since the manifest says everything",
                "Remove the option or choose another layout.",
            )

    def patient_of(self, case_id: str) -> str:
        """The patient of a case id. Raises BAD_PARAMETER when the pattern is wrong or does not match."""
        if self.patient_pattern is None:
            subject = BIDS_SUBJECT.match(case_id)
            return case_id if subject is None else subject.group()
        try:
            pattern = re.compile(self.patient_pattern)
        except re.error as error:
            raise self._bad_pattern(f"'{self.patient_pattern}' ({error})") from error
        match = pattern.search(case_id) if pattern.groups == 1 else None
        if not match or not match.group(1):
            raise self._bad_pattern(f"'{self.patient_pattern}' on case id '{case_id}'")
        return str(match.group(1))

    def modality_of(self, channel: str, otherwise: str | None = None) -> str:
        """The modality of a channel: as told, else `otherwise`, else guessed from its name."""
        told = self.modality.get(channel) if isinstance(self.modality, dict) else self.modality
        return told or otherwise or self._guessed_modality(channel)

    def require_channels(self, known: Collection[str]) -> None:
        """Raise BAD_PARAMETER when a modality is told of a channel that there is not."""
        unknown = sorted(set(self.modality) - set(known)) if isinstance(self.modality, dict) else []
        if unknown:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                "reader option modality",
                f"channel '{unknown[0]}'",
                f"one of {', '.join(known)}",
                "Name channels of the cohort.",
            )

    @staticmethod
    def _guessed_modality(channel: str) -> str:
        return "CT" if "ct" in re.split(r"[^a-z]+", channel.lower()) else "MR"

    @staticmethod
    def _bad_pattern(found: str) -> GenaugError:
        return GenaugError(
            Reason.BAD_PARAMETER,
            "reader option patient_pattern",
            found,
            "a regular expression with one group that matches every case id",
            "Correct the pattern, for instance '^([^_]+)_'.",
        )
