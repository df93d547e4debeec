"""The demo's report is one safe file, and its summary tells the truth."""

from __future__ import annotations

import re
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from genaug.errors import Cancelled, GenaugError, Reason
from genaug.evaluation.copies import copy_check
from genaug.evaluation.scores import CopyCheck, Evaluation, Score
from genaug.volume import Volume

# The demo is run from the checkout and not installed.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from demo import panel, pictures, report
from demo.summary import StepClock, Summary


def score(name: str = "kid", **changes: object) -> Score:
    values = {"value": 0.02, "interval": (0.01, 0.03), "floor": 0.005, "better": "lower", "n_real": 24}
    return Score.model_validate({"name": name, "n_synthetic": 8, **values, **changes})


EVIL = "<script>alert('x')</script> & \"quoted\""


@pytest.fixture
def clock(tmp_path: Path) -> StepClock:
    clock = StepClock(tmp_path / "demo" / "summary.json", seed=7, echo=lambda line: None)
    with clock.step(f"train {EVIL}"):
        pass
    volume = Volume(np.random.default_rng(0).random((12, 12, 12)), np.eye(4))
    picture = panel.save(
        pictures.triplanar(pictures.Exhibit(volume, "SYNTHETIC"), width=500), clock.path.parent / "pictures" / "a.png"
    )
    for section in ("hero", "samples"):
        clock.add_picture(section, picture, f"title {EVIL}", f"caption {EVIL}", weights=EVIL, dark_file=picture)
    copies = CopyCheck(
        space="image",
        threshold=0.9,
        share=0.125,
        interval=(0.01, 0.5),
        pairs=[],
        n_training=20,
        n_held_out=4,
        n_synthetic=8,
    )
    scores = [score(), score("made_up", note=EVIL, interval=None, floor=None), score("mae", region="white matter")]
    clock.add_evaluation(
        f"LDM {EVIL}", Evaluation(kind="synthesis", seed=1, scores=scores, copies=[copies], notes=[EVIL]), EVIL
    )
    clock.add_package("ldm", "ldm", "starter", "ab" * 32, clock.path.parent / "models" / "ldm")
    clock.add_product("a case with a space", clock.path.parent / "cases" / "case 1.nii.gz")
    clock.add_fact("synthetic volumes", "24")
    clock.add_limit(EVIL)
    return clock


