"""The review log: appended, never rewritten, and honest about damage."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from genaug.errors import GenaugError, Reason
from genaug.review import REVIEWS, Review, append_review, read_reviews


def review(case_id: str, decision: str, **more: Any) -> Review:
    return Review.model_validate({"case_id": case_id, "reviewer": "r1", "decision": decision, **more})


def test_reviews_are_only_ever_appended(tmp_path: Path) -> None:
    path = tmp_path / REVIEWS
    written = [review(f"c{n}", "accepted", comment="ü\nline") for n in range(3)]
    before = b""
    for one in written:
        append_review(path, one)
        assert path.read_bytes().startswith(before)
        before = path.read_bytes()
    assert read_reviews(path) == written


def test_a_torn_line_is_named_and_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / REVIEWS
    append_review(path, review("a", "accepted"))
    with path.open("ab") as stream:
        stream.write(b'{"case_id": "b", "revi')
    append_review(path, review("c", "accepted"))
    with pytest.raises(GenaugError, match="line 2") as caught:
        read_reviews(path)
    assert caught.value.reason is Reason.UNREADABLE_FILE
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[2]]) + "\n")
    assert [one.case_id for one in read_reviews(path)] == ["a", "c"]


@pytest.mark.parametrize(("number", "reason"), [(errno.ENOSPC, Reason.DISK_FULL), (errno.EACCES, Reason.NO_PERMISSION)])
def test_a_decision_that_could_not_be_stored_is_not_lost_silently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, reason: Reason
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(GenaugError, match="not stored") as caught:
        append_review(tmp_path / REVIEWS, review("a", "accepted"))
    assert caught.value.reason is reason


def test_a_corrected_mask_needs_its_file_and_hash() -> None:
    with pytest.raises(ValueError, match="mask_version"):
        review("a", "accepted", mask_version=1)
