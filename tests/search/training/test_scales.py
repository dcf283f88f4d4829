"""RepOptimizer training: scales first, then gradients times what they prescribe; safe to kill in both halves."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from evaluators.data import DetectionData
from search.training import TrainingOptions, TrainingProgress, load_detector, train
from search.training.estimate import random_batch
from search.training.schedule import Plan
from search.training.step import Stepper
from search.training.weights import same_weights
from tests.search.training.kills import Killed, kill_after
from yolov6space.candidate import Candidate
from yolov6space.networks import build, realistic_statistics


@pytest.fixture
def repopt(tiny: Candidate) -> Candidate:
    return dataclasses.replace(tiny, model=dataclasses.replace(tiny.model, conv="repopt"))


def options(**changes) -> TrainingOptions:
    return TrainingOptions(**{"epochs": 20, "image_size": 64, "batch": 8, "amp": "off", **changes})


def test_a_kernels_step_is_the_plain_one_times_its_multiplier(repopt: Candidate) -> None:
    told = options()
    plan = dataclasses.replace(Plan.of(repopt.model, told, images=80), lr=0.01)
    batch = random_batch(2, 4, 64, torch.Generator().manual_seed(0))
    moved = {}
    for factor in (None, 3.0):
        torch.manual_seed(0)
        detector = realistic_statistics(
            build(repopt.model, 2)
        )  # fresh predictors are zero and pass no gradient
        name = "backbone.stage2.down.conv.weight"
        kernel = detector.get_parameter(name)
        multipliers = None if factor is None else {name: torch.full_like(kernel, factor)}
        stepper = Stepper.of(
            detector,
            repopt.recipe,
            plan,
            image_size=64,
            amp="off",
            device=torch.device("cpu"),
            multipliers=multipliers,
        )
        for group in stepper.optimizer.param_groups:
            group["weight_decay"] = 0.0
        before = {key: value.detach().clone() for key, value in detector.named_parameters()}
        stepper.step(batch, 0)
        moved[factor] = {key: value.detach() - before[key] for key, value in detector.named_parameters()}
    assert moved[None][name].abs().max() > 0
    for key, step in moved[None].items():
        expected = 3.0 * step if key == name else step
        torch.testing.assert_close(moved[3.0][key], expected, rtol=1e-3, atol=1e-6)


def test_scales_are_found_first_and_a_kill_in_either_half_changes_nothing(
    repopt: Candidate, rectangles: DetectionData, tmp_path: Path
) -> None:
    told = options(checkpoint_seconds=0)
    seen: list[TrainingProgress] = []
    unbroken = train(repopt, rectangles, told, folder=tmp_path / "unbroken", on_progress=seen.append)
    assert {now.phase for now in seen} == {"scales", ""} and seen[0].phase == "scales"
    assert (unbroken.steps, seen[0].steps) == (25, 2)
    assert unbroken.images_seen == (25 + 2) * 8
    broken = tmp_path / "broken"
    for steps in (1, 4, 9):  # two steps find the scales
        with pytest.raises(Killed):
            train(repopt, rectangles, told, folder=broken, device_guard=kill_after(steps))
    found = json.loads((broken / "scales" / "found.json").read_text())
    again = train(repopt, rectangles, told, folder=broken)
    weights = again.weights
    assert again.images_seen == unbroken.images_seen and again.seconds > found["seconds"] > 0
    assert same_weights(
        load_detector(repopt.model, 2, unbroken.weights), load_detector(repopt.model, 2, weights)
    )


def test_scales_that_another_run_found_in_the_folder_are_not_used(
    repopt: Candidate, rectangles: DetectionData, tmp_path: Path
) -> None:
    for seed in (1, 2, 1):
        seen: list[TrainingProgress] = []
        told = options(epochs=1, seed=seed)
        train(repopt, rectangles, told, folder=tmp_path / "run", on_progress=seen.append)
        assert "scales" in {now.phase for now in seen}
