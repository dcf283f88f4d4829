"""The detections of one image, small enough to keep those of a whole set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class ImageDetections:
    """`xyxy` float32 (N, 4) in pixels of the stored image, `scores` float32 (N,) falling, `labels` int64 (N,)."""

    image_id: int
    xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    def to_coco(self, category_ids: Sequence[int]) -> list[dict[str, Any]]:
        """COCO results: image_id, category_id (of `category_ids` by label), bbox [x, y, width, height], score."""
        boxes = self.xyxy.astype(np.float64)
        boxes[:, 2:] -= boxes[:, :2]
        return [
            {"image_id": self.image_id, "category_id": category_ids[label], "bbox": box, "score": score}
            for box, score, label in zip(
                boxes.tolist(), self.scores.tolist(), self.labels.tolist(), strict=True
            )
        ]

    def to_dict(self) -> dict[str, Any]:
        """JSON form; `from_dict` gives exactly the same numbers again."""
        return {
            "image_id": self.image_id,
            "xyxy": self.xyxy.tolist(),
            "scores": self.scores.tolist(),
            "labels": self.labels.tolist(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "ImageDetections":
        """Inverse of `to_dict`. Raises KeyError or ValueError when it is none."""
        return cls(
            int(data["image_id"]),
            np.array(data["xyxy"], dtype=np.float32).reshape(-1, 4),
            np.array(data["scores"], dtype=np.float32),
            np.array(data["labels"], dtype=np.int64),
        )