class Page(HTMLParser):
    """Collects what a page would load, where it points and which elements it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "srcset", "data", "poster") or (tag == "link" and name == "href"):
                self.loads.append(value or "")
            elif name == "href":
                self.links.append(value or "")
            elif name.startswith("on"):
                self.handlers.append(name)


def test_report_is_one_file_that_loads_nothing_and_runs_nothing(clock: StepClock) -> None:
    text = report.write_report(clock.path).read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.loads) == 4
    assert all(address.startswith("data:image/png;base64,") for address in page.loads)
    assert not {"script", "iframe", "object", "embed", "link", "base", "form"} & set(page.tags)
    assert not page.handlers
    assert not re.search(r"https?:|@import|url\(", text)
    assert all(link.startswith("#") or ":" not in link for link in page.links)
    targets = set(re.findall(r'\bid="([^"]+)"', text))
    assert {link[1:] for link in page.links if link.startswith("#")} <= targets


def test_report_escapes_what_it_is_given(clock: StepClock) -> None:
    text = report.write_report(clock.path).read_text(encoding="utf-8")
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 9
    assert 'href="cases/case%201.nii.gz"' in text


def test_report_shows_scores_beside_their_floor(clock: StepClock) -> None:
    text = report.write_report(clock.path).read_text(encoding="utf-8")
    assert "Kernel distance (KID)" in text
    for number in ("0.0200", "0.0100 to 0.0300", "0.00500", "24 / 8"):
        assert number in text
    assert "made up" in text, "a score without a name for readers appears under its own"
    assert "12 % (1 to 50 %) of 8 synthetic cases lie nearer to a training case than any of the 4 unseen" in text
    assert "By region: 1 score<" in text


def test_every_direction_a_score_can_be_better_in_is_told() -> None:
    assert set(report.BETTER) == set(get_args(Score.model_fields["better"].annotation))


@pytest.mark.parametrize(("held_out", "words"), [(12, "any of the 12"), (19, "any of the 19"), (20, "95 % of the 20")])
def test_a_copy_check_is_worded_by_what_its_threshold_is(held_out: int, words: str) -> None:
    """Of few held-out cases it is the largest, which all of them reach at most."""
    rng = np.random.default_rng(0)
    training, made, other = (rng.normal(size=(n, 4)) for n in (30, 8, held_out))
    check = copy_check("features", training, made, other, [str(n) for n in range(30)], list("abcdefgh"))
    assert f"than {words} unseen real cases" in report.copies_sentence(check)
    judged = Evaluation(kind="synthesis", seed=1, scores=[], copies=[check])
    assert f"than {words} held-out cases" in judged.summary_lines()[-1]
    reached = np.mean([-np.linalg.norm(training - case, axis=1).min() > check.threshold + 1e-9 for case in other])
    assert reached == (0 if held_out < 20 else 0.05)


def test_report_of_a_run_that_was_stopped_says_so(clock: StepClock) -> None:
    with pytest.raises(RuntimeError), clock.step("evaluate"):
        raise RuntimeError("no more patients")
    text = report.write_report(clock.path).read_text(encoding="utf-8")
    assert "This run did not finish" in text
    assert "RuntimeError: no more patients" in text


def test_report_names_a_picture_that_is_gone(clock: StepClock) -> None:
    (clock.path.parent / "pictures" / "a.png").unlink()
    with pytest.raises(GenaugError, match=r"a\.png") as caught:
        report.write_report(clock.path)
    assert caught.value.reason is Reason.MISSING_FILE
    assert not clock.path.with_name("report.html").exists()
    assert report.main([str(clock.path)]) == 2


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0.00"), (0.83, "0.830"), (-12.345, "−12.3"), (432.1, "432"), (1.5e-5, "1.50e−05")]
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert report.number(value) == text


def test_durations_are_readable() -> None:
    assert [report.duration(s) for s in (8.26, 59.99, 125, 3725)] == ["8.3 s", "1 min 00 s", "2 min 05 s", "1 h 02 min"]


def test_score_drawing_keeps_the_order_of_its_numbers() -> None:
    drawn = report.whisker(score(value=3.0, interval=(2.0, 5.0), floor=-1.0, matched=4.0))
    assert drawn.floor is not None and drawn.matched is not None
    assert 0 < drawn.floor < drawn.low < drawn.value < drawn.matched < drawn.high < 100
    alone = report.whisker(score(interval=None, floor=None))
    assert 0 < alone.low == alone.value == alone.high < 100
    assert alone.floor is None


def test_a_step_records_the_peak_of_memory_that_is_freed_again(tmp_path: Path) -> None:
    clock = StepClock(tmp_path / "summary.json", seed=1, echo=lambda line: None)
    with clock.step("small"):
        pass
    with clock.step("large"):
        block = np.ones(25_000_000)  # 191 MiB, every page written
        time.sleep(0.3)  # long enough to be looked at
        del block
    with clock.step("small again"):
        pass
    small, large, after = Summary.read(clock.path).steps
    assert 150 < large.peak_memory_mb - small.peak_memory_mb < 250
    assert after.peak_memory_mb < large.peak_memory_mb - 150, "each step has its own peak"


def test_summary_is_true_after_every_step(tmp_path: Path) -> None:
    lines: list[str] = []
    clock = StepClock(tmp_path / "summary.json", seed=11, short=True, echo=lines.append)
    assert Summary.read(clock.path).steps == []
    with clock.step("cohort"):
        assert "cohort" in lines[-1], "a step announces itself before it runs"
    assert [step.name for step in Summary.read(clock.path).steps] == ["cohort"]
    for error, status in (
        (ValueError("bad"), "failed"),
        (KeyboardInterrupt(), "interrupted"),
        (Cancelled(), "interrupted"),
    ):
        with pytest.raises(type(error)), clock.step(status):
            raise error
        last = Summary.read(clock.path).steps[-1]
        assert (last.name, last.status) == (status, status)
        assert type(error).__name__ in (last.error or "")
    summary = Summary.read(clock.path)
    assert (summary.seed, summary.short) == (11, True)
    assert summary.environment["cpu_count"] >= 1
    assert not list(tmp_path.glob(".writing-*"))


def test_paths_in_the_summary_start_at_its_folder(tmp_path: Path) -> None:
    clock = StepClock(tmp_path / "build" / "demo" / "summary.json", seed=1, echo=lambda line: None)
    clock.add_product("inside", tmp_path / "build" / "demo" / "cases" / "a.nii.gz")
    clock.add_product("outside", tmp_path / "models" / "ldm")
    assert Summary.read(clock.path).products == {"inside": "cases/a.nii.gz", "outside": "../../models/ldm"}
