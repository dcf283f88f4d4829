"""Training of one candidate: losses, assigners, data path, the run itself; and QAT of a trained one."""

from search.training.distill import Teacher
from search.training.estimate import estimate_seconds_per_image
from search.training.options import (
    OutOfTime,
    TrainedNetwork,
    TrainingDiverged,
    TrainingOptions,
    TrainingProgress,
)
from search.training.pace import measure_pace
from search.training.qat import fine_tune
from search.training.trainer import train
from search.training.weights import load_detector

__all__ = [
    "OutOfTime",
    "Teacher",
    "TrainedNetwork",
    "TrainingDiverged",
    "TrainingOptions",
    "TrainingProgress",
    "estimate_seconds_per_image",
    "fine_tune",
    "load_detector",
    "measure_pace",
    "train",
]
