"""Volumes between the scene and the files of a job: raw NRRD, written from and read into the scene's own memory.

Geometry is a pair (shape, ijkToRAS): voxels along I, J, K and the 4 x 4 matrix from voxel index to RAS millimeters. The
files are in left-posterior-superior, as ITK, Slicer and `genaug` write them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from GenerativeAugmentLib.errors import JobError, _

MODALITY_KEY = "genaug_modality"
SYNTHETIC_KEY = "genaug_synthetic"
SYNTHETIC_MARK = "SYNTHETIC image made by genaug, not a patient scan"
"""As the worker writes them into the headers of its files."""

MODALITY_ATTRIBUTE = "GenerativeAugment.modality"
SYNTHETIC_ATTRIBUTE = "GenerativeAugment.synthetic"

LABEL = "label"
"""The modality of a label map."""

TOLERANCE_MM = 1e-3
"""Two grids are the same when no corner of one lies further than this from the other's."""

SHEAR_TOLERANCE = 1e-4
"""Largest cosine between two voxel axes that still counts as a right angle."""

Geometry = tuple[tuple[int, int, int], np.ndarray]

_HEADER_LIMIT = 1 << 20

# First the name that is written, then the others that are read.
_TYPES = {
    "int8": ("int8", "signed char", "int8_t"),
    "uint8": ("uint8", "uchar", "unsigned char", "uint8_t"),
    "int16": ("int16", "short", "short int", "signed short", "signed short int", "int16_t"),
    "uint16": ("uint16", "ushort", "unsigned short", "unsigned short int", "uint16_t"),
    "int32": ("int32", "int", "signed int", "int32_t"),
    "uint32": ("uint32", "uint", "unsigned int", "uint32_t"),
    "int64": ("int64", "longlong", "long long", "long long int", "signed long long", "int64_t"),
    "uint64": ("uint64", "ulonglong", "unsigned long long", "unsigned long long int", "uint64_t"),
    "float32": ("float",),
    "float64": ("double",),
}
_DTYPES = {name: np.dtype(dtype) for dtype, names in _TYPES.items() for name in names}

# Slicer can show every type of VTK, but neither save 64-bit integers nor what VTK calls signed char.
_VTK_TYPES = {
    "int8": vtk.VTK_CHAR,
    "uint8": vtk.VTK_UNSIGNED_CHAR,
    "int16": vtk.VTK_SHORT,
    "uint16": vtk.VTK_UNSIGNED_SHORT,
    "int32": vtk.VTK_INT,
    "uint32": vtk.VTK_UNSIGNED_INT,
    "float32": vtk.VTK_FLOAT,
    "float64": vtk.VTK_DOUBLE,
}
_EXACT_IN_FLOAT64 = 2**53

# Signs that turn each space's axes into RAS.
_SPACES = {
    "left-posterior-superior": (-1, -1, 1),
    "lps": (-1, -1, 1),
    "right-anterior-superior": (1, 1, 1),
    "ras": (1, 1, 1),
    "left-anterior-superior": (-1, 1, 1),
    "las": (-1, 1, 1),
}


@dataclass(frozen=True)
class Header:
    """What a raw NRRD file says before its voxels.

    Attributes:
        shape: voxels along I, J, K.
        ijkToRAS: 4 x 4, voxel index to RAS millimeters.
        dtype: of the voxels.
        modality: "MR", "CT", ... or "label"; "" where the file does not say.
        synthetic: whether the file is marked as synthetic.
        offset: of the voxels, in bytes.
    """

    shape: tuple[int, int, int]
    ijkToRAS: np.ndarray
    dtype: np.dtype
    modality: str
    synthetic: bool
    offset: int


