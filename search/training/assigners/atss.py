"""Adaptive training sample selection (arXiv 1912.02424), which the release uses for the first epochs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from search.training.assigners.base import (
    Anchors,
    Assignment,
    GroundTruth,
    Predictions,
    keep_best,
    no_assignment,
    side_margin,
)
from search.training.geometry import iou

CELL_STRIDES = 5.0  # side of the square anchor box around a point, in strides (release 0.2.0)
_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class AtssAssigner:
    """Each object takes, of the `topk` nearest points per stride, those inside it whose anchor box fits best.

    Best means an overlap of at least mean plus standard deviation of the overlaps of these nearest points. A
    point wanted by several objects goes to the one its anchor box overlaps most. The target score is the IoU
    of the predicted box, as the release has it, or with `hard` 1, as the paper of ATSS has it.
    """

    topk: int = 9
    hard: bool = False

    def __call__(self, predictions: Predictions, anchors: Anchors, truth: GroundTruth) -> Assignment:
        if not len(truth):
            return no_assignment(predictions.boxes)
        batch, points, _ = predictions.class_logits.shape
        anchor_MK = self._nearest(anchors, truth)
        half_A1 = 0.5 * CELL_STRIDES * anchors.strides[:, None]
        cells_A4 = torch.cat((anchors.points - half_A1, anchors.points + half_A1), 1)
        overlap_MK = iou(cells_A4[anchor_MK], truth.boxes[:, None])
        threshold_M1 = overlap_MK.mean(1, keepdim=True) + overlap_MK.std(1, keepdim=True)
        inside_MK = side_margin(anchors.points, truth.boxes).gather(1, anchor_MK) > _TINY
        positive_MK = inside_MK & (overlap_MK >= threshold_M1)

        truth_P = torch.arange(len(truth), device=anchor_MK.device)[:, None].expand_as(anchor_MK)[positive_MK]
        anchor_P = anchor_MK[positive_MK]
        place_P = truth.image[truth_P] * points + anchor_P
        kept = keep_best(place_P, overlap_MK[positive_MK], batch * points)
        place_P, truth_P = place_P[kept], truth_P[kept]
        if self.hard:
            return Assignment(place_P, truth_P, overlap_MK.new_ones(len(place_P)))
        found_P4 = predictions.boxes[place_P // points, place_P % points]
        return Assignment(place_P, truth_P, iou(found_P4, truth.boxes[truth_P]))

    def _nearest(self, anchors: Anchors, truth: GroundTruth) -> Tensor:
        """M,K: the nearest points of every stride."""
        centres = (truth.boxes[:, :2] + truth.boxes[:, 2:]) / 2
        distance_MA = torch.cdist(centres, anchors.points)
        chosen = []
        for stride in anchors.strides.unique().tolist():
            level = (anchors.strides == stride).nonzero().squeeze(1)
            nearest = distance_MA[:, level].topk(min(self.topk, len(level)), largest=False).indices
            chosen.append(level[nearest])
        return torch.cat(chosen, 1)
