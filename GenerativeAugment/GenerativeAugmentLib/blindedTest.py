"""Real or synthetic? A test in which neither the order nor the log tells before the answer is given."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from GenerativeAugmentLib.agreement import meanInterval, wilsonInterval
from GenerativeAugmentLib.cohortFiles import CaseEntry
from GenerativeAugmentLib.errors import JobError, _
from GenerativeAugmentLib.reviewLog import appendLine


@dataclass(frozen=True)
class Score:
    """Correct answers of a number given, with the 95 % Wilson interval of their proportion."""

    correct: int
    total: int
    proportion: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, outcomes: Sequence[bool]) -> Score:
        """The score of answers, each right or wrong."""
        correct, total = sum(outcomes), len(outcomes)
        return cls(correct, total, correct / total if total else 0.0, wilsonInterval(correct, total))


@dataclass(frozen=True)
class Balanced:
    """Share of right answers if as many cases of each kind had been asked, with its 95 % interval.

    It is 0.5 for whoever cannot tell, however many cases of each kind there were and whichever answer he prefers: of
    thirty synthetic and ten real cases "synthetic" is right three times in four without a look.
    """

    proportion: float
    interval: tuple[float, float]

    @classmethod
    def of(cls, real: Score, synthetic: Score) -> Balanced | None:
        """The mean of both scores; None where one kind was not asked about."""
        if not real.total or not synthetic.total:
            return None
        interval = meanInterval((real.correct, real.total), (synthetic.correct, synthetic.total))
        return cls((real.proportion + synthetic.proportion) / 2, interval)


@dataclass(frozen=True)
class BlindedTestResult:
    """What a test showed. An interval of `balanced` that holds 0.5 means that the reader cannot tell.

    Attributes:
        reviewer: who was asked.
        overall: over all answers given.
        real: real cases that were called real.
        synthetic: synthetic cases that were called synthetic.
        balanced: both kinds counted alike; None where one was not asked about.
        confidence: mean confidence of the right and of the wrong answers; None where there are none.
        answers: one dictionary for each answer, in their order: case, origin, answer, confidence.
    """

    reviewer: str
    overall: Score
    real: Score
    synthetic: Score
    balanced: Balanced | None
    confidence: dict[str, float | None]
    answers: tuple[dict, ...]

    @property
    def correct(self) -> int:
        """Right answers."""
        return self.overall.correct

    @property
    def total(self) -> int:
        """Answers given."""
        return self.overall.total

    @property
    def proportion(self) -> float:
        """Share of right answers."""
        return self.overall.proportion


class BlindedTest:
    """Asks about real and synthetic cases in an order that only the seed determines.

    The log begins with a fingerprint of the order, which proves afterwards that it was fixed beforehand and reveals
    nothing; each answer is one line without the truth; the last line reveals everything. A log that was not closed is
    continued where it stops.

    Args:
        real: cases to ask about.
        synthetic: cases to ask about.
        seed: of the order; keep it from whoever is asked.
        log: where the answers go, a .jsonl file.
        reviewer: who is asked.

    Raises:
        JobError: "bad_parameter" without cases of both kinds; "unreadable_file" for the log of another test, or of one
            that is closed.
    """

    def __init__(
        self, real: Sequence[CaseEntry], synthetic: Sequence[CaseEntry], seed: int, log: Path, reviewer: str = ""
    ) -> None:
        if not real or not synthetic:
            raise JobError(
                "bad_parameter",
                _("blinded test"),
                _("{real} real and {synthetic} synthetic cases").format(real=len(real), synthetic=len(synthetic)),
                _("at least one of each"),
                _("Choose a real cohort and a synthetic one."),
            )
        self.reviewer = reviewer
        self.path = Path(log)
        self._order = [(case, True) for case in real] + [(case, False) for case in synthetic]
        random.Random(seed).shuffle(self._order)
        self._seed = seed
        self._answers: list[tuple[bool, int]] = []
        self._result: BlindedTestResult | None = None
        self._resume()

    def __len__(self) -> int:
        return len(self._order)

    @property
    def position(self) -> int:
        """Answers given so far, which is also the index of the current case."""
        return len(self._answers)

    @property
    def finished(self) -> bool:
        """Whether nothing is left to ask."""
        return self._result is not None or self.position == len(self)

    @property
    def current(self) -> CaseEntry | None:
        """The case to ask about, to load it by; show `title`, for its id and its path would tell. None at the end."""
        return None if self.finished else self._order[self.position][0]

    @property
    def title(self) -> str:
        """What to call the current case before the reader."""
        return _("Case {number} of {count}").format(number=min(self.position + 1, len(self)), count=len(self))

    def answer(self, isReal: bool, confidence: int = 3) -> CaseEntry | None:
        """Take the answer about the current case, 1 (guessed) to 5 (certain), and return the next case.

        Raises:
            JobError: "bad_parameter" when nothing is left to ask, or for the confidence; as `reviewLog.appendReview`.
        """
        if self.finished or confidence not in range(1, 6):
            raise JobError(
                "bad_parameter",
                _("blinded test"),
                _("an answer with confidence {confidence} after {given} of {count}").format(
                    confidence=confidence, given=self.position, count=len(self)
                ),
                _("an answer with a confidence of 1 to 5 while there are cases left"),
                _("Answer with 1 to 5, or look at the result."),
            )
        line = {
            "event": "answer",
            "item": self.position,
            "answer": "real" if isReal else "synthetic",
            "confidence": confidence,
            "time": _now(),
        }
        appendLine(self.path, line)
        self._answers.append((isReal, confidence))
        return self.current

    def result(self) -> BlindedTestResult:
        """Close the test, reveal the origins in the log, and say how it went. It may be closed early.

        Raises:
            JobError: "bad_parameter" before the first answer; as `reviewLog.appendReview`.
        """
        if self._result is None:
            if not self._answers:
                raise JobError(
                    "bad_parameter",
                    _("blinded test"),
                    _("no answer"),
                    _("at least one answer"),
                    _("Answer for some cases first."),
                )
            result = self._evaluated()
            line = {"event": "result", "seed": self._seed, "order": self._revealed(), "time": _now(), **asdict(result)}
            appendLine(self.path, line)
            self._result = result
        return self._result

    def _evaluated(self) -> BlindedTestResult:
        asked = self._order[: self.position]
        given = list(zip(asked, self._answers))
        outcomes = [(isReal, isReal == said, confidence) for (_case, isReal), (said, confidence) in given]
        real = Score.of([right for isReal, right, _confidence in outcomes if isReal])
        synthetic = Score.of([right for isReal, right, _confidence in outcomes if not isReal])
        return BlindedTestResult(
            self.reviewer,
            Score.of([right for _isReal, right, _confidence in outcomes]),
            real,
            synthetic,
            Balanced.of(real, synthetic),
            {
                "right": _mean([confidence for _isReal, right, confidence in outcomes if right]),
                "wrong": _mean([confidence for _isReal, right, confidence in outcomes if not right]),
            },
            tuple(
                {"case": case.id, "origin": _name(isReal), "answer": _name(said), "confidence": confidence}
                for (case, isReal), (said, confidence) in given
            ),
        )

    def _resume(self) -> None:
        """Begin the log, or take up the answers that are in it."""
        if not self.path.is_file():
            header = {
                "event": "start",
                "reviewer": self.reviewer,
                "items": len(self),
                "order_sha256": self._fingerprint(),
            }
            appendLine(self.path, {**header, "time": _now()})
            return
        try:
            lines = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines() if line.strip()]
            header, answers = lines[0], lines[1:]
            same = header["order_sha256"] == self._fingerprint() and header["reviewer"] == self.reviewer
            if not same or any(line["event"] != "answer" for line in answers):
                raise ValueError(_("the log of another test, or of one that is closed"))
            self._answers = [(line["answer"] == "real", int(line["confidence"])) for line in answers]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise JobError(
                "unreadable_file",
                str(self.path),
                str(error),
                _("a new file, or the log of this test with the same cases, seed and reviewer"),
                _("Choose another file for the log."),
            ) from error

    def _revealed(self) -> list[list[str]]:
        return [[case.id, _name(isReal)] for case, isReal in self._order]

    def _fingerprint(self) -> str:
        """SHA-256 of the order; the seed in it keeps the order from being guessed from the list of cases."""
        return hashlib.sha256(json.dumps([self._seed, self._revealed()]).encode()).hexdigest()


def _name(isReal: bool) -> str:
    return "real" if isReal else "synthetic"


def _mean(values: list[int]) -> float | None:
    return sum(values) / len(values) if values else None


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