def ijkToRAS(volumeNode: slicer.vtkMRMLVolumeNode) -> np.ndarray:
    """The 4 x 4 matrix from voxel index to RAS millimeters, without transforms above the node."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix)


def volumeGeometry(volumeNode: slicer.vtkMRMLVolumeNode) -> Geometry:
    """Voxels along I, J, K and `ijkToRAS`."""
    image = volumeNode.GetImageData()
    return (tuple(image.GetDimensions()) if image is not None else (0, 0, 0)), ijkToRAS(volumeNode)


def fileGeometry(path: Path) -> Geometry:
    """Voxels along I, J, K and the matrix of a raw NRRD file, without reading its voxels."""
    header = readHeader(path)
    return header.shape, header.ijkToRAS


def sameGeometry(a: Geometry, b: Geometry, tolerance: float = TOLERANCE_MM) -> bool:
    """Whether two grids have the same size and every voxel at the same place, within `tolerance` millimeters."""
    return describeDifference(a, b, tolerance) == ""


def describeDifference(a: Geometry, b: Geometry, tolerance: float = TOLERANCE_MM) -> str:
    """What differs between two grids, in words; "" when they agree.

    Corners are compared, not matrix entries, so that the tolerance is a distance in the patient.
    """
    (shapeA, matrixA), (shapeB, matrixB) = a, b
    if tuple(shapeA) != tuple(shapeB):
        return _("size {a} against {b}").format(a=_cross(shapeA), b=_cross(shapeB))
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shapeA], indexing="ij"), dtype=float).reshape(3, -1)
    corners = np.vstack([corners, np.ones(corners.shape[1])])
    distance = np.linalg.norm(((np.asarray(matrixA) - np.asarray(matrixB)) @ corners)[:3], axis=0).max()
    # Not "greater than": a matrix with NaN in it agrees with nothing.
    if distance <= tolerance:
        return ""
    return _(
        "voxels up to {distance:.3f} mm apart (spacing {a} against {b}, origin {originA} against {originB})"
    ).format(
        distance=distance,
        a=_cross(_spacing(matrixA)),
        b=_cross(_spacing(matrixB)),
        originA=_cross(np.asarray(matrixA)[:3, 3]),
        originB=_cross(np.asarray(matrixB)[:3, 3]),
    )


def requireSameGeometry(
    found: Geometry, expected: Geometry, subject: str | Path, wanted: str = "", remedy: str = ""
) -> None:
    """Raise "geometry_mismatch", naming `subject`, unless the two grids are the same.

    Args:
        found: a grid.
        expected: what it has to be.
        subject: whose grid it is.
        wanted: what was expected, and ...
        remedy: what to do; by default of a result that is not what was promised.
    """
    difference = describeDifference(found, expected)
    if difference:
        raise JobError(
            "geometry_mismatch",
            subject,
            difference,
            wanted or _("the grid that was promised"),
            remedy or _("Nothing was placed in the scene, because it would lie in the wrong place; run the job again."),
        )


def readVolume(path: Path, name: str, nodeClass: str = "vtkMRMLScalarVolumeNode") -> slicer.vtkMRMLScalarVolumeNode:
    """Add the volume of a raw NRRD file to the scene, ready to be shown; nothing is added when it cannot be read.

    The window is set once, from a sample of the voxels: what Slicer's own automatic takes of all of them is most of the
    time that a large volume costs.

    Raises:
        JobError: as `readVolumeInto`.
    """
    header = readHeader(path)
    image = _readImage(Path(path), header)
    node = slicer.mrmlScene.AddNewNodeByClass(nodeClass, name)
    _place(node, image, header)
    if not node.IsA("vtkMRMLLabelMapVolumeNode"):
        createDisplay(node)
    node.CreateDefaultDisplayNodes()
    return node


def readVolumeInto(path: Path, volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Replace voxels and geometry of a volume by those of a raw NRRD file; it stays as it is when that fails.

    64-bit integers become the smallest type that Slicer can save and that holds them exactly.

    Raises:
        JobError: "missing_file"; "unreadable_file" for another encoding, detached data, a wrong dimension or size.
    """
    header = readHeader(path)
    _place(volumeNode, _readImage(Path(path), header), header)


def modalityOf(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> str:
    """What kind of image a volume is, as far as the scene knows: "label", "CT", "MR", ... or "" for unknown."""
    if volumeNode.IsA("vtkMRMLLabelMapVolumeNode"):
        return LABEL
    said = volumeNode.GetAttribute(MODALITY_ATTRIBUTE)
    if said:
        return said
    units = volumeNode.GetVoxelValueUnits()
    if units is not None and units.GetCodeValue() == "[hnsf'U]":
        return "CT"
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volumeNode) if hierarchy is not None else 0
    return hierarchy.GetItemAttribute(item, "DICOM.Modality") if item else ""


def readHeader(path: Path) -> Header:
    """The header of a raw NRRD file, checked against the file's size.

    Raises:
        JobError: "missing_file" or "unreadable_file".
    """
    path = Path(path)
    fields, keys, offset = _readFields(path)
    dtype = _DTYPES.get(fields.get("type", ""))
    if dtype is None:
        raise _unreadable(path, _("voxel type '{type}'").format(type=fields.get("type", "")), ", ".join(_TYPES))
    required = {"encoding": "raw", "dimension": "3", **({"endian": "little"} if dtype.itemsize > 1 else {})}
    for field, value in required.items():
        if fields.get(field, "").lower() != value:
            raise _unreadable(path, f"'{field}: {fields.get(field, '')}'", f"'{field}: {value}'")
    for field in ("data file", "datafile", "byte skip", "byteskip", "line skip", "lineskip"):
        if field in fields:
            raise _unreadable(path, f"'{field}: {fields[field]}'", _("header and voxels in one file, back to back"))
    shape = _shape(path, fields)
    expected = offset + math.prod(shape) * dtype.itemsize
    size = path.stat().st_size
    if size != expected:
        raise _unreadable(path, _("{size} bytes").format(size=size), _("{size} bytes").format(size=expected))
    return Header(shape, _matrix(path, fields), dtype, keys.get(MODALITY_KEY, ""), SYNTHETIC_KEY in keys, offset)


