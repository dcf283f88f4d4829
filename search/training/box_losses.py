"""Box regression losses: matched boxes (P,4) and (P,4) to P losses, 0 for equal boxes.

Boxes are x1, y1, x2, y2 in any common unit (ours: strides); the second argument is the ground truth, of
positive area. Predictions may be anything finite, inside-out boxes included; value and gradient stay finite.
Adding a loss: one function and one key in `BOX_LOSSES`.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from search.training.geometry import EPSILON, area, intersection, iou

BoxLoss = Callable[[Tensor, Tensor], Tensor]

SIOU_THETA = 4  # exponent of the shape cost (release 0.2.0)
_MIN_SIDE = 1e-2  # strides; keeps the gradient of the aspect term of CIoU bounded


def giou(predicted: Tensor, truth: Tensor) -> Tensor:
    """Generalised IoU, 0..2 (arXiv 1902.09630)."""
    shared = intersection(predicted, truth)
    union = (area(predicted) + area(truth) - shared).clamp(min=EPSILON)
    width, height = _enclosing_sides(predicted, truth)
    hull = (width * height).clamp(min=EPSILON)
    return 1 - shared / union + (hull - union).clamp(min=0) / hull


def diou(predicted: Tensor, truth: Tensor) -> Tensor:
    """Distance IoU, 0..2 (arXiv 1911.08287)."""
    return 1 - iou(predicted, truth) + _centre_penalty(predicted, truth)


def ciou(predicted: Tensor, truth: Tensor) -> Tensor:
    """Complete IoU: DIoU plus a penalty on the aspect ratio (arXiv 1911.08287)."""
    overlap = iou(predicted, truth)
    width, height = (predicted[..., 2:] - predicted[..., :2]).clamp(min=_MIN_SIDE).unbind(-1)
    truth_width, truth_height = (truth[..., 2:] - truth[..., :2]).clamp(min=EPSILON).unbind(-1)
    angle = torch.atan2(truth_width, truth_height) - torch.atan2(width, height)
    aspect = 4 / math.pi**2 * angle**2
    with torch.no_grad():
        balance = aspect / (1 - overlap + aspect).clamp(min=EPSILON)
    return 1 - overlap + _centre_penalty(predicted, truth) + balance * aspect


def siou(predicted: Tensor, truth: Tensor) -> Tensor:
    """SCYLLA-IoU: angle-aware distance and shape costs (arXiv 2205.12740).

    The angle cost 1 - 2 sin^2(arcsin(s) - pi/4), s the sine of the line between the centres, equals
    2 |dx dy| / (dx^2 + dy^2). Written so it needs no arcsin, whose gradient is infinite for s = 1.
    """
    dx, dy = (_double_centre(predicted) - _double_centre(truth)).mul(0.5).unbind(-1)
    angle_cost = 2 * (dx * dy).abs() / (dx**2 + dy**2 + EPSILON)
    width, height = _enclosing_sides(predicted, truth)
    gamma = 2 - angle_cost
    distance = _saturate(gamma * (dx / width) ** 2) + _saturate(gamma * (dy / height) ** 2)
    sides, truth_sides = predicted[..., 2:] - predicted[..., :2], truth[..., 2:] - truth[..., :2]
    mismatch = (sides - truth_sides).abs() / torch.maximum(sides, truth_sides).clamp(min=EPSILON)
    shape = (_saturate(mismatch) ** SIOU_THETA).sum(-1)
    return 1 - iou(predicted, truth) + 0.5 * (distance + shape)


def _saturate(cost: Tensor) -> Tensor:
    return 1 - torch.exp(-cost)


def _double_centre(boxes: Tensor) -> Tensor:
    return boxes[..., :2] + boxes[..., 2:]


def _enclosing_sides(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height of the smallest box around all corners; above zero."""
    low = torch.minimum(torch.minimum(first[..., :2], first[..., 2:]), second[..., :2])
    high = torch.maximum(torch.maximum(first[..., :2], first[..., 2:]), second[..., 2:])
    width, height = (high - low).clamp(min=EPSILON).unbind(-1)
    return width, height


def _centre_penalty(predicted: Tensor, truth: Tensor) -> Tensor:
    """Squared distance of the centres over the squared diagonal of the enclosing box."""
    offset = 0.5 * (_double_centre(predicted) - _double_centre(truth))
    width, height = _enclosing_sides(predicted, truth)
    return offset.square().sum(-1) / (width**2 + height**2)


BOX_LOSSES: dict[str, BoxLoss] = {"siou": siou, "giou": giou, "ciou": ciou, "diou": diou}
