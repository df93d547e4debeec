"""Translate whole volumes: one contrast or modality into another, on the same voxels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from genaug import channels_last
from genaug.acceleration import is_wanted, wanted
from genaug.case import Case, safe_names, write_case
from genaug.cohort import Cohort, require_no_cohort
from genaug.covariates import encode, require_known
from genaug.devices import as_recorded, machine, resolve_device
from genaug.errors import GenaugError, Reason
from genaug.generation import generate
from genaug.grid import Placement
from genaug.networks import Batch
from genaug.package import Package, load_package
from genaug.parameters import TranslationParameters
from genaug.progress import Reporter, Silent
from genaug.recipe import Sampler
from genaug.record import Output, Record, case_seed, hash_voxels, software_versions
from genaug.samplers import WindowNoise
from genaug.sampling import chosen_sampler
from genaug.synthesis import require_weights, weights_of
from genaug.tensors import neighbours, require_neighbours
from genaug.translation_memory import windows_at_once
from genaug.volume import Volume, require_same_grid
from genaug.windows import Window, apply_windows, plan_windows

DIFFERENCE = "-difference"
"""Ends the name of the channel that holds input minus result."""

MICRO_BATCH = 2
"""Windows per network call, where memory allows; the Record says how many."""


def translate(
    package_folder: Path,
    inputs: Cohort,
    output: Path,
    parameters: TranslationParameters,
    seed: int = 0,
    device: str = "auto",
    reporter: Reporter | None = None,
) -> Cohort:
    """Translate each case and write the results as a cohort, in the inputs' geometry, with a Record each.

    The results show the inputs' patients and carry their label maps, so the cohort keeps the inputs' split and label
    names: the translation of a test patient stays a test case.

    Args:
        package_folder: a package of the task "translation".
        inputs: cases that hold the package's source channels; `Cohort.with_cases` takes a part of a cohort.
        output: folder for the results and their cohort.json.
        parameters: overlap, sampler, ...
        seed: of the job; case i draws from `case_seed(seed, i)` where the network is random.
        device: "auto", "cpu" or "cuda".
        reporter: told of every batch of windows.

    Raises:
        GenaugError: BAD_PACKAGE, BAD_PARAMETER, UNPAIRED, WRONG_MODALITY, FIELD_OF_VIEW, GEOMETRY_MISMATCH, CANCELLED.
    """
    with wanted(parameters.acceleration):
        return _translate(package_folder, inputs, output, parameters, seed, device, reporter or Silent())


def _translate(
    package_folder: Path,
    inputs: Cohort,
    output: Path,
    parameters: TranslationParameters,
    seed: int,
    device: str,
    reporter: Reporter,
) -> Cohort:
    require_no_cohort(output)
    names = safe_names(case.id for case in inputs.cases)
    package = load_package(package_folder, resolve_device(device))
    info = package.info
    _require_translation(package)
    layout = _layout(package)
    _lay_out(package, layout)
    compared = _compared(package) if parameters.difference else {}
    require_known(info.roles.covariates, list(parameters.conditions))
    sampler = chosen_sampler(package, parameters)
    at_once = windows_at_once(package, inputs, parameters, sampler, MICRO_BATCH, reporter)
    cases = []
    for index, case in enumerate(inputs.cases):
        sources = _sources(package, case, parameters)
        vector = _vector(package, case, sources, parameters)

        def tell(done: int, total: int, index: int = index, name: str = case.id) -> None:
            reporter.progress(index * total + done, len(inputs.cases) * total, f"{name}, window {done} of {total}")

        results, placement = _translate_volume(
            package, sources, vector, sampler, parameters.overlap, at_once, case_seed(seed, index), tell
        )
        results |= _differences(compared, sources, results)
        record = Record(
            case_id=f"{parameters.prefix or info.name}-{names[case.id]}",
            kind="translate",
            seed=seed,
            parameters={
                "index": index,
                "translation": parameters.model_dump(mode="json"),
                "windows_at_once": at_once,
            },
            draws={
                "case_seed": case_seed(seed, index),
                "placement": placement.model_dump(mode="json"),
                "covariates": case.covariates,
            },
            weights=weights_of(package),
            parents=[case.id],
            patients=sorted({case.patient, *case.derived_from, *info.trained_on.patients}),
            inputs={
                name: Output.of(volume, str(volume.source or ""), volume.modality) for name, volume in sources.items()
            },
            versions=software_versions(),
            machine={**machine(package.device), "memory_layout": layout},
        )
        label = case.label_map()
        known = {**case.covariates, **parameters.conditions}
        made = write_case(output, record.case_id, case.patient, results, label, record, parameters.file_format, known)
        cases.append(made)
        reporter.product("case", output / made.id)
    cohort = Cohort(
        name=f"{info.name} translations",
        root=output,
        channels={
            **{name: info.trained_on.modalities[name] for name in info.roles.target},
            **{name + DIFFERENCE: info.trained_on.modalities[name] for name in compared},
        },
        label_names=inputs.label_names,
        split=inputs.split,
        cases=cases,
    )
    cohort.write(output)
    return cohort


def remake(record: Record, package_folder: Path, given: Case) -> dict[str, Volume]:
    """Make the volumes of a translated case again from its Record, by channel, as `synthesis.remake` does.

    Raises:
        GenaugError: BAD_PACKAGE, UNREADABLE_FILE when the input is not the one that was translated, BAD_PARAMETER when
            there is no device of the recorded kind.
    """
    with as_recorded(record.machine) as device:
        return _remake(record, load_package(package_folder, device), given)


def _remake(record: Record, package: Package, given: Case) -> dict[str, Volume]:
    require_weights(package, record)
    # A Record that names no layout is older than the choice.
    _lay_out(package, record.machine.get("memory_layout", "contiguous"))
    parameters = TranslationParameters.model_validate(record.parameters["translation"])
    sources = _sources(package, given, parameters)
    for name, volume in sources.items():
        recorded = record.inputs[name]
        other = hash_voxels(volume.array) != recorded.voxels
        found = "other voxels than were translated" if other else recorded.moved(volume)
        if found:
            raise GenaugError(
                Reason.UNREADABLE_FILE,
                volume.source or name,
                found,
                f"the input that the record of {record.case_id} names",
                "Give the original input.",
            )
    seed = case_seed(record.seed, int(record.parameters["index"]))
    vector = _vector(package, given, sources, parameters)
    sampler = chosen_sampler(package, parameters)
    at_once = int(record.parameters.get("windows_at_once", MICRO_BATCH))
    results, _ = _translate_volume(
        package, sources, vector, sampler, parameters.overlap, at_once, seed, lambda done, total: None
    )
    compared = _compared(package) if parameters.difference else {}
    return results | _differences(compared, sources, results)


def _layout(package: Package) -> channels_last.Layout:
    """How the networks are to lie in memory: as is faster on the device, for volumes, unless acceleration is off."""
    chosen = package.info.grid.dimension == 3 and is_wanted()
    return channels_last.faster_layout(package.device) if chosen else "contiguous"


def _lay_out(package: Package, layout: channels_last.Layout) -> None:
    for system in package.systems.values():
        channels_last.to_layout(system, layout)


def _compared(package: Package) -> dict[str, str]:
    """By target, the source that it can be subtracted from: the same channel, or the only one, of the same modality.

    Raises:
        GenaugError: BAD_PARAMETER where there is none.
    """
    info = package.info
    found = {}
    for name in info.roles.target:
        alone = info.roles.source[0] if len(info.roles.source) == 1 else None
        source = name if name in info.roles.source else alone
        if source is None or info.trained_on.modalities[source] != info.trained_on.modalities[name]:
            raise GenaugError(
                Reason.BAD_PARAMETER,
                "difference",
                f"a model that makes {name} from {', '.join(info.roles.source)}",
                "one whose input and result share their intensities, as ant-gan's and madgan's do",
                "Leave difference out.",
            )
        found[name] = source
    return found


def _differences(compared: dict[str, str], sources: dict[str, Volume], made: dict[str, Volume]) -> dict[str, Volume]:
    """Input minus result, float32, by the result's channel."""
    return {
        name + DIFFERENCE: replace(
            made[name], array=sources[source].array.astype(np.float32) - made[name].array.astype(np.float32)
        )
        for name, source in compared.items()
    }


