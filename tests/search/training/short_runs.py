"""Short trainings of a tiny network."""

from pathlib import Path

from evaluators.data import DetectionData
from search.training import (
    TrainingOptions,
    load_detector,
    train,
)
from yolov6space.candidate import Candidate
from yolov6space.networks import Detector


def options(**changes) -> TrainingOptions:
    return TrainingOptions(**{"epochs": 4, "image_size": 64, "batch": 4, "amp": "off", **changes})


def run(tiny: Candidate, data: DetectionData, folder: Path, told: TrainingOptions, **rest) -> Detector:
    return load_detector(tiny.model, 2, train(tiny, data, told, folder=folder, **rest).weights)
