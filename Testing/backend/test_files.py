import errno
import stat

import pytest
from genaug import files
from genaug.errors import GenaugError, Reason
from genaug.files import write_json, write_text, writing, writing_folder
from limits import limited_file_size


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), writing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_failed_folder_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), writing_folder(tmp_path / "case") as temporary:
        (temporary / "half.nii").write_bytes(b"x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_content_is_never_overwritten_unless_asked(tmp_path):
    with writing_folder(tmp_path / "case") as temporary:
        (temporary / "a").write_text("1")
    with pytest.raises(GenaugError, match="not empty"), writing_folder(tmp_path / "case"):
        pass
    with writing_folder(tmp_path / "case", replace=True) as temporary:
        (temporary / "b").write_text("2")
    assert [p.name for p in (tmp_path / "case").iterdir()] == ["b"]
    assert [p.name for p in tmp_path.iterdir()] == ["case"]


@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.ENOSPC, Reason.DISK_FULL), (errno.EACCES, Reason.NO_PERMISSION), (errno.EROFS, Reason.NO_PERMISSION)],
)
def test_system_errors_become_instructions_and_leave_nothing(tmp_path, number, reason):
    path = tmp_path / "a.txt"
    with pytest.raises(GenaugError) as caught, writing(path) as temporary:
        temporary.write_text("half")
        raise OSError(number, "no")
    assert caught.value.reason is reason
    assert caught.value.subject == str(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", ["file", "folder"])
def test_folders_made_for_a_failed_write_go_with_it_and_others_stay(tmp_path, write):
    (tmp_path / "there").mkdir()
    place = tmp_path / "there" / "new" / "deeper" / "a"
    with pytest.raises(RuntimeError), writing(place) if write == "file" else writing_folder(place):
        raise RuntimeError
    assert [p.name for p in tmp_path.rglob("*")] == ["there"]
    with pytest.raises(RuntimeError), writing(place):
        (tmp_path / "there" / "new" / "other").touch()
        raise RuntimeError
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["new", "other", "there"]


def test_a_full_disk_is_told_with_the_name_the_file_was_to_get(tmp_path):
    """Also from a folder in a folder, both still under temporary names."""
    with (
        pytest.raises(GenaugError) as caught,
        writing_folder(tmp_path / "cohort") as cohort,
        writing_folder(cohort / "case") as case,
        limited_file_size(10),
    ):
        files.write_bytes(case / "deep" / "voxels", bytes(1000))
    assert caught.value.reason is Reason.DISK_FULL
    assert caught.value.subject == str(tmp_path / "cohort" / "case" / "deep" / "voxels")
    assert list(tmp_path.iterdir()) == []


def test_new_files_and_folders_are_as_readable_as_any_other(tmp_path):
    """A temporary file is private by default; what it becomes must follow the user's umask."""
    plain = tmp_path / "plain"
    plain.touch()
    write_text(tmp_path / "made", "x")
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    (tmp_path / "folder").mkdir()
    with writing_folder(tmp_path / "case"):
        pass
    assert stat.S_IMODE((tmp_path / "case").stat().st_mode) == stat.S_IMODE((tmp_path / "folder").stat().st_mode)


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_files_are_hashed_whole(tmp_path):
    import hashlib

    data = bytes(range(256)) * 10_000
    (tmp_path / "a").write_bytes(data)
    assert files.sha256_file(tmp_path / "a") == hashlib.sha256(data).hexdigest()
