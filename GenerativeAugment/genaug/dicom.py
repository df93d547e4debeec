"""Reading a DICOM image series: sorted by position, every slice accounted for."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from genaug.errors import GenaugError, Reason
from genaug.storage import require_finite
from genaug.volume import AnyArray, Volume

_MODALITY, _SERIES, _DESCRIPTION, _PATIENT = "0008|0060", "0020|000e", "0008|103e", "0010|0020"
_POSITION, _THICKNESS, _CHARACTERS = "0020|0032", "0018|0050", "0008|0005"

# SOP classes that are no images of the patient: structured reports, presentation states, registrations,
# segmentations, RT structures and plans (PS3.4 B.5), and the directory of a medium (PS3.4 I.4).
_NOT_IMAGES = (
    *(f"1.2.840.10008.5.1.4.1.1.{kind}." for kind in ("88", "11", "66", "481", "104", "9")),
    "1.2.840.10008.1.3.10",
)

# Synthetic Data (0008,001C) with and without its type, which ITK does not know in the latter case.
_SYNTHETIC = re.compile(rb"\x08\x00\x1c\x00(CS\x04\x00|\x04\x00\x00\x00)YES |\x00\x08\x00\x1cCS\x00\x04YES ")

_SUFFIXES = (".dcm", ".dicom", ".ima")

# Codecs of the character sets a header may declare (PS3.3 C.12.1.1.2), by the last word of the defined term.
_CODECS = {
    "100": "latin-1",
    "101": "iso8859-2",
    "109": "iso8859-3",
    "110": "iso8859-4",
    "144": "iso8859-5",
    "127": "iso8859-6",
    "126": "iso8859-7",
    "138": "iso8859-8",
    "148": "iso8859-9",
    "203": "iso8859-15",
    "13": "shift_jis",
    "166": "tis-620",
    "87": "iso2022_jp",
    "159": "iso2022_jp_2",
    "149": "euc_kr",
    "58": "gb2312",
    "GB18030": "gb18030",
    "GBK": "gbk",
}

_SPACING_TOLERANCE = 0.01
_SHEAR_TOLERANCE_MM = 0.1


@dataclass(frozen=True)
class Slice:
    """One file of a series; `axes`, `position` and `spacing`, within the plane, are LPS and mm as ITK reads them."""

    path: Path
    series: str
    modality: str
    description: str
    patient: str
    size: tuple[int, ...]
    axes: npt.NDArray[np.float64]
    position: npt.NDArray[np.float64]
    spacing: tuple[float, ...]
    thickness: str
    placed: bool


def itk() -> Any:
    """SimpleITK, imported when it is needed; its warnings stay off the terminal, since what they say is checked."""
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK


def lps_affine(columns: npt.NDArray[np.float64], origin: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """RAS affine from the voxel vectors (columns, mm) and the origin in LPS."""
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = columns, origin
    # + 0.0 turns -0 into 0.
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine + 0.0)


def is_dicom(path: Path) -> bool:
    """Whether the file carries DICOM's magic."""
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def is_lost_dicom(path: Path) -> bool:
    """Whether a file that `is_dicom` denies would be one: by its name, or as a link that leads nowhere."""
    return path.suffix.lower() in _SUFFIXES or not path.exists()


def scan_folder(folder: Path) -> tuple[dict[str, list[Slice]], list[Path]]:
    """The image series directly in `folder`, by series UID, and the DICOM files that are no images (RTSTRUCT, ...).

    Hidden files are left out.

    Raises:
        GenaugError: MISSING_FILE, or UNREADABLE_FILE for an image file that ITK cannot read or that has lost its head.
    """
    if not folder.is_dir():
        raise GenaugError(Reason.MISSING_FILE, folder, "no such folder", "a folder of DICOM files", "Check the path.")
    series: dict[str, list[Slice]] = {}
    others = []
    for path in visible_files(folder):
        if not is_dicom(path):
            # The first or the last slice of a stack would be missed by nobody.
            if is_lost_dicom(path):
                raise _unreadable(path, "a file that does not begin as DICOM does")
            continue
        if _sop_class(path).startswith(_NOT_IMAGES):
            others.append(path)
            continue
        item = _read_slice(path)
        series.setdefault(item.series, []).append(item)
    return series, others