def _translate_volume(
    package: Package,
    sources: dict[str, Volume],
    vector: npt.NDArray[np.float32],
    sampler: Sampler,
    overlap: float,
    batch_size: int,
    seed: int,
    callback: Callable[[int, int], None],
) -> tuple[dict[str, Volume], Placement]:
    """Windows over the whole volume, blended; results on the input's own grid."""
    info, grid = package.info, package.info.grid
    first = next(iter(sources.values()))
    grid.require_field_of_view(first, whole=True)
    placement = grid.place(first, sources, whole=True)
    require_neighbours(placement.size[-1], info.roles.offsets, str(first.source or "the volume"))
    stacked = np.zeros((len(info.roles.source), *placement.size), dtype=np.float32)
    for place, name in zip(stacked, info.roles.source, strict=True):
        if name in sources:
            place[...] = grid.map_in(sources[name], placement, name)
    size = stacked.shape[1 : 1 + grid.dimension]
    places: Iterator[Window] = iter(())

    def function(windows: Tensor) -> Tensor:
        padded = _full_batch(windows, batch_size)
        at = list(islice(places, len(windows)))
        at += at[-1:] * (len(padded) - len(at))
        # Seeded anew, so that every window of the case, and in 2D every plane, is made from the same noise.
        generator = torch.Generator().manual_seed(seed)
        empty = padded.new_zeros(len(padded), len(info.roles.target), *padded.shape[2:])
        numbers = torch.from_numpy(vector).expand(len(padded), -1).to(padded) if vector.size else None
        batch = Batch(empty, source=padded, vector=numbers)
        made = generate(
            info.recipe,
            package.systems,
            info.code_scale,
            partial(WindowNoise, generator, size, at),
            batch,
            info.roles,
            sampler,
        )
        return made[: len(windows)]

    if grid.dimension == 3:
        places = iter(plan_windows(size, grid.size, overlap))
        made = apply_windows(function, stacked, grid.size, overlap, batch_size, callback, device=package.device).numpy()
    else:
        planes = []
        for k in range(stacked.shape[-1]):
            plane = np.ascontiguousarray(neighbours(stacked, k, info.roles.offsets))
            places = iter(plan_windows(size, grid.size, overlap))
            planes.append(apply_windows(function, plane, grid.size, overlap, batch_size, device=package.device))
            callback(k + 1, stacked.shape[-1])
        made = torch.stack(planes, dim=-1).numpy()
    results = {name: grid.map_out(made[i], placement, name) for i, name in enumerate(info.roles.target)}
    return {name: _stored(volume) for name, volume in results.items()}, placement


