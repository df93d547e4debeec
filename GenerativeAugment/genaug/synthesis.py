"""Synthesise cases from a package, each from its own generator, with its Record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from genaug.acceleration import wanted
from genaug.case import Case, write_case
from genaug.cohort import Cohort, require_no_cohort
from genaug.convolution import current_route, tell_of_problem
from genaug.covariates import encode, require_known
from genaug.devices import as_recorded, machine, resolve_device
from genaug.errors import GenaugError, Reason
from genaug.generation import generate
from genaug.grid import Placement
from genaug.grid.geometry import Spacing
from genaug.layout import Layout
from genaug.networks import Batch
from genaug.package import Package, load_package, weights_sha256
from genaug.parameters import SynthesisParameters
from genaug.pieces import piece_volumes, without_islands
from genaug.progress import Reporter, Silent
from genaug.recipe import Sampler
from genaug.record import Check, Output, Record, Weights, case_seed, software_versions
from genaug.samplers import Callback
from genaug.sampling import chosen_sampler
from genaug.slabs import disk_of, in_slabs
from genaug.synthesis_memory import synthesis_plan
from genaug.synthesis_workers import make_in_workers
from genaug.tensors import without_hole
from genaug.text import TextReader
from genaug.volume import Volume, label_volumes

FORMER_MICRO_BATCH = 2
"""Cases per network call of Records that do not name it."""

LABEL_TOLERANCE = 0.25
"""A label volume may leave the range of the training cases by this share before the check fails."""


@dataclass(frozen=True)
class Given:
    """The case that one is made for, in the patient and in model space.

    Attributes:
        images: channel to volume, where the network fills a hole in them.
        label: the label map it follows.
        one_hot: the same in model space, (L, *window).
        stacked: the images in model space, (C, *window).
    """

    case: Case
    images: dict[str, Volume]
    label: Volume
    placement: Placement
    one_hot: npt.NDArray[np.float32]
    stacked: npt.NDArray[np.float32] | None


@dataclass(frozen=True)
class Asked:
    """What one case is made for: the covariates it shall have, as numbers too, and the case it follows."""

    covariates: dict[str, float | str]
    vector: npt.NDArray[np.float32]
    given: Given | None


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
        device: "auto", "cpu" or "cuda"; with several workers "cpu".
        reporter: told of every network call.
        given: the cases to follow, in turn: their label maps for a package conditioned on those, with their images
            where it fills what the label maps cover; their covariates, where `parameters` ask for no others.

    Raises:
        GenaugError: BAD_PACKAGE, BAD_PARAMETER, FIELD_OF_VIEW, CANCELLED; cases finished before stay.
    """
    reporter = reporter or Silent()
    require_no_cohort(output)
    package = load_package(package_folder, resolve_device(device))
    info = package.info
    _require_task(package, given)
    sampler = chosen_sampler(package, parameters)
    require_known(info.roles.covariates, list(parameters.conditions))
    tell_of_problem(package.device, reporter)
    indices = range(parameters.start, parameters.start + parameters.count)
    with wanted(parameters.acceleration):
        plan = synthesis_plan(package, parameters, sampler, micro_batch(package.device), reporter, given)
    with wanted(parameters.acceleration), in_slabs(plan, disk_of(output)):
        if min(parameters.workers, parameters.count) == 1:
            made = make_cases(package, output, parameters, indices, seed, reporter, given)
        else:
            here = partial(make_cases, package, output, parameters, indices, seed, given=given)
            made = make_in_workers(here, package, output, parameters, indices, seed, reporter, given, plan)
    prefix = parameters.prefix or info.name
    known = {label.value: label.name for label in info.trained_on.labels}
    cohort = Cohort(
        name=f"{prefix} synthetic",
        root=output,
        channels={name: info.trained_on.modalities[name] for name in info.roles.target},
        label_names=known if given is None else given.label_names or known,
        split={} if given is None else given.split,
        cases=[made[index] for index in indices],
    )
    cohort.write(output)
    return cohort


