"""report.html from summary.json: one file that can be mailed, printed and archived.

Pictures are embedded, styles are inline, nothing runs in it and nothing is loaded from anywhere. Run
`python -m demo.report [summary.json]` to make it again.
"""

from __future__ import annotations

import base64
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genaug.errors import GenaugError, Reason
from genaug.evaluation.scores import CopyCheck, Score
from genaug.files import write_text
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from demo.summary import Picture, ScoreTable, Section, Step, Summary

TEMPLATE = "report.html.j2"

SECTIONS: dict[Section, tuple[str, str]] = {
    "samples": ("Synthetic cases", "Every case comes with its label map, drawn here as outlines."),
    "lesions": (
        "Inserted lesions",
        "A lesion is placed inside the given tissue and blended in; its mask is kept.",
    ),
    "translation": ("Translation", "One contrast in, another out, in the input's geometry."),
    "curves": ("Training", "Loss terms of the models trained in this run; the bold line is a running median."),
}

SCORE_NAMES = {
    "kid": "Kernel distance (KID)",
    "frechet": "Fréchet distance",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
    "ms_ssim": "MS-SSIM between cases",
    "label_volume_difference": "Mean label volume, difference",
    "label_volume_wasserstein": "Label volumes, Wasserstein",
    "mae": "Mean absolute error",
    "ssim": "SSIM",
    "psnr": "PSNR",
    "dice": "Dice",
    "bone_dice": "Bone Dice",
}

BETTER = {
    "lower": "↓ lower is better",
    "higher": "↑ higher is better",
    "match": "≈ should match the real value",
    "zero": "→ 0 ← zero is best",
}

ALWAYS_TRUE = (
    "The demo's cohort descends from one template brain. It shows that the chain works, not how well a method does"
    " on patients: differences between people, scanners and diseases are not in it.",
    "Feature distances are computed on features that need no download. They rank models on the same data; their"
    " values cannot be compared with values from other features or other publications.",
    "With this few cases intervals are wide, and coverage and copy checks say little: read the interval.",
    "Whether synthetic cases help a segmentation or classification network is not measured here.",
    "Synthetic cases are for research and for training algorithms. They show no patient and must not be read as one.",
)


@dataclass(frozen=True)
class Whisker:
    """A score's value, interval, value at the floor's size and floor as positions in percent of a little axis."""

    value: float
    low: float
    high: float
    matched: float | None
    floor: float | None


@dataclass(frozen=True)
class ScoreRow:
    """A score and its drawing."""

    score: Score
    whisker: Whisker


def write_report(summary: Path, report: Path | None = None) -> Path:
    """Make the report beside the summary (or at `report`) and return its path.

    Raises:
        GenaugError: MISSING_FILE or UNREADABLE_FILE, naming the summary or a picture it names.
    """
    report = report or summary.with_name("report.html")
    write_text(report, render(Summary.read(summary), summary.parent))
    return report


def render(summary: Summary, folder: Path) -> str:
    """The report's HTML; the summary's paths start at `folder`."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        duration=duration,
        memory=memory,
        number=number,
        score_name=score_name,
        short_hash=lambda text: text[:12],
    )
    return environment.get_template(TEMPLATE).render(
        summary=summary,
        hero=_embedded(summary, folder, "hero"),
        sections=[
            {"id": section, "title": title, "lead": lead, "pictures": pictures}
            for section, (title, lead) in SECTIONS.items()
            if (pictures := _embedded(summary, folder, section))
        ],
        tables=[_table(table) for table in summary.scores],
        steps=_steps(summary.steps),
        total=duration(sum(step.seconds for step in summary.steps)),
        peak=max((step.peak_memory_mb for step in summary.steps), default=0.0),
        stopped=[step for step in summary.steps if step.status != "done"],
        machine=_machine(summary),
        better=BETTER,
        limits=[*ALWAYS_TRUE, *summary.limits],
    )


def duration(seconds: float) -> str:
    """Seconds in words: "8.3 s", "2 min 05 s"."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def memory(mebibytes: float) -> str:
    """MiB in words: "430 MiB", "2.1 GiB"."""
    return f"{mebibytes:.0f} MiB" if mebibytes < 1024 else f"{mebibytes / 1024:.1f} GiB"


