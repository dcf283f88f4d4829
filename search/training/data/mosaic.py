"""Mosaic: four images around a random point (YOLOv4, arXiv 2004.10934)."""

from collections.abc import Sequence

import numpy as np

from evaluators.data.images import FILL
from search.training.data.cache import Sample


def mosaic(samples: Sequence[Sample], size: int, random: np.random.Generator) -> Sample:
    """Four samples, none larger than `size`, as one picture of 2 size x 2 size; grey where nothing lies.

    The corner where they meet lies anywhere in the middle half; what passes the edge is cut off. Boxes are
    cut too, and boxes with nothing left are dropped.
    """
    if len(samples) != 4:
        raise ValueError(f"a mosaic has four images, not {len(samples)}")
    side = 2 * size
    canvas = np.full((side, side, 3), FILL, dtype=np.uint8)
    meet_x, meet_y = (int(value) for value in random.integers(size // 2, side - size // 2 + 1, 2))
    boxes, labels = [], []
    for corner, sample in enumerate(samples):
        height, width = sample.image.shape[:2]
        left = meet_x - width if corner % 2 == 0 else meet_x
        top = meet_y - height if corner < 2 else meet_y
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + width, side), min(top + height, side)
        canvas[y1:y2, x1:x2] = sample.image[y1 - top : y2 - top, x1 - left : x2 - left]
        moved = sample.boxes + np.array([left, top] * 2, dtype=np.float32)
        cut = np.clip(moved, np.float32(0), np.float32(side))
        kept = ((cut[:, 2:] - cut[:, :2]) > 0).all(1)
        boxes.append(cut[kept])
        labels.append(sample.labels[kept])
    return Sample(canvas, np.concatenate(boxes), np.concatenate(labels))
