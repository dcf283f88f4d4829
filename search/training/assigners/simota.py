"""SimOTA (YOLOX, arXiv 2107.08430), the assigner of YOLOv6 v1 and of the paper's ablation (Table 6)."""

from dataclasses import dataclass

import torch
from torch.nn.functional import softplus

from search.training.assigners.base import (
    Anchors,
    Assignment,
    GroundTruth,
    Predictions,
    keep_best,
    no_assignment,
    side_margin,
)
from search.training.geometry import EPSILON, rowwise_iou

_FAR = 1e5  # cost of a point outside the box or away from its centre: taken only when nothing better is left
_UNUSABLE = 1e8  # cost of a point that is neither in the box nor near its centre


@dataclass(frozen=True, slots=True)
class SimOtaAssigner:
    """Each object takes the k cheapest points, k the sum of its ten best IoUs (at least one).

    Cost is the classification loss plus `iou_weight` times -log IoU. A point wanted by several objects goes
    to the cheapest. The target score is the IoU. Defaults: YOLOv6 0.1.0.
    """

    candidates: int = 10
    centre_radius: float = 2.5  # strides
    iou_weight: float = 3.0

    def __call__(self, predictions: Predictions, anchors: Anchors, truth: GroundTruth) -> Assignment:
        if not len(truth):
            return no_assignment(predictions.boxes)
        batch, points, _ = predictions.class_logits.shape
        overlap_MA = rowwise_iou(truth.boxes, predictions.boxes.transpose(1, 2)[truth.image])
        in_box_MA = side_margin(anchors.points, truth.boxes) > 0
        centres = (truth.boxes[:, None, :2] + truth.boxes[:, None, 2:]) / 2
        offset_MA = (anchors.points - centres).abs().amax(-1)
        in_centre_MA = offset_MA < self.centre_radius * anchors.strides

        logits_BCA = predictions.class_logits.transpose(1, 2)
        # Cross-entropy of all classes against the object's: background terms once per point, then one swap.
        background_BA = softplus(logits_BCA).sum(1)
        own_MA = logits_BCA[truth.image, truth.labels]
        cost_MA = background_BA[truth.image] - own_MA - self.iou_weight * (overlap_MA + EPSILON).log()
        cost_MA += _FAR * ~(in_box_MA & in_centre_MA) + _UNUSABLE * ~(in_box_MA | in_centre_MA)

        usable_MA = in_box_MA | in_centre_MA
        top = (overlap_MA * usable_MA).topk(min(self.candidates, points), dim=1).values
        wanted_M = top.sum(1).int().clamp(min=1)
        most = int(wanted_M.max())
        cost_MK, anchor_MK = cost_MA.topk(most, dim=1, largest=False)
        taken_MK = torch.arange(most, device=cost_MK.device) < wanted_M[:, None]
        taken_MK &= cost_MK < _UNUSABLE

        truth_P = torch.arange(len(truth), device=cost_MK.device)[:, None].expand_as(cost_MK)[taken_MK]
        anchor_P = anchor_MK[taken_MK]
        place_P = truth.image[truth_P] * points + anchor_P
        kept = keep_best(place_P, -cost_MK[taken_MK], batch * points)
        place_P, truth_P, anchor_P = place_P[kept], truth_P[kept], anchor_P[kept]
        return Assignment(place_P, truth_P, overlap_MA[truth_P, anchor_P])
