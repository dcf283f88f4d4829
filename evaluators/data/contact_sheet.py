"""Contact sheets: some images of a split with boxes and classes drawn in, the annotated and the detected."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.data.detection_data import Split
from evaluators.data.images import letterbox, read_image
from foundation.errors import UserError

# BGR, told apart on dark and light images alike.
COLOURS = ((80, 220, 60), (60, 120, 255), (255, 170, 40), (220, 90, 240), (60, 230, 240), (120, 120, 255))
CROWD = (160, 160, 160)

Colour = tuple[int, int, int]
Mark = tuple[Any, Colour, str]  # box x1 y1 x2 y2 in pixels of the image, colour, text


def contact_sheet(
    split: Split, class_names: Sequence[str], *, columns: int = 4, rows: int = 3, tile: int = 240
) -> NDArray[np.uint8]:
    """BGR image of `rows` x `columns` tiles of `tile` pixels, images taken evenly from the split.

    An image that cannot be read is a grey tile that says so.
    """
    sheet = np.full((rows * tile, columns * tile, 3), 255, dtype=np.uint8)
    chosen = np.unique(np.linspace(0, len(split) - 1, rows * columns).round().astype(int))
    for place, index in enumerate(chosen.tolist()):
        top, left = place // columns * tile, place % columns * tile
        try:
            drawn = _tile(split, index, _truth(split, index, class_names), tile)
        except UserError:
            drawn = _unreadable(split.images[index].path.name, tile)
        sheet[top : top + tile, left : left + tile] = drawn
    return sheet


def comparison_sheet(
    split: Split,
    class_names: Sequence[str],
    detections: Iterable[Mapping[str, Any]],
    *,
    min_score: float = 0.3,
    columns: int = 2,
    tile: int = 320,
) -> NDArray[np.uint8]:
    """BGR image of all images of a (small) split, each twice: ground truth on the left, detections on the right.

    Args:
        detections: COCO results of these images (`evaluators.accuracy.detect`).
        min_score: detections below it are left out.

    Raises:
        UserError: an image cannot be read.
    """
    label_of = {identifier: label for label, identifier in enumerate(split.category_ids)}
    found: dict[int, list[Mark]] = {}
    for one in detections:
        if one["score"] >= min_score:
            x, y, width, height = one["bbox"]
            label = label_of[one["category_id"]]
            mark = ((x, y, x + width, y + height), _colour(label), f"{class_names[label]} {one['score']:.2f}")
            found.setdefault(one["image_id"], []).append(mark)
    rows = -(-len(split) // columns)
    sheet = np.full((rows * tile, columns * 2 * tile, 3), 255, dtype=np.uint8)
    for index, image in enumerate(split.images):
        top, left = index // columns * tile, index % columns * 2 * tile
        for marks in (_truth(split, index, class_names), found.get(image.id, [])):
            sheet[top : top + tile, left : left + tile] = _tile(split, index, marks, tile)
            left += tile
    return sheet


def check_sheet_name(path: Path) -> None:
    """Raises UserError for an ending that no sheet can be written with."""
    if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise UserError(f"{path}: name the contact sheet .jpg or .png")


def write_sheet(sheet: NDArray[np.uint8], path: Path) -> None:
    """Write a sheet as JPEG or PNG, by the ending. Raises UserError when that is impossible."""
    import cv2

    check_sheet_name(path)
    ending = path.suffix.lower()
    options = [] if ending == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 80]
    encoded = cv2.imencode(ending, sheet, options)[1]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded.tobytes())
    except (PermissionError, NotADirectoryError, FileExistsError, IsADirectoryError) as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); choose another place") from error


def _tile(split: Split, index: int, marks: Sequence[Mark], tile: int) -> NDArray[np.uint8]:
    import cv2

    square, scale, (left, top) = letterbox(read_image(split.images[index].path), tile, fill=255)
    square = np.ascontiguousarray(square)
    for box, colour, text in marks:
        x1, y1, x2, y2 = (np.asarray(box) * scale + [left, top, left, top]).round().astype(int).tolist()
        cv2.rectangle(square, (x1, y1), (x2, y2), colour, 1)
        place = (x1, max(y1 - 2, 9))
        for ink, width in (((0, 0, 0), 2), (colour, 1)):  # a dark rim keeps names readable
            cv2.putText(square, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, ink, width, cv2.LINE_AA)
    return square


def _unreadable(name: str, tile: int) -> NDArray[np.uint8]:
    import cv2

    square = np.full((tile, tile, 3), 128, dtype=np.uint8)
    for line, text in enumerate(("unreadable", name)):
        place = (4, tile // 2 + 16 * line)
        cv2.putText(square, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, (255, 255, 255), 1, cv2.LINE_AA)
    return square


def _truth(split: Split, index: int, class_names: Sequence[str]) -> list[Mark]:
    return [
        (box, CROWD if crowd else _colour(int(label)), class_names[int(label)])
        for box, label, crowd in zip(split.boxes[index], split.labels[index], split.crowd[index], strict=True)
    ]


def _colour(label: int) -> Colour:
    return COLOURS[label % len(COLOURS)]