def make_cases(
    package: Package,
    output: Path,
    parameters: SynthesisParameters,
    indices: range,
    seed: int,
    reporter: Reporter,
    given: Cohort | None = None,
    claim: Callable[[int], bool] = lambda batch: True,
) -> dict[int, Case]:
    """Make and write the cases of these indices, in this process; see `synthesize`. Returned by index.

    `claim` says whether the network batch of that number, counted from 0, is this process's to make.
    """
    sampler = chosen_sampler(package, parameters)
    texts = TextReader(parameters.text_encoder)
    batch = micro_batch(package.device)
    groups = _groups(indices, batch)
    calls = len(groups)
    cases: dict[int, Case] = {}
    done = 0
    for number, group in enumerate(groups):
        if not claim(number):
            continue
        # What is made beside them for the sake of the batch repeats what one of them is asked, and is thrown away.
        wanted_for = [index if index in indices else next(i for i in group if i in indices) for index in group]
        asked = [_asked(package, parameters, texts, given, index, case_seed(seed, index)) for index in wanted_for]

        def tell(step: int, steps: int, done: int = done) -> None:
            reporter.progress(done * steps + step, calls * steps, f"case {len(cases) + 1} of {len(indices)}")

        made = _generate_group(package, [case_seed(seed, i) for i in group], asked, sampler, tell)
        for index, array, one in zip(group, made, asked, strict=True):
            if index in indices:
                case = _write(package, parameters, sampler, seed, batch, index, array, one, output)
                cases[index] = case
                reporter.product("case", output / case.id)
        done += 1
    return cases


def remake(record: Record, package_folder: Path, given: Case | None = None) -> dict[str, Volume]:
    """Make the volumes of a case again from its Record, by role (channel names and "label").

    It runs on the recorded kind of device with the recorded number of threads. A case that was made for a text needs
    its encoder where it was, as the Record's parameters name it.

    Raises:
        GenaugError: BAD_PACKAGE when the package's weights are not those of the Record; BAD_PARAMETER when there is no
            device of the recorded kind.
    """
    with as_recorded(record.machine) as device:
        package = load_package(package_folder, device)
        require_weights(package, record)
        index = int(record.parameters["index"])
        sampler = Sampler.model_validate(record.parameters["sampler"])
        parameters = SynthesisParameters.model_validate(record.parameters["synthesis"])
        (group,) = _groups(range(index, index + 1), int(record.parameters.get("micro_batch", FORMER_MICRO_BATCH)))
        cohort = None if given is None else Cohort(name="given", channels=given.modalities, cases=[given])
        # A case of a batch is the same whatever its neighbour is, so all are given what is asked of this one.
        own = record.draws.get("covariates", {})
        asked = _as_asked(package, own, TextReader(parameters.text_encoder), cohort, 0)
        seeds = [case_seed(record.seed, i) for i in group]
        made = _generate_group(package, seeds, [asked for _ in group], sampler, lambda done, total: None)
        field = _field_of_view(package, case_seed(record.seed, index), asked.given)
        return _tidied(package, _volumes(package, made[group.index(index)], asked.given, field), parameters)[0]


def micro_batch(device: torch.device) -> int:
    """Cases per network call, always: alone or in a series of a thousand a case goes through the same arithmetic.

    So it comes out the same bit for bit, and the Record names the number. It is two where a second volume costs little
    or nothing: on a GPU, and on a CPU whose convolutions torch chooses, which for one volume takes the slow one.
    """
    return 1 if device.type == "cpu" and current_route() == "onednn" else 2


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


def _groups(indices: range, batch: int) -> list[list[int]]:
    """Aligned groups of `batch` indices that cover `indices`: a case always has the same neighbours and place."""
    first, last = indices.start // batch, (indices.stop - 1) // batch
    return [[g * batch + slot for slot in range(batch)] for g in range(first, last + 1)]


