"""Detections from outside: a COCO results file, checked before anything is computed from it."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from evaluators.data.coco_json import read_json
from foundation.errors import UserError

KEYS = ("image_id", "category_id", "bbox", "score")


def read_detections(
    path: Path, image_ids: set[Any], category_ids: set[Any]
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Read COCO results.

    Returns:
        The detections, and lines for a person: detections of categories that the ground truth does not
        declare are no error (COCO ignores them) but often a mistake.

    Raises:
        UserError: not a list of results, an unknown image, missing keys, numbers that are none.
    """
    detections = read_json(path)
    if not isinstance(detections, list):
        raise UserError(f"{path}: COCO results are a list of {{{', '.join(KEYS)}}}, not {_kind(detections)}")
    for position, detection in enumerate(detections):
        _check(detection, f"{path}: detection number {position}")
    strangers = [entry["image_id"] for entry in detections if entry["image_id"] not in image_ids]
    if strangers:
        raise UserError(
            f"{path}: {len(strangers)} detections are of images that the ground truth does not have "
            f"(first: image_id {strangers[0]!r}); do both files belong to the same split?"
        )
    return detections, _unknown_categories(path, detections, category_ids)


def _check(detection: Any, where: str) -> None:
    if not isinstance(detection, dict):
        raise UserError(f"{where} is {_kind(detection)}, not an object with {', '.join(KEYS)}")
    missing = [key for key in KEYS if key not in detection]
    if missing:
        raise UserError(f"{where} lacks {missing[0]!r}")
    for key in ("image_id", "category_id"):
        if not isinstance(detection[key], int | str):
            raise UserError(f"{where}: {key} is {detection[key]!r}, not an id")
    box = detection["bbox"]
    if not isinstance(box, list) or len(box) != 4 or not all(_finite(value) for value in box):
        raise UserError(f"{where}: bbox must be four finite numbers [x, y, width, height], not {box!r}")
    if box[2] < 0 or box[3] < 0:
        raise UserError(
            f"{where}: bbox {box!r} has a negative width or height; COCO boxes are x, y, width, height"
        )
    if not _finite(detection["score"]):
        raise UserError(f"{where}: score must be a finite number, not {detection['score']!r}")


def _unknown_categories(
    path: Path, detections: Sequence[dict[str, Any]], category_ids: set[Any]
) -> tuple[str, ...]:
    unknown = [entry["category_id"] for entry in detections if entry["category_id"] not in category_ids]
    if not unknown:
        return ()
    return (
        f"{path}: {len(unknown)} detections of categories that the ground truth does not declare are ignored "
        f"(first: category_id {unknown[0]!r}); results use COCO's category ids, not class numbers",
    )


def _finite(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _kind(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "text", type(None): "null"}.get(type(value), "a number")
