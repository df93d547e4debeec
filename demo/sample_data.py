"""Write the module's sample data: GenerativeAugment/Resources/SampleData, small enough to come with the extension.

    python -m demo.sample_data    write the files, their thumbnails and sampleData.json anew

Everything is made from the ICBM152 template: a head in two contrasts with its tissues, a cohort to train on, and a few
cases to review. The same version of genaug writes the same voxels.
"""

from __future__ import annotations

import json
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import SimpleITK
from genaug.cohort import Cohort
from genaug.files import sha256_file, write_json
from genaug.imageio import read_volume, write_volume
from genaug.split import split_by_patient
from genaug.templates.acquisition import AcquisitionRanges
from genaug.templates.brain import Template, brain_template
from genaug.templates.cohort import SubjectRanges, draw_subject, make_subject, template_cohort
from genaug.templates.deformation import AffineRanges
from genaug.volume import AnyArray

matplotlib.use("Agg")

FOLDER = Path(__file__).resolve().parents[1] / "GenerativeAugment" / "Resources" / "SampleData"
MANIFEST = "sampleData.json"

HEAD_SPACING_MM = 2.0
COHORT_SPACING_MM = 4.0
MARGIN_MM = 12.0

TRAINING_COUNT, TRAINING_SEED = 6, 11
REVIEW_COUNT, REVIEW_SEED = 4, 23
SPLIT = {"train": 4 / 6, "validation": 1 / 6, "test": 1 / 6}

# Slicer shows thumbnails of about this size in its sample data module.
THUMBNAIL_PIXELS = (280, 264)

_COLORS = {1: (85, 188, 255), 2: (200, 200, 235), 3: (250, 250, 210)}
_EPOCH = (2026, 1, 1, 0, 0, 0)


def write_sample_data(folder: Path) -> Path:
    """Write every file of the sample data into a folder; the path of its manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    head = _write_head(folder)
    training = _write_cohort(folder / "SampleCohort.zip", TRAINING_COUNT, TRAINING_SEED, SPLIT)
    review = _write_cohort(folder / "SampleReview.zip", REVIEW_COUNT, REVIEW_SEED)
    _write_thumbnail(folder / "SampleHead.png", [(head["T1"], None), (head["T2"], head["label"])])
    _write_thumbnail(folder / "SampleCohort.png", [(case["T1"], None) for case in training[:4]])
    _write_thumbnail(folder / "SampleReview.png", [(case["T1"], case["label"]) for case in review[:1]])
    sources: list[dict[str, Any]] = [
        {
            "sampleName": "GenerativeAugmentHead",
            "files": ["SampleHeadT1.nrrd", "SampleHeadT2.nrrd", "SampleHeadTissue.seg.nrrd"],
            "nodeNames": ["SampleHeadT1", "SampleHeadT2", "SampleHeadTissue"],
            "types": ["VolumeFile", "VolumeFile", "SegmentationFile"],
            "thumbnail": "SampleHead.png",
            "panels": ["data", "synthesize", "translate", "lesions", "models"],
        },
        {
            "sampleName": "GenerativeAugmentCohort",
            "files": ["SampleCohort.zip"],
            "nodeNames": None,
            "types": ["ZipFile"],
            "thumbnail": "SampleCohort.png",
            "panels": ["data", "train", "export", "review"],
        },
        {
            "sampleName": "GenerativeAugmentReview",
            "files": ["SampleReview.zip"],
            "nodeNames": None,
            "types": ["ZipFile"],
            "thumbnail": "SampleReview.png",
            "panels": ["review", "export"],
        },
    ]
    for source in sources:
        source["checksums"] = [f"SHA256:{sha256_file(folder / name)}" for name in source["files"]]
    write_json(folder / MANIFEST, {"sources": sources})
    return folder / MANIFEST


def _write_head(folder: Path) -> dict[str, AnyArray]:
    """The template as it is, in its own contrast and in a rendered one, and its tissues as a segmentation."""
    template = brain_template(HEAD_SPACING_MM, MARGIN_MM)
    still = SubjectRanges(
        amplitude_mm=0,
        affine=AffineRanges(rotation_deg=0, scaling=0, shear=0, translation_mm=0),
        acquisition=AcquisitionRanges(gamma=0, blur_mm=0, bias=0, noise=(0, 0)),
    )
    images, label = make_subject(template, draw_subject(np.random.default_rng(7), template, ("T1", "T2"), still))
    for name, image in images.items():
        write_volume(folder / f"SampleHead{name}.nrrd", image)
    with tempfile.TemporaryDirectory() as temporary:
        plain = Path(temporary) / "label.nrrd"
        write_volume(plain, label)
        _write_segmentation(plain, folder / "SampleHeadTissue.seg.nrrd", template)
    return {**{name: image.array for name, image in images.items()}, "label": label.array}


def _write_segmentation(label: Path, path: Path, template: Template) -> None:
    """A label map as the file of a segmentation: the names and colors are keys of its header."""
    image = SimpleITK.ReadImage(str(label))
    extent = " ".join(f"0 {size - 1}" for size in image.GetSize())
    keys = {
        "Segmentation_MasterRepresentation": "Binary labelmap",
        "Segmentation_ContainedRepresentationNames": "Binary labelmap|",
        "Segmentation_ReferenceImageExtentOffset": "0 0 0",
    }
    for index, (value, color) in enumerate(_COLORS.items()):
        keys |= {
            f"Segment{index}_ID": f"Segment_{value}",
            f"Segment{index}_Name": template.label_names[value],
            f"Segment{index}_NameAutoGenerated": "0",
            f"Segment{index}_Color": " ".join(f"{part / 255:.6g}" for part in color),
            f"Segment{index}_ColorAutoGenerated": "0",
            f"Segment{index}_LabelValue": str(value),
            f"Segment{index}_Layer": "0",
            f"Segment{index}_Extent": extent,
            f"Segment{index}_Tags": "|",
        }
    for key in image.GetMetaDataKeys():
        image.EraseMetaData(key)
    for key, text in keys.items():
        image.SetMetaData(key, text)
    SimpleITK.WriteImage(image, str(path), useCompression=True)


def _write_cohort(
    path: Path, count: int, seed: int, fractions: Mapping[str, float] | None = None
) -> list[dict[str, AnyArray]]:
    """A zip of a template cohort, split by patient where fractions are given; the voxels of its cases by file."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "cohort"
        template_cohort(brain_template(COHORT_SPACING_MM, MARGIN_MM), folder, count, seed)
        if fractions:
            split_by_patient(Cohort.read(folder), fractions, seed).write(folder)
        with zipfile.ZipFile(path, "w") as archive:
            for file in sorted(item for item in folder.rglob("*") if item.is_file()):
                # A fixed time, so that the archive is the same whenever it is written.
                entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, file.read_bytes())
        return [_case(folder, case) for case in json.loads((folder / "cohort.json").read_text("utf-8"))["cases"]]


