"""Detection data: one way in (`load_data`), plain checked values out."""

from evaluators.data.detection_data import DetectionData, ImageRecord, Split
from evaluators.data.images import from_letterbox, letterbox, read_image, to_network
from evaluators.data.loading import load_data

__all__ = [
    "DetectionData",
    "ImageRecord",
    "Split",
    "from_letterbox",
    "letterbox",
    "load_data",
    "read_image",
    "to_network",
]
