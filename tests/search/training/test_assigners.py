"""Assigners against slow formulations: loops over images, objects and points, one decision at a time."""

import math
from functools import partial
from itertools import product

import pytest
import torch
from torch import Tensor

from search.training.assigners import (
    ASSIGNERS,
    Anchors,
    Assigner,
    Assignment,
    AtssAssigner,
    GroundTruth,
    Predictions,
    SimOtaAssigner,
    TaskAlignedAssigner,
)
from search.training.geometry import iou
from yolov6space import candidate

SIZE, CLASSES, BATCH = 128, 3, 3
CHOICE = dict[int, tuple[int, float]]  # place -> object, score


def anchors() -> Anchors:
    points, strides = [], []
    for stride in (8, 16, 32):
        for row, column in product(range(SIZE // stride), repeat=2):
            points.append(((column + 0.5) * stride, (row + 0.5) * stride))
            strides.append(float(stride))
    return Anchors(torch.tensor(points), torch.tensor(strides))


def scene(seed: int, objects: int) -> tuple[Predictions, Anchors, GroundTruth]:
    """Objects that overlap each other, and predictions that are partly right; the second image stays empty."""
    random = torch.Generator().manual_seed(seed)
    grid = anchors()
    count = len(grid.points)
    sides = 6 + 70 * torch.rand(objects, 2, generator=random)
    corner = torch.rand(objects, 2, generator=random) * (SIZE - sides)
    truth = GroundTruth(
        torch.cat((corner, corner + sides), 1),
        torch.randint(CLASSES, (objects,), generator=random),
        (torch.randint(2, (objects,), generator=random) * 2).sort().values,
    )
    reach = torch.rand(BATCH, count, 4, generator=random) * 4 * grid.strides[:, None]
    boxes = torch.cat((grid.points - reach[..., :2], grid.points + reach[..., 2:]), -1)
    return Predictions(torch.randn(BATCH, count, CLASSES, generator=random), boxes), grid, truth


def inside(point: Tensor, box: Tensor) -> bool:
    return bool((point > box[:2]).all() and (point < box[2:]).all())


def as_choice(assignment: Assignment) -> CHOICE:
    rows = zip(assignment.place.tolist(), assignment.truth.tolist(), assignment.score.tolist(), strict=True)
    choice = {place: (truth, score) for place, truth, score in rows}
    assert len(choice) == len(assignment.place), "a point was given to two objects"
    return choice


def settle(claims: list[tuple[int, int, float]]) -> dict[int, int]:
    """Place -> object from claims (place, object, preference)."""
    best: dict[int, tuple[float, int]] = {}
    for place, owner, preference in claims:
        if place not in best or preference > best[place][0]:
            best[place] = preference, owner
    return {place: owner for place, (_, owner) in best.items()}


def slow_tal(predictions: Predictions, grid: Anchors, truth: GroundTruth) -> CHOICE:
    count, overlap, alignment, claims = len(grid.points), {}, {}, []
    for m in range(len(truth)):
        image, label = int(truth.image[m]), int(truth.labels[m])
        metrics = []
        for a in range(count):
            overlap[m, a] = iou(truth.boxes[m], predictions.boxes[image, a]).item()
            score = 1 / (1 + math.exp(-predictions.class_logits[image, a, label].item()))
            alignment[m, a] = score * overlap[m, a] ** 6
            if inside(grid.points[a], truth.boxes[m]):
                metrics.append((alignment[m, a], a))
        for _, a in sorted(metrics, reverse=True)[:13]:
            claims.append((image * count + a, m, overlap[m, a]))
    owners = settle(claims)
    choice = {}
    for place, m in owners.items():
        own = [other % count for other, owner in owners.items() if owner == m]
        best = max(alignment[m, a] for a in own)
        share = alignment[m, place % count] / max(best, 1e-9)
        choice[place] = m, share * max(overlap[m, a] for a in own)
    return choice


def slow_atss(predictions: Predictions, grid: Anchors, truth: GroundTruth, hard: bool = False) -> CHOICE:
    count, claims = len(grid.points), []
    half = 2.5 * grid.strides[:, None]
    cells = torch.cat((grid.points - half, grid.points + half), 1)
    for m in range(len(truth)):
        centre = (truth.boxes[m, :2] + truth.boxes[m, 2:]) / 2
        near: list[int] = []
        for stride in (8, 16, 32):
            level = [a for a in range(count) if grid.strides[a] == stride]
            near += sorted(level, key=lambda a: math.dist(centre.tolist(), grid.points[a].tolist()))[:9]
        overlaps = [iou(cells[a], truth.boxes[m]).item() for a in near]
        mean = sum(overlaps) / len(near)
        bar = mean + math.sqrt(sum((value - mean) ** 2 for value in overlaps) / (len(near) - 1))
        for a, value in zip(near, overlaps, strict=True):
            if value >= bar and inside(grid.points[a], truth.boxes[m]):
                claims.append((int(truth.image[m]) * count + a, m, value))
    return {
        place: (
            m,
            1.0 if hard else iou(predictions.boxes[place // count, place % count], truth.boxes[m]).item(),
        )
        for place, m in settle(claims).items()
    }


def slow_simota(predictions: Predictions, grid: Anchors, truth: GroundTruth) -> CHOICE:
    count, claims, overlaps = len(grid.points), [], {}
    for m in range(len(truth)):
        image, box = int(truth.image[m]), truth.boxes[m]
        centre = (box[:2] + box[2:]) / 2
        costs = []
        for a in range(count):
            in_box = inside(grid.points[a], box)
            near = bool(((grid.points[a] - centre).abs() < 2.5 * grid.strides[a]).all())
            if not (in_box or near):
                continue
            overlaps[m, a] = iou(predictions.boxes[image, a], box).item()
            cost = -3 * math.log(overlaps[m, a] + 1e-7) + (0 if in_box and near else 1e5)
            for c in range(CLASSES):
                p = 1 / (1 + math.exp(-predictions.class_logits[image, a, c].item()))
                cost -= math.log(p if c == truth.labels[m] else 1 - p)
            costs.append((cost, a))
        ten = sorted((overlaps[m, a] for _, a in costs), reverse=True)[:10]
        for cost, a in sorted(costs)[: max(1, int(sum(ten)))]:
            claims.append((image * count + a, m, -cost))
    return {place: (m, overlaps[m, place % count]) for place, m in settle(claims).items()}


CASES = [
    (TaskAlignedAssigner(), slow_tal),
    (AtssAssigner(), slow_atss),
    (AtssAssigner(hard=True), partial(slow_atss, hard=True)),
    (SimOtaAssigner(), slow_simota),
]


@pytest.mark.parametrize(("assigner", "slow"), CASES, ids=["tal", "atss", "hard atss", "simota"])
@pytest.mark.parametrize("seed", range(4))
def test_equals_the_loops(assigner: Assigner, slow, seed: int) -> None:
    predictions, grid, truth = scene(seed, objects=9)
    got, want = as_choice(assigner(predictions, grid, truth)), slow(predictions, grid, truth)
    assert want
    assert {place: owner for place, (owner, _) in got.items()} == {
        place: owner for place, (owner, _) in want.items()
    }
    for place, (_, score) in want.items():
        assert got[place][1] == pytest.approx(score, abs=1e-4)


@pytest.mark.parametrize("name", sorted(ASSIGNERS))
def test_no_objects_means_no_positives(name: str) -> None:
    predictions, grid, _ = scene(0, objects=1)
    none = GroundTruth(torch.empty(0, 4), torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long))
    assert len(ASSIGNERS[name](predictions, grid, none).place) == 0


@pytest.mark.parametrize("name", sorted(ASSIGNERS))
def test_inside_out_predictions_are_survived(name: str) -> None:
    predictions, grid, truth = scene(1, objects=5)
    flipped = Predictions(predictions.class_logits, predictions.boxes[..., [2, 3, 0, 1]])
    assignment = ASSIGNERS[name](flipped, grid, truth)
    assert torch.isfinite(assignment.score).all()
    assert ((assignment.score >= 0) & (assignment.score <= 1)).all()


def test_every_assigner_of_a_recipe_exists() -> None:
    assert set(ASSIGNERS) == set(candidate.ASSIGNERS)
