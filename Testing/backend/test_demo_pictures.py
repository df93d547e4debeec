"""The demo's pictures show the right side of the patient, at the right size, and say where they come from."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from genaug.errors import GenaugError, Reason
from genaug.volume import LABEL, Volume
from matplotlib.figure import Figure

# The demo is run from the checkout and not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from demo import charts, pictures, planes

SHAPE = (9, 12, 15)
SPACING = (1.0, 2.0, 3.0)


def rotation(degrees: float) -> np.ndarray:
    """About the patient's z axis, then tilted by half as much about x."""
    a, b = np.deg2rad([degrees, degrees / 2])
    z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    return z @ x


def affine(directions: np.ndarray) -> np.ndarray:
    """Spacing and an origin that puts the middle of the grid at the scanner's centre."""
    matrix = np.eye(4)
    matrix[:3, :3] = directions * SPACING
    matrix[:3, 3] = -matrix[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return matrix


ORIENTATIONS = {
    "RAS": np.eye(3),
    "LPS": np.diag([-1.0, -1.0, 1.0]),
    "LAS, left-handed": np.diag([-1.0, 1.0, 1.0]),
    "sagittal slices": np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]),
    "coronal slices, left-handed": np.array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]]),
    "oblique by 25 degrees": rotation(25),
    "oblique by 44 degrees": rotation(44),
    "oblique LPS": np.diag([-1.0, -1.0, 1.0]) @ rotation(-20),
}


@pytest.fixture(params=list(ORIENTATIONS.values()), ids=list(ORIENTATIONS))
def oriented(request: pytest.FixtureRequest) -> Volume:
    return Volume(np.zeros(SHAPE, np.float32), affine(request.param))


def marked(volume: Volume, voxel: tuple[int, int, int]) -> Volume:
    array = volume.array.copy()
    array[voxel] = 1
    return volume.with_array(array)


def test_turning_moves_no_voxel_in_the_patient(oriented: Volume) -> None:
    rng = np.random.default_rng(3)
    volume = oriented.with_array(rng.permutation(oriented.array.size).reshape(SHAPE))
    turned = planes.to_ras(volume)
    directions = turned.affine[:3, :3] / turned.spacing
    assert (np.diag(directions) > 0.5).all(), "axes must point to the right, anterior and superior"
    for voxel in rng.integers(0, SHAPE, (20, 3)):
        position = volume.affine @ [*voxel, 1]
        found = np.linalg.solve(turned.affine, position)[:3]
        np.testing.assert_allclose(found, np.round(found), atol=1e-9)
        assert turned.array[tuple(np.round(found).astype(int))] == volume.array[tuple(voxel)]


@pytest.mark.parametrize(
    ("plane", "across", "up"),
    [("axial", 0, 1), ("coronal", 0, 2), ("sagittal", 1, 2)],
)
@pytest.mark.parametrize("voxel", [(1, 2, 3), (7, 2, 12), (4, 10, 13), (0, 11, 0)])
def test_a_bright_voxel_lands_where_the_letters_say(
    oriented: Volume, plane: planes.PlaneName, across: int, up: int, voxel: tuple[int, int, int]
) -> None:
    """The column falls as the voxel goes to the side of the left letter, the row as it goes to that of the top one."""
    turned = planes.to_ras(marked(oriented, voxel))
    i, j, k = np.unravel_index(turned.array.argmax(), turned.shape)
    cut = planes.cut_at(turned, plane, (int(i), int(j), int(k)))
    row, column = np.unravel_index(cut.pixels.argmax(), cut.pixels.shape)
    assert cut.pixels[row, column] == 1
    # Where the voxel is in the patient, measured from the middle along the picture's own axes, in mm.
    position = (oriented.affine @ [*voxel, 1])[:3]
    directions = turned.affine[:3, :3] / turned.spacing
    height, width = cut.pixel_mm
    rows, columns = cut.pixels.shape
    left, top = np.linalg.solve(directions, position)[[across, up]]
    assert ((columns - 1) / 2 - column) * width == pytest.approx(left, abs=1e-9)
    assert ((rows - 1) / 2 - row) * height == pytest.approx(top, abs=1e-9)
    assert cut.letters[0] == "RAS"[across]
    assert cut.letters[2] == "RAS"[up]
    assert dict(zip("RLAPSI", "LRPAIS"))[cut.letters[0]] == cut.letters[1]
    assert dict(zip("RLAPSI", "LRPAIS"))[cut.letters[2]] == cut.letters[3]


