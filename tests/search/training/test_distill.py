"""Distillation: divergences against their definitions, the weight, and what it does to a network."""

import dataclasses
import math

import pytest
import torch

from search.training.assigners import GroundTruth
from search.training.distill import (
    FINAL_SOFT_SHARE,
    TeacherNetwork,
    bin_divergence,
    class_divergence,
    soft_weight,
)
from search.training.losses import DetectionLoss
from yolov6space.candidate import ModelSpec, Recipe
from yolov6space.networks import Detector, HeadOutput, build, realistic_statistics

SIZE = 64
TRUTH = GroundTruth(
    torch.tensor([[6.0, 6.0, 40.0, 44.0], [10.0, 10.0, 26.0, 22.0]]),
    torch.tensor([0, 1]),
    torch.tensor([0, 1]),
)


def test_class_divergence_is_that_of_two_coins() -> None:
    for student, teacher in ((0.1, 0.8), (0.999, 0.001), (0.3, 0.3)):
        expected = teacher * math.log(teacher / student)
        expected += (1 - teacher) * math.log((1 - teacher) / (1 - student))
        logits = torch.tensor([student, teacher], dtype=torch.float64).logit()
        assert class_divergence(logits[:1], logits[1:]).item() == pytest.approx(expected, abs=1e-12)


def test_bin_divergence_is_summed_over_bins_and_averaged_over_sides() -> None:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    for row in range(3):
        expected = 0.0
        for side in range(4):
            p, q = teacher[row, side].softmax(0).tolist(), student[row, side].softmax(0).tolist()
            expected += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) / 4
        assert bin_divergence(student, teacher)[row].item() == pytest.approx(expected, rel=1e-9)


def test_extreme_logits_stay_finite() -> None:
    student = torch.tensor([200.0, -200.0, 0.0], requires_grad=True)
    divergence = class_divergence(student, torch.tensor([-200.0, 200.0, 200.0])).sum()
    divergence.backward()
    assert torch.isfinite(divergence) and torch.isfinite(student.grad).all()


def test_labels_take_over_from_the_teacher() -> None:
    weights = [soft_weight(step, 100) for step in range(101)]
    assert weights[0] == 1 and weights[-1] == pytest.approx(FINAL_SOFT_SHARE)
    assert weights[50] == pytest.approx((1 + FINAL_SOFT_SHARE) / 2)
    assert weights == sorted(weights, reverse=True)


def detector(model: ModelSpec, seed: int) -> Detector:
    torch.manual_seed(seed)
    return realistic_statistics(build(model, 2), seed).eval()


@pytest.mark.parametrize(("bins", "teacher_bins"), [(0, 0), (8, 8), (0, 8), (8, 0), (8, 16)])
def test_a_student_that_agrees_with_its_teacher_learns_nothing_new_from_it(
    tiny_model: ModelSpec, bins: int, teacher_bins: int
) -> None:
    student = detector(dataclasses.replace(tiny_model, reg_max=bins), 0)
    other = detector(dataclasses.replace(tiny_model, reg_max=teacher_bins), 1)
    images = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    loss = DetectionLoss(student, Recipe(box_loss="giou"), SIZE)

    def distillation(teacher: Detector, weight: float = 1.0) -> tuple[float, HeadOutput]:
        network = TeacherNetwork(teacher)
        output = student(images)
        soft = network.soft_targets(network(images), SIZE, weight)
        found = loss(output, TRUTH, soft=soft)
        found.total.backward()
        assert found.distillation is not None and not any(p.requires_grad for p in network.parameters())
        assert set(found.parts()) == {"class", "box", "dfl", "distillation"}
        return found.distillation.item(), output

    apart, _ = distillation(other)
    half, _ = distillation(other, 0.5)
    assert half == pytest.approx(apart / 2, rel=1e-4)
    if bins == teacher_bins:
        agreed, _ = distillation(student)
        assert agreed < 0.02 * apart
    assert student.head.get_submodule("level8").get_submodule("reg_pred").weight.grad.abs().sum() > 0


def test_without_a_teacher_the_loss_has_no_such_term(tiny_model: ModelSpec) -> None:
    student = detector(tiny_model, 0)
    found = DetectionLoss(student, Recipe(), SIZE)(student(torch.rand(2, 3, SIZE, SIZE)), TRUTH)
    assert found.distillation is None and "distillation" not in found.parts()
