"""The whole chain on one embedded brain: cohort, train, synthesise, lesions, translate, evaluate, review, export.

python -m demo.run            the demo, within 15 minutes on two cores
python -m demo.run --short    the same chain with a minute of training, for continuous integration
"""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from genaug.case import write_case
from genaug.cohort import Cohort
from genaug.errors import GenaugError
from genaug.evaluation.cohorts import evaluate_cohorts
from genaug.export import export_cohort
from genaug.fingerprint import fingerprint
from genaug.insertion import InsertionParameters, insert_into_cohort
from genaug.lesions import BankSource
from genaug.package import read_info, weights_sha256
from genaug.parameters import (
    EvaluationParameters,
    ExportParameters,
    SynthesisParameters,
    TrainingOptions,
    TranslationParameters,
)
from genaug.progress import Silent
from genaug.recommend import recommend
from genaug.record import Record
from genaug.replay import replay
from genaug.review import REVIEWS, Review, append_review, reviewed_record
from genaug.sources import write_sources
from genaug.split import split_by_patient
from genaug.synthesis import synthesize
from genaug.templates.brain import Template, brain_template
from genaug.templates.cohort import template_cohort
from genaug.training import train, training_folder
from genaug.translation import translate

from demo import show
from demo.console import Console
from demo.lesion_patches import PLAQUE, WHITE_MATTER
from demo.report import write_report
from demo.starter import MARGIN_MM, MODELS, RANGES, ROOT, SPACING_MM, STARTERS, Starter
from demo.summary import StepClock

SEED = 7
SUBJECTS = 36
CASES = 8

GENERATORS = ("brain-t1-ldm", "brain-t1-vae", "brain-t1-gan")
TRANSLATOR = "brain-t1-to-t2"
LESION_MODEL = "lesion-t1-vae"

MINUTES = {"brain-t1-ldm": 4.0, "brain-t1-vae": 1.5, "brain-t1-gan": 2.0, TRANSLATOR: 2.0}
"""Of training in the demo; everything else takes about two minutes more on two quiet cores."""

SHORT_MINUTES = 0.15

GENTLE = 0.3
"""Learning rate, as a share of the recipe's, when a training starts from a starter's weights."""

LESION_LABEL = 9
LESIONS = {
    "drawn": InsertionParameters(
        source=PLAQUE,
        count=6,
        diameter_mm=(5.0, 14.0),
        contrast=(-0.32, -0.18),
        contrast_unit="fraction",
        margin_mm=0.5,
        edge_mm=(0.7, 1.2),
        tissue_labels=(WHITE_MATTER,),
        lesion_value=LESION_LABEL,
    ),
    "from the lesion model": InsertionParameters(
        source=BankSource(margin="none"),
        count=4,
        diameter_mm=(6.0, 14.0),
        margin_mm=0.5,
        edge_mm=(0.7, 1.2),
        tissue_labels=(WHITE_MATTER,),
        lesion_value=LESION_LABEL,
    ),
}


@dataclass
class Demo:
    """What the steps share."""

    folder: Path
    clock: StepClock
    console: Console
    short: bool

    def starter(self, name: str) -> Path | None:
        """The starter package, where it has been trained."""
        return MODELS / name if (MODELS / name).is_dir() else None


