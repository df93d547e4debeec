"""What the methods are measured on, with small data of the same layout in place of the real ones."""

from pathlib import Path

import numpy as np
import pytest
from genaug.imageio import write_volume
from genaug.parameters import TrainingOptions
from genaug.recipe import list_recipes, load_recipe
from genaug.split import split_by_ids
from genaug.volume import LABEL, Volume

from benchmarks import suites

SHAPE = (12, 10, 8)
SPACING = (1.5, 1.0, 2.0)
AFFINE = np.diag([*SPACING, 1.0])


def volume(seed: int) -> Volume:
    rng = np.random.default_rng(seed)
    # Every scanner has a scale of its own.
    return Volume((10.0**seed * rng.uniform(1, 2, SHAPE)).astype(np.float32), AFFINE, "MR")


def label(*values: int) -> Volume:
    array = np.zeros(SHAPE, np.uint8)
    for value in values:
        array[2 + 4 * (value - 1) : 5 + 4 * (value - 1), 3:7, 1:7] = value
    return Volume(array, AFFINE, LABEL)


def case_folder(folder: Path, channels: tuple[str, ...], seed: int, *values: int) -> None:
    folder.mkdir(parents=True)
    for name in channels:
        write_volume(folder / f"{name}.nii.gz", volume(seed))
    if values:
        write_volume(folder / "label.nii.gz", label(*values))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Folders like those of the real data, and the folder that cohorts are derived into."""
    root = tmp_path_factory.mktemp("data")
    for index in range(4):
        (root / "hippocampus/images").mkdir(parents=True, exist_ok=True)
        (root / "hippocampus/labels").mkdir(exist_ok=True)
        write_volume(root / f"hippocampus/images/h{index}.nii.gz", volume(index))
        write_volume(root / f"hippocampus/labels/h{index}.nii.gz", label(1, 2))
    for index in range(28):
        case_folder(root / f"sarcoma_mr_ct/STS_{index:03d}", ("mr_t1", "ct"), index % 3, 1)
    contrasts = ("T1pre", "T2_reg", "FLAIR_reg", "T1post")
    lacking = tuple(name for name in contrasts if name != "T2_reg")
    for index in range(4):
        case_folder(root / f"brain_tumour/{index}_day", contrasts if index < 3 else lacking, index)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENAUG_DATA", str(root))
        # There are too few for the real ones' split.
        read = suites.hippocampus
        patch.setattr(suites, "hippocampus", lambda: split_by_ids(read(), test=["h3"]))
        yield tmp_path_factory.mktemp("derived")


def test_planes_lie_where_they_lay_in_the_volume(data):
    whole = suites.hippocampus()
    cut = suites.slices(data)
    assert len(cut.cases) == len(suites.PLACES) * len(whole.cases) and cut.split == whole.split
    for plane in cut.cases:
        image, source = plane.volume("image"), whole[plane.patient].volume("image")
        height = round((image.affine[2, 3] - source.affine[2, 3]) / SPACING[2])
        np.testing.assert_array_equal(image.array[..., 0], source.array[..., height])
        np.testing.assert_array_equal(image.affine[:3, :3], source.affine[:3, :3])


def test_sizes_are_areas_and_volumes_of_the_labels(data):
    for case in suites.slices(data).cases:
        assert case.covariates["anterior"] == pytest.approx(3 * 4 * 1.5)
    for case in suites.with_sizes(suites.hippocampus()).cases:
        assert case.covariates["posterior"] == pytest.approx(3 * 4 * 6 * 3.0)


def test_neighbours_are_of_one_patient_on_one_grid_and_one_scale(data):
    first, second = suites.NEIGHBOURS
    pairs = suites.neighbours(data)
    assert len(pairs.cases) == (len(suites.PLACES) - 1) * 4
    for case in pairs.cases:
        before, after = case.volume(first), case.volume(second)
        assert before.same_grid(after)
        assert np.percentile(before.array, suites.WHITE) == pytest.approx(1000, abs=2)
        assert 0.8 < after.array.mean() / before.array.mean() < 1.25


def test_the_tests_of_several_sources_are_of_nobody_that_trains(data):
    everybody, complete = suites.brain_tumour(data), suites.brain_tumour(data, complete=True)
    assert list(everybody.channels) == ["FLAIR", "T1post", "T1pre", "T2"]
    assert [case.patient for case in everybody.part("test")] == ["2", "3"]
    assert [case.patient for case in complete.part("test")] == ["2"] and len(complete.cases) == 3
    for case in everybody.cases:
        assert np.percentile(case.volume("T1post").array, suites.WHITE) == pytest.approx(1000, abs=2)


@pytest.mark.parametrize("recipe", [recipe.name for recipe in list_recipes()])
def test_every_recipe_is_measured_on_data_that_has_what_it_asks_for(data, monkeypatch, recipe):
    monkeypatch.setattr(suites, "text_encoder", lambda: Path("encoder"))
    loaded = load_recipe(recipe)
    suite = suites.suite_of(loaded, data)
    options = TrainingOptions(recipe=recipe, **suite.options)
    assert {*options.channels, *options.source_channels} <= set(suite.cohort.channels)
    assert suite.channel in options.channels
    assert bool(options.source_channels) == (loaded.task == "translation")
    tests = suite.cohort.part("test")
    assert tests and not {case.patient for case in tests} & {case.patient for case in suite.cohort.part("train")}
    asked = [*options.covariates, *([options.text] if options.text else [])]
    assert bool(asked) == bool({"covariates", "text"} & set(loaded.conditions))
    assert all(name in case.covariates for name in asked for case in suite.cohort.cases)
    if "label_map" in loaded.conditions:
        assert all(case.label is not None for case in suite.cohort.cases)
