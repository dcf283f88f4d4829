"""What is odd about a data set that can be loaded: damaged pixels, twins, leaks, classes with little to learn from."""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import numpy as np

from evaluators.data.detection_data import DetectionData, ImageRecord, Split
from evaluators.data.foreign import listed
from evaluators.data.images import read_image
from foundation.errors import UserError

FEW_BOXES = 10  # of a class in train: too few to learn it
TINY_PX = 8.0  # the finest stride: at the input size a smaller box has no grid point of its own
MANY_TINY = 0.1  # share of tiny boxes worth a word


def annotation_findings(data: DetectionData, image_size: int) -> list[str]:
    """Lines about boxes and classes, without opening an image.

    Args:
        image_size: of the input that boxes are thought to be scaled to, pixels.
    """
    lines = []
    counts = {name: _class_counts(part, len(data.class_names)) for name, part in data.splits.items()}
    for split, part in data.splits.items():
        lines += [f"{split}: {line}" for line in (_twins(part), _tiny(part, image_size)) if line]
        absent = [data.class_names[label] for label in np.flatnonzero(counts[split] == 0)]
        if absent:
            lines.append(f"{split}: no boxes of {len(absent)} classes ({listed(absent)})")
    if "train" in counts:
        few = np.flatnonzero((counts["train"] > 0) & (counts["train"] < FEW_BOXES))
        names = [f"{data.class_names[label]} {counts['train'][label]}" for label in few]
        if names:
            lines.append(f"train: fewer than {FEW_BOXES} boxes of {len(names)} classes ({listed(names)})")
    return lines


def pixel_findings(data: DetectionData, on_image: Callable[[], None] = lambda: None) -> list[str]:
    """Lines about images that cannot be read, have another size than annotated, or occur twice.

    Every image is read and decoded, a few at a time.
    """
    lines = []
    owners: dict[bytes, list[tuple[str, str]]] = defaultdict(list)
    for split, part in data.splits.items():
        damaged = []
        for image, digest, problem in _read_all(part):
            on_image()
            if problem:
                damaged.append(problem)
            if digest:
                owners[digest].append((split, image.path.name))
        if damaged:
            more = f" and {len(damaged) - 1} more" if len(damaged) > 1 else ""
            lines.append(f"{split}: {len(damaged)} images cannot be used ({damaged[0]}{more})")
    return lines + _copies(owners)


def _read_all(part: Split) -> Iterator[tuple[ImageRecord, bytes | None, str | None]]:
    images = iter(part.images)
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        while group := list(islice(images, 64)):
            yield from pool.map(_read, group)


def _read(image: ImageRecord) -> tuple[ImageRecord, bytes | None, str | None]:
    try:
        pixels = read_image(image.path)
    except UserError as error:
        return image, None, str(error)
    height, width = pixels.shape[:2]
    wrong = (width, height) != (image.width, image.height)
    told = f"{image.path} is {width}x{height} pixels but annotated as {image.width}x{image.height}"
    return image, hashlib.sha256(pixels.tobytes()).digest(), told if wrong else None


def _copies(owners: Mapping[bytes, list[tuple[str, str]]]) -> list[str]:
    same = [found for found in owners.values() if len(found) > 1]
    across = [found for found in same if len({split for split, _ in found}) > 1]
    within = [found for found in same if len({split for split, _ in found}) == 1]
    lines = []
    if across:
        first = ", ".join(f"{split}/{name}" for split, name in across[0])
        lines.append(f"{len(across)} images are in more than one split, which flatters AP (first: {first})")
    for split in dict.fromkeys(found[0][0] for found in within):
        mine = [found for found in within if found[0][0] == split]
        first = ", ".join(name for _, name in mine[0])
        lines.append(f"{split}: {len(mine)} images occur more than once (first: {first})")
    return lines


def _class_counts(part: Split, classes: int) -> np.ndarray:
    labels = [one[~crowd] for one, crowd in zip(part.labels, part.crowd, strict=True)]
    return np.bincount(np.concatenate(labels), minlength=classes)


def _twins(part: Split) -> str:
    count, first = 0, ""
    for image, boxes, labels in zip(part.images, part.boxes, part.labels, strict=True):
        rows = np.column_stack([boxes, labels])
        extra = len(rows) - len(np.unique(rows, axis=0))
        if extra and not count:
            first = image.path.name
        count += extra
    return f"{count} boxes repeat another of the same class and place (first: image {first})" if count else ""


def _tiny(part: Split, image_size: int) -> str:
    sides = []
    for image, boxes, crowd in zip(part.images, part.boxes, part.crowd, strict=True):
        scale = image_size / max(image.width, image.height)
        extents = (boxes[~crowd, 2:] - boxes[~crowd, :2]) * scale
        sides.append(extents.min(axis=1))
    every = np.concatenate(sides)
    share = float((every < TINY_PX).mean()) if len(every) else 0.0
    if share < MANY_TINY:
        return ""
    return (
        f"{100 * share:.0f} % of the boxes have a side below {TINY_PX:.0f} pixels at an input of {image_size}; "
        "a larger input would show them better"
    )
