"""From an image file to the tensor a network sees, and boxes back again.

Legend: H height, W width, C channels, N boxes. Boxes are x1 y1 x2 y2 in pixels.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foundation.errors import UserError

# Grey of the border around a letterboxed image (YOLOv6 and its ancestors).
FILL = 114

Image = NDArray[np.uint8]


def read_image(path: Path | str) -> Image:
    """Read an image as BGR uint8 HWC; grey images get three equal channels, transparency is left out.

    EXIF orientation is ignored, because COCO boxes refer to the pixels as stored.

    Raises:
        UserError: the file is missing, truncated or no image.
    """
    import cv2

    try:
        data = Path(path).read_bytes()  # cv2.imread cannot open every path on every system
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); check the path and permissions"
        ) from error
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags) if data else None
    except cv2.error:
        image = None
    if image is None:
        raise UserError(f"{path}: not a readable image; replace the file or remove its entry")
    if _truncated(data):
        raise UserError(f"{path}: the image ends in the middle; replace the file or remove its entry")
    return np.asarray(image, dtype=np.uint8)


def _truncated(data: bytes) -> bool:
    """Whether a JPEG or PNG lacks its end mark; OpenCV fills what is missing with grey and says nothing."""
    if data.startswith(b"\xff\xd8"):
        # Within coded pixels 0xFF is escaped, so after the last start of scan the end mark is unmistakable.
        scan = data.rfind(b"\xff\xda")
        return data.find(b"\xff\xd9", scan) < 0
    if data.startswith(b"\x89PNG"):
        return b"IEND" not in data
    return False


def letterbox(image: Image, size: int, fill: int = FILL) -> tuple[Image, float, tuple[int, int]]:
    """Scale the longer side to `size` and centre the image on a square of grey.

    Returns:
        The (size, size, 3) image, the scale, and (left, top) of the border in pixels:
        x_square = x_image * scale + left. Shrinking averages over areas, enlarging is bilinear.
    """
    import cv2

    height, width = image.shape[:2]
    scale = size / max(height, width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    if (new_width, new_height) != (width, height):
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = np.asarray(cv2.resize(image, (new_width, new_height), interpolation=method), dtype=np.uint8)
    left, top = (size - new_width) // 2, (size - new_height) // 2
    square = np.full((size, size, 3), fill, dtype=np.uint8)
    square[top : top + new_height, left : left + new_width] = image
    return square, scale, (left, top)


def from_letterbox(
    boxes: NDArray[np.floating], scale: float, pad: tuple[int, int], width: int, height: int
) -> NDArray[np.float32]:
    """Take (N, 4) boxes from the letterboxed square back to the image, clipped to its width and height."""
    offset = np.array([pad[0], pad[1], pad[0], pad[1]], dtype=np.float32)
    limits = np.array([width, height, width, height], dtype=np.float32)
    restored = (np.asarray(boxes, dtype=np.float32) - offset) / np.float32(scale)
    return np.clip(restored, np.float32(0), limits)


def to_network(image: Image) -> NDArray[np.float32]:
    """BGR uint8 HWC -> RGB float32 CHW in 0..1."""
    return np.ascontiguousarray(image[:, :, ::-1].transpose(2, 0, 1), dtype=np.float32) / np.float32(255)
