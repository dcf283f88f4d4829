"""Task alignment learning (TOOD, arXiv 2108.07755), the paper's assigner (2.4.1)."""

from dataclasses import dataclass

import torch

from search.training.assigners.base import (
    Anchors,
    Assignment,
    GroundTruth,
    Predictions,
    keep_best,
    no_assignment,
    side_margin,
)
from search.training.geometry import rowwise_iou

_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class TaskAlignedAssigner:
    """Each object takes the `topk` points inside its box with the highest alignment score^alpha * iou^beta.

    A point wanted by several objects goes to the one with the highest IoU. The target score of a point is its
    alignment divided by the object's best alignment, times the object's best IoU. Defaults: release 0.2.0.
    """

    topk: int = 13
    alpha: float = 1.0
    beta: float = 6.0

    def __call__(self, predictions: Predictions, anchors: Anchors, truth: GroundTruth) -> Assignment:
        if not len(truth):
            return no_assignment(predictions.boxes)
        batch, points, _ = predictions.class_logits.shape
        overlap_MA = rowwise_iou(truth.boxes, predictions.boxes.transpose(1, 2)[truth.image])
        score_MA = predictions.class_logits.transpose(1, 2)[truth.image, truth.labels].sigmoid()
        alignment_MA = score_MA.pow_(self.alpha).mul_(overlap_MA.pow(self.beta))
        alignment_MA.masked_fill_(side_margin(anchors.points, truth.boxes) <= _TINY, -1)
        best_MK, anchor_MK = alignment_MA.topk(min(self.topk, points), dim=1)
        inside_MK = best_MK >= 0

        truth_P = torch.arange(len(truth), device=best_MK.device)[:, None].expand_as(best_MK)[inside_MK]
        anchor_P = anchor_MK[inside_MK]
        alignment_P = best_MK[inside_MK]
        overlap_P = overlap_MA[truth_P, anchor_P]
        place_P = truth.image[truth_P] * points + anchor_P
        kept = keep_best(place_P, overlap_P, batch * points)
        place_P, truth_P, alignment_P, overlap_P = (
            values[kept] for values in (place_P, truth_P, alignment_P, overlap_P)
        )
        top_alignment_M = alignment_P.new_zeros(len(truth)).scatter_reduce_(0, truth_P, alignment_P, "amax")
        top_overlap_M = overlap_P.new_zeros(len(truth)).scatter_reduce_(0, truth_P, overlap_P, "amax")
        share_P = alignment_P / top_alignment_M[truth_P].clamp(min=_TINY)
        return Assignment(place_P, truth_P, share_P * top_overlap_M[truth_P])
