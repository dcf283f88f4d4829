"""Where an image lies in a network's input, and the way back for boxes.

YOLOv6's arithmetic, as facts of release 0.2 (`yolov6/data/datasets.py`, `yolov6/core/evaler.py`): the longer
side is scaled to a load size and the other side cut to whole pixels; the rest of the input is grey.

Legend: H height, W width, N boxes. Boxes are x1 y1 x2 y2 in pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.protocol import Protocol
from evaluators.data.detection_data import ImageRecord
from evaluators.data.images import Image

STRIDE = 32  # the networks' largest


@dataclass(frozen=True, slots=True)
class Placement:
    """x_input = x_image * scale_x + left, and the same for y; `width` and `height` are the stored image's."""

    scale_x: float
    scale_y: float
    left: float
    top: float
    width: int
    height: int

    def to_image(self, boxes: NDArray[np.floating]) -> NDArray[np.float32]:
        """Take (N, 4) boxes from the input to the stored image, clipped to it."""
        offset = np.array([self.left, self.top] * 2, dtype=np.float32)
        scale = np.array([self.scale_x, self.scale_y] * 2, dtype=np.float32)
        limits = np.array([self.width, self.height] * 2, dtype=np.float32)
        restored = (np.asarray(boxes, dtype=np.float32) - offset) / scale
        return np.clip(restored, np.float32(0), limits)


def place(
    image: Image, shape: tuple[int, int], image_size: int, protocol: Protocol
) -> tuple[Image, Placement]:
    """Draw an image into an input of `shape` (height, width); (H, W, 3) uint8 and where it lies there.

    Shrinking averages over areas, enlarging is bilinear.
    """
    import cv2

    height, width = image.shape[:2]
    new_width, new_height = scaled(width, height, protocol.load_pixels(image_size))
    if (new_width, new_height) != (width, height):
        method = cv2.INTER_AREA if max(new_width, new_height) < max(width, height) else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, (new_width, new_height), interpolation=method), dtype=np.uint8)
    half_x, half_y = (shape[1] - new_width) / 2, (shape[0] - new_height) / 2
    left, top = round(half_x - 0.1), round(half_y - 0.1)
    canvas = np.full((*shape, 3), protocol.fill, dtype=np.uint8)
    canvas[top : top + new_height, left : left + new_width] = image
    scale_y = new_height / height
    return canvas, Placement(
        scale_x=new_width / width if protocol.exact_scale else scale_y,
        scale_y=scale_y,
        left=left if protocol.whole_border else half_x,
        top=top if protocol.whole_border else half_y,
        width=width,
        height=height,
    )


def scaled(width: int, height: int, longer: int) -> tuple[int, int]:
    """Width and height with the longer side scaled to `longer`; fractions are cut off, never below a pixel."""
    ratio = longer / max(width, height)
    if ratio == 1:
        return width, height
    return max(1, int(width * ratio)), max(1, int(height * ratio))


def rectangle(images: Sequence[ImageRecord], image_size: int, extra_border: float) -> tuple[int, int]:
    """Height and width of the input for a batch: its most extreme shape, in whole strides."""
    ratios = [image.height / image.width for image in images]
    tallest, flattest = max(ratios), min(ratios)
    height, width = 1.0, 1.0
    if tallest < 1:
        height = tallest
    elif flattest > 1:
        width = 1 / flattest
    return _strides(height, image_size, extra_border), _strides(width, image_size, extra_border)


def _strides(share: float, image_size: int, extra: float) -> int:
    return math.ceil(share * image_size / STRIDE + extra) * STRIDE
