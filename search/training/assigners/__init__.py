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

__all__ = [
    "ASSIGNERS",
    "Anchors",
    "Assigner",
    "Assignment",
    "AtssAssigner",
    "GroundTruth",
    "Predictions",
    "SimOtaAssigner",
    "TaskAlignedAssigner",
]
