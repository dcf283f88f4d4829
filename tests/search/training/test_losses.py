"""The loss of a batch: closed forms, perfect predictions, and number formats."""

import dataclasses
import math

import pytest
import torch

from search.training.assigners import ASSIGNERS, GroundTruth
from search.training.losses import DetectionLoss, distribution_focal_loss
from yolov6space.candidate import ModelSpec, Recipe
from yolov6space.networks import HeadOutput, build

SIZE = 64
TRUTH = GroundTruth(
    torch.tensor([[6.0, 6.0, 40.0, 44.0], [30.0, 20.0, 62.0, 60.0], [10.0, 10.0, 26.0, 22.0]]),
    torch.tensor([0, 1, 1]),
    torch.tensor([0, 0, 1]),
)
NO_TRUTH = GroundTruth(torch.empty(0, 4), torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long))


def raw_output(reg_max: int, fill: float = 1.0, dtype: torch.dtype = torch.float32) -> HeadOutput:
    points = 64 + 16 + 4
    sides = 4 if not reg_max else 4 * (reg_max + 1)
    feature = torch.zeros(0)
    return HeadOutput(
        torch.full((2, points, 2), -4.6, dtype=dtype, requires_grad=True),
        torch.full((2, points, sides), fill, dtype=dtype, requires_grad=True),
        (feature, feature, feature),
    )


def test_dfl_is_the_cross_entropy_of_the_two_neighbouring_bins() -> None:
    logits = torch.randn(1, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = [0.0, 2.25, 4.5, 9.0]  # the last is out of reach: clipped to 4.99
    expected = 0.0
    for side, distance in enumerate([0.0, 2.25, 4.5, 4.99]):
        weights = [math.exp(v) for v in logits[0, side].tolist()]
        low, share = int(distance), distance - int(distance)
        p_low, p_high = weights[low] / sum(weights), weights[low + 1] / sum(weights)
        expected -= ((1 - share) * math.log(p_low) + share * math.log(p_high)) / 4
    got = distribution_focal_loss(logits, torch.tensor([wanted], dtype=torch.float64))
    assert got.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("reg_max", [0, 16])
@pytest.mark.parametrize("assigner", sorted(ASSIGNERS))
def test_every_prediction_gets_a_finite_gradient(tiny_model: ModelSpec, reg_max: int, assigner: str) -> None:
    model = dataclasses.replace(tiny_model, reg_max=reg_max)
    loss = DetectionLoss(build(model, 2), Recipe(assigner=assigner), SIZE)
    output = raw_output(reg_max)
    parts = loss(output, TRUTH)
    parts.total.backward()
    assert torch.isfinite(parts.total)
    assert (parts.dfl.item() > 0) == (reg_max > 0)
    assert output.class_logits.grad.abs().min() > 0  # background learns too
    assert torch.isfinite(output.distances.grad).all() and output.distances.grad.abs().sum() > 0


def test_no_objects_leaves_only_the_background(tiny_model: ModelSpec) -> None:
    parts = DetectionLoss(build(tiny_model, 2), Recipe(), SIZE)(raw_output(0), NO_TRUTH)
    p = 1 / (1 + math.exp(4.6))
    assert parts.classification.item() == pytest.approx(2 * 84 * 2 * 0.75 * p**2 * -math.log(1 - p), rel=1e-4)
    assert parts.box.item() == parts.dfl.item() == 0


def test_perfect_predictions_cost_next_to_nothing(tiny_model: ModelSpec) -> None:
    detector = build(tiny_model, 2)
    points, strides = detector.anchors(SIZE, SIZE)
    one = GroundTruth(TRUTH.boxes[:1], TRUTH.labels[:1], TRUTH.image[:1])
    box = one.boxes[0]
    distances = torch.cat((points - box[:2], box[2:] - points), 1) / strides
    logits = torch.full((1, 84, 2), -20.0)
    inside = (distances > 0).all(1)
    logits[0, inside, 0] = 20.0
    output = HeadOutput(logits, distances[None], raw_output(0).features)
    loss = DetectionLoss(detector, Recipe(), SIZE)
    perfect = loss(output, one)
    assert perfect.box.item() == pytest.approx(0, abs=1e-5)
    # TAL takes 13 of the points inside; the others are background that the network takes for the object.
    spare = int(inside.sum()) - 13
    assert perfect.classification.item() == pytest.approx(0.75 * 20 * spare / 13, rel=1e-3)


def test_losses_are_computed_in_float32(tiny_model: ModelSpec) -> None:
    loss = DetectionLoss(build(tiny_model, 2), Recipe(), SIZE)
    low, full = loss(raw_output(0, dtype=torch.bfloat16), TRUTH), loss(raw_output(0), TRUTH)
    assert low.total.dtype == torch.float32
    assert low.total.item() == pytest.approx(full.total.item(), rel=0.01)


@pytest.mark.parametrize("box_loss", ["siou", "giou", "ciou", "diou"])
def test_wild_predictions_stay_finite(tiny_model: ModelSpec, box_loss: str) -> None:
    loss = DetectionLoss(build(tiny_model, 2), Recipe(box_loss=box_loss), SIZE)
    random = torch.Generator().manual_seed(1)
    for scale in (1e-6, 1.0, 50.0, 1e4):
        output = raw_output(0)
        with torch.no_grad():
            output.distances.copy_(torch.randn(2, 84, 4, generator=random) * scale)
            output.class_logits.copy_(torch.randn(2, 84, 2, generator=random) * scale)
        total = loss(output, TRUTH).total
        total.backward()
        assert torch.isfinite(total)
        assert torch.isfinite(output.distances.grad).all() and torch.isfinite(output.class_logits.grad).all()