def test_patient_right_is_at_the_left_of_the_drawn_picture() -> None:
    """End to end, to the pixels of the PNG: a lesion in the right frontal lobe is drawn left and up."""
    volume = Volume(np.zeros((41, 41, 41), np.float32), np.diag([2.0, 2, 2, 1]))
    array = volume.array.copy()
    array[5:36, 5:36, 5:36] = 0.3
    array[28:34, 28:34, 18:24] = 1.0
    figure = pictures.triplanar(pictures.Exhibit(volume.with_array(array), "REAL"), width=900)
    image = canvas(figure)[44:-46]
    axial = image[:, : image.shape[1] // 3]
    rows, columns = np.nonzero(axial.min(axis=2) > 250)
    inside = (columns > 30) & (columns < axial.shape[1] - 30) & (rows > 30)  # not the letters
    assert columns[inside].mean() < 0.42 * axial.shape[1]
    assert rows[inside].mean() < 0.42 * axial.shape[0]


def test_a_plane_is_drawn_with_its_shape_in_the_patient() -> None:
    volume = Volume(np.ones((20, 30, 10), np.float32), np.diag([1.0, 1.0, 6.0, 1]))
    axes = pictures.triplanar(pictures.Exhibit(volume, "REAL", window=(0, 1))).axes[:3]
    shapes = [box.width / box.height for box in (a.get_window_extent() for a in axes)]
    assert shapes == pytest.approx([20 / 30, 20 / 60, 30 / 60], rel=1e-6)
    scales = [a.get_window_extent().width / abs(np.diff(a.get_xlim())[0]) for a in axes]
    assert scales == pytest.approx([scales[0]] * 3), "all planes share one scale in mm"


def test_scale_bar_is_20_mm_at_the_pictures_scale() -> None:
    volume = Volume(np.ones((40, 40, 40), np.float32), np.diag([1.5, 1.5, 1.5, 1]))
    figure = pictures.triplanar(pictures.Exhibit(volume, "REAL", window=(0, 1)))
    per_mm = figure.axes[0].get_window_extent().width / 60
    bar = np.diff(figure.axes[-1].lines[0].get_xdata())[0]
    assert bar == pytest.approx(20 * per_mm)


def test_a_slice_is_shown_in_its_own_plane_only() -> None:
    one = planes.to_ras(Volume(np.ones((8, 8, 1)), np.diag([1.0, 1, 5, 1])))
    assert planes.shown_planes(one) == ("axial",)
    assert planes.shown_planes(planes.to_ras(Volume(np.ones((8, 8, 8)), np.eye(4)))) == planes.PLANES


def test_cropping_keeps_everything_bright_and_its_place() -> None:
    array = np.zeros((60, 60, 60))
    array[20:30, 31, 40:44] = 1
    volume = Volume(array, affine(rotation(10)))
    box = planes.content(volume, 0.5)
    cropped = planes.crop(volume, box)
    assert cropped.array.sum() == array.sum()
    assert cropped.array.size < array.size / 4
    voxel = (25, 31, 41)
    inside = tuple(v - low for v, (low, _) in zip(voxel, box))
    np.testing.assert_allclose(cropped.affine @ [*inside, 1], volume.affine @ [*voxel, 1])
    assert planes.content(volume, 2.0) == ((0, 60),) * 3


def test_the_lesion_is_in_every_plane_that_is_cut() -> None:
    mask = np.zeros((30, 30, 30), np.uint8)
    mask[3:7, 20:22, 11:12] = 1
    label = Volume(mask, np.eye(4), LABEL)
    for plane in planes.PLANES:
        assert planes.cut_at(label, plane, planes.fullest(label)).pixels.any()


def test_compared_pictures_share_a_window_and_the_difference_is_centred_on_zero() -> None:
    rng = np.random.default_rng(0)
    before = Volume(rng.random((20, 20, 20)), np.eye(4))
    mask = np.zeros(before.shape, np.uint8)
    mask[8:12, 8:12, 8:12] = 1
    after = before.with_array(before.array + 5.0 * mask)
    figure = pictures.lesion_panel(before, after, Volume(mask, before.affine, LABEL), planes=("axial",))
    images = [axes.images[0] for axes in figure.axes[:4]]
    assert images[0].get_clim() == images[1].get_clim() == images[2].get_clim()
    low, high = images[3].get_clim()
    assert low == pytest.approx(-high)
    assert high == pytest.approx(5.0)
    shown = np.asarray(images[3].get_array())
    assert set(np.unique(np.round(shown, 6))) == {0.0, 5.0}


def test_comparing_volumes_of_different_grids_is_refused() -> None:
    volume = Volume(np.zeros((8, 8, 8)), np.eye(4))
    moved = Volume(np.zeros((8, 8, 8)), np.diag([1.0, 1, 1.1, 1]))
    for draw in (
        lambda: pictures.lesion_panel(volume, volume, moved),
        lambda: pictures.translation_panel(volume, moved),
        lambda: pictures.Exhibit(volume, "REAL", label=moved),
    ):
        with pytest.raises(GenaugError) as caught:
            draw()
        assert caught.value.reason is Reason.GEOMETRY_MISMATCH


def test_synthetic_pictures_say_so_and_real_ones_do_not() -> None:
    volume = Volume(np.random.default_rng(0).random((12, 12, 12)), np.eye(4))
    exhibits = [pictures.Exhibit(volume, "SYNTHETIC", f"case {i}") for i in range(3)]
    figure = pictures.contact_sheet(exhibits)
    tags = [text.get_text() for text in figure.texts]
    assert tags.count("SYNTHETIC") == 3
    amber = np.array([255, 176, 0])
    assert (canvas(figure)[:44] == amber).all(axis=2).mean() > 0.02
    assert (
        not (canvas(pictures.contact_sheet([pictures.Exhibit(volume, "REAL")], width=200)) == amber).all(axis=2).any()
    )


@pytest.mark.parametrize("length", [4, 16, 60])
def test_no_title_runs_into_the_next_ones_origin(length: int) -> None:
    plane = Volume(np.eye(48, dtype=np.float32).reshape(48, 48, 1), np.eye(4))
    ids = [f"{'a' * (length - 1)}{number}" for number in range(6)]
    figure = pictures.contact_sheet([pictures.Exhibit(plane, "SYNTHETIC", id_) for id_ in ids], width=1600)
    written = [text for text in figure.texts if text.get_text() not in {"SYNTHETIC", ""}]
    assert [text.get_text()[-1] for text in written] == list("012345"), "what tells the ids apart must be read"
    assert len({text.get_fontsize() for text in written}) == 1
    badges = [text.get_window_extent().x0 for text in figure.texts if text.get_text() == "SYNTHETIC"]
    for text, following in zip(written, [*badges[1:], 1600], strict=True):
        assert text.get_window_extent().x1 < following - 6


def test_outlines_enclose_their_label_and_keep_their_colour() -> None:
    array = np.zeros((30, 30, 30), np.uint8)
    array[10:20, 10:20, 10:20] = 2
    label = Volume(array, np.eye(4), LABEL)
    image = Volume(array.astype(np.float32), np.eye(4))
    figure = pictures.triplanar(
        pictures.Exhibit(image, "REAL", label=label), label_names={1: "one", 2: "two", 3: "three"}
    )
    outline = figure.axes[3].collections[0]
    # Value 2 is the second of the named labels, whichever others this case happens to have.
    assert np.allclose(outline.get_edgecolor()[0][:3], [230 / 255, 159 / 255, 0], atol=1e-2)
    points = outline.get_paths()[0].vertices
    assert np.ptp(points, axis=0) == pytest.approx([10, 10], abs=1e-6)


def test_a_ventricle_is_outlined_in_its_own_colour_and_not_in_that_of_what_is_around_it() -> None:
    array = np.zeros((30, 30, 30), np.uint8)
    array[5:25, 5:25, 5:25] = 2
    array[12:18, 12:18, 12:18] = 1
    exhibit = pictures.Exhibit(
        Volume(array.astype(np.float32), np.eye(4)), "REAL", label=Volume(array, np.eye(4), LABEL)
    )
    figure = pictures.triplanar(exhibit, label_names={1: "fluid", 2: "matter"})
    drawn = [np.ptp(line.get_paths()[0].vertices, axis=0).max() for line in figure.axes[3].collections]
    assert drawn[-1] == pytest.approx(6, abs=1e-6) and len(drawn) == 2


def test_robust_window_ignores_empty_background_outliers_and_non_numbers() -> None:
    rng = np.random.default_rng(1)
    array = np.zeros((40, 40, 40))
    array[15:25, 15:25, 15:25] = rng.normal(100, 5, (10, 10, 10))
    array[0, 0, 0], array[1, 1, 1] = 1e6, np.nan
    low, high = pictures.robust_window(Volume(array, np.eye(4)))
    assert low == 0
    assert 105 < high < 130
    assert pictures.robust_window(Volume(np.full((3, 3, 3), 7.0), np.eye(4))) == (7.0, 8.0)


def test_curves_are_read_and_a_broken_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "denoiser.csv"
    file.write_text("iteration,critic,generator\n10,1.5,\n20,1.25,0.5\n")
    terms = charts.read_curves(file)
    np.testing.assert_array_equal(terms["critic"], [[10, 20], [1.5, 1.25]])
    np.testing.assert_array_equal(terms["generator"], [[20], [0.5]])
    for dark in (False, True):
        assert len(charts.curves({"GAN": file}, dark=dark).axes) == 1
    for content in ("iteration,loss\n10,much\n", "step,loss\n1,2\n"):
        file.write_text(content)
        with pytest.raises(GenaugError, match=re.escape(str(file))) as caught:
            charts.read_curves(file)
        assert caught.value.reason is Reason.UNREADABLE_FILE
    with pytest.raises(GenaugError) as caught:
        charts.read_curves(tmp_path / "none.csv")
    assert caught.value.reason is Reason.MISSING_FILE


def canvas(figure: Figure) -> np.ndarray:
    """The drawn pixels, (rows, columns, RGB)."""
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3]
