"""Synthesise cases from a package, each from its own generator, with its Record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genaug.case import Case, write_case
from genaug.cohort import Cohort
from genaug.devices import as_recorded, machine, resolve_device
from genaug.errors import GenaugError, Reason
from genaug.generation import generate
from genaug.grid import Placement
from genaug.grid.geometry import Spacing
from genaug.layout import Layout
from genaug.networks import Batch
from genaug.package import Package, load_package, weights_sha256
from genaug.parameters import SynthesisParameters
from genaug.progress import Reporter, Silent
from genaug.recipe import Sampler
from genaug.record import Check, Output, Record, Weights, case_seed, hash_voxels, software_versions
from genaug.samplers import Callback, CaseNoise, find_sampler
from genaug.volume import Volume, label_volumes

MICRO_BATCH = 2
"""Cases per network call, always: alone or in a series of a thousand a case goes through the same arithmetic, so it
comes out the same bit for bit. Two, because on a CPU two small volumes together take less time than one."""

LABEL_TOLERANCE = 0.25
"""A label volume may leave the range of the training cases by this share before the check fails."""


@dataclass(frozen=True)
class Given:
    """What one case is conditioned on, in the patient and in model space."""

    case: Case
    label: Volume
    placement: Placement
    one_hot: npt.NDArray[np.float32]


def synthesize(
    package_folder: Path,
    output: Path,
    parameters: SynthesisParameters,
    seed: int,
    device: str = "auto",
    reporter: Reporter | None = None,
    given: Cohort | None = None,
) -> Cohort:
    """Make `count` cases and write them as a cohort, with a Record each.

    Cases made for given label maps show the patients of those, so the cohort keeps the given one's split: what was made
    for a test patient stays a test case.

    Args:
        package_folder: model package of the tasks "synthesis" or "label_to_image".
        output: folder for the cases and their cohort.json.
        parameters: count, sampler, ...
        seed: of the job; case i is drawn from `case_seed(seed, i)`, whatever else is made with it.
        device: "auto", "cpu" or "cuda".
        reporter: told of every network call.
        given: for a package conditioned on label maps, the cases whose label maps are used, in turn.

    Raises:
        GenaugError: BAD_PACKAGE, BAD_PARAMETER, FIELD_OF_VIEW, CANCELLED; cases finished before stay.
    """
    reporter = reporter or Silent()
    package = load_package(package_folder, resolve_device(device))
    info = package.info
    _require_task(package, given)
    sampler = chosen_sampler(package, parameters)
    indices = range(parameters.start, parameters.start + parameters.count)
    groups = _groups(indices)
    calls = len(groups)
    cases: list[Case] = []
    for done, group in enumerate(groups):
        conditions = [_condition(package, given, index) for index in group]

        def tell(step: int, steps: int, done: int = done) -> None:
            reporter.progress(done * steps + step, calls * steps, f"case {len(cases) + 1} of {parameters.count}")

        made = _generate_group(package, [case_seed(seed, i) for i in group], conditions, sampler, tell)
        for index, array, condition in zip(group, made, conditions, strict=True):
            if index in indices:
                case = _write(package, parameters, sampler, seed, index, array, condition, output)
                cases.append(case)
                reporter.product("case", output / case.id)
    prefix = parameters.prefix or info.name
    known = {label.value: label.name for label in info.trained_on.labels}
    cohort = Cohort(
        name=f"{prefix} synthetic",
        root=output,
        channels={name: info.trained_on.modalities[name] for name in info.roles.target},
        label_names=known if given is None else given.label_names or known,
        split={} if given is None else given.split,
        cases=cases,
    )
    cohort.write(output)
    return cohort


def remake(record: Record, package_folder: Path, given: Case | None = None) -> dict[str, Volume]:
    """Make the volumes of a case again from its Record, by role (channel names and "label").

    It runs on the recorded kind of device with the recorded number of threads.

    Raises:
        GenaugError: BAD_PACKAGE when the package's weights are not those of the Record; BAD_PARAMETER when there is no
            device of the recorded kind.
    """
    with as_recorded(record.machine) as device:
        package = load_package(package_folder, device)
        require_weights(package, record)
        index = int(record.parameters["index"])
        sampler = Sampler.model_validate(record.parameters["sampler"])
        (group,) = _groups(range(index, index + 1))
        cohort = None if given is None else Cohort(name="given", channels=given.modalities, cases=[given])
        condition = None if cohort is None else _condition(package, cohort, 0)
        conditions = [condition for _ in group]
        seeds = [case_seed(record.seed, i) for i in group]
        made = _generate_group(package, seeds, conditions, sampler, lambda done, total: None)
        own = _field_of_view(package, case_seed(record.seed, index), condition)
        return _volumes(package, made[group.index(index)], condition, own)


def chosen_sampler(package: Package, parameters: SynthesisParameters) -> Sampler:
    """The package's sampler with what the parameters say otherwise."""
    default = package.info.recipe.sampler
    if parameters.sampler is not None and default.name == "one_pass":
        raise GenaugError(
            Reason.BAD_PARAMETER,
            "sampler",
            parameters.sampler,
            f"none: {package.info.recipe.title} makes a case in one pass",
            "Leave the sampler out.",
        )
    if parameters.sampler is None or parameters.sampler == default.name:
        return Sampler(
            name=default.name,
            steps=parameters.steps or default.steps,
            options={**default.options, **parameters.sampler_options},
        )
    entry = find_sampler(parameters.sampler)
    return Sampler(name=entry.name, steps=parameters.steps or entry.steps, options=parameters.sampler_options)