def run(folder: Path, short: bool) -> Path:
    """Run every step into `folder`, which is emptied first; returns the report."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    demo = Demo(folder, StepClock(folder / "summary.json", SEED, short=short), Console(), short)
    cohort = make_cohort(demo)
    made = [synthesize_with(demo, name, cohort) for name in GENERATORS]
    insert(demo)
    translate_contrasts(demo, cohort)
    review(demo, [cohort, *made])
    export(demo, cohort, made)
    prove(demo, made[0])
    with demo.clock.step("report"):
        report = write_report(folder / "summary.json")
    print(f"\nOpen {report.relative_to(ROOT) if report.is_relative_to(ROOT) else report}")
    return report


def make_cohort(demo: Demo) -> Cohort:
    """Subjects from the template, split by patient, fingerprinted."""
    clock = demo.clock
    with clock.step("cohort"):
        template = brain_template(SPACING_MM, MARGIN_MM)
        path = template_cohort(template, demo.folder / "cohort", SUBJECTS, SEED, ranges=RANGES, reporter=demo.console)
        cohort = split_by_patient(Cohort.read(path), {"train": 2 / 3, "test": 1 / 3}, SEED)
        cohort.write(path)
        cohort.check()
        clock.add_product("cohort", path)
    with clock.step("fingerprint"):
        known = fingerprint(cohort)
        advice = recommend(known)
        demo.console.log(f"  recommended: {advice.recipe}, because {advice.reason}")
    clock.add_fact("subjects", str(len(cohort.cases)))
    return cohort


def synthesize_with(demo: Demo, name: str, cohort: Cohort) -> Cohort:
    """Starter cases first, then training on the cohort, then new cases, then scores; returns the new cases."""
    clock, starter, kind = demo.clock, _spec(name), name.rsplit("-", 1)[1].upper()
    sheet = []
    package = demo.starter(name)
    if package is not None:
        with clock.step(f"synthesize, starter {kind}"):
            first = _synthesize(demo, package, demo.folder / "synthetic" / f"starter-{name}", f"starter-{kind.lower()}")
            sheet.append(("starter weights", first))
            _add_package(demo, package, "starter")
    with clock.step(f"train {kind}"):
        trained = _train(demo, starter, cohort)
        _add_package(demo, trained, "trained here")
    with clock.step(f"synthesize, {kind}"):
        cases = _synthesize(demo, trained, demo.folder / "synthetic" / name, kind.lower())
        sheet.append((_trained_words(trained, package), cases))
    with clock.step(f"evaluate {kind}"):
        parameters = EvaluationParameters(channel="T1", reference_part="test", held_out_part="test")
        for words, judged in sheet:
            evaluation = evaluate_cohorts(cohort, judged, parameters, SEED, Silent())
            clock.add_evaluation(_spec(name).title, evaluation, words)
    with clock.step(f"pictures of {kind}"):
        for words, shown in sheet:
            show.samples(clock, demo.folder, kind, shown, words)
        if name == GENERATORS[0]:
            show.hero(clock, demo.folder, cohort, cases)
        show.curves(clock, demo.folder, kind, training_folder(trained))
    return cases


def insert(demo: Demo) -> None:
    """Lesions into the healthy template at 1 mm: drawn ones, and ones that the lesion model made."""
    clock = demo.clock
    with clock.step("healthy host"):
        template = brain_template(1.0)
        host = _host_cohort(demo.folder / "host", template)
    bank = None
    if (model := demo.starter(LESION_MODEL)) is not None:
        with clock.step("lesions from the lesion model"):
            bank = _synthesize(demo, model, demo.folder / "synthetic" / "lesion-patches", "lesion", count=24)
            _add_package(demo, model, "starter")
    for words, parameters in LESIONS.items():
        carved = isinstance(parameters.source, BankSource)
        if carved and bank is None:
            clock.add_limit("There is no starter lesion model in this checkout, so no lesion came from a model.")
            continue
        with clock.step(f"insert lesions, {words}"):
            output = demo.folder / "lesions" / ("model" if carved else "drawn")
            cases = insert_into_cohort(host, output, parameters, SEED, Silent(), bank=bank if carved else None)
            clock.add_product(f"lesions {words}", output)
        with clock.step(f"pictures of lesions, {words}"):
            show.lesions(clock, demo.folder, host, cases, LESION_LABEL, words)


def translate_contrasts(demo: Demo, cohort: Cohort) -> None:
    """T1 to T2: train, apply to the test subjects, score against their real T2."""
    clock, package = demo.clock, demo.starter(TRANSLATOR)
    with clock.step("train T1 to T2"):
        trained = _train(demo, _spec(TRANSLATOR), cohort)
        _add_package(demo, trained, "trained here")
    with clock.step("translate T1 to T2"):
        inputs = cohort.with_cases(cohort.part("test")[:CASES])
        output = demo.folder / "translated"
        results = translate(trained, inputs, output, TranslationParameters(prefix="t2"), SEED, "cpu", demo.console)
        clock.add_product("translations", output)
    with clock.step("evaluate T1 to T2"):
        evaluation = evaluate_cohorts(cohort, results, EvaluationParameters(task="translation", channel="T2"), SEED)
        clock.add_evaluation(_spec(TRANSLATOR).title, evaluation, _trained_words(trained, package))
    with clock.step("pictures of T1 to T2"):
        show.translation(clock, demo.folder, cohort, results)
        show.curves(clock, demo.folder, "T1 to T2", training_folder(trained))


def review(demo: Demo, cohorts: list[Cohort]) -> None:
    """Stand in for the annotator: accept what passes its automatic checks, reject the rest, on the record.

    The template's subjects are reviewed too: they play the real cases here, but they are generated ones.
    """
    with demo.clock.step("review record"):
        for cohort in cohorts:
            for case in cohort.cases:
                assert case.record is not None
                passed = all(check.passed for check in Record.read(case.record).checks)
                decision = Review(
                    case_id=case.id,
                    reviewer="demo, automatic checks only",
                    decision="accepted" if passed else "rejected",
                    reason="" if passed else "label volume outside the training range",
                    record_sha256=reviewed_record(case),
                )
                append_review(cohort.root / REVIEWS, decision)


def export(demo: Demo, cohort: Cohort, made: list[Cohort]) -> None:
    """Real and accepted synthetic cases as one nnU-Net dataset."""
    with demo.clock.step("export to nnU-Net"):
        parameters = ExportParameters(layout="nnunet", name="BrainAugmented", require_review=True)
        # All of them are generated, the template's subjects too, so there is no real cohort to give.
        cohorts = [_with_channels(cohort, ["T1"]), *made]
        dataset, manifest = export_cohort(None, cohorts, demo.folder / "export", parameters, demo.console, seed=SEED)
        demo.clock.add_product("nnU-Net dataset", dataset)
        counts = ", ".join(f"{value} {key}" for key, value in manifest.counts.items() if value)
        demo.console.log(f"  {counts}")
    demo.clock.add_fact("synthetic volumes", str(sum(len(one.cases) for one in made)))


def prove(demo: Demo, made: Cohort) -> None:
    """Make one case again from its Record and compare every voxel."""
    with demo.clock.step("replay one case from its Record"):
        result = replay(made.root / made.cases[0].id, demo.folder / "replayed", demo.console)
        for line in result.lines():
            demo.console.log(f"  {line}")
        demo.clock.add_fact("replayed from its Record", "identical" if result.same else "DIFFERENT")


def _train(demo: Demo, starter: Starter, cohort: Cohort) -> Path:
    """Train the starter's recipe on the cohort, from the starter's weights where there are any."""
    minutes = SHORT_MINUTES if demo.short else MINUTES[starter.name]
    package = demo.starter(starter.name)
    options = TrainingOptions(
        **{key: value for key, value in starter.options.items() if key != "iterations"},
        overrides=starter.overrides if package is None else _gentler(starter, package),
        initial=package,
        minutes=minutes,
        iterations=starter.options["iterations"] if package is None else _affordable(package, minutes),
        preview_every=10_000,
        seed=SEED,
    )
    output = demo.folder / "packages" / starter.name
    train(cohort, options, output, "cpu", demo.console)
    demo.clock.add_product(f"package {starter.name}", output)
    return output


def _affordable(package: Path, minutes: float) -> dict[str, int]:
    """As many iterations of the last stage as fit into `minutes` at the speed the starter was trained with.

    The learning rate falls to zero over the iterations, so a training that is cut off by the clock ends worse than one
    that was planned shorter. The stages before it are kept: a denoiser knows the codes of its own autoencoder only.
    """
    stages = read_info(package).stages
    *kept, last = stages
    pace = stages[last].iterations / max(stages[last].seconds, 1e-9)
    return {**dict.fromkeys(kept, 0), last: max(1, round(60 * minutes * pace))}


def _gentler(starter: Starter, package: Path) -> dict[str, Any]:
    """The starter's overrides with smaller steps: its weights are to be refined, not forgotten."""
    overrides = copy.deepcopy(starter.overrides)
    for name, stage in read_info(package).recipe.stages.items():
        training = overrides.setdefault("stages", {}).setdefault(name, {}).setdefault("training", {})
        training["learning_rate"] = GENTLE * stage.training.learning_rate
    return overrides


