"""Islands of a label map: what no annotator draws and a network that decides voxel by voxel leaves behind."""

import numpy as np
import pytest
import torch
from engine_data import blob_cohort, tiny_options
from genaug import synthesis
from genaug.case import write_case
from genaug.cohort import Cohort
from genaug.generation import generate
from genaug.package import read_info
from genaug.parameters import SynthesisParameters
from genaug.pieces import piece_volumes, without_islands
from genaug.progress import Silent
from genaug.record import Record
from genaug.replay import replay
from genaug.synthesis import synthesize
from genaug.training import make_plan, train
from genaug.volume import LABEL, Volume

AFFINE = np.diag([1.0, 2.0, 1.5, 1.0])


def labelled(array: np.ndarray) -> Volume:
    return Volume(array.astype(np.uint8), AFFINE, LABEL)


def organs() -> np.ndarray:
    array = np.zeros((20, 16, 12), np.uint8)
    array[3:9, 3:12, 2:9] = 1
    array[9:15, 3:12, 2:9] = 2
    return array


def test_pieces_are_measured_in_the_patient():
    array = organs()
    array[18, 1, 1] = 1
    first, second, absent = piece_volumes(labelled(array), [1, 2, 3])
    assert sorted(first) == pytest.approx([3.0, 6 * 9 * 7 * 3.0])
    assert second == pytest.approx([6 * 9 * 7 * 3.0]) and absent == []


def test_voxels_that_share_a_corner_are_one_piece():
    array = np.zeros((4, 4, 4), np.uint8)
    array[0, 0, 0] = array[1, 1, 1] = array[3, 3, 3] = 1
    assert sorted(piece_volumes(labelled(array), [1])[0]) == pytest.approx([3.0, 6.0])


def test_an_island_becomes_what_it_lies_in_and_nothing_else_changes():
    array = organs()
    array[17:19, 14, 10] = 1
    array[11, 7, 5] = 1
    array[0, 0, 0], array[0, 0, 1] = 1, 2
    tidy, count = without_islands(labelled(array), {1: 100.0, 2: 100.0})
    np.testing.assert_array_equal(tidy.array, organs())
    assert count == 5


def test_the_largest_piece_stays_however_small():
    array = np.zeros((8, 8, 8), np.uint8)
    array[1:3, 1, 1] = 1
    array[6, 6, 6] = 1
    tidy, count = without_islands(labelled(array), {1: 1000.0})
    assert count == 1 and piece_volumes(tidy, [1])[0] == pytest.approx([6.0])


def test_a_label_map_without_islands_is_left_alone():
    label = labelled(organs())
    assert without_islands(label, {1: 100.0, 2: 100.0, 3: 5.0}) == (label, 0)


def test_a_model_of_planes_knows_the_pieces_of_planes(tmp_path):
    """A structure that is one piece in the patient may be two in a plane, and each of them is smaller."""
    array = np.zeros((16, 16, 16), np.uint8)
    array[2:14, 2:14, 2] = 1
    array[2:5, 2:14, 2:10] = array[11:14, 2:14, 2:10] = 1
    image = Volume(np.random.default_rng(0).normal(100, 5, array.shape).astype(np.float32), AFFINE)
    cases = [write_case(tmp_path, f"c{number}", f"p{number}", {"A": image}, labelled(array)) for number in range(2)]
    cohort = Cohort(name="horseshoes", root=tmp_path, channels={"A": "MR"}, label_names={1: "shoe"}, cases=cases)
    for dimension, pieces, smallest in ((3, 1, float(array.sum()) * 3), (2, 2, 3 * 12 * 3.0)):
        plan = make_plan(cohort, tiny_options("vae", dimension=dimension), tmp_path / f"{dimension}", Silent())
        (known,) = plan.trained_on.labels
        assert known.most_pieces == pieces and known.smallest_piece == pytest.approx(smallest)


def speckled(*arguments):
    """What the network makes, with noise as strong as its decisions."""
    made = generate(*arguments)
    return made + torch.randn(made.shape, generator=torch.Generator().manual_seed(0))


def test_synthetic_cases_have_no_islands_say_so_and_are_made_again(tmp_path, monkeypatch):
    package = train(blob_cohort(tmp_path / "blobs"), tiny_options("vae"), tmp_path / "package", "cpu", Silent())
    (known,) = read_info(package).trained_on.labels
    assert known.most_pieces == 1 and known.smallest_piece == pytest.approx(known.smallest)
    path = package / "configs" / "genaug.json"
    # Every piece but the largest is an island now, and there are some.
    path.write_text(path.read_text().replace(f'"smallest_piece": {known.smallest_piece}', '"smallest_piece": 1e9'))
    monkeypatch.setattr(synthesis, "generate", speckled)
    asked = SynthesisParameters(count=3, prefix="tidy")
    tidy = synthesize(package, tmp_path / "tidy", asked, 1, "cpu", Silent())
    rough = synthesize(package, tmp_path / "rough", asked.model_copy(update={"keep_islands": True}), 1, "cpu", Silent())
    for case, untouched in zip(tidy.cases, rough.cases, strict=True):
        (pieces,), (before,) = (piece_volumes(one.label_map(), [1]) for one in (case, untouched))
        assert len(pieces) <= 1
        checks = {check.name: check for check in Record.read(case.record).checks}
        assert checks["pieces of sphere"].value == len(pieces)
        assert checks["islands"].value > 0 and len(before) > 1
        np.testing.assert_array_equal(case.volume("A").array, untouched.volume("A").array)
        assert replay(tidy.root / case.id, tmp_path / "again", Silent(), {"package": package}).same