def weights_of(package: Package) -> Weights:
    """The package as a Record names it."""
    return Weights(package=package.folder.name, sha256=package.sha256, recipe=package.info.recipe.name)


def require_weights(package: Package, record: Record) -> None:
    """Raise BAD_PACKAGE unless the package is the one the Record names, by its weights."""
    expected = record.weights.sha256 if record.weights else "no weights"
    found = weights_sha256(package.info)
    if found != expected:
        raise GenaugError(
            Reason.BAD_PACKAGE,
            package.folder,
            f"weights {found[:16]}",
            f"weights {expected[:16]}, as the record of {record.case_id} says",
            "Give the package the case was made with.",
        )


def _groups(indices: range) -> list[list[int]]:
    """Aligned groups of MICRO_BATCH indices that cover `indices`: a case always has the same neighbours and place."""
    first, last = indices.start // MICRO_BATCH, (indices.stop - 1) // MICRO_BATCH
    return [[g * MICRO_BATCH + slot for slot in range(MICRO_BATCH)] for g in range(first, last + 1)]


def _generate_group(
    package: Package, seeds: Sequence[int], conditions: Sequence[Given | None], sampler: Sampler, callback: Callback
) -> list[npt.NDArray[np.float32]]:
    """One network batch: arrays (C, *window), one per seed."""
    system = package.system
    noise = CaseNoise.from_seeds(seeds, system.noise_shape(), package.device)
    label_map: Tensor | None = None
    present = [condition for condition in conditions if condition is not None]
    if present:
        label_map = torch.from_numpy(np.stack([condition.one_hot for condition in present])).to(package.device)
    empty = torch.zeros(len(seeds), system.signature.channels, *system.signature.window, device=package.device)
    made = generate(
        package.info.recipe,
        package.systems,
        package.info.code_scale,
        noise,
        Batch(empty, label_map=label_map),
        sampler,
        callback,
    )
    return list(made.float().cpu().numpy())


def _condition(package: Package, given: Cohort | None, index: int) -> Given | None:
    if given is None:
        return None
    case = given.cases[index % len(given.cases)]
    label = case.label_map()
    if label is None:
        raise GenaugError(
            Reason.UNPAIRED, case.id, "no label map", "a label map to make an image for", "Leave the case out."
        )
    grid = package.info.grid
    grid.require_field_of_view(label)
    placement = grid.place(label)
    layout = Layout(image_channels=(), label_values=tuple(package.info.roles.label_values))
    return Given(case, label, placement, layout.one_hot(grid.map_in(label, placement, None), case.id))


def _field_of_view(package: Package, seed: int, given: Given | None) -> Spacing | None:
    """The field of view a case made from nothing is given, mm: that of one of the training cases.

    How much a scan shows is no property of the anatomy, so the network is not asked for it.
    """
    fields = package.info.grid.fields
    if given is not None or not fields:
        return None
    return fields[int(np.random.Generator(np.random.PCG64(seed)).integers(len(fields)))]


