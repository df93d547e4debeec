"""Image files keep every voxel where it was, and damaged ones are refused."""

import errno
import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from genaug import metaimage, nifti, nrrd
from genaug.errors import GenaugError, Reason
from genaug.imageio import image_stem, is_marked_synthetic, read_header, read_volume, write_volume
from genaug.nrrd import map_nrrd, write_nrrd
from genaug.record import hash_voxels
from genaug.storage import storable
from genaug.volume import LABEL, Volume
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DATA = Path(os.environ.get("GENAUG_DATA", Path(__file__).parents[2] / "../shared/data")).resolve()
FORMATS = ("nii.gz", "nii", "nrrd", "mha")
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def random_volume(seed: int, shape=(6, 5, 4), left_handed=False, dtype=np.float32, modality="MR") -> Volume:
    """Oblique and anisotropic, anywhere within a metre of the scanner's centre."""
    rng = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    if (np.linalg.det(axes) < 0) != left_handed:
        axes[:, int(rng.integers(3))] *= -1
    affine = np.eye(4)
    affine[:3, :3] = axes * rng.uniform(0.3, 7.0, 3)
    affine[:3, 3] = rng.uniform(-1000, 1000, 3)
    array = rng.uniform(0, 100, shape).astype(dtype)
    return Volume(array, affine, modality)


def refusal(action, *arguments, **options) -> GenaugError:
    with pytest.raises(GenaugError) as caught:
        action(*arguments, **options)
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("left_handed", [False, True])
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), compress=st.booleans())
def test_every_geometry_survives_and_simpleitk_agrees(tmp_path, file_format, left_handed, seed, compress):
    volume = random_volume(seed, left_handed=left_handed)
    path = tmp_path / f"image.{file_format}"
    write_volume(path, volume, compress)
    back = read_volume(path)
    assert back.same_grid(volume)
    assert np.linalg.det(back.affine[:3, :3]) * np.linalg.det(volume.affine[:3, :3]) > 0
    np.testing.assert_array_equal(back.array, volume.array)
    image = sitk.ReadImage(str(path))
    index = (5, 2, 3)
    place = (RAS_TO_LPS @ volume.affine @ [*index, 1])[:3]
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), place, atol=1e-3)
    assert image[index] == volume.array[index]
    if file_format in ("nrrd", "mha"):
        np.testing.assert_allclose(back.affine, volume.affine, rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize(
    "dtype", ["bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", ">i2", ">f4"]
)
def test_a_reader_gets_back_exactly_what_storable_promises(tmp_path, file_format, dtype):
    volume = random_volume(3, dtype=dtype)
    path = tmp_path / f"image.{file_format}"
    write_volume(path, volume)
    assert hash_voxels(read_volume(path).array) == hash_voxels(storable(volume))


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("largest, dtype", [(1, "u1"), (255, "u1"), (256, "u2"), (70_000, "u4")])
def test_label_maps_are_stored_as_small_as_they_fit(tmp_path, file_format, largest, dtype):
    array = np.zeros((3, 4, 5))
    array[1, 2, 3] = largest
    path = tmp_path / f"label.{file_format}"
    write_volume(path, Volume(array, np.eye(4), LABEL))
    assert read_header(path).dtype == np.dtype(dtype)
    label = read_volume(path, LABEL)
    assert label.is_label and label.array.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(label.array, array)


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("shape", [(6, 5, 1), (1, 5, 4), (1, 1, 1)])
def test_thin_volumes_keep_three_axes(tmp_path, file_format, shape):
    volume = random_volume(11, shape, left_handed=True)
    path = tmp_path / f"slice.{file_format}"
    write_volume(path, volume)
    assert read_volume(path).same_grid(volume)
    header = read_header(path)
    assert header.shape == shape
    assert header.grid().same_grid(volume)


def test_memory_order_of_the_array_does_not_matter(tmp_path):
    volume = random_volume(2)
    for name, array in (("c", np.ascontiguousarray(volume.array)), ("f", np.asfortranarray(volume.array))):
        write_nrrd(tmp_path / f"{name}.nrrd", volume.with_array(array))
        write_volume(tmp_path / f"{name}.nii.gz", volume.with_array(array))
    assert (tmp_path / "c.nrrd").read_bytes() == (tmp_path / "f.nrrd").read_bytes()
    assert (tmp_path / "c.nii.gz").read_bytes() == (tmp_path / "f.nii.gz").read_bytes()


def test_a_flat_picture_becomes_one_slice(tmp_path):
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    sitk.WriteImage(sitk.GetImageFromArray(pixels), str(tmp_path / "flat.png"))
    volume = read_volume(tmp_path / "flat.png")
    assert volume.shape == (4, 3, 1)
    np.testing.assert_array_equal(volume.array[:, :, 0], pixels.T)
    assert read_header(tmp_path / "flat.png").shape == (4, 3, 1)


def test_synthetic_files_say_so_in_their_header(tmp_path):
    for file_format in FORMATS:
        for synthetic in (True, False):
            path = tmp_path / f"{synthetic}.{file_format}"
            write_volume(path, random_volume(1), synthetic=synthetic)
            assert is_marked_synthetic(path) is synthetic
    assert "SYNTHETIC" in sitk.ReadImage(str(tmp_path / "True.nrrd")).GetMetaData("genaug_synthetic")
    assert sitk.ReadImage(str(tmp_path / "True.nii.gz")).GetMetaData("descrip").startswith("SYNTHETIC")


def test_the_modality_travels_in_formats_that_have_room_for_it(tmp_path):
    for name in ("ct.nrrd", "ct.mha"):
        write_volume(tmp_path / name, random_volume(1, modality="CT"))
        assert read_volume(tmp_path / name).modality == "CT"
        assert read_volume(tmp_path / name, "MR").modality == "MR"


@pytest.mark.parametrize("kept", [0.05, 0.5, 0.999])
@pytest.mark.parametrize("file_format, compress", [("nii.gz", True), ("nii", False), ("nrrd", False), ("nrrd", True),
                                                   ("mha", False), ("mha", True)])  # fmt: skip
def test_a_truncated_file_is_refused_and_named(tmp_path, file_format, compress, kept):
    path = tmp_path / f"cut.{file_format}"
    write_volume(path, random_volume(1, (20, 20, 20)), compress)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    error = refusal(read_volume, path)
    assert error.reason is Reason.UNREADABLE_FILE
    assert error.subject == str(path)


def test_a_flipped_bit_in_a_compressed_nifti_is_refused(tmp_path):
    path = tmp_path / "flipped.nii.gz"
    write_volume(path, random_volume(1, (20, 20, 20)))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)
    assert refusal(read_volume, path).reason is Reason.UNREADABLE_FILE


