"""The bundled data set: synthetic scenes of real handwritten digits, made once into a cache folder.

Scenes depend on VERSION alone; a change of what is drawn is a new VERSION and so a new folder. (Another
release of OpenCV may round pixels differently; the fingerprint of the data tells.)
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foundation.errors import UserError

VERSION = 4
# Images per split; digits are dealt out to the splits in the same proportion.
IMAGES: Mapping[str, int] = {"train": 480, "val": 160, "test": 160}
JPEG_QUALITY = 85
MANIFEST = "manifest.json"
DESCRIPTION = (
    "synthetic scenes of real handwritten digits (scikit-learn load_digits); "
    "a stand-in for your data, says nothing about COCO"
)


def cache_folder() -> Path:
    """$YOLOV6_SEARCH_CACHE, or the user's cache folder."""
    if override := os.environ.get("YOLOV6_SEARCH_CACHE"):
        return Path(override).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("yolov6-search", appauthor=False)


def make_bundled(cache: Path | None = None, images: Mapping[str, int] = IMAGES) -> Path:
    """Folder of the digits in COCO layout; made if absent or damaged, by one process at a time.

    Args:
        cache: where to keep it; default `cache_folder()`.
        images: images per split; anything but the default gets a folder of its own.

    Raises:
        UserError: the cache folder cannot be written.
    """
    from filelock import FileLock

    cache = cache or cache_folder()
    counts = "" if images == IMAGES else "-" + "-".join(str(count) for count in images.values())
    folder = cache / f"digits-v{VERSION}{counts}"
    if is_whole(folder):
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / f"{folder.name}.lock"):
            if not is_whole(folder):  # another process may have made it while this one waited
                _replace(folder, images)
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise UserError(
            f"{cache}: cannot keep the bundled data here ({error.strerror}); "
            "set YOLOV6_SEARCH_CACHE to a folder that can be written"
        ) from error
    return folder


def is_whole(folder: Path) -> bool:
    """Whether every file is there with the content that was written."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return all(_hash(folder / name) == expected for name, expected in manifest.items())
    except (OSError, ValueError, AttributeError):
        return False


def _replace(folder: Path, images: Mapping[str, int]) -> None:
    """Build beside and rename, so that a folder of this name is always whole."""
    building = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        fresh = building / "fresh"
        _write(fresh, images)
        if folder.exists():
            folder.rename(building / "damaged")
        fresh.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _write(folder: Path, images: Mapping[str, int]) -> None:
    from evaluators.data.digit_glyphs import share_digits

    total = sum(images.values())
    shares = share_digits(VERSION, tuple(count / total for count in images.values()))
    (folder / "annotations").mkdir(parents=True)
    for number, (split, count) in enumerate(images.items()):
        (folder / "images" / split).mkdir(parents=True)
        document = _write_split(folder / "images" / split, number, count, *shares[number])
        (folder / "annotations" / f"instances_{split}.json").write_text(
            json.dumps(document), encoding="utf-8"
        )
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    manifest = {path.relative_to(folder).as_posix(): _hash(path) for path in files}
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def _write_split(
    folder: Path, number: int, count: int, digits: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
    import cv2

    from evaluators.data.digit_scenes import SIDE, make_scene

    records: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        rng = np.random.default_rng([VERSION, number, index])
        image, boxes, classes = make_scene(digits, labels, rng)
        name = f"{index:04d}.jpg"
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        (folder / name).write_bytes(encoded.tobytes())
        records.append({"id": index + 1, "file_name": name, "width": SIDE, "height": SIDE})
        for (left, top, right, bottom), label in zip(boxes.tolist(), classes.tolist(), strict=True):
            width, height = right - left, bottom - top
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": index + 1,
                    "category_id": label + 1,
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                }
            )
    categories = [{"id": digit + 1, "name": str(digit), "supercategory": "digit"} for digit in range(10)]
    info = {"description": DESCRIPTION, "version": str(VERSION)}
    return {"info": info, "images": records, "annotations": annotations, "categories": categories}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