def _volumes(
    package: Package, array: npt.NDArray[np.float32], given: Given | None, field: Spacing | None
) -> dict[str, Volume]:
    """The case in the patient: on the given label map's grid, or on the model's own, cut to the field of view."""
    info = package.info
    labels = tuple(info.roles.label_values) if info.roles.generate_labels else ()
    images, label = Layout(image_channels=tuple(info.roles.target), label_values=labels).decode(array)
    arrays: dict[str | None, npt.NDArray[Any]] = {name: values for name, values in images.items()}  # noqa: C416
    if label is not None:
        arrays[None] = label
    if given is None:
        volumes = {name or "label": info.grid.new_volume(values, name, field) for name, values in arrays.items()}
    else:
        volumes = {n or "label": info.grid.map_out(values, given.placement, n) for n, values in arrays.items()}
        volumes["label"] = given.label
    return volumes


def _write(
    package: Package,
    parameters: SynthesisParameters,
    sampler: Sampler,
    seed: int,
    index: int,
    array: npt.NDArray[np.float32],
    given: Given | None,
    output: Path,
) -> Case:
    info = package.info
    field = _field_of_view(package, case_seed(seed, index), given)
    volumes = _volumes(package, array, given, field)
    case_id = f"{parameters.prefix or info.name}-{index:04d}"
    patients = set(info.trained_on.patients)
    inputs = {}
    if given is not None:
        patients |= {given.case.patient, *given.case.derived_from}
        file = str(given.label.source or "")
        inputs["label_map"] = Output(file=file, voxels=hash_voxels(given.label.array))
    record = Record(
        case_id=case_id,
        kind="synthesize",
        seed=seed,
        parameters={
            "index": index,
            "synthesis": parameters.model_dump(mode="json"),
            "sampler": sampler.model_dump(mode="json"),
        },
        draws={
            "case_seed": case_seed(seed, index),
            "noise_shape": list(package.system.noise_shape()),
            "field_of_view_mm": None if field is None else list(field),
        },
        weights=weights_of(package),
        parents=[] if given is None else [given.case.id],
        patients=sorted(patients),
        inputs=inputs,
        checks=_checks(package, volumes) if given is None else [],
        versions=software_versions(),
        machine=machine(package.device),
    )
    images = {name: volume for name, volume in volumes.items() if name != "label"}
    patient = case_id if given is None else given.case.patient
    return write_case(output, case_id, patient, images, volumes.get("label"), record, parameters.file_format)


def _checks(package: Package, volumes: dict[str, Volume]) -> list[Check]:
    """The cheapest useful guard: whether each label's volume is one that a training case could have."""
    label = volumes.get("label")
    if label is None:
        return []
    known_labels = package.info.trained_on.labels
    checks = []
    for known, found in zip(known_labels, label_volumes(label, [one.value for one in known_labels]), strict=True):
        low, high = known.smallest * (1 - LABEL_TOLERANCE), known.largest * (1 + LABEL_TOLERANCE)
        checks.append(
            Check(
                name=f"volume of {known.name}",
                passed=low <= found <= high,
                value=round(found, 1),
                limit=f"{low:.0f} to {high:.0f} mm3, the training range widened by {LABEL_TOLERANCE:.0%}",
            )
        )
    return checks


def _require_task(package: Package, given: Cohort | None) -> None:
    task = package.info.recipe.task
    if task == "translation":
        raise GenaugError(
            Reason.BAD_PACKAGE, package.folder, "a translation model", "a model that synthesises",
            "Use `genaug translate` with this package.",
        )  # fmt: skip
    if package.info.roles.given_labels and given is None:
        raise GenaugError(
            Reason.BAD_PARAMETER, "label maps", "none", "a cohort with label maps, which this model needs",
            "Give the cohort whose label maps are to become images.",
        )  # fmt: skip
    if not package.info.roles.given_labels and given is not None:
        raise GenaugError(
            Reason.BAD_PARAMETER, "label maps", "a cohort of label maps", "none: this model makes its own",
            "Leave the label maps out.",
        )  # fmt: skip
