"""Sample data: what comes with the extension is whole, registers, and loads into the scene."""

import json
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "GenerativeAugment" / "Resources" / "SampleData"


def test_every_file_is_listed_with_its_hash_and_all_is_small(slicerHost):
    from GenerativeAugmentLib.files import sha256File
    from GenerativeAugmentLib.sampleData import MANIFEST, sampleSources

    sources = sampleSources()
    listed = {MANIFEST, "README.md"}
    for source in sources:
        listed |= {*source.files, source.thumbnail}
        assert len(source.files) == len(source.types) == len(source.checksums)
        for name, checksum in zip(source.files, source.checksums):
            assert f"SHA256:{sha256File(FOLDER / name)}" == checksum, f"{name}: run python -m demo.sample_data"
    assert {file.name for file in FOLDER.iterdir()} == listed
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 2_000_000


def test_every_panel_that_takes_data_has_a_sample(slicerHost):
    from GenerativeAugmentLib.sampleData import sampleSources

    panels = {panel for source in sampleSources() for panel in source.panels}
    assert panels == {"data", "train", "synthesize", "translate", "lesions", "review", "export", "models"}


def test_thumbnails_have_the_size_slicer_shows(slicerHost):
    import qt
    from GenerativeAugmentLib.sampleData import sampleSources

    for source in sampleSources():
        picture = qt.QImage(str(FOLDER / source.thumbnail))
        assert 240 <= picture.width() <= 290 and 240 <= picture.height() <= 290


def test_the_head_loads_as_volumes_and_a_segmentation(scene):
    import SampleData
    import slicer
    from GenerativeAugmentLib import sampleData
    from GenerativeAugmentLib.exchange import describeDifference, volumeGeometry

    sampleData.registerSampleData()
    sampleData.registerSampleData()
    registered = slicer.modules.sampleDataSources[sampleData.CATEGORY]
    assert [source.sampleName for source in registered] == [source.sampleName for source in sampleData.sampleSources()]

    t1, t2, tissue = SampleData.SampleDataLogic().downloadSamples(sampleData.HEAD)
    assert t1.IsA("vtkMRMLScalarVolumeNode") and not t1.IsA("vtkMRMLLabelMapVolumeNode")
    assert [t1.GetName(), t2.GetName()] == ["SampleHeadT1", "SampleHeadT2"]
    assert not describeDifference(volumeGeometry(t1), volumeGeometry(t2))
    assert tissue.IsA("vtkMRMLSegmentationNode")
    names = [tissue.GetSegmentation().GetNthSegment(index).GetName() for index in range(3)]
    assert names == ["cerebrospinal fluid", "grey matter", "white matter"]
    # White matter is bright in T1 and dark in T2, and the segmentation lies where the images say.
    means = [
        [
            float(slicer.util.arrayFromVolume(volume)[mask > 0].mean())
            for mask in (
                slicer.util.arrayFromSegmentBinaryLabelmap(tissue, f"Segment_{value}", t1) for value in (1, 2, 3)
            )
        ]
        for volume in (t1, t2)
    ]
    assert means[0][0] < means[0][1] < means[0][2] and means[1][0] > means[1][1] > means[1][2]


@pytest.mark.parametrize(("name", "count"), [("COHORT", 6), ("REVIEW", 4)])
def test_the_cohorts_are_what_the_worker_takes(scene, name, count):
    from genaug.readers import read_cohort
    from GenerativeAugmentLib import sampleData
    from GenerativeAugmentLib.cohortFiles import cohortCases, readCohort

    folder = sampleData.sampleFolder(getattr(sampleData, name))
    cases = cohortCases(readCohort(folder))
    assert len(cases) == count and all(case.label.is_file() and case.record.is_file() for case in cases)
    cohort = read_cohort(folder)
    cohort.check()
    assert set(cohort.channels) == {"T1", "T2"} and sorted(cohort.label_names) == [1, 2, 3]
    assert np.unique([case.label_map().array.max() for case in cohort.cases]).tolist() == [3]


def test_a_damaged_manifest_is_named(slicerHost, tmp_path):
    from GenerativeAugmentLib.errors import JobError
    from GenerativeAugmentLib.sampleData import MANIFEST, sampleSources

    (tmp_path / MANIFEST).write_text(json.dumps({"sources": [{"sampleName": "x"}]}))
    with pytest.raises(JobError) as caught:
        sampleSources(tmp_path)
    assert str(tmp_path) in caught.value.message
