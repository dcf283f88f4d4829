"""Epochs that fit into a time: worked out from timed steps, and what else takes time."""

import dataclasses
from typing import Any

import pytest
import torch

from evaluators.data import DetectionData
from foundation.errors import UserError
from search.training import measure_pace
from search.training import pace as pace_module
from search.training.pace import Pace
from search.training.statistics import BATCHES
from tests.search.training.short_runs import options
from yolov6space.candidate import Candidate


def test_what_happens_once_and_looks_on_the_way_leave_less_for_epochs() -> None:
    pace = Pace(epoch=2.0, once=3.0, look=5.0)
    assert pace.epochs_within(23.0) == 10
    assert pace.epochs_within(23.0, looks=lambda epochs: 1) == 7
    assert pace.epochs_within(23.0, looks=lambda epochs: epochs // 2) == 5
    assert pace.epochs_within(0.1) == 1


def test_the_median_step_counts_and_the_generator_is_left_alone(
    tiny: Candidate, rectangles: DetectionData, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    real: list[float] = []

    def step_times(*arguments: Any) -> list[float]:
        real.extend(honest(*arguments))
        return [0.6, 0.6, 0.6, 30.0]  # one of them disturbed

    honest = pace_module._step_times
    monkeypatch.setattr(pace_module, "_step_times", step_times)
    told = options(batch=4)
    pace = measure_pace(tiny, rectangles, told, seconds=1.0)
    assert torch.equal(torch.rand(1), expected)
    assert len(real) >= pace_module.PILOT_STEPS and all(0 < each < 60 for each in real)
    assert pace.epoch == pytest.approx(0.6 * len(rectangles.split("train")) / 4)
    assert pace.look == pytest.approx(0.2 * len(rectangles.split("val")) / 4)
    assert pace.once > BATCHES * 0.2


def test_no_training_images_are_said(tiny: Candidate, rectangles: DetectionData) -> None:
    empty = dataclasses.replace(
        rectangles, splits={**rectangles.splits, "train": rectangles.split("train").subset([])}
    )
    with pytest.raises(UserError, match="no training images"):
        measure_pace(tiny, empty, options(), seconds=1.0)
