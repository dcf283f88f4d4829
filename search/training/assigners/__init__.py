"""Label assignment: which anchor points learn which object. Adding one: one class and one key."""

from search.training.assigners.atss import AtssAssigner
from search.training.assigners.base import Anchors, Assigner, Assignment, GroundTruth, Predictions
from search.training.assigners.simota import SimOtaAssigner
from search.training.assigners.tal import TaskAlignedAssigner

ASSIGNERS: dict[str, Assigner] = {
    "tal": TaskAlignedAssigner(),
    "atss": AtssAssigner(),
    "simota": SimOtaAssigner(),
}

# Until the boxes fit, their IoU is a poor target: small objects, whose first boxes fit worst, would hardly count.
WARMUP_ASSIGNER: Assigner = AtssAssigner(hard=True)

__all__ = [
    "ASSIGNERS",
    "WARMUP_ASSIGNER",
    "Anchors",
    "Assigner",
    "Assignment",
    "AtssAssigner",
    "GroundTruth",
    "Predictions",
    "SimOtaAssigner",
    "TaskAlignedAssigner",
]