def _synthesize(demo: Demo, package: Path, output: Path, prefix: str, count: int = CASES) -> Cohort:
    parameters = SynthesisParameters(count=count, prefix=prefix)
    cohort = synthesize(package, output, parameters, SEED, "cpu", demo.console)
    write_sources(output, {"package": package})
    demo.clock.add_product(f"{prefix} cases", output)
    return cohort


def _add_package(demo: Demo, package: Path, weights: str) -> None:
    info = read_info(package)
    demo.clock.add_package(info.name, info.recipe.name, weights, weights_sha256(info), package)


def _trained_words(package: Path, started_from: Path | None) -> str:
    stages = read_info(package).stages.values()
    # What a clock ends has seen few iterations on a busy machine, and the scores are theirs.
    done = f"{sum(stage.seconds for stage in stages):.0f} s, {sum(stage.iterations for stage in stages)} iterations"
    start = "from the starter weights" if started_from is not None else "from scratch"
    return f"trained here for {done}, {start}"


def _host_cohort(folder: Path, template: Template) -> Cohort:
    """The healthy template as a cohort of one case."""
    case = write_case(folder, "icbm152", "icbm152", {"T1": template.image}, template.label)
    cohort = Cohort(
        name="ICBM152", root=folder, channels={"T1": "MR"}, label_names=dict(template.label_names), cases=[case]
    )
    cohort.write(folder)
    return cohort


def _with_channels(cohort: Cohort, channels: list[str]) -> Cohort:
    """The cohort without its other channels, as a segmentation network would be trained on it."""
    cases = [
        case.model_copy(update={"images": {name: case.images[name] for name in channels}}) for case in cohort.cases
    ]
    kept = cohort.model_copy(update={"channels": {name: cohort.channels[name] for name in channels}})
    return kept.with_cases(cases)


def _spec(name: str) -> Starter:
    return next(starter for starter in STARTERS if starter.name == name)


@click.command()
@click.option("--short", is_flag=True, help="Train each model for seconds only.")
@click.option("--output", type=click.Path(path_type=Path), default=ROOT / "build" / "demo", show_default=True)
def main(short: bool, output: Path) -> None:
    """Run the whole chain on the embedded brain and leave report.html and summary.json."""
    try:
        run(output, short)
    except GenaugError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
