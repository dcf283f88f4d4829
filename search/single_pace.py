"""Epochs for a single training that was asked for in minutes."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from foundation.cli import progress
from search.effort import TEACHER_SHARE, epochs_share
from search.single_options import SingleTraining
from search.single_record import write_record

if TYPE_CHECKING:
    from evaluators.data import DetectionData
    from search.training import Teacher, TrainingOptions


def timed(
    asked: SingleTraining,
    data: DetectionData,
    options: TrainingOptions,
    known: dict[str, Any],
    other: Teacher | None,
) -> TrainingOptions:
    """Time instead of epochs: worked out once and kept, so that a killed run is found again."""
    from search.training import measure_pace

    if "epochs" not in known:
        assert asked.minutes is not None
        images = len(data.split("train"))
        progress(f"timing training steps of {asked.title}")
        classes = len(data.class_names)
        seconds = 60 * asked.minutes * _working_gpus(asked) / _teaching_cost(asked, other, classes)
        pace = measure_pace(asked.candidate, data, options, seconds)
        known["epochs"] = pace.epochs_within(seconds, asked.looks)
        write_record(asked.out, known)
        progress(f"{asked.minutes:g} minutes are about {known['epochs']} epochs of {images} images")
    return dataclasses.replace(options, epochs=known["epochs"])


def _working_gpus(asked: SingleTraining) -> int:
    """How many times one process's speed to expect; processes on CPUs share the cores that one would use alone."""
    import torch

    return asked.processes if torch.cuda.is_available() else 1


def _teaching_cost(asked: SingleTraining, other: Teacher | None, classes: int) -> float:
    """How many times a plain training's time this one takes, its teacher's and the search for scales included."""
    from yolov6space.cost import cost

    plain = epochs_share(asked.candidate.model)
    if asked.teacher == "self":
        return 2 * plain + TEACHER_SHARE
    if other is None:
        return plain
    flops = [
        cost(model, num_classes=classes, image_size=640).flops
        for model in (other.model, asked.candidate.model)
    ]
    return plain + TEACHER_SHARE * flops[0] / flops[1]
