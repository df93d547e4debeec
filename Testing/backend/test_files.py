import errno
import os
import stat
from pathlib import Path
from typing import Literal

import pytest
from genaug import files
from genaug.errors import GenaugError, Reason
from genaug.files import read_json, write_json, write_text, writing, writing_folder
from limits import limited_file_size
from pydantic import BaseModel, Field, field_validator


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


@pytest.mark.parametrize("below", ["", "deep/in/it"])
def test_a_file_where_a_folder_has_to_be_is_told_and_stays(tmp_path, below):
    (tmp_path / "taken").write_text("mine")
    path = tmp_path / "taken" / below
    with pytest.raises(GenaugError, match="a file where a folder has to be") as caught, writing_folder(path):
        pass
    assert (caught.value.reason, caught.value.subject) == (Reason.BAD_PARAMETER, str(path))
    with pytest.raises(GenaugError, match="a file where a folder has to be"):
        write_text(path / "new.txt", "text")
    assert [item.name for item in tmp_path.iterdir()] == ["taken"] and (tmp_path / "taken").read_text() == "mine"


def test_the_longest_name_that_a_file_system_takes_can_be_written(tmp_path):
    for letter in ("a", "ü"):
        name = letter * (251 // len(letter.encode())) + ".txt"
        write_text(tmp_path / name, "text")
        with writing_folder(tmp_path / name[:-4], replace=True) as temporary:
            (temporary / "a").touch()
        with writing_folder(tmp_path / name[:-4], replace=True) as temporary:
            (temporary / "b").touch()
    assert len(list(tmp_path.iterdir())) == 4
    with pytest.raises(GenaugError, match="too long") as caught:
        write_text(tmp_path / ("a" * 300), "text")
    assert caught.value.reason is Reason.BAD_PARAMETER


def refusing(monkeypatch, times):
    """On Windows, where a rename is refused so many times because somebody reads what is to be replaced."""
    left, replace = [times], Path.replace

    def rename(source, target):
        left[0] -= 1
        if left[0] >= 0:
            raise PermissionError(errno.EACCES, "another process is using the file", str(target))
        return replace(source, target)

    monkeypatch.setattr(files, "_REPLACES_OPEN_FILES", False)
    monkeypatch.setattr(Path, "replace", rename)


def test_a_reader_delays_the_replacement_of_a_file_on_windows(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    write_text(path, "old")
    refusing(monkeypatch, 5)
    write_text(path, "new")
    assert path.read_text() == "new"
    monkeypatch.setattr(files, "BUSY_SECONDS", 0.1)
    refusing(monkeypatch, 1000)
    with pytest.raises(GenaugError) as caught:
        write_text(path, "newer")
    assert caught.value.reason is Reason.NO_PERMISSION
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_a_folder_that_cannot_be_exchanged_stays(tmp_path, monkeypatch):
    with writing_folder(tmp_path / "case") as temporary:
        (temporary / "a").touch()
    replace = Path.replace

    def rename(source, target):
        if ".writing-" in source.name:
            raise OSError(errno.EIO, "no")
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", rename)
    with pytest.raises(OSError), writing_folder(tmp_path / "case", replace=True) as temporary:
        (temporary / "b").touch()
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["case", "case/a"]


def test_what_is_still_open_of_a_replaced_folder_is_no_failure(tmp_path, monkeypatch):
    with writing_folder(tmp_path / "case") as temporary:
        (temporary / "a").touch()
    monkeypatch.setattr(os, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError(errno.EACCES, "open")))
    with writing_folder(tmp_path / "case", replace=True) as temporary:
        (temporary / "b").touch()
    assert [p.name for p in (tmp_path / "case").iterdir()] == ["b"]


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


class Named(BaseModel):
    count: int = Field(default=1, ge=1)
    kind: Literal["Sheep", "goat"] = "goat"

    @field_validator("count")
    @classmethod
    def is_not_three(cls, count: int) -> int:
        if count == 3:
            raise ValueError("T1 has 2, Not 3")
        return count


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"count": -2}', "count: input should be greater than or equal to 1 (found -2)"),
        ('{"kind": "Cow"}', "kind: input should be 'Sheep' or 'goat' (found 'Cow')"),
        ('{"count": 3}', "count: T1 has 2, Not 3 (found 3)"),
    ],
)
def test_what_a_file_must_not_hold_is_told_with_its_value_and_its_capitals(tmp_path, text, found):
    path = tmp_path / "named.json"
    path.write_text(text)
    with pytest.raises(GenaugError) as caught:
        read_json(path, Named)
    assert caught.value.found == found
    path.write_text("x" * 1000)
    with pytest.raises(GenaugError) as caught:
        read_json(path, Named)
    assert len(caught.value.found) < 100


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_files_are_hashed_whole(tmp_path):
    import hashlib

    data = bytes(range(256)) * 10_000
    (tmp_path / "a").write_bytes(data)
    assert files.sha256_file(tmp_path / "a") == hashlib.sha256(data).hexdigest()