def _generate_group(
    package: Package, seeds: Sequence[int], asked: Sequence[Asked], sampler: Sampler, callback: Callback
) -> list[npt.NDArray[np.float32]]:
    """One network batch: arrays (C, *window), one per seed."""
    info = package.info
    given = [one.given for one in asked if one.given is not None]
    label_map = torch.from_numpy(np.stack([one.one_hot for one in given])) if given else None
    images = [one.stacked for one in given if one.stacked is not None]
    source = without_hole(torch.from_numpy(np.stack(images)), label_map) if images and label_map is not None else None
    vector = torch.from_numpy(np.stack([one.vector for one in asked])) if asked[0].vector.size else None
    empty = torch.zeros(len(seeds), len(info.roles.target) + info.roles.label_channels, *info.grid.size)
    made = generate(
        info.recipe,
        package.systems,
        info.code_scale,
        [torch.Generator().manual_seed(one) for one in seeds],
        Batch(empty, source=source, label_map=label_map, vector=vector).to(package.device),
        info.roles,
        sampler,
        callback,
    )
    return list(made.float().cpu().numpy())


def _asked(
    package: Package,
    parameters: SynthesisParameters,
    texts: TextReader,
    given: Cohort | None,
    index: int,
    seed: int,
) -> Asked:
    """What case `index` is made for: what is asked for, else what the given case has, else what a training case had."""
    names = [covariate.name for covariate in package.info.roles.covariates]
    seen = package.info.trained_on.seen
    drawn: Mapping[str, float | str] = {}
    if given is not None:
        drawn = given.cases[index % len(given.cases)].covariates
    elif seen:
        drawn = seen[int(np.random.Generator(np.random.PCG64([seed, 1])).integers(len(seen)))]
    values = {name: value for name, value in {**drawn, **parameters.conditions}.items() if name in names}
    return _as_asked(package, values, texts, given, index)


def _as_asked(
    package: Package, values: dict[str, float | str], texts: TextReader, given: Cohort | None, index: int
) -> Asked:
    covariates = package.info.roles.covariates
    follows = given is not None and package.info.roles.given_labels
    return Asked(
        covariates=values,
        vector=encode(covariates, values, texts.read(covariates, values)),
        given=_given(package, given.cases[index % len(given.cases)]) if given is not None and follows else None,
    )


def _given(package: Package, case: Case) -> Given:
    info = package.info
    label = case.label_map()
    if label is None:
        raise GenaugError(
            Reason.UNPAIRED, case.id, "no label map", "a label map to make an image for", "Leave the case out."
        )
    grid = info.grid
    grid.require_field_of_view(label)
    images = {name: case.volume(name) for name in info.roles.target} if info.roles.hole else {}
    placement = grid.place(label, images)
    if grid.dimension == 2 and placement.size[2] > 1:
        raise GenaugError(
            Reason.BAD_PARAMETER, case.id, f"a label map of {placement.size[2]} planes", "one plane: the model is 2D",
            "Give single planes, or train the model in 3D.",
        )  # fmt: skip
    shape = placement.size[: grid.dimension]
    layout = Layout(image_channels=(), label_values=tuple(info.roles.label_values))
    one_hot = layout.one_hot(grid.map_in(label, placement, None).reshape(shape), case.id)
    stacked = [grid.map_in(volume, placement, name).reshape(shape) for name, volume in images.items()]
    return Given(case, images, label, placement, one_hot, np.stack(stacked) if stacked else None)


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
        size = given.placement.size
        volumes = {
            n or "label": info.grid.map_out(values.reshape(size), given.placement, n) for n, values in arrays.items()
        }
        volumes["label"] = given.label
        hole = given.label.array != 0
        for name, image in given.images.items():
            volumes[name] = replace(
                image, array=np.where(hole, volumes[name].array, image.array).astype(image.array.dtype)
            )
    return volumes


