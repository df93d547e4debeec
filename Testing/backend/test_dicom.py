"""A DICOM series becomes one volume, with every slice accounted for."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from genaug.dicom import read_dicom_series
from genaug.errors import GenaugError, Reason
from genaug.imageio import read_header, read_volume
from genaug.readers import read_cohort

DATA = Path(os.environ.get("GENAUG_DATA", Path(__file__).parents[2] / "../shared/data")).resolve()
AXES = np.linalg.qr(np.random.default_rng(4).normal(size=(3, 3)))[0]
AXES = AXES * np.sign(np.linalg.det(AXES))
ORIGIN = np.array([-120.5, 33.25, 410.125])
SPACING = (0.75, 1.25, 3.0)
HU = (np.random.default_rng(1).integers(-1000, 2000, (5, 4, 6))).astype(np.int16)


def write_series(folder: Path, heights=range(6), series="1.2.3.4", modality="CT", patient="P 1", shift=0.0, **tags):
    """The slices of HU (I, J, K), oblique, in files whose order says nothing about their place."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, height in enumerate(heights):
        plane = sitk.GetImageFromArray(HU[:, :, number % 6].T[None])
        position = ORIGIN + AXES[:, 2] * SPACING[2] * height + AXES[:, 0] * shift * height
        plane.SetOrigin(position.tolist())
        plane.SetDirection(AXES.ravel().tolist())
        plane.SetSpacing(SPACING)
        values = {
            "0008|0060": modality,
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{series}.{number + 1}",
            "0008|103e": f"series {series[-1]}",
            "0010|0020": patient,
            "0018|0050": str(SPACING[2]),
            "0020|000d": "1.2.3",
            "0020|000e": series,
            "0020|0032": "\\".join(f"{value:.9f}" for value in position),
            "0020|0037": "\\".join(f"{value:.9f}" for value in (*AXES[:, 0], *AXES[:, 1])),
            "0028|1052": "-1024",
            "0028|1053": "1",
            **tags,
        }
        for key, value in values.items():
            plane.SetMetaData(key, value)
        writer.SetFileName(str(folder / f"{(number * 5 + 3) % 17:02d}-{series}.dcm"))
        writer.Execute(plane)


def add_element(folder: Path, element: int, value: str) -> None:
    """A code string of group 8, which the writer would not write, in its place among the others."""
    content = value.encode() + b" " * (len(value) % 2)
    for path in folder.iterdir():
        file = path.read_bytes()
        at = 144 + int.from_bytes(file[140:144], "little")
        while struct.unpack_from("<2H", file, at) < (8, element):
            at += 8 + int.from_bytes(file[at + 4 : at + 8], "little")
        path.write_bytes(file[:at] + struct.pack("<2HI", 8, element, len(content)) + content + file[at:])


def refusal(folder: Path) -> GenaugError:
    with pytest.raises(GenaugError) as caught:
        read_dicom_series(folder)
    return caught.value


def test_slices_are_ordered_by_place_and_ct_is_in_hu(tmp_path):
    write_series(tmp_path)
    volume = read_dicom_series(tmp_path)
    assert volume.modality == "CT" and volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, HU)
    np.testing.assert_allclose(volume.spacing, SPACING, atol=1e-5)
    place = ORIGIN + AXES @ (np.array([4, 3, 5]) * SPACING)
    np.testing.assert_allclose((volume.affine @ [4, 3, 5, 1])[:3], place * [-1, -1, 1], atol=1e-4)
    header = read_header(tmp_path)
    assert header.shape == volume.shape and header.grid().same_grid(volume)


def test_simpleitk_places_the_series_alike(tmp_path):
    write_series(tmp_path)
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path))
    theirs = sitk.ReadImage(names)
    ours = read_dicom_series(tmp_path)
    for index in ((0, 0, 0), (4, 3, 5)):
        lps = (ours.affine @ [*index, 1])[:3] * [-1, -1, 1]
        found = theirs.TransformPhysicalPointToIndex(lps.tolist())
        assert theirs[found] == ours.array[index]


def test_missing_slices_are_counted(tmp_path):
    write_series(tmp_path, heights=(0, 1, 2, 5, 6, 7))
    error = refusal(tmp_path)
    assert error.reason is Reason.GEOMETRY_MISMATCH
    assert "9.000 mm" in error.found and "2 slices" in error.found and "3.000 mm" in error.expected


@pytest.mark.parametrize(
    "options, word",
    [
        ({"heights": (0, 1, 2, 3, 4.2, 5)}, "mm between"),
        ({"heights": (0, 1, 2, 2, 3, 4)}, "both at"),
        ({"shift": 0.5}, "sideways"),
    ],
)
def test_stacks_that_are_no_grid_are_refused_with_numbers(tmp_path, options, word):
    write_series(tmp_path, **options)
    error = refusal(tmp_path)
    assert error.reason is Reason.GEOMETRY_MISMATCH and word in error.found