def number(value: float) -> str:
    """Three significant digits, with a true minus sign."""
    size = abs(value)
    text = f"{value:.2e}" if size and (size < 1e-3 or size >= 1e5) else f"{value:#.3g}".rstrip(".")
    return text.replace("-", "−")


def score_name(score: Score) -> str:
    """A score's name for readers, with the region it is restricted to."""
    name = SCORE_NAMES.get(score.name, score.name.replace("_", " "))
    return f"{name}, {score.region}" if score.region else name


def whisker(score: Score) -> Whisker:
    """Where a score's numbers lie on an axis that holds all of them, and 0 when it is near."""
    low, high = score.interval or (score.value, score.value)
    marks = [mark for mark in (score.value, low, high, score.matched, score.floor) if mark is not None]
    start, end = min(marks), max(marks)
    if 0 < start < end - start:
        start = 0.0
    span = (end - start) or 1.0

    def place(mark: float) -> float:
        return 4 + 92 * (mark - start) / span

    return Whisker(
        place(score.value),
        place(low),
        place(high),
        None if score.matched is None else place(score.matched),
        None if score.floor is None else place(score.floor),
    )


def _table(table: ScoreTable) -> dict[str, Any]:
    """Scores of the whole volume first; those of single regions are folded away."""
    rows = [ScoreRow(score, whisker(score)) for score in table.scores]
    return {
        "table": table,
        "main": [row for row in rows if not row.score.region],
        "regions": [row for row in rows if row.score.region],
        "copies": [copies_sentence(check) for check in table.copies],
    }


def copies_sentence(check: CopyCheck) -> str:
    """What a copy check found, in one sentence."""
    if check.share is None:
        return f"Copies ({check.space}): {check.note}"
    span = "" if check.interval is None else " ({:.0f} to {:.0f} %)".format(*(100 * end for end in check.interval))
    return (
        f"Copies ({check.space}): {100 * check.share:.0f} %{span} of {check.n_synthetic} synthetic cases lie nearer"
        f" to a training case than {check.exceeded} unseen real cases; {100 * check.expected:.0f} % is what"
        " independent cases give."
    )


def _machine(summary: Summary) -> dict[str, Any]:
    """The environment without the versions, under names for readers."""
    names = {"device": "Device", "cpu_count": "CPU cores", "memory_gib": "Memory, GiB", "system": "System"}
    return {names.get(key, key): value for key, value in summary.environment.items() if key != "versions"}


def _steps(steps: Sequence[Step]) -> list[dict[str, Any]]:
    longest = max((step.seconds for step in steps), default=0.0) or 1.0
    return [{"step": step, "share": 100 * step.seconds / longest} for step in steps]


def _embedded(summary: Summary, folder: Path, section: Section) -> list[dict[str, Any]]:
    return [
        {
            "picture": picture,
            "light": _data_uri(folder, picture, picture.file),
            "dark": None if picture.dark_file is None else _data_uri(folder, picture, picture.dark_file),
        }
        for picture in summary.pictures
        if picture.section == section
    ]


def _data_uri(folder: Path, picture: Picture, file: str) -> str:
    path = folder / file
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise GenaugError(
            Reason.MISSING_FILE,
            path,
            "no such file",
            f'the picture "{picture.title}" that the summary names',
            "Run the demo again; its pictures lie beside its summary.",
        ) from error
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def main(arguments: Sequence[str]) -> int:
    """Make the report of the summary named on the command line, of the demo's own without a name."""
    summary = Path(arguments[0]) if arguments else Path("build/demo/summary.json")
    try:
        print(write_report(summary))
    except GenaugError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