def _vector(
    package: Package, case: Case, sources: dict[str, Volume], parameters: TranslationParameters
) -> npt.NDArray[np.float32]:
    """What is asked for, else known of the case, and which of the sources it has, as it was told in training."""
    roles = package.info.roles
    has = [float(name in sources) for name in roles.source] if roles.missing else []
    return np.concatenate(
        [encode(roles.covariates, {**case.covariates, **parameters.conditions}), np.array(has, dtype=np.float32)]
    )


def _full_batch(windows: Tensor, count: int) -> Tensor:
    """Pad the last batch, so that a window's arithmetic does not depend on how many windows there are."""
    missing = count - len(windows)
    return torch.cat([windows, windows[-1:].expand(missing, *windows.shape[1:])]) if missing > 0 else windows


def _stored(volume: Volume) -> Volume:
    """CT is stored in whole HU, as scanners do."""
    return replace(volume, array=np.rint(volume.array).astype(np.int16)) if volume.modality == "CT" else volume


def _sources(package: Package, case: Case, parameters: TranslationParameters) -> dict[str, Volume]:
    """The inputs by source channel, of the modality the model was trained on, all on one grid.

    All of them, unless the model was trained to do without some.
    """
    info = package.info
    sources = {}
    if info.roles.missing and not any(name in case.images for name in info.roles.source):
        case.image(info.roles.source[0])
    for name in info.roles.source:
        if info.roles.missing and name not in case.images:
            continue
        # A file given by itself has no channel name of its own.
        alone = name not in case.images and len(case.images) == 1 and len(info.roles.source) == 1
        volume = case.volume(next(iter(case.images)) if alone else name)
        expected = info.trained_on.modalities[name]
        found = parameters.modality or volume.modality
        if found != expected:
            raise GenaugError(
                Reason.WRONG_MODALITY,
                volume.source or case.id,
                found,
                f"{expected}, which {info.title} was trained on",
                "Choose a model for this modality, or state the modality if the file's is wrong.",
            )
        sources[name] = volume
    for volume in list(sources.values())[1:]:
        require_same_grid(next(iter(sources.values())), volume)
    return sources


def _require_translation(package: Package) -> None:
    if package.info.recipe.task != "translation":
        raise GenaugError(
            Reason.BAD_PACKAGE,
            package.folder,
            f"a model for {package.info.recipe.task}",
            "a translation model",
            "Use `genaug synthesize` with this package.",
        )