def test_nifti_of_several_gzip_members_is_read(tmp_path):
    """As pigz and bgzip write it."""
    write_volume(tmp_path / "plain.nii", random_volume(5))
    content = (tmp_path / "plain.nii").read_bytes()
    (tmp_path / "members.nii.gz").write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:]))
    np.testing.assert_array_equal(read_volume(tmp_path / "members.nii.gz").array, random_volume(5).array)


def test_every_file_is_read_by_its_name_also_beside_its_twin(tmp_path):
    """ITK takes the voxels of T1.nii for those of T1.nii.gz."""
    volumes = {f"T1.{name}": random_volume(number, (4, 5, 6 + number)) for number, name in enumerate(FORMATS)}
    for name, volume in volumes.items():
        write_volume(tmp_path / name, volume)
    # One half of a pair, which is no format of ours, has the voxels of a file by the same name.
    sitk.WriteImage(sitk.Image([4, 5, 6], sitk.sitkFloat32), str(tmp_path / "T1.img"))
    content = bytearray((tmp_path / "T1.nii").read_bytes())
    content[344:348] = b"ni1\0"
    (tmp_path / "T1.nii").write_bytes(content)
    for name, volume in volumes.items():
        np.testing.assert_array_equal(read_volume(tmp_path / name).array, volume.array)
        assert read_header(tmp_path / name).shape == volume.shape


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("scaling", [(1.0, 0.0), (0.5, 0.0), (-3.0, 7.0), (0.0, 0.0), (np.nan, 0.0)])
def test_nifti_voxels_are_those_that_itk_and_nibabel_read(tmp_path, dtype, big_endian, scaling):
    nibabel = pytest.importorskip("nibabel")
    header = nibabel.Nifti1Header(endianness=">" if big_endian else "<")
    header.set_data_shape((4, 3, 5))
    header.set_data_dtype(np.dtype(dtype))
    header.set_qform(np.diag([1.0, 1.5, 2.0, 1.0]), 1)
    header["magic"], header["vox_offset"], header["scl_slope"], header["scl_inter"] = b"n+1", 352, *scaling
    stored = np.random.default_rng(5).integers(0, 100, 60).astype(header.get_data_dtype())
    (tmp_path / "image.nii").write_bytes(header.binaryblock + bytes(4) + stored.tobytes())
    ours = read_volume(tmp_path / "image.nii").array
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "image.nii"))).T
    assert ours.dtype == theirs.dtype == read_header(tmp_path / "image.nii").dtype and ours.flags.f_contiguous
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(ours, nibabel.load(tmp_path / "image.nii").get_fdata())