def is_marked_series(folder: Path) -> bool:
    """Whether a DICOM file directly in `folder` says that it shows no patient (Synthetic Data, 0008,001C)."""
    return any(_SYNTHETIC.search(_head(path)) for path in visible_files(folder) if is_dicom(path))


def read_dicom_series(folder: Path) -> Volume:
    """Read the one image series in `folder`. CT comes in HU, since ITK applies slope and intercept of every slice.

    Slices are ordered by position along the slice normal, so the volume is right-handed whatever the file names say.

    Raises:
        GenaugError: MISSING_FILE without a series; UNREADABLE_FILE for several series (named), a damaged slice, colour
            or multi-frame files; GEOMETRY_MISMATCH for missing or doubled slices, uneven spacing or a tilted gantry,
            with the numbers.
    """
    folder = Path(folder)
    series, _ = scan_folder(folder)
    if not series:
        raise GenaugError(
            Reason.MISSING_FILE,
            folder,
            "no DICOM image",
            "one image series",
            "Choose the folder that holds the series.",
        )
    if len(series) > 1:
        names = ", ".join(
            f"'{items[0].description}' ({items[0].modality}, {len(items)} files)" for items in series.values()
        )
        raise GenaugError(
            Reason.UNREADABLE_FILE,
            folder,
            f"{len(series)} series: {names}",
            "one series in a folder",
            "Export each series into a folder of its own.",
        )
    (slices,) = series.values()
    slices, step = _sorted_slices(folder, slices)
    array = _read_voxels(slices)
    require_finite(array, folder)
    columns = np.column_stack([slices[0].axes[:, :2] * slices[0].spacing, step])
    return Volume(array, lps_affine(columns, slices[0].position), slices[0].modality, source=folder)


def visible_files(folder: Path) -> list[Path]:
    """The files that a series is read from: not what a file browser hides beside them when it shows the folder."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and not path.is_dir())


def _read_slice(path: Path) -> Slice:
    reader = itk().ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, "a DICOM image whose header cannot be read") from error
    size = tuple(int(n) for n in reader.GetSize())
    if len(size) != 3 or size[2] != 1 or reader.GetNumberOfComponents() != 1:
        raise GenaugError(
            Reason.UNREADABLE_FILE,
            path,
            f"a colour or multi-frame DICOM file (size {size}, {reader.GetNumberOfComponents()} components)",
            "one grey slice a file",
            "Load it in Slicer and save it as NRRD.",
        )

    def raw(key: str) -> str:
        return str(reader.GetMetaData(key)).strip(" \0") if reader.HasMetaDataKey(key) else ""

    def tag(key: str) -> str:
        return _decoded(raw(key), raw(_CHARACTERS))

    return Slice(
        path,
        tag(_SERIES),
        tag(_MODALITY),
        tag(_DESCRIPTION),
        tag(_PATIENT),
        size,
        np.array(reader.GetDirection()).reshape(3, 3),
        np.array(reader.GetOrigin()),
        tuple(float(x) for x in reader.GetSpacing()[:2]),
        tag(_THICKNESS),
        reader.HasMetaDataKey(_POSITION),
    )


def _thickness(plane: Slice) -> float:
    """In mm, of a plane without neighbours; one that says nothing of it is taken for one of 1 mm."""
    if not plane.thickness:
        return 1.0
    try:
        thickness = float(plane.thickness)
    except ValueError:
        thickness = math.nan
    if not 0 < thickness < math.inf:
        raise GenaugError(
            Reason.UNREADABLE_FILE,
            plane.path,
            f"a slice thickness of '{plane.thickness}'",
            "a number of mm above 0 (0018,0050)",
            "Export the series again, or load it in Slicer and save it as NRRD.",
        )
    return thickness


def _decoded(text: str, characters: str) -> str:
    """A header's text in the character set that it declares; ITK gives it as if it were UTF-8."""
    content = text.encode("utf-8", "surrogateescape")
    # Of several sets the further ones are switched to within the text; none and 192 are UTF-8, which has ASCII in it.
    named = [term.split()[-1].split("_")[-1] for term in characters.split("\\") if term.strip()]
    for codec in (*(_CODECS[name] for name in named if name in _CODECS), "utf-8"):
        try:
            return content.decode(codec).strip()
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1").strip()