def _case(folder: Path, case: dict[str, Any]) -> dict[str, AnyArray]:
    files = {**case["images"], "label": case["label"]}
    return {name: read_volume(folder / file).array for name, file in files.items()}


def _write_thumbnail(path: Path, pictures: list[tuple[AnyArray, AnyArray | None]]) -> None:
    """The middle axial slices side by side, with tissues in color where a label map is given."""
    from matplotlib import pyplot

    columns = 2 if len(pictures) > 1 else 1
    rows = -(-len(pictures) // columns)
    width, height = (pixels / 100 for pixels in THUMBNAIL_PIXELS)
    figure, axes = pyplot.subplots(rows, columns, figsize=(width, height), dpi=100, facecolor="black", squeeze=False)
    for axis, (image, label) in zip(axes.ravel(), pictures, strict=True):
        middle = image.shape[2] // 2
        axis.imshow(image[:, :, middle].T, cmap="gray", origin="lower", vmin=0, vmax=np.percentile(image, 99.8))
        if label is not None:
            colors = np.zeros((*label.shape[:2], 4))
            for value, color in _COLORS.items():
                colors[label[:, :, middle] == value] = (*(part / 255 for part in color), 0.25)
            axis.imshow(colors.transpose(1, 0, 2), origin="lower")
        axis.set_axis_off()
    figure.subplots_adjust(0, 0, 1, 1, 0.02, 0.02)
    figure.savefig(path, facecolor="black", metadata={"Software": None})
    pyplot.close(figure)


def main() -> None:
    """Write the sample data into the module."""
    manifest = write_sample_data(FOLDER)
    size = sum(file.stat().st_size for file in FOLDER.iterdir())
    print(f"{manifest}: {size / 1e6:.2f} MB in {FOLDER}")


if __name__ == "__main__":
    main()
