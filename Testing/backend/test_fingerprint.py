"""A fingerprint counts and measures what is in the files."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from genaug.cohort import Case, Cohort, write_case
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.fingerprint import Fingerprint, files_state, fingerprint, orientation
from genaug.record import Record
from genaug.volume import Volume

SPACINGS = ((1.0, 1.0, 2.0), (1.0, 2.0, 2.0), (1.0, 1.0, 5.0))


def cohort_of(root: Path, shape=(10, 10, 10), label=True) -> Cohort:
    """Three patients, ramps of intensity, a cube of label 1 that grows and one voxel of label 3 in the last."""
    cases = []
    for number, spacing in enumerate(SPACINGS):
        affine = np.diag([*spacing, 1.0]) @ np.diag([-1.0, 1.0, 1.0, 1.0])
        ramp = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) * (number + 1)
        marks = np.zeros(shape, np.uint8)
        marks[: number + 1, : number + 1, 0] = 1
        if number == 2:
            marks[-1, -1, -1] = 3
        covariates = {"age": 40.0 + number, "sex": "FM"[number % 2]}
        images = {"t1": Volume(ramp, affine)}
        map_ = Volume(marks, affine, "label") if label else None
        cases.append(write_case(root, f"c{number}", f"p{number // 2}", images, map_, covariates=covariates))
    return Cohort(name="x", root=root, channels={"t1": "MR"}, label_names={1: "cube"}, cases=cases)


def test_counts_and_measures(tmp_path):
    print_ = fingerprint(cohort_of(tmp_path).model_copy(update={"split": {"p1": "test"}}))
    assert (print_.cases, print_.patients, print_.real, print_.synthetic, print_.labelled) == (3, 2, 3, 0, 3)
    assert print_.parts == print_.labelled_parts == {"train": 2, "validation": 0, "test": 1}
    assert (print_.dimension, print_.pairing) == (3, "single")
    channel = print_.channels["t1"]
    assert channel.orientations == {"LAS": 3} and channel.voxel_types == {"float32": 3}
    k = channel.spacing_mm[2]
    assert (k.minimum, k.median, k.maximum) == (2.0, 2.0, 5.0)
    assert (channel.extent_mm[2].maximum, channel.size[0].median) == (50.0, 10.0)
    # Percentile 50 of the ramp 0..999 times 1, 2, 3.
    middle = channel.intensity["50"]
    assert (middle.minimum, middle.median, middle.maximum) == pytest.approx((499.5, 999.0, 1498.5))
    assert channel.foreground_intensity["50"].minimum == 0.0
    # 1, 4 and 9 voxels of 2, 4 and 5 mm3.
    cube = print_.labels[1]
    assert (cube.name, cube.cases) == ("cube", 3)
    assert (cube.volume_mm3.minimum, cube.volume_mm3.median, cube.volume_mm3.maximum) == pytest.approx((2, 16, 45))
    assert cube.share.maximum == pytest.approx(0.009)
    # Voxels 0, 0 to 1 and 0 to 2 of ten, the first axis running from right to left.
    assert [cube.place[0].minimum, cube.place[0].maximum] == pytest.approx([0.85, 0.95])
    assert [cube.place[1].minimum, cube.place[1].maximum] == pytest.approx([0.05, 0.15])
    assert [cube.place[2].minimum, cube.place[2].maximum] == pytest.approx([0.05, 0.05])
    assert (print_.labels[3].name, print_.labels[3].cases) == ("label 3", 1)
    assert print_.foreground_share.maximum == pytest.approx(0.010)
    assert print_.covariates["age"].numbers.maximum == 42.0
    assert print_.covariates["sex"].values == {"F": 2, "M": 1}
    assert Fingerprint.model_validate_json(print_.model_dump_json()) == print_


def test_the_hash_follows_the_manifest(tmp_path):
    cohort = cohort_of(tmp_path, label=False)
    assert fingerprint(cohort).manifest_sha256 == fingerprint(cohort).manifest_sha256
    changed = cohort.model_copy(update={"split": {"p0": "test"}})
    assert fingerprint(changed).manifest_sha256 != fingerprint(cohort).manifest_sha256


def test_the_state_of_the_files_changes_with_any_of_them_and_with_nothing_else(tmp_path):
    cohort = cohort_of(tmp_path / "a", label=False)
    state = files_state(cohort)
    assert fingerprint(cohort).files_state == state
    (tmp_path / "a").rename(tmp_path / "b")
    images = [tmp_path / "b" / case.id / "t1.nii.gz" for case in cohort.cases]
    moved = cohort.with_cases(
        [case.model_copy(update={"images": {"t1": image}}) for case, image in zip(cohort.cases, images)]
    )
    assert files_state(moved) == state
    os.utime(images[1], ns=(0, images[1].stat().st_mtime_ns + 1))
    changed = files_state(moved)
    assert changed != state
    images[1].unlink()
    assert files_state(moved) not in (state, changed)


def test_the_state_sees_into_series_and_beside_headers(tmp_path):
    (tmp_path / "series").mkdir()
    for file in ("series/1.dcm", "series/2.dcm", "scan.mhd", "scan.raw"):
        (tmp_path / file).write_bytes(b"x")
    images = {"ct": tmp_path / "series", "mr": tmp_path / "scan.mhd"}
    cohort = Cohort(
        name="x", root=tmp_path, channels={"ct": "CT", "mr": "MR"}, cases=[Case(id="a", patient="a", images=images)]
    )
    for file in ("series/2.dcm", "scan.raw"):
        before = files_state(cohort)
        (tmp_path / file).write_bytes(b"xy")
        assert files_state(cohort) != before


def test_pairing_dimension_and_origin(tmp_path):
    flat = Volume(np.zeros((5, 5, 1), np.float32), np.eye(4))
    deep = Volume(np.zeros((5, 5, 2), np.float32), np.eye(4))
    record = Record(case_id="s", kind="insert", seed=1, parameters={})
    pair = write_case(tmp_path, "s", "s", {"a": flat, "b": flat}, record=record)
    alone = write_case(tmp_path, "alone", "alone", {"a": flat})
    other = write_case(tmp_path, "other", "other", {"b": deep})
    apart = other.model_copy(update={"id": "apart", "images": {**alone.images, **other.images}})
    channels = {"a": "MR", "b": "MR"}
    for cases, pairing, dimension in (([pair], "paired", 2), ([pair, alone], "unpaired", 2), ([apart], "unpaired", 3)):
        print_ = fingerprint(Cohort(name="x", root=tmp_path, channels=channels, cases=cases))
        assert (print_.pairing, print_.dimension) == (pairing, dimension)
        assert print_.synthetic == (pair in cases)


def test_one_case_is_in_memory_at_a_time_and_the_job_can_be_stopped(tmp_path):
    class Stops:
        seen = 0

        def progress(self, done, total, note=""):
            self.seen = done
            if done == 2:
                raise Cancelled

    reporter = Stops()
    with pytest.raises(Cancelled):
        fingerprint(cohort_of(tmp_path), reporter)
    assert reporter.seen == 2


def test_nothing_to_measure_is_refused(tmp_path):
    with pytest.raises(GenaugError) as caught:
        fingerprint(Cohort(name="x", root=tmp_path, channels={}, cases=[]))
    assert caught.value.reason is Reason.EMPTY_COHORT


@pytest.mark.parametrize("code", ["RAS", "LPS", "PSR", "IAL", "SLA"])
def test_orientation_codes(code):
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, letter in enumerate(code):
        row = next(row for row, pair in enumerate(("LR", "PA", "IS")) if letter in pair)
        affine[row, axis] = 2.0 if letter in "RAS" else -3.0
    tilt = np.eye(4)
    tilt[:2, :2] = [[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]]
    assert orientation(affine) == orientation(tilt @ affine) == code


def test_reading_a_manifest_loads_no_heavy_library(tmp_path):
    cohort_of(tmp_path, label=False).write(tmp_path)
    program = (
        "import sys; from pathlib import Path; from genaug.readers import read_cohort;"
        "import genaug.fingerprint, genaug.recommend, genaug.split;"
        f"assert len(read_cohort(Path({str(tmp_path)!r})).cases) == 3;"
        "print([name for name in ('torch', 'monai', 'SimpleITK', 'scipy', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
