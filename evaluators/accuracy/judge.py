"""AP of an engine on a split: the one way from images to figures."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evaluators.accuracy.coco import evaluate
from evaluators.accuracy.detect import Engine, detect
from evaluators.accuracy.figures import CocoFigures
from evaluators.accuracy.protocol import PAPER, Protocol
from evaluators.accuracy.truth import ground_truth_of
from evaluators.data.detection_data import Split


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Figures and what they are figures of. `seconds`: detection, without the evaluation that follows."""

    figures: CocoFigures
    split: str
    images: int
    image_size: int
    protocol: Protocol
    detections: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "figures": self.figures.to_dict(),
            "split": self.split,
            "images": self.images,
            "image_size": self.image_size,
            "protocol": self.protocol.to_dict(),
            "detections": self.detections,
            "seconds": self.seconds,
        }


def judge(
    engine: Engine,
    split: Split,
    *,
    image_size: int,
    protocol: Protocol = PAPER,
    limit: int | None = None,
    on_image: Callable[[int], None] | None = None,
) -> Accuracy:
    """Detect and evaluate; arguments and errors as of `detect`. With `limit`, only those images count."""
    part = split if limit is None else split.subset(range(min(limit, len(split))))
    start = time.perf_counter()
    detections = detect(engine, part, image_size=image_size, protocol=protocol, on_image=on_image)
    seconds = time.perf_counter() - start
    figures = evaluate(ground_truth_of(part), detections)
    return Accuracy(figures, part.name, len(part), image_size, protocol, len(detections), seconds)
