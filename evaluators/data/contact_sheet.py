"""A contact sheet: some images of a split with their boxes and classes drawn in."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluators.data.detection_data import Split
from evaluators.data.images import letterbox, read_image
from foundation.errors import UserError

# BGR, told apart on dark and light images alike.
COLOURS = ((80, 220, 60), (60, 120, 255), (255, 170, 40), (220, 90, 240), (60, 230, 240), (120, 120, 255))
CROWD = (160, 160, 160)


def contact_sheet(
    split: Split, class_names: Sequence[str], *, columns: int = 4, rows: int = 3, tile: int = 240
) -> NDArray[np.uint8]:
    """BGR image of `rows` x `columns` tiles of `tile` pixels, images taken evenly from the split.

    Raises:
        UserError: an image cannot be read.
    """
    sheet = np.full((rows * tile, columns * tile, 3), 255, dtype=np.uint8)
    chosen = np.unique(np.linspace(0, len(split) - 1, rows * columns).round().astype(int))
    for place, index in enumerate(chosen.tolist()):
        top, left = place // columns * tile, place % columns * tile
        sheet[top : top + tile, left : left + tile] = _tile(split, index, class_names, tile)
    return sheet


def write_sheet(sheet: NDArray[np.uint8], path: Path) -> None:
    """Write a sheet as JPEG or PNG, by the ending. Raises UserError when that is impossible."""
    import cv2

    if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise UserError(f"{path}: name the contact sheet .jpg or .png")
    ending = path.suffix.lower()
    options = [] if ending == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 80]
    encoded = cv2.imencode(ending, sheet, options)[1]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded.tobytes())
    except (PermissionError, NotADirectoryError, FileExistsError, IsADirectoryError) as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def _tile(split: Split, index: int, class_names: Sequence[str], tile: int) -> NDArray[np.uint8]:
    import cv2

    square, scale, (left, top) = letterbox(read_image(split.images[index].path), tile, fill=255)
    square = np.ascontiguousarray(square)
    for box, label, crowd in zip(split.boxes[index], split.labels[index], split.crowd[index], strict=True):
        x1, y1, x2, y2 = (box * scale + [left, top, left, top]).round().astype(int).tolist()
        colour = CROWD if crowd else COLOURS[int(label) % len(COLOURS)]
        cv2.rectangle(square, (x1, y1), (x2, y2), colour, 1)
        place = (x1, max(y1 - 2, 9))
        for ink, width in (((0, 0, 0), 2), (colour, 1)):  # a dark rim keeps names readable
            cv2.putText(
                square,
                class_names[int(label)],
                place,
                cv2.FONT_HERSHEY_SIMPLEX,
                0.36,
                ink,
                width,
                cv2.LINE_AA,
            )
    return square
