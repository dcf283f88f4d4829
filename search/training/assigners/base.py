"""What an assigner is given and what it gives back.

Shape legend: B batch, A anchor points, C classes, M ground truths of all images, P positive anchor points.
Boxes are x1, y1, x2, y2 in pixels of the input; everything is float32 and without gradient.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """All objects of a batch in one list.

    Attributes:
        boxes: M,4, positive area.
        labels: M, 0..C-1.
        image: M, 0..B-1, which image of the batch an object belongs to.
    """

    boxes: Tensor
    labels: Tensor
    image: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> "GroundTruth":
        """The same on `device`."""
        return GroundTruth(self.boxes.to(device), self.labels.to(device), self.image.to(device))


@dataclass(frozen=True, slots=True)
class Predictions:
    """What the network said. `class_logits` B,A,C; `boxes` B,A,4."""

    class_logits: Tensor
    boxes: Tensor


@dataclass(frozen=True, slots=True)
class Anchors:
    """Anchor points: centres `points` A,2 in pixels, `strides` A."""

    points: Tensor
    strides: Tensor


@dataclass(frozen=True, slots=True)
class Assignment:
    """The P positive anchor points; every other one is background. An anchor point appears at most once.

    Attributes:
        place: P, image * A + anchor point.
        truth: P, index of the ground truth (0..M-1) it has to find.
        score: P, 0..1, target score of that object's class.
    """

    place: Tensor
    truth: Tensor
    score: Tensor


class Assigner(Protocol):
    """Chooses the anchor points that learn each object. Called without gradient; M may be 0."""

    def __call__(self, predictions: Predictions, anchors: Anchors, truth: GroundTruth) -> Assignment: ...


def no_assignment(like: Tensor) -> Assignment:
    """Everything is background."""
    empty = torch.empty(0, dtype=torch.long, device=like.device)
    return Assignment(empty, empty, like.new_empty(0))


def side_margin(points: Tensor, boxes: Tensor) -> Tensor:
    """M,A: distance of each of the points A,2 to the nearest side of each of the boxes M,4; above zero inside."""
    x, y = points.unbind(-1)
    left, top, right, bottom = boxes[:, :, None].unbind(1)
    horizontal = torch.minimum(x - left, right - x)
    return torch.minimum(horizontal, torch.minimum(y - top, bottom - y), out=horizontal)


def keep_best(place: Tensor, preference: Tensor, places: int) -> Tensor:
    """Mask P: of several claims to one place, the one with the highest preference (ties: the first).

    `place` P holds 0..places-1, `preference` P any finite number.
    """
    best = preference.new_full((places,), -torch.inf)
    best.scatter_reduce_(0, place, preference, "amax")
    holds = (preference == best[place]).nonzero().squeeze(1)
    first = torch.full((places,), len(place), device=place.device, dtype=torch.long)
    first.scatter_reduce_(0, place[holds], holds, "amin")
    mask = torch.zeros_like(place, dtype=torch.bool)
    mask[holds] = first[place[holds]] == holds
    return mask