def test_several_series_are_named(tmp_path):
    write_series(tmp_path)
    write_series(tmp_path, series="1.2.3.5", modality="MR")
    error = refusal(tmp_path)
    assert error.reason is Reason.UNREADABLE_FILE
    assert "'series 4' (CT, 6 files)" in error.found and "'series 5' (MR, 6 files)" in error.found


def test_a_truncated_slice_is_refused(tmp_path):
    write_series(tmp_path)
    last = sorted(tmp_path.iterdir())[-1]
    last.write_bytes(last.read_bytes()[:-30])
    assert refusal(tmp_path).reason is Reason.UNREADABLE_FILE


def test_a_single_plane_is_as_thick_as_it_says(tmp_path):
    for number, (said, thickness) in enumerate({"5": 5, "": 1}.items()):
        write_series(tmp_path / str(number), heights=[0], **{"0018|0050": said})
        volume = read_dicom_series(tmp_path / str(number))
        assert np.linalg.norm(volume.affine[:3, 2]) == pytest.approx(thickness)
    for said in ("0", "-2"):
        write_series(tmp_path / said, heights=[0], **{"0018|0050": said})
        with pytest.raises(GenaugError, match=f"a slice thickness of '{said}'"):
            read_dicom_series(tmp_path / said)
        write_series(tmp_path / f"stack {said}", **{"0018|0050": said})
        assert np.linalg.norm(read_dicom_series(tmp_path / f"stack {said}").affine[:3, 2]) == pytest.approx(SPACING[2])


def test_an_empty_folder_and_a_wrong_modality_are_refused(tmp_path):
    assert refusal(tmp_path).reason is Reason.MISSING_FILE
    write_series(tmp_path)
    with pytest.raises(GenaugError) as caught:
        read_volume(tmp_path, "MR")
    assert caught.value.reason is Reason.WRONG_MODALITY


def test_a_tree_becomes_a_cohort(tmp_path):
    for patient in ("A 1", "B"):
        write_series(tmp_path / patient / "scan", patient=patient)
        write_series(tmp_path / patient / "t1", patient=patient, series="1.2.3.5", modality="MR")
    cohort = read_cohort(tmp_path)
    assert cohort.channels == {"ct": "CT", "mr": "MR"}
    assert [(case.id, case.patient) for case in cohort.cases] == [("A-1", "A 1"), ("B", "B")]
    cohort.check()
    np.testing.assert_array_equal(cohort["B"].volume("ct").array, HU)
    by_folder = read_cohort(tmp_path, pattern="{id}/{channel}")
    assert by_folder.channels == {"scan": "CT", "t1": "MR"}


def test_patients_are_told_apart_by_what_their_ids_are_not_by_the_names_made_of_them(tmp_path):
    patients = ["P 1", "P-1", "Müller", "Muller", "患者", "病人", "p 1"]
    for number, patient in enumerate(patients):
        write_series(tmp_path / f"{number}" / "ct", patient=patient, **{"0008|0005": "ISO_IR 192"})
        tags = {"series": "1.2.3.5", "modality": "MR", "0008|0005": "ISO_IR 192"}
        write_series(tmp_path / f"{number}" / "mr", patient=patient, **tags)
    cohort = read_cohort(tmp_path)
    assert [case.patient for case in cohort.cases] == patients
    assert len({case.id.lower() for case in cohort.cases}) == len(patients)
    assert all(case.id.isascii() and list(case.images) == ["ct", "mr"] for case in cohort.cases)
    cohort.write(tmp_path)
    assert read_cohort(tmp_path).patients == patients


@pytest.mark.parametrize(
    "characters, codec, patient", [("ISO_IR 100", "latin-1", "Müller"), ("ISO_IR 144", "iso8859-5", "Пётр"),
                                   ("ISO 2022 IR 6\\ISO 2022 IR 87", "iso2022_jp", "山田"), (None, "latin-1", "Müller"),
                                   ("GB18030", "gb18030", "病人")]
)  # fmt: skip
def test_a_patient_id_is_in_the_character_set_that_the_header_names(tmp_path, characters, codec, patient):
    encoded = patient.encode(codec)
    encoded += b" " * (len(encoded) % 2)
    write_series(tmp_path, patient="x" * len(encoded))
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes().replace(b"x" * len(encoded), encoded))
    if characters:
        add_element(tmp_path, 0x0005, characters)
    (case,) = read_cohort(tmp_path).cases
    assert case.patient == patient


