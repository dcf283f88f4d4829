"""COCO annotation files: read and checked once, handed on as flat arrays."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foundation.errors import UserError


@dataclass(frozen=True, slots=True, eq=False)
class CocoAnnotations:
    """One annotation file with M annotations; `boxes` (M, 4) are x y width height as written, unchecked."""

    path: Path
    images: tuple[dict[str, Any], ...]
    category_names: dict[int, str]
    annotation_ids: tuple[Any, ...]
    image_ids: NDArray[np.int64]
    categories: NDArray[np.int64]
    boxes: NDArray[np.float64]
    crowd: NDArray[np.bool_]


def read_json(path: Path) -> Any:
    """Raises UserError with the position when the file is not JSON, or when it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{path}: not valid JSON at {where} ({error.msg}); write the file again") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text at byte {error.start}; save it as UTF-8") from error
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); check the path and permissions"
        ) from error


def read_annotations(path: Path) -> CocoAnnotations:
    """Read a COCO `instances` file.

    Raises:
        UserError: not JSON, not COCO detection annotations, or parts that refer to nothing.
    """
    document = read_json(path)
    check_sections(document, path)
    images = _images(document["images"], path)
    names = _categories(document["categories"], path)
    annotations = document["annotations"]
    _require_keys(annotations, ("image_id", "category_id", "bbox"), "annotations", path)
    image_ids = _integers(annotations, "image_id", path)
    categories = _integers(annotations, "category_id", path)
    ids = tuple(annotation.get("id", position) for position, annotation in enumerate(annotations))
    boxes = _boxes(annotations, ids, path)
    _refer(image_ids, {image["id"] for image in images}, "image_id", ids, path)
    _refer(categories, set(names), "category_id", ids, path)
    # The area of a box that cannot be used is as odd as the box, and not judged.
    sound = np.all(np.isfinite(boxes), axis=1) & np.all(boxes[:, 2:] >= 0, axis=1)
    crowd = [
        area_and_crowd(one if usable else {**one, "area": None}, f"{path}: annotation id {identifier}")[1]
        for one, usable, identifier in zip(annotations, sound.tolist(), ids, strict=True)
    ]
    return CocoAnnotations(
        path=path,
        images=images,
        category_names=names,
        annotation_ids=ids,
        image_ids=image_ids,
        categories=categories,
        boxes=boxes,
        crowd=np.array(crowd, dtype=np.bool_),
    )


def area_and_crowd(annotation: Mapping[str, Any], where: str) -> tuple[float | None, bool]:
    """The area as written, None where it is absent or null, and whether the annotation is a crowd region.

    Raises:
        UserError: the area is no finite number from 0 on, or `iscrowd` neither 0 nor 1; begins with `where`.
    """
    area, crowd = annotation.get("area"), annotation.get("iscrowd")
    if area is not None and not (type(area) in (int, float) and math.isfinite(area) and area >= 0):
        raise UserError(
            f"{where}: area is {area!r}, not a number of square pixels; correct it or leave it out"
        )
    if crowd is not None and not (isinstance(crowd, int | float) and crowd in (0, 1)):
        raise UserError(f"{where}: iscrowd is {crowd!r}; it must be 0 or 1")
    return area, bool(crowd)


def check_sections(document: Any, path: Path | str) -> None:
    """Raises UserError unless the document has the three lists of a COCO detection file."""
    wanted = ("images", "annotations", "categories")
    if not isinstance(document, dict):
        raise UserError(f"{path}: not COCO annotations: an object with {', '.join(wanted)} is expected")
    missing = [key for key in wanted if key not in document]
    if missing:
        raise UserError(f"{path}: not COCO detection annotations, it lacks {', '.join(map(repr, missing))}")
    for key in wanted:
        if not isinstance(document[key], list):
            raise UserError(f"{path}: {key!r} must be a list, as in COCO")
        if not all(isinstance(entry, dict) for entry in document[key]):
            raise UserError(f"{path}: every entry of {key!r} must be an object, as in COCO")


def _images(entries: list[dict[str, Any]], path: Path) -> tuple[dict[str, Any], ...]:
    _require_keys(entries, ("id", "file_name", "width", "height"), "images", path)
    _unique(_integers(entries, "id", path).tolist(), "image id", path)
    for entry in entries:
        for key in ("width", "height"):
            if not _is_integer(entry[key]) or entry[key] <= 0:
                raise UserError(
                    f"{path}: image {entry['file_name']}: {key} is {entry[key]!r}, not a size in pixels"
                )
    return tuple(entries)


def _categories(entries: list[dict[str, Any]], path: Path) -> dict[int, str]:
    if not entries:
        raise UserError(f"{path}: 'categories' is empty; list the classes with id and name")
    _require_keys(entries, ("id", "name"), "categories", path)
    _unique(_integers(entries, "id", path).tolist(), "category id", path)
    names = [str(entry["name"]) for entry in entries]
    _unique(names, "category name", path)
    return dict(sorted(zip((int(entry["id"]) for entry in entries), names, strict=True)))


def _boxes(annotations: list[dict[str, Any]], ids: Sequence[Any], path: Path) -> NDArray[np.float64]:
    for annotation, identifier in zip(annotations, ids, strict=True):
        box = annotation["bbox"]
        if (
            not isinstance(box, list)
            or len(box) != 4
            or not all(type(value) in (int, float) for value in box)
        ):
            raise UserError(
                f"{path}: annotation id {identifier}: bbox must be four numbers [x, y, width, height]"
            )
    return np.array([annotation["bbox"] for annotation in annotations], dtype=np.float64).reshape(-1, 4)


def _require_keys(entries: list[dict[str, Any]], keys: Sequence[str], section: str, path: Path) -> None:
    for position, entry in enumerate(entries):
        for key in keys:
            if key not in entry:
                identifier = entry.get("id", f"number {position}")
                raise UserError(f"{path}: {section}: entry with id {identifier} lacks {key!r}")


def _is_integer(value: Any) -> bool:
    return type(value) is int or (type(value) is float and value.is_integer())


def _integers(entries: list[dict[str, Any]], key: str, path: Path) -> NDArray[np.int64]:
    wrong = [entry[key] for entry in entries if not _is_integer(entry[key])]
    if wrong:
        raise UserError(f"{path}: {key} must be a whole number, not {wrong[0]!r}")
    return np.array([entry[key] for entry in entries], dtype=np.int64)


def _unique(values: Sequence[Any], what: str, path: Path) -> None:
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise UserError(f"{path}: {what} {value!r} occurs twice; every {what} must be unique")
        seen.add(value)


def _refer(values: NDArray[np.int64], known: set[int], key: str, ids: Sequence[Any], path: Path) -> None:
    wrong = [position for position, value in enumerate(values.tolist()) if value not in known]
    if wrong:
        raise UserError(
            f"{path}: {len(wrong)} annotations have a {key} that the file does not declare "
            f"(first: annotation id {ids[wrong[0]]}, {key} {values[wrong[0]]})"
        )
