"""Small data sets in COCO layout for tests."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]


def annotation(identifier: int, image: int, box: list[Any], category: int = 3, **more: Any) -> dict[str, Any]:
    area = box[2] * box[3] if len(box) == 4 else 0
    return {"id": identifier, "image_id": image, "category_id": category, "bbox": box, "area": area, **more}


def write_split(
    folder: Path,
    split: str,
    annotations: list[dict[str, Any]] | None = None,
    *,
    count: int = 2,
    size: tuple[int, int] = (64, 48),
    categories: list[dict[str, Any]] | None = None,
    seed: int = 0,
) -> Path:
    """`count` PNG images of `size` (width, height) with ids 1..; by default one box in each."""
    rng = np.random.default_rng(seed)
    width, height = size
    images = folder / "images" / split
    images.mkdir(parents=True, exist_ok=True)
    (folder / "annotations").mkdir(exist_ok=True)
    records = []
    for index in range(count):
        name = f"{split}_{index}.png"
        assert cv2.imwrite(str(images / name), rng.integers(0, 255, (height, width, 3), dtype=np.uint8))
        records.append({"id": index + 1, "file_name": name, "width": width, "height": height})
    if annotations is None:
        annotations = [annotation(index + 1, index + 1, [5, 6, 20, 10]) for index in range(count)]
    document = {
        "images": records,
        "annotations": annotations,
        "categories": CATEGORIES if categories is None else categories,
    }
    path = folder / "annotations" / f"instances_{split}.json"
    path.write_text(json.dumps(document))
    return path


def write_data(folder: Path) -> Path:
    write_split(folder, "train", seed=1)
    write_split(folder, "val", seed=2)
    return folder


def edit(path: Path, change: Any) -> None:
    """Apply `change(document)` to a JSON file in place."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))