@pytest.mark.parametrize("source", ["nii.gz", "nii", "nrrd", "mha"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_counted(tmp_path, bad, source):
    pixels = np.zeros((4, 5, 6), np.float32)
    pixels[1, 2, 3] = pixels[0, 0, 0] = bad
    sitk.WriteImage(sitk.GetImageFromArray(pixels), str(tmp_path / f"nan.{source}"))
    error = refusal(read_volume, tmp_path / f"nan.{source}")
    assert error.reason is Reason.NOT_FINITE
    assert "2 of 120" in error.found and "(0, 0, 0)" in error.found
    volume = Volume(pixels, np.eye(4))
    for file_format in FORMATS:
        assert refusal(write_volume, tmp_path / f"out.{file_format}", volume).reason is Reason.NOT_FINITE
        assert not (tmp_path / f"out.{file_format}").exists()


def test_large_values_are_not_taken_for_infinite_ones(tmp_path):
    volume = Volume(np.full((2, 2, 2), 3e38, np.float32), np.eye(4))
    write_volume(tmp_path / "large.nii.gz", volume)
    np.testing.assert_array_equal(read_volume(tmp_path / "large.nii.gz").array, volume.array)


@pytest.mark.parametrize("value", [0.5, -1.0, 2.0**64])
def test_a_label_map_holds_whole_numbers_from_0(tmp_path, value):
    array = np.zeros((3, 3, 3), np.float32)
    array[1, 1, 1] = value
    write_volume(tmp_path / "image.nii.gz", Volume(array, np.eye(4)))
    error = refusal(read_volume, tmp_path / "image.nii.gz", LABEL)
    assert error.reason is Reason.WRONG_LABELS and f"{value:g}" in error.found
    assert refusal(write_volume, tmp_path / "l.nii", Volume(array, np.eye(4), LABEL)).reason is Reason.WRONG_LABELS


def test_several_time_points_or_components_are_refused(tmp_path):
    four = sitk.JoinSeries([sitk.Image([3, 4, 5], sitk.sitkInt16)] * 2)
    sitk.WriteImage(four, str(tmp_path / "four.nii.gz"))
    sitk.WriteImage(sitk.Image([3, 4, 5], sitk.sitkVectorUInt8, 3), str(tmp_path / "colour.nrrd"))
    for name in ("four.nii.gz", "colour.nrrd"):
        for read in (read_volume, read_header):
            error = refusal(read, tmp_path / name)
            assert error.reason is Reason.UNREADABLE_FILE and "one file for each" in error.remedy


def test_a_single_time_point_is_read(tmp_path):
    sitk.WriteImage(sitk.JoinSeries([sitk.Image([3, 4, 5], sitk.sitkInt16)]), str(tmp_path / "one.nrrd"))
    assert read_volume(tmp_path / "one.nrrd").shape == (3, 4, 5)
    assert read_header(tmp_path / "one.nrrd").shape == (3, 4, 5)


@pytest.mark.parametrize("file_format", FORMATS)
def test_sheared_axes_are_not_written(tmp_path, file_format):
    affine = np.eye(4)
    affine[0, 1] = 0.1
    error = refusal(write_volume, tmp_path / f"sheared.{file_format}", Volume(np.zeros((2, 2, 2)), affine))
    assert error.reason is Reason.GEOMETRY_MISMATCH
    assert list(tmp_path.iterdir()) == []


def test_sheared_axes_are_not_read_either(tmp_path):
    write_volume(tmp_path / "image.nrrd", Volume(np.zeros((2, 2, 2), np.uint8), np.eye(4)), compress=False)
    text = (tmp_path / "image.nrrd").read_bytes().replace(b"(0.0,-1.0,0.0)", b"(-.3,-1.0,0.0)")
    (tmp_path / "image.nrrd").write_bytes(text)
    assert refusal(read_volume, tmp_path / "image.nrrd").reason is Reason.GEOMETRY_MISMATCH


def forms(path: Path, volume: Volume, qform_code=1, sform_code=2, sform=None, units=2) -> None:
    """Write a NIfTI file and put other forms into its header."""
    write_volume(path, volume)
    content = bytearray(path.read_bytes())
    content[123] = units | 8
    struct.pack_into("<2h", content, 252, qform_code, sform_code)
    if sform is not None:
        struct.pack_into("<12f", content, 280, *sform[:3].ravel())
    path.write_bytes(content)


@pytest.mark.parametrize("qform_code", [0, 1])
@pytest.mark.parametrize("change", [[[1, 0.3, 0], [0, 1, 0], [0, 0, 1]], np.diag([1.1, 1.1, 1.1])])
def test_a_sheared_or_scaled_sform_is_refused_rather_than_replaced_by_the_qform(tmp_path, qform_code, change):
    volume = random_volume(6, (20, 20, 20))
    sform = volume.affine.copy()
    sform[:3, :3] = sform[:3, :3] @ np.array(change)
    forms(tmp_path / "image.nii", volume, qform_code, sform=sform)
    for read in (read_volume, read_header):
        error = refusal(read, tmp_path / "image.nii")
        assert error.reason is Reason.GEOMETRY_MISMATCH and "orthogonal" in error.remedy
        assert qform_code == 0 or "sheared or scaled" in error.found


def test_an_sform_that_is_moved_from_the_qform_is_refused_until_one_is_written_over_the_other(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    volume, path = random_volume(6), tmp_path / "image.nii"
    sform = np.eye(4)
    sform[:3] = volume.affine[[1, 2, 0]]
    sform[:3, 3] += [0, 5, 0]
    forms(path, volume, sform=sform)
    for read in (read_volume, read_header):
        error = refusal(read, path)
        assert error.reason is Reason.GEOMETRY_MISMATCH
        assert (
            "Slicer the latter" in error.found and "sheared" not in error.found and "-copysform2qform" in error.remedy
        )
    image = nibabel.load(path)
    np.testing.assert_allclose(image.affine, sform, atol=1e-3)
    image.set_qform(sform, 1)
    nibabel.save(image, tmp_path / "one.nii")
    np.testing.assert_allclose(read_volume(tmp_path / "one.nii").affine, sform, atol=1e-3)


@pytest.mark.parametrize("units, millimetres", [(0, 1), (1, 1000), (2, 1), (3, 0.001)])
def test_nifti_in_metres_or_microns_is_read_in_millimetres(tmp_path, units, millimetres):
    volume = random_volume(7)
    for name, codes in (("both.nii", (1, 2)), ("sform.nii", (0, 2)), ("qform.nii", (1, 0))):
        forms(tmp_path / name, volume, *codes, units=units)
        for affine in (read_volume(tmp_path / name).affine, read_header(tmp_path / name).affine):
            np.testing.assert_allclose(affine[:3] / millimetres, volume.affine[:3], atol=1e-3)


def test_missing_unknown_and_forbidden_files_are_told_apart(tmp_path, monkeypatch):
    assert refusal(read_volume, tmp_path / "none.nii.gz").reason is Reason.MISSING_FILE
    (tmp_path / "notes.txt").write_text("no image")
    assert refusal(read_volume, tmp_path / "notes.txt").reason is Reason.UNREADABLE_FILE
    (tmp_path / "fake.nii.gz").write_text("no image")
    assert refusal(read_volume, tmp_path / "fake.nii.gz").reason is Reason.UNREADABLE_FILE
    (tmp_path / "fake.nrrd").write_text("no image")
    assert refusal(read_header, tmp_path / "fake.nrrd").reason is Reason.UNREADABLE_FILE
    assert refusal(write_volume, tmp_path / "image.mhd", random_volume(1)).reason is Reason.BAD_PARAMETER
    write_volume(tmp_path / "locked.nii", random_volume(1))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert refusal(read_volume, tmp_path / "locked.nii").reason is Reason.NO_PERMISSION


@pytest.mark.parametrize("number, reason", [(errno.ENOSPC, Reason.DISK_FULL), (errno.EACCES, Reason.NO_PERMISSION)])
@pytest.mark.parametrize("file_format", FORMATS)
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, file_format, number, reason):
    path = tmp_path / f"image.{file_format}"
    write_volume(path, random_volume(1))
    before = path.read_bytes()

    def fails_half_way(stream, array):
        stream.write(b"half a volume")
        raise OSError(number, os.strerror(number))

    for module in (nifti, nrrd, metaimage):
        monkeypatch.setattr(module, "write_voxels", fails_half_way)
    error = refusal(write_volume, path, random_volume(2), compress=file_format != "mha")
    assert error.reason is reason and error.subject == str(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == before


def test_a_raw_nrrd_is_mapped_not_read(tmp_path):
    volume = random_volume(4, left_handed=True, modality="CT")
    write_nrrd(tmp_path / "job.nrrd", volume)
    mapped = map_nrrd(tmp_path / "job.nrrd")
    assert isinstance(mapped.array, np.memmap) and not mapped.array.flags.writeable
    assert mapped.modality == "CT" and mapped.source == tmp_path / "job.nrrd"
    assert hash_voxels(mapped.array) == hash_voxels(volume.array)
    np.testing.assert_allclose(mapped.affine, volume.affine, atol=1e-12)


def test_an_nrrd_of_simpleitk_is_mapped_at_the_same_place(tmp_path):
    volume = random_volume(8)
    write_volume(tmp_path / "ours.mha", volume)
    sitk.WriteImage(sitk.ReadImage(str(tmp_path / "ours.mha")), str(tmp_path / "theirs.nrrd"), False)
    mapped = map_nrrd(tmp_path / "theirs.nrrd")
    assert mapped.same_grid(volume)
    np.testing.assert_array_equal(mapped.array, volume.array)


@pytest.mark.parametrize(
    "old, new",
    [
        (b"encoding: raw", b"encoding: hex"),
        (b"endian: little", b"endian: bigger"),
        (b"dimension: 3", b"dimension: 4"),
        (b"type: float", b"type: block"),
        (b"encoding: raw", b"encoding: raw\ndata file: x.raw"),
        (b"encoding: raw", b"encoding: raw\nbyte skip: 8"),
        (b"space: left-posterior-superior", b"space: scanner-xyz"),
        (b"sizes: 6 5 4", b"sizes: 6 5 5"),
        (b"sizes: 6 5 4", b"sizes: 6 5 3"),
        (b"NRRD0004", b"NRXD0004"),
        (b"\n\n", b"\n"),
    ],
)
def test_an_nrrd_that_cannot_be_mapped_is_refused(tmp_path, old, new):
    write_nrrd(tmp_path / "job.nrrd", random_volume(4))
    content = (tmp_path / "job.nrrd").read_bytes()
    header, voxels = content.split(b"\n\n", 1)
    changed = (header + b"\n\n").replace(old, new) + voxels.replace(b"\n\n", b"\n ")
    (tmp_path / "job.nrrd").write_bytes(changed)
    assert refusal(map_nrrd, tmp_path / "job.nrrd").reason is Reason.UNREADABLE_FILE


def test_the_affines_of_real_heads_come_back(tmp_path):
    files = sorted((DATA / "ixi_heads/t1").glob("*.nii.gz"))
    if not files:
        pytest.skip(f"needs ixi_heads in {DATA}")
    for path in files:
        header = read_header(path)
        empty = Volume(np.zeros(header.shape, np.uint8), header.affine)
        for file_format in ("nii.gz", "nrrd"):
            copy = tmp_path / f"{image_stem(path)}.{file_format}"
            write_volume(copy, empty)
            assert read_header(copy).grid().same_grid(empty)
