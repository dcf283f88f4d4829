"""From raw network output to the boxes that are kept: threshold, then non-maximum suppression per class.

Legend: A anchor points, C classes, N candidates, K kept. Boxes are x1 y1 x2 y2 in input pixels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.protocol import Protocol

# Candidates in the first round of suppression; enough to fill `max_detections` for most images.
FIRST_ROUND = 1024


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """`xyxy` float32 (N, 4), `scores` float32 (N,) falling, `labels` int64 (N,)."""

    xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def take(self, indices: NDArray[np.int64]) -> "Boxes":
        return Boxes(self.xyxy[indices], self.scores[indices], self.labels[indices])


def candidates(boxes_A4: NDArray[np.float32], scores_AC: NDArray[np.float32], protocol: Protocol) -> Boxes:
    """Boxes whose score passes the threshold, highest first; ties in anchor order. Copies, no views.

    What is no box (a side of no length, a number that is not finite) is left out.
    """
    if protocol.multi_label:
        anchors, labels = np.nonzero(scores_AC > protocol.conf_threshold)
    else:
        best = scores_AC.argmax(axis=1)
        anchors = np.flatnonzero(scores_AC[np.arange(len(best)), best] > protocol.conf_threshold)
        labels = best[anchors]
    corners = boxes_A4[anchors]
    real = np.isfinite(corners).all(axis=1) & (corners[:, 2:] > corners[:, :2]).all(axis=1)
    anchors, labels = anchors[real], labels[real]
    scores = scores_AC[anchors, labels]
    order = np.argsort(-scores, kind="stable")[: protocol.max_candidates]
    return Boxes(boxes_A4[anchors[order]], scores[order], labels[order])


def suppress(found: Boxes, protocol: Protocol) -> Boxes:
    """Greedy non-maximum suppression within each class; at most `max_detections`, highest scores first.

    Greedy suppression decides on a box by higher-scored ones alone, so the result on the first candidates is
    the beginning of the result on all: rounds grow until enough boxes are kept, which is exact and bounds
    the time for untrained networks, where nearly everything is a candidate.
    """
    import cv2

    count = len(found.scores)
    corners = found.xyxy.astype(np.float64)
    # OpenCV takes arrays, although its type stubs ask for sequences.
    rectangles: Any = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    scores: Any = found.scores
    labels: Any = found.labels.astype(np.int32)
    size = FIRST_ROUND
    while True:
        size = min(size, count)
        if size == 0:
            return found
        kept = cv2.dnn.NMSBoxesBatched(rectangles[:size], scores[:size], labels[:size], 0.0, protocol.nms_iou)
        if len(kept) >= protocol.max_detections or size == count:
            indices = np.sort(np.asarray(kept, dtype=np.int64))[: protocol.max_detections]
            return found.take(indices)
        size *= 4