def rawHeader(dtype: np.dtype, geometry: Geometry, modality: str, synthetic: bool) -> bytes:
    """The header of a raw NRRD file."""
    shape, matrix = geometry
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix
    lines = [
        "NRRD0004",
        f"type: {_TYPES[dtype.name][0]}",
        "dimension: 3",
        "space: left-posterior-superior",
        "sizes: {} {} {}".format(*shape),
        "space directions: " + " ".join(_vector(lps[:3, axis]) for axis in range(3)),
        "kinds: domain domain domain",
        "endian: little",
        "encoding: raw",
        f"space origin: {_vector(lps[:3, 3])}",
    ]
    if modality:
        lines.append(f"{MODALITY_KEY}:={modality}")
    if synthetic:
        lines.append(f"{SYNTHETIC_KEY}:={SYNTHETIC_MARK}")
    return ("\n".join(lines) + "\n\n").encode("utf-8")


def _vector(values: np.ndarray) -> str:
    # repr of a float is the shortest text that reads back as the same number; + 0.0 turns -0 into 0.
    return "(" + ",".join(repr(float(value) + 0.0) for value in values) + ")"


def worldMatrix(node: slicer.vtkMRMLTransformableNode, matrix: np.ndarray, inWorld: bool) -> np.ndarray:
    """The matrix into world coordinates; refuses what has no such matrix, or was not asked for."""
    transformNode = node.GetParentTransformNode()
    if transformNode is None:
        return matrix
    if not inWorld or not transformNode.IsTransformToWorldLinear():
        kind = _("a transform") if transformNode.IsTransformToWorldLinear() else _("a nonlinear transform")
        raise JobError(
            "geometry_mismatch",
            nodeName(node),
            _("{kind} above it ({name})").format(kind=kind, name=transformNode.GetName()),
            _("a node without a transform"),
            _("Harden the transform, or take the node out of it, in the Transforms or Data module."),
        )
    toWorld = vtk.vtkMatrix4x4()
    transformNode.GetMatrixTransformToWorld(toWorld)
    return slicer.util.arrayFromVTKMatrix(toWorld) @ matrix


def requireOrthogonal(matrix: np.ndarray, subject: str) -> None:
    """Raise "geometry_mismatch", naming `subject`, for a grid without a size or with sheared axes."""
    spacing = _spacing(matrix)
    if not np.isfinite(matrix).all() or spacing.min() <= 0:
        found = _("spacing {spacing} and origin {origin}").format(
            spacing=_cross(spacing), origin=_cross(np.asarray(matrix)[:3, 3])
        )
        raise JobError(
            "geometry_mismatch",
            subject,
            found,
            _("finite numbers and a positive spacing"),
            _("Correct spacing and origin in the Volumes module."),
        )
    axes = matrix[:3, :3] / spacing
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if cosine > SHEAR_TOLERANCE:
        raise JobError(
            "geometry_mismatch",
            subject,
            _("sheared voxel axes (cosine {cosine:.4f} between two of them)").format(cosine=cosine),
            _("axes at right angles"),
            _("Resample the volume onto an orthogonal grid with Resample Scalar/Vector/DWI Volume."),
        )


def _readImage(path: Path, header: Header) -> vtk.vtkImageData:
    """The voxels of a file in memory of VTK, copied once."""
    if header.dtype.name in _VTK_TYPES:
        image, voxels = _newImage(header.shape, header.dtype)
        with path.open("rb") as stream:
            stream.seek(header.offset)
            read = stream.readinto(voxels.data.cast("B"))
        if read != voxels.nbytes:
            raise _unreadable(path, _("{size} bytes").format(size=read), _("{size} bytes").format(size=voxels.nbytes))
        return image
    mapped = np.memmap(path, header.dtype, "r", header.offset, (math.prod(header.shape),))
    image, voxels = _newImage(header.shape, _narrowed(path, mapped))
    voxels[:] = mapped
    return image


def _newImage(shape: tuple[int, int, int], dtype: np.dtype) -> tuple[vtk.vtkImageData, np.ndarray]:
    image = vtk.vtkImageData()
    image.SetDimensions(shape)
    image.AllocateScalars(_VTK_TYPES[dtype.name], 1)
    return image, numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())


