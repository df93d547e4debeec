"""From a frozen pack of parameters and the scene to a job and the promise of its result.

Everything is decided here, at Apply: later changes in the panels or in the scene do not reach a job, nor the place of
its result. What is large is written afterwards, in portions, from the voxels as they were at Apply (`frozen`).
"""

from GenerativeAugmentLib.jobBuilders.cohort import evaluateJob, exportJob, fingerprintJob, trainJob
from GenerativeAugmentLib.jobBuilders.lesions import lesionsJob
from GenerativeAugmentLib.jobBuilders.synthesize import synthesizeJob
from GenerativeAugmentLib.jobBuilders.translate import translateJob

__all__ = [
    "evaluateJob",
    "exportJob",
    "fingerprintJob",
    "lesionsJob",
    "synthesizeJob",
    "trainJob",
    "translateJob",
]
