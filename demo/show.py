"""The demo's pictures: which cases are shown, under which words, in which section of the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from genaug.case import Case
from genaug.cohort import Cohort
from genaug.volume import LABEL, Volume

from demo.charts import curves as draw_curves
from demo.panel import save
from demo.pictures import Exhibit, contact_sheet, lesion_panel, translation_panel, triplanar
from demo.summary import StepClock

PICTURES = "pictures"
SHOWN = 6
"""Cases on a contact sheet."""


def hero(clock: StepClock, folder: Path, real: Cohort, synthetic: Cohort) -> None:
    """One real test subject beside one synthetic case."""
    exhibits = [_exhibit(real.part("test")[0], "TEMPLATE SUBJECT"), _exhibit(synthetic.cases[0], "SYNTHETIC")]
    path = save(triplanar(*exhibits, label_names=real.label_names), folder / PICTURES / "hero.png")
    clock.add_picture(
        "hero",
        path,
        "Real beside synthetic",
        "Left a subject the model never saw, right a case it made, each with its label map outlined below. "
        "“Real” here means a deformation of the ICBM152 template.",
    )


def samples(clock: StepClock, folder: Path, kind: str, cohort: Cohort, weights: str) -> None:
    """The first cases of a cohort: not the best ones, the first ones."""
    exhibits = [_exhibit(case, "SYNTHETIC") for case in cohort.cases[:SHOWN]]
    stem = f"samples-{kind.lower()}-{'starter' if weights.startswith('starter') else 'trained'}"
    figure = contact_sheet(exhibits, label_names=cohort.label_names)
    clock.add_picture(
        "samples",
        save(figure, folder / PICTURES / f"{stem}.png"),
        f"{kind}, {weights}",
        f"The first {len(exhibits)} of {len(cohort.cases)} cases, not chosen.",
        weights=weights,
    )


def curves(clock: StepClock, folder: Path, kind: str, training: Path) -> None:
    """Loss curves of a training."""
    files = {path.name.removesuffix(".curves.csv"): path for path in sorted(training.glob("*.curves.csv"))}
    if not files:
        return
    stem = kind.lower().replace(" ", "-")
    light = save(draw_curves(files), folder / PICTURES / f"curves-{stem}.png")
    dark = save(draw_curves(files, dark=True), folder / PICTURES / f"curves-{stem}-dark.png")
    clock.add_picture("curves", light, kind, "One panel a stage.", dark_file=dark)


def lesions(clock: StepClock, folder: Path, host: Cohort, made: Cohort, value: int, words: str) -> None:
    """Before, after, mask and difference."""
    before, after = host.cases[0].volume("T1"), made.cases[0].volume("T1")
    label = made.cases[0].label_map()
    assert label is not None
    mask = Volume((label.array == value).astype(np.uint8), label.affine, LABEL)
    figure = lesion_panel(before, after, mask, origins=("REAL TEMPLATE", "SYNTHETIC LESION"))
    clock.add_picture(
        "lesions",
        save(figure, folder / PICTURES / f"lesions-{words.replace(' ', '-')}.png"),
        f"Lesions {words}",
        "Dark white-matter lesions in the healthy ICBM152 T1 at 1 mm, shown where the mask is largest.",
    )


def translation(clock: StepClock, folder: Path, real: Cohort, made: Cohort) -> None:
    """Input, result, the real target contrast, and what separates them."""
    result = made.cases[0]
    parent = real[result.parents[0]]
    figure = translation_panel(
        parent.volume("T1"),
        result.volume("T2"),
        parent.volume("T2"),
        titles=("T1", "translated T2", "rendered T2"),
        origins=("TEMPLATE SUBJECT", "SYNTHETIC", "TEMPLATE SUBJECT"),
    )
    clock.add_picture(
        "translation",
        save(figure, folder / PICTURES / "translation.png"),
        "T1 to T2",
        "A test subject. The reference T2 is itself rendered from the tissue maps, see the cohort's Records.",
    )


def _exhibit(case: Case, origin: str) -> Exhibit:
    return Exhibit(case.volume("T1"), origin, case.id, case.label_map())
