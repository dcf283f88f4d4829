"""Training of one candidate: losses, assigners, data path, the run itself."""

from search.training.distill import Teacher
from search.training.estimate import epochs_within, estimate_seconds_per_image
from search.training.options import (
    OutOfTime,
    TrainedNetwork,
    TrainingDiverged,
    TrainingOptions,
    TrainingProgress,
)
from search.training.trainer import train
from search.training.weights import load_detector

__all__ = [
    "OutOfTime",
    "Teacher",
    "TrainedNetwork",
    "TrainingDiverged",
    "TrainingOptions",
    "TrainingProgress",
    "epochs_within",
    "estimate_seconds_per_image",
    "load_detector",
    "train",
]
