"""How detections are made from a network's output; part of every accuracy result."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """Rules from image to detections.

    Attributes:
        conf_threshold: a class score must exceed it.
        nms_iou: of two boxes of one class that overlap more, the lower score goes.
        max_detections: kept per image, highest scores first.
        max_candidates: boxes that enter NMS per image, highest scores first.
        multi_label: one anchor may give several classes; else its best class alone.
        fill: grey of the letterbox border.
    """

    conf_threshold: float = 0.03
    nms_iou: float = 0.65
    max_detections: int = 300
    max_candidates: int = 30_000
    multi_label: bool = True
    fill: int = 114

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


# YOLOv6's evaluation settings: tools/eval.py and yolov6/utils/nms.py of release 0.2.
PAPER = Protocol()
