"""How far reviewers agree, and how sure a proportion is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from GenerativeAugmentLib.reviewLog import DECISIONS, Review


@dataclass(frozen=True)
class Agreement:
    """How far reviewers agree.

    Attributes:
        reviewers: who decided about at least one case that somebody else decided about, too.
        cases: ids of the cases that at least two reviewers decided about.
        raw: share of pairs of decisions about one case that are the same; None without such a case.
        kappa: the same corrected for chance; None where chance alone explains everything, as when all say the same.
        method: "Cohen" for two reviewers, "Fleiss" for more, "" without a common case.
        disagreements: ids of the cases about which not all say the same.
    """

    reviewers: tuple[str, ...]
    cases: tuple[str, ...]
    raw: float | None
    kappa: float | None
    method: str
    disagreements: tuple[str, ...]


def agreement(reviews: Iterable[Review]) -> Agreement:
    """Agreement between reviewers on the cases that at least two of them decided about.

    A reviewer's last decision about a label map version counts. Decisions about different versions are about different
    things, so of each case the latest version that two reviewers have decided about is compared. The line that stores a
    corrected version, the first one that names it, only repeats what was said of the version before, and is no decision
    about this one. Two reviewers in all give Cohen's kappa (1960, doi:10.1177/001316446002000104); more give Fleiss'
    kappa (1971, doi:10.1037/h0031619), in its form for a varying number of reviewers per case.
    """
    seen: dict[str, dict[int, dict[str, str]]] = {}
    for review in reviews:
        versions = seen.setdefault(review.case_id, {})
        if review.mask_version > 0 and review.mask_version not in versions:
            versions[review.mask_version] = {}
        else:
            versions.setdefault(review.mask_version, {})[review.reviewer] = review.decision
    common: dict[str, dict[str, str]] = {}
    for caseId, versions in seen.items():
        shared = [version for version, decisions in versions.items() if len(decisions) > 1]
        if shared:
            common[caseId] = versions[max(shared)]
    reviewers = tuple(dict.fromkeys(reviewer for decisions in common.values() for reviewer in decisions))
    if not common:
        return Agreement((), (), None, None, "", ())
    decided = list(common.values())
    raw = sum(_pairAgreement(list(decisions.values())) for decisions in decided) / len(decided)
    kappa = _cohen(decided, reviewers) if len(reviewers) == 2 else _fleiss(decided, raw)
    disagreements = tuple(caseId for caseId, decisions in common.items() if len(set(decisions.values())) > 1)
    return Agreement(reviewers, tuple(common), raw, kappa, "Cohen" if len(reviewers) == 2 else "Fleiss", disagreements)


def _pairAgreement(decisions: list[str]) -> float:
    count = len(decisions)
    same = sum(decisions.count(decision) * (decisions.count(decision) - 1) for decision in set(decisions))
    return same / (count * (count - 1))


def _cohen(decided: list[dict[str, str]], reviewers: Sequence[str]) -> float | None:
    observed = sum(len(set(decisions.values())) == 1 for decisions in decided) / len(decided)
    shares = [
        {decision: sum(decisions[name] == decision for decisions in decided) / len(decided) for decision in DECISIONS}
        for name in reviewers
    ]
    return _beyondChance(observed, sum(shares[0][decision] * shares[1][decision] for decision in DECISIONS))


def _fleiss(decided: list[dict[str, str]], observed: float) -> float | None:
    everything = [decision for decisions in decided for decision in decisions.values()]
    return _beyondChance(observed, sum((everything.count(d) / len(everything)) ** 2 for d in DECISIONS))


def _beyondChance(observed: float, expected: float) -> float | None:
    return None if expected >= 1 else (observed - expected) / (1 - expected)


def wilsonInterval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a proportion that keeps its promise also for few trials (Wilson 1927, doi:10.2307/2276774).

    Args:
        successes: 0 to `trials`.
        trials: 0 gives (0, 1), since nothing is known then.
        confidence: 0 to 1, exclusive.

    Raises:
        ValueError: for counts or a confidence that cannot be.
    """
    if not 0 <= successes <= trials or not 0 < confidence < 1:
        raise ValueError(f"{successes} of {trials} at confidence {confidence}")
    if trials == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    proportion = successes / trials
    scale = 1 + z * z / trials
    center = proportion + z * z / (2 * trials)
    margin = z * math.sqrt(proportion * (1 - proportion) / trials + z * z / (4 * trials * trials))
    low, high = (center - margin) / scale, (center + margin) / scale
    # The ends are exact at none and at all; rounding would leave them off by one unit in the last place.
    return 0.0 if successes == 0 else low, 1.0 if successes == trials else high


def meanInterval(first: tuple[int, int], second: tuple[int, int], confidence: float = 0.95) -> tuple[float, float]:
    """Interval of the mean of two independent proportions, from the Wilson interval of each.

    Newcombe 1998, method 10, for a difference: the mean of p and q is half of 1 + p - (1 - q).
    (doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I)

    Args:
        first: successes and trials, at least one trial.
        second: the same of the other proportion.
        confidence: 0 to 1, exclusive.

    Raises:
        ValueError: as `wilsonInterval`.
    """
    proportions = [successes / trials for successes, trials in (first, second)]
    ends = [wilsonInterval(*counts, confidence) for counts in (first, second)]
    below = math.hypot(*(p - low for p, (low, _high) in zip(proportions, ends)))
    above = math.hypot(*(high - p for p, (_low, high) in zip(proportions, ends)))
    center = sum(proportions) / 2
    return center - below / 2, center + above / 2
