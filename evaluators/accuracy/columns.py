"""Detections as columns: a set's worth of them in 56 bytes each, where a dictionary takes kilobytes."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.detections import ImageDetections


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """N detections in list order: `images` and `categories` int64 (N,) are COCO ids, `boxes` float64 (N, 4) are
    x y width height in pixels, `scores` float64 (N,)."""

    images: NDArray[np.int64]
    categories: NDArray[np.int64]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def of_results(
        cls, results: Iterable[Mapping[str, Any]], images: Collection[Any], categories: Collection[Any]
    ) -> "Columns":
        """COCO results, without those of other images or categories, which COCO ignores."""
        kept = [one for one in results if one["image_id"] in images and one["category_id"] in categories]
        return cls(
            np.array([one["image_id"] for one in kept], dtype=np.int64),
            np.array([one["category_id"] for one in kept], dtype=np.int64),
            np.array([one["bbox"] for one in kept], dtype=np.float64).reshape(-1, 4),
            np.array([one["score"] for one in kept], dtype=np.float64),
        )

    @classmethod
    def of_images(cls, found: Sequence[ImageDetections], category_ids: Sequence[int]) -> "Columns":
        """The same numbers as the results of `ImageDetections.to_coco`, one image after the other."""
        if not found:
            return cls.of_results([], (), ())
        boxes = np.concatenate([one.xyxy for one in found]).astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        return cls(
            np.repeat(np.array([one.image_id for one in found], dtype=np.int64), [len(one) for one in found]),
            np.array(category_ids, dtype=np.int64)[np.concatenate([one.labels for one in found])],
            boxes,
            np.concatenate([one.scores for one in found]).astype(np.float64),
        )

    def take(self, rows: NDArray[Any]) -> "Columns":
        """Some of them, by index or mask."""
        return Columns(self.images[rows], self.categories[rows], self.boxes[rows], self.scores[rows])

    def best(self, most: int) -> "Columns":
        """Of each category and image the `most` highest scores (of equal ones the earlier), category by category."""
        order = np.lexsort((-self.scores, self.images, self.categories))  # stable
        images, categories = self.images[order], self.categories[order]
        begins = np.ones(len(order), dtype=np.bool_)
        begins[1:] = (images[1:] != images[:-1]) | (categories[1:] != categories[:-1])
        first = np.maximum.accumulate(np.where(begins, np.arange(len(order)), 0))
        return self.take(order[np.arange(len(order)) - first < most])

    def annotations(self) -> list[dict[str, Any]]:
        """As COCO's code keeps detections: dictionaries with ids from 1 and areas."""
        columns = (self.images, self.categories, self.boxes, self.scores, self.boxes[:, 2] * self.boxes[:, 3])
        return [
            {
                "id": identifier,
                "image_id": image,
                "category_id": category,
                "bbox": box,
                "score": score,
                "area": area,
                "iscrowd": 0,
            }
            for identifier, (image, category, box, score, area) in enumerate(
                zip(*(column.tolist() for column in columns), strict=True), start=1
            )
        ]
