"""Boxes as tensors. Boxes are x1, y1, x2, y2 on the last axis; M ground truths, A anchor points.

Predicted boxes may be inside out (x2 < x1): a side without DFL is unbounded. Their area counts as zero.
"""

import torch
from torch import Tensor

EPSILON = 1e-7


def area(boxes: Tensor) -> Tensor:
    """Areas (...) of boxes (..., 4); zero for boxes that are inside out."""
    sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def intersection(first: Tensor, second: Tensor) -> Tensor:
    """Intersection areas (...) of boxes that broadcast against each other."""
    sides = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    sides = sides.clamp(min=0)
    return sides[..., 0] * sides[..., 1]


def iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union, 0..1, of boxes that broadcast against each other; finite for empty boxes."""
    shared = intersection(first, second)
    return shared / (area(first) + area(second) - shared).clamp(min=EPSILON)


def rowwise_iou(boxes: Tensor, rows: Tensor) -> Tensor:
    """IoU M,A of box m of (M,4) with each of the A boxes laid out for it as rows (M,4,A).

    The same as `iou`, with coordinates as separate rows: on a CPU several times faster than strided slices.
    """
    x1, y1, x2, y2 = rows.unbind(1)
    left, top, right, bottom = boxes[:, :, None].unbind(1)
    width = torch.minimum(x2, right).sub_(torch.maximum(x1, left)).clamp_(min=0)
    height = torch.minimum(y2, bottom).sub_(torch.maximum(y1, top)).clamp_(min=0)
    shared = width.mul_(height)
    areas = (x2 - x1).clamp_(min=0).mul_((y2 - y1).clamp_(min=0))
    union = areas.add_((right - left) * (bottom - top)).sub_(shared).clamp_(min=EPSILON)
    return shared.div_(union)