def _sorted_slices(folder: Path, slices: list[Slice]) -> tuple[list[Slice], npt.NDArray[np.float64]]:
    """The slices along their normal, and the LPS step in mm from one to the next."""
    first = slices[0]
    for item in slices:
        if not item.placed:
            raise _mismatch(item.path, "no image position", "a position in every slice (0020,0032)")
        if item.size != first.size or not np.allclose(item.spacing, first.spacing, rtol=1e-4):
            raise _mismatch(item.path, f"size {item.size[:2]}, spacing {item.spacing}", f"those of {first.path.name}")
        if not np.allclose(item.axes, first.axes, atol=1e-4):
            raise _mismatch(
                item.path, "another orientation", f"that of {first.path.name}: one stack of parallel slices"
            )
    normal = np.cross(first.axes[:, 0], first.axes[:, 1])
    slices = sorted(slices, key=lambda item: float(item.position @ normal))
    if len(slices) == 1:
        return slices, normal * _thickness(first)
    positions = np.array([item.position for item in slices])
    heights = positions @ normal
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    if gaps.min() < 1e-3:
        at = int(gaps.argmin())
        raise _mismatch(
            folder,
            f"{slices[at].path.name} and {slices[at + 1].path.name} both at {heights[at]:.3f} mm",
            "one slice at each position; several time points or echoes must be exported as series of their own",
        )
    uneven = np.abs(gaps - usual) > max(_SPACING_TOLERANCE * usual, 0.01)
    if uneven.any():
        at = int(np.argmax(uneven))
        missing = round(float(gaps[at]) / usual) - 1
        likely = f", as if {missing} slices were missing" if missing > 0 else ""
        raise _mismatch(
            folder,
            f"{gaps[at]:.3f} mm between {slices[at].path.name} and {slices[at + 1].path.name} ({heights[at]:.3f} to "
            f"{heights[at + 1]:.3f} mm){likely}",
            f"{usual:.3f} mm between any two of the {len(slices)} slices",
        )
    drift = np.linalg.norm(positions - positions[0] - np.outer(heights - heights[0], normal), axis=1).max()
    if drift > _SHEAR_TOLERANCE_MM:
        raise _mismatch(
            folder, f"slices shifted sideways by up to {drift:.2f} mm (tilted gantry)", "a stack along its normal"
        )
    return slices, normal * (heights[-1] - heights[0]) / (len(slices) - 1)


def _read_voxels(slices: list[Slice]) -> AnyArray:
    """(I, J, K), every slice rescaled by its own slope, in 16 bits or single precision where nothing is lost by it."""
    planes = []
    for item in slices:
        try:
            planes.append(itk().GetArrayFromImage(itk().ReadImage(str(item.path)))[0])
        except RuntimeError as error:
            raise _unreadable(item.path, "a slice whose pixels cannot be read") from error
    array = np.stack(planes)
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    elif array.dtype == np.int32 and array.min() >= -(2**15) and array.max() < 2**15:
        array = array.astype(np.int16)
    return array.T


def _head(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(4096)


def _sop_class(path: Path) -> str:
    """Media Storage SOP Class UID (0002,0002) from the file meta group, which is always explicit little endian."""
    head = _head(path)
    at = head.find(b"\x02\x00\x02\x00UI")
    if at < 0:
        return ""
    length = int.from_bytes(head[at + 6 : at + 8], "little")
    return head[at + 8 : at + 8 + length].rstrip(b"\0 ").decode("ascii", "replace")


def _unreadable(path: Path, found: str) -> GenaugError:
    return GenaugError(
        Reason.UNREADABLE_FILE, path, found, "a complete DICOM file", "Export the series from the archive again."
    )


def _mismatch(subject: Path, found: str, expected: str) -> GenaugError:
    return GenaugError(
        Reason.GEOMETRY_MISMATCH,
        subject,
        found,
        expected,
        "Complete the series from the archive, or load it in Slicer (which can resample it) and save it as NRRD.",
    )