def _write(
    package: Package,
    parameters: SynthesisParameters,
    sampler: Sampler,
    seed: int,
    batch: int,
    index: int,
    array: npt.NDArray[np.float32],
    asked: Asked,
    output: Path,
) -> Case:
    info, given = package.info, asked.given
    field = _field_of_view(package, case_seed(seed, index), given)
    volumes, islands = _tidied(package, _volumes(package, array, given, field), parameters)
    case_id = f"{parameters.prefix or info.name}-{index:04d}"
    patients = set(info.trained_on.patients)
    inputs = {}
    if given is not None:
        patients |= {given.case.patient, *given.case.derived_from}
        inputs["label_map"] = Output.of(given.label, str(given.label.source or ""))
        for name, image in given.images.items():
            inputs[name] = Output.of(image, str(image.source or ""), image.modality)
    record = Record(
        case_id=case_id,
        kind="synthesize",
        seed=seed,
        parameters={
            "index": index,
            "micro_batch": batch,
            "synthesis": parameters.model_dump(mode="json"),
            "sampler": sampler.model_dump(mode="json"),
        },
        draws={
            "case_seed": case_seed(seed, index),
            "noise_shape": list(package.system.noise_shape()),
            "field_of_view_mm": None if field is None else list(field),
            "covariates": asked.covariates,
        },
        weights=weights_of(package),
        parents=[] if given is None else [given.case.id],
        patients=sorted(patients),
        inputs=inputs,
        checks=_checks(package, volumes, islands),
        versions=software_versions(),
        machine=machine(package.device),
    )
    images = {name: volume for name, volume in volumes.items() if name != "label"}
    patient = case_id if given is None else given.case.patient
    return write_case(
        output, case_id, patient, images, volumes.get("label"), record, parameters.file_format, asked.covariates
    )


def _tidied(
    package: Package, volumes: dict[str, Volume], parameters: SynthesisParameters
) -> tuple[dict[str, Volume], int]:
    """The case without islands in a label map of its own, and how many voxels they were.

    A network that decides voxel by voxel leaves specks that no annotator draws.
    """
    known = {
        one.value: one.smallest_piece
        for one in package.info.trained_on.labels
        if one.smallest_piece is not None and not parameters.keep_islands
    }
    if not package.info.roles.generate_labels or not known:
        return volumes, 0
    label, count = without_islands(volumes["label"], known)
    return {**volumes, "label": label}, count


def _checks(package: Package, volumes: dict[str, Volume], islands: int) -> list[Check]:
    """The cheapest useful guard: whether each label's volume and pieces are those that a training case could have."""
    if not package.info.roles.generate_labels:
        return []
    label = volumes["label"]
    known_labels = package.info.trained_on.labels
    values = [one.value for one in known_labels]
    checks = []
    if islands:
        limit = "voxels in pieces smaller than any in training, given to what surrounds them"
        checks.append(Check(name="islands", passed=True, value=islands, limit=limit))
    for known, found in zip(known_labels, label_volumes(label, values), strict=True):
        low, high = known.smallest * (1 - LABEL_TOLERANCE), known.largest * (1 + LABEL_TOLERANCE)
        checks.append(
            Check(
                name=f"volume of {known.name}",
                passed=low <= found <= high,
                value=round(found, 1),
                limit=f"{low:.0f} to {high:.0f} mm3, the training range widened by {LABEL_TOLERANCE:.0%}",
            )
        )
    for known, pieces in zip(known_labels, piece_volumes(label, values), strict=True):
        if known.most_pieces is not None:
            most = int(known.most_pieces * (1 + LABEL_TOLERANCE))
            checks.append(
                Check(
                    name=f"pieces of {known.name}",
                    passed=len(pieces) <= most,
                    value=len(pieces),
                    limit=f"at most {most}, the {known.most_pieces} of training widened by {LABEL_TOLERANCE:.0%}",
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
    if not package.info.roles.given_labels and not package.info.roles.covariates and given is not None:
        raise GenaugError(
            Reason.BAD_PARAMETER, "label maps", "a cohort of label maps", "none: this model makes its own",
            "Leave the label maps out.",
        )  # fmt: skip