def _narrowed(path: Path, voxels: np.ndarray) -> np.dtype:
    """The type for 64-bit integers that holds them exactly."""
    lowest, highest = int(voxels.min()), int(voxels.max())
    for name in ("int32", "uint32"):
        if np.iinfo(name).min <= lowest and highest <= np.iinfo(name).max:
            return np.dtype(name)
    if max(-lowest, highest) <= _EXACT_IN_FLOAT64:
        return np.dtype("float64")
    raise _unreadable(
        path,
        _("whole numbers from {lowest} to {highest}").format(lowest=lowest, highest=highest),
        _("numbers that Slicer can hold exactly, up to 2 to the power of 53"),
    )


def _place(volumeNode: slicer.vtkMRMLScalarVolumeNode, image: vtk.vtkImageData, header: Header) -> None:
    with slicer.util.NodeModify(volumeNode):
        volumeNode.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(header.ijkToRAS))
        volumeNode.SetAndObserveImageData(image)
        if header.modality and header.modality != LABEL:
            volumeNode.SetAttribute(MODALITY_ATTRIBUTE, header.modality)
        if header.synthetic:
            volumeNode.SetAttribute(SYNTHETIC_ATTRIBUTE, "true")


def createDisplay(volumeNode: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Add a display node in gray, with a window from percentile 0.1 to 99.9 of a sample of the voxels.

    Slicer's own automatic looks at all of them, which takes most of the time that a large volume costs.
    """
    displayNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeDisplayNode")
    displayNode.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    displayNode.AutoWindowLevelOff()
    displayNode.SetWindowLevelMinMax(*_window(slicer.util.arrayFromVolume(volumeNode)))
    volumeNode.SetAndObserveDisplayNodeID(displayNode.GetID())


def _window(voxels: np.ndarray) -> tuple[float, float]:
    """Percentiles 0.1 and 99.9 of about every 64th voxel."""
    sample = voxels[tuple(slice(None, None, 4 if size > 32 else 1) for size in voxels.shape)]
    sample = sample[np.isfinite(sample)]
    low, high = np.percentile(sample, (0.1, 99.9)) if sample.size else (0.0, 1.0)
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(low) + 0.5)


def _readFields(path: Path) -> tuple[dict[str, str], dict[str, str], int]:
    """Fields ("name: value"), keys ("name:=value") and the offset of the voxels."""
    if not path.is_file():
        raise JobError("missing_file", path, _("no such file"), _("a NRRD file"), _("Check the path."))
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    with path.open("rb") as stream:
        if not stream.readline(16).startswith(b"NRRD000"):
            raise _unreadable(path, _("no NRRD magic at its start"), _("a NRRD file"))
        while raw := stream.readline(_HEADER_LIMIT):
            line = raw.decode("utf-8", "replace").strip()
            if not line:
                return fields, keys, stream.tell()
            if line.startswith("#"):
                continue
            name, mark, value = re.split(r"(:=|:)", line, maxsplit=1) if ":" in line else (line, "", "")
            if mark == ":=":
                keys[name] = value
            else:
                fields[name.lower()] = value.strip()
    raise _unreadable(path, _("a header without the empty line that ends it"), _("a complete NRRD header"))


def _shape(path: Path, fields: Mapping[str, str]) -> tuple[int, int, int]:
    try:
        shape = tuple(int(size) for size in fields.get("sizes", "").split())
    except ValueError:
        shape = ()
    if len(shape) != 3 or min(shape) < 1:
        raise _unreadable(path, _("sizes '{sizes}'").format(sizes=fields.get("sizes", "")), _("three positive sizes"))
    return shape


def _matrix(path: Path, fields: Mapping[str, str]) -> np.ndarray:
    signs = _SPACES.get(fields.get("space", "").lower())
    if signs is None:
        found = _("space '{space}'").format(space=fields.get("space", ""))
        raise _unreadable(path, found, "left-posterior-superior")
    text = f"{fields.get('space directions', '')} {fields.get('space origin', '')}"
    try:
        columns = np.array(
            [[float(number) for number in vector.split(",")] for vector in re.findall(r"\(([^)]*)\)", text)]
        )
    except ValueError:
        columns = np.empty(0)
    if columns.shape != (4, 3) or not np.isfinite(columns).all() or abs(np.linalg.det(columns[:3])) < 1e-12:
        raise _unreadable(
            path, _("space directions and origin '{text}'").format(text=text), _("three axes and an origin")
        )
    matrix = np.eye(4)
    matrix[:3] = columns.T * np.asarray(signs)[:, None] + 0.0
    return matrix


def _unreadable(path: Path, found: str, expected: str) -> JobError:
    return JobError(
        "unreadable_file", path, found, expected, _("Write the volume as one uncompressed NRRD file and try again.")
    )


def nodeName(node: slicer.vtkMRMLNode) -> str:
    """What to call a node."""
    return node.GetName() or node.GetClassName()


def _spacing(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.asarray(matrix)[:3, :3], axis=0)


def _cross(values: Sequence[float] | np.ndarray) -> str:
    return " x ".join(f"{float(value):g}" for value in values)
