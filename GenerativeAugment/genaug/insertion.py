"""Insert lesions into cohorts: a new case for each host, with its Record; and such a case again from its Record."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import numpy as np
from pydantic import Field

from genaug.case import Case, safe_name, write_case
from genaug.cohort import Cohort, require_no_cohort
from genaug.errors import GenaugError, Reason
from genaug.files import writing_folder
from genaug.imageio import read_volume
from genaug.lesions import BankSource, Inserted, InsertParameters, LesionBank, insert_lesions, reinsert
from genaug.lesions.local import Unfit
from genaug.parameters import FileFormat
from genaug.progress import Reporter
from genaug.record import Output, Record, case_seed
from genaug.storage import storable
from genaug.volume import LABEL, Volume, label_values


class InsertionParameters(InsertParameters):
    """An insertion into every host of a cohort."""

    channel: str | None = Field(default=None, description="image channel to insert into; the first when left out")
    modality: str | None = Field(default=None, description="of a single image, when the file does not say")
    copies: int = Field(default=1, ge=1, description="cases to make from each host, each with its own draws")
    prefix: str = Field(default="lesion", min_length=1, description="start of the case ids")
    lesion_name: str = Field(default="lesion", min_length=1, description="name of the label lesion_value")
    known_lesions: bool = Field(
        default=False, description="what has lesion_value in the hosts' label maps, without a name, are lesions too"
    )
    file_format: FileFormat = "nii.gz"

    def of_one_case(self) -> InsertParameters:
        """What one insertion is told."""
        own = set(type(self).model_fields) - set(InsertParameters.model_fields)
        return InsertParameters.model_validate(self.model_dump(exclude=own))


def insert_into_cohort(
    hosts: Cohort,
    output: Path,
    parameters: InsertionParameters,
    seed: int,
    reporter: Reporter,
    *,
    tissue: Path | None = None,
    bank: Cohort | None = None,
) -> Cohort:
    """Make `copies` cases from every training case of a cohort and write them as a cohort, all or nothing.

    A case for which no lesion could be found that fits is left out, which the log and the cohort's notes say.

    Args:
        hosts: test and validation patients are left out, since nothing made from them could be trained on.
        output: folder for the cases and their cohort.json; new or empty.
        parameters: what to insert.
        seed: of the job; case i is drawn from `case_seed(seed, i)`.
        reporter: told of every case, and of the finished ones at the end.
        tissue: label map the lesions must lie in; the hosts' own label maps when None.
        bank: annotated cases, for a "bank" source.

    Raises:
        GenaugError: EMPTY_COHORT without a host, UNPAIRED without a tissue, BAD_PARAMETER for a bank without need or a
            need without bank, for a lesion value that means something else in the hosts, or an output that holds
            something; as `lesions.insert_lesions`, its Unfit when no case could be made.
    """
    require_no_cohort(output)
    channel = parameters.channel or next(iter(hosts.channels))
    chosen = [case for case in hosts.part("train") if channel in case.images]
    if not chosen:
        raise GenaugError(
            Reason.EMPTY_COHORT,
            hosts.name,
            f"no training case with channel '{channel}' among {len(hosts.cases)}",
            "at least one host",
            f"Choose a channel of {', '.join(hosts.channels)}, or another cohort.",
        )
    if len(chosen) < len(hosts.cases):
        skipped = len(hosts.cases) - len(chosen)
        reporter.log(f"{skipped} cases are left out: not for training, or without channel {channel}")
    _require_free_value(hosts, chosen, parameters, reporter)
    with writing_folder(output) as working:
        insertion = _Insertion(working, output, parameters, seed, channel, tissue, _bank(parameters, bank, channel))
        cases = list(insertion.cases(chosen, reporter))
        values = {parameters.lesion_value: parameters.lesion_name}
        made = Cohort(
            name=f"{hosts.name} with lesions",
            root=working,
            channels={channel: hosts.channels[channel]},
            # Names for the lesion alone would declare every other label of the hosts wrong.
            label_names={**hosts.label_names, **values} if hosts.label_names or not insertion.host_labels else {},
            split=hosts.split,
            notes=insertion.left_out,
            cases=cases,
        )
        made.write(working)
    for case in cases:
        reporter.product("case", output / case.id)
    return Cohort.read(output)


def _require_free_value(hosts: Cohort, chosen: list[Case], parameters: InsertionParameters, reporter: Reporter) -> None:
    """A lesion in the value of an organ would be lost in it, and rename it where the hosts' labels have names.

    A value that the hosts call by the lesion's name is the lesions'; one without a name may only be in use when the
    parameters say that it is.
    """
    value, taken = parameters.lesion_value, hosts.label_names.get(parameters.lesion_value)
    if taken == parameters.lesion_name or (taken is None and parameters.known_lesions):
        return
    if taken is not None:
        found, own = f"{value}, which is '{taken}' in {hosts.name}", f"set lesion_name to '{taken}'"
        free = max(hosts.label_names) + 1
    else:
        used = _used_values(chosen, value, reporter)
        if used is None:
            return
        case, values = used
        found, own = f"{value}, which the label map of {case.id} uses already ({case.label})", "set known_lesions"
        free = next(one for one in count(1) if one not in values and one not in hosts.label_names)
    raise GenaugError(
        Reason.BAD_PARAMETER,
        "lesion_value",
        found,
        "a value that no other label of the hosts has",
        f"Take {free}; or, if these are such lesions, {own}: new ones then keep clear of them.",
    )


def _used_values(chosen: list[Case], value: int, reporter: Reporter) -> tuple[Case, set[int]] | None:
    """The first host whose label map holds `value` and the values of all hosts; None where none holds it."""
    first, used = None, set[int]()
    for done, case in enumerate(chosen):
        reporter.progress(done, len(chosen), f"label values of {case.id}")
        label = case.label_map()
        if label is not None:
            found = label_values(label.array)
            first = first or (case if value in found else None)
            used.update(found)
    return None if first is None else (first, used)


def remake(
    record: Record, host: Path, tissue: Path, label: Path | None = None, bank: Cohort | None = None
) -> dict[str, Volume]:
    """Make the volumes of a case again from its Record, by role (the channel and "label").

    Raises:
        GenaugError: as `lesions.reinsert`.
    """
    parameters = InsertParameters.model_validate(record.parameters)
    (channel,) = [role for role in record.outputs if role != "label"]
    inserted = reinsert(
        read_volume(host, record.inputs["host"].modality),
        read_volume(tissue, LABEL),
        read_volume(label, LABEL) if label is not None else None,
        record,
        _bank(parameters, bank, channel),
    )
    return {channel: inserted.image, "label": _updated_label(inserted, parameters.lesion_value)}


@dataclass
class _Insertion:
    """What all cases of one job share.

    Attributes:
        working: where the cases are written.
        output: where they will lie.
        host_labels: the hosts whose own label map was carried on.
        left_out: the cases that could not be made, and why.
    """

    working: Path
    output: Path
    parameters: InsertionParameters
    seed: int
    channel: str
    tissue: Path | None
    bank: LesionBank | None
    host_labels: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def cases(self, hosts: list[Case], reporter: Reporter) -> Iterator[Case]:
        total = len(hosts) * self.parameters.copies
        for index in range(total):
            host = hosts[index // self.parameters.copies]
            reporter.progress(index, total, host.id)
            name = f"{self.parameters.prefix}-{safe_name(host.id)}-{index:04d}"
            try:
                case = self._case(host, name, case_seed(self.seed, index))
            except Unfit as error:
                self.left_out.append(f"{name} is left out: {error}")
                reporter.log(self.left_out[-1])
                if len(self.left_out) == total:
                    raise
                continue
            yield case
        reporter.progress(total, total)

    def _case(self, host: Case, name: str, seed: int) -> Case:
        image, label = host.volume(self.channel), host.label_map()
        tissue = self._tissue_of(host, label)
        inserted = insert_lesions(
            image,
            tissue,
            self.parameters.of_one_case(),
            label=label,
            bank=self.bank,
            case_id=name,
            host_id=host.id,
            host_patients=sorted({host.patient, *host.derived_from}),
            seed=seed,
        )
        files = {"host": image, "tissue": tissue}
        if label is not None:
            files["label"] = label
            self.host_labels.append(host.id)
        inputs = {role: _input(volume, self.output / name) for role, volume in files.items()}
        return write_case(
            self.working,
            name,
            host.patient,
            {self.channel: inserted.image},
            _updated_label(inserted, self.parameters.lesion_value),
            inserted.record.model_copy(update={"inputs": inputs}),
            self.parameters.file_format,
            host.covariates,
        )

    def _tissue_of(self, host: Case, label: Volume | None) -> Volume:
        if self.tissue is not None:
            return read_volume(self.tissue, LABEL)
        if label is None:
            raise GenaugError(
                Reason.UNPAIRED,
                host.id,
                "neither a label map of the host nor a tissue map",
                "a label map that says where lesions may lie",
                "Give the tissue map, or annotate the host.",
            )
        return label


def _bank(parameters: InsertParameters, cohort: Cohort | None, channel: str) -> LesionBank | None:
    source = parameters.source
    if isinstance(source, BankSource) != (cohort is not None):
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "source",
            f"source '{source.kind}' {'with' if cohort is not None else 'without'} a bank",
            "a bank of annotated cases for the source 'bank', and for no other",
            "Give the bank, or choose another source.",
        )
    if cohort is None or not isinstance(source, BankSource):
        return None
    return LesionBank.from_cohort(cohort, channel, source.value, other_lesions=source.other_lesions)


def _updated_label(inserted: Inserted, value: int) -> Volume:
    """The host's label map with the lesions, or a map of the lesions alone where the host has none."""
    label = inserted.label
    if label is not None:
        return replace(label, modality=LABEL)
    kind = np.min_scalar_type(value)
    return Volume(inserted.mask.array.astype(kind) * kind.type(value), inserted.mask.affine, LABEL)


def _input(volume: Volume, folder: Path) -> Output:
    """An input file as the Record names it, relative to the case's folder."""
    assert volume.source is not None
    try:
        file = Path(os.path.relpath(volume.source.resolve(), folder.resolve())).as_posix()
    except ValueError:
        # Windows: no relative path leads to another drive.
        file = volume.source.resolve().as_posix()
    return Output.of(replace(volume, array=storable(volume)), file, volume.modality)
