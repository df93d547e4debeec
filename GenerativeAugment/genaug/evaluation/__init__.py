"""How good a synthetic cohort is: fidelity, coverage, diversity, copies, anatomy; and how good a translated image is.

Every score names the feature extractor it was computed on and stands beside what real cases score against each other.
`evaluation.synthesis.evaluate_synthesis` and `evaluation.translation.evaluate_translation` compute everything; the
other modules hold one measure each and can be used alone. Importing this package does not import torch.
"""

from genaug.evaluation.arrays import CaseArrays, CaseSource, PairArrays, PairSource
from genaug.evaluation.scores import CopyCheck, CopyPair, Evaluation, Score

__all__ = ["CaseArrays", "CaseSource", "CopyCheck", "CopyPair", "Evaluation", "PairArrays", "PairSource", "Score"]