def test_one_case_has_one_patient(tmp_path):
    write_series(tmp_path / "x/ct", patient="A")
    write_series(tmp_path / "x/mr", patient="B", series="1.2.3.5", modality="MR")
    with pytest.raises(GenaugError) as caught:
        read_cohort(tmp_path, pattern="{id}/{channel}")
    assert caught.value.reason is Reason.BAD_PARAMETER and "'A' and 'B'" in caught.value.found
    assert read_cohort(tmp_path, pattern="{patient}/{channel}").patients == ["x"]


def test_what_lies_before_the_slices_hides_no_patient(tmp_path):
    for patient in ("A", "B"):
        write_series(tmp_path / patient, patient=patient)
    for path in list((tmp_path / "A").iterdir()):
        (path.parent / f"._{path.name}").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        ")
    for number in range(6):
        (tmp_path / "B" / f"!{number}.txt").write_text("notes")
        (tmp_path / "B" / f"!{number}").mkdir()
    (tmp_path / ".Trashes").mkdir()
    write_series(tmp_path / ".Trashes/C", patient="C")
    cohort = read_cohort(tmp_path)
    assert cohort.patients == ["A", "B"] and not cohort.notes
    np.testing.assert_array_equal(cohort["A"].volume("ct").array, HU)


def test_files_that_are_dicom_by_their_names_only_are_told(tmp_path):
    write_series(tmp_path / "A", patient="A")
    write_series(tmp_path / "B", patient="B", series="1.2.3.5")
    for path in (tmp_path / "B").iterdir():
        path.write_bytes(path.read_bytes()[132:])
    cohort = read_cohort(tmp_path)
    assert cohort.patients == ["A"]
    assert cohort.notes == ["B: 6 files that do not begin as DICOM does were left out"]
    with pytest.raises(GenaugError) as caught:
        read_cohort(tmp_path / "B", layout="dicom")
    assert "6 files" in caught.value.found
    last = sorted((tmp_path / "A").iterdir())[-1]
    last.write_bytes(b"")
    error = refusal(tmp_path / "A")
    assert error.reason is Reason.UNREADABLE_FILE and error.subject == str(last)


@pytest.mark.parametrize("said, origin", [("YES", "synthetic"), ("NO", "real"), (None, "real")])
def test_a_series_says_itself_that_it_shows_no_patient(tmp_path, said, origin):
    write_series(tmp_path / "made")
    if said:
        add_element(tmp_path / "made", 0x001C, said)
    write_series(tmp_path / "scan", patient="Q", series="1.2.3.5")
    cohort = read_cohort(tmp_path)
    assert [case.origin for case in cohort.cases] == [origin, "real"]
    assert len(cohort.notes) == (origin == "synthetic") and all("no record" in note for note in cohort.notes)
    (tmp_path / "cases.csv").write_text("id,ct\nx,made\n")
    assert read_cohort(tmp_path / "cases.csv")["x"].origin == origin


def test_two_series_of_one_kind_are_not_guessed_between(tmp_path):
    write_series(tmp_path / "first")
    write_series(tmp_path / "second", series="1.2.3.6")
    with pytest.raises(GenaugError) as caught:
        read_cohort(tmp_path)
    assert caught.value.reason is Reason.BAD_PARAMETER
    assert "first" in caught.value.found and "second" in caught.value.found


def test_real_series_and_structure_sets():
    root = DATA / "sarcoma_dicom"
    if not root.is_dir():
        pytest.skip(f"needs sarcoma_dicom in {DATA}")
    cohort = read_cohort(root)
    assert cohort.channels == {"ct": "CT", "mr": "MR"}
    assert sum("mask" in note for note in cohort.notes) == 4
    ct = cohort.cases[0].volume("ct")
    assert ct.array.min() == -1000 and ct.array.max() > 1000
    assert ct.spacing[2] == pytest.approx(3.27, abs=1e-3)


@pytest.mark.parametrize("header", ["", "ANON"])
def test_the_folders_say_who_it_is_where_the_header_does_not(tmp_path, header):
    for number, place in enumerate(("P1/a", "P1/b", "P2/a")):
        write_series(tmp_path / place, series=f"1.2.3.{number}", patient=header)
    cohort = read_cohort(tmp_path, pattern="{patient}/{id}")
    assert {case.id: case.patient for case in cohort.cases} == {"P1-a": "P1", "P1-b": "P1", "P2-a": "P2"}


def test_the_directory_of_a_medium_is_no_image(tmp_path):
    write_series(tmp_path / "IMAGES")
    meta = b"\x02\x00\x02\x00UI" + (20).to_bytes(2, "little") + b"1.2.840.10008.1.3.10"
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + meta)
    assert len(read_cohort(tmp_path).cases) == 1
