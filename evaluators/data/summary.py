"""The numbers of a split that a person wants to know before training on it."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.data.detection_data import Split

# COCO's names for sizes, by the side of a square of the same area, in pixels.
SIZES = (("small", 0.0, 32.0), ("medium", 32.0, 96.0), ("large", 96.0, float("inf")))
EDGES = (0, 4, 8, 16, 32, 64, 128, 256, 512)  # of the histogram, pixels


def summary(split: Split, class_names: Sequence[str]) -> dict[str, Any]:
    """Counts of one split; crowd regions are counted apart and nowhere else.

    Sizes are sides of a square of the same area: `by_size` in pixels of the image as COCO counts, and
    `size_histogram` with bins named by their first and last pixel. `share_of_image` is that side over the
    longer side of the image (quartiles), `boxes_per_image` and `image_sides` are smallest, median, largest.
    """
    single = [~crowd for crowd in split.crowd]
    boxes = [part[keep] for part, keep in zip(split.boxes, single, strict=True)]
    labels = [part[keep] for part, keep in zip(split.labels, single, strict=True)]
    every = np.concatenate(boxes)
    sides = np.sqrt(np.prod(every[:, 2:] - every[:, :2], axis=1))
    longer = np.array([max(image.width, image.height) for image in split.images], dtype=np.float64)
    counts = np.array([len(part) for part in boxes])
    per_class = np.bincount(np.concatenate(labels), minlength=len(class_names)).tolist()
    images_of = np.bincount(np.concatenate([np.unique(part) for part in labels]), minlength=len(class_names))
    shares = sides / np.repeat(longer, counts)
    return {
        "images": len(boxes),
        "images_without_boxes": int((np.array([len(part) for part in split.boxes]) == 0).sum()),
        "image_sides": _three([side for image in split.images for side in (image.width, image.height)]),
        "image_shapes": len({(image.width, image.height) for image in split.images}),
        "boxes": len(every),
        "boxes_per_image": _three(counts),
        "crowd_regions": sum(int(crowd.sum()) for crowd in split.crowd),
        "by_size": {name: int(((sides >= low) & (sides < high)).sum()) for name, low, high in SIZES},
        "size_histogram": _histogram(sides),
        "share_of_image": [round(float(q), 4) for q in np.quantile(shares, (0.25, 0.5, 0.75))]
        if len(shares)
        else [],
        "by_class": dict(zip(class_names, per_class, strict=True)),
        "images_by_class": dict(zip(class_names, images_of.tolist(), strict=True)),
    }


def _histogram(sides: NDArray[np.floating]) -> dict[str, int]:
    counts = np.histogram(sides, bins=[*EDGES, np.inf])[0].tolist()
    names = [f"{low}-{high - 1}" for low, high in pairwise(EDGES)] + [f"{EDGES[-1]}+"]
    return dict(zip(names, counts, strict=True))


def _three(values: Sequence[float] | NDArray[np.int64]) -> list[float]:
    return [float(np.min(values)), float(np.median(values)), float(np.max(values))]


def summary_lines(name: str, part: dict[str, Any]) -> list[str]:
    """A split's numbers as text."""
    sizes = ", ".join(f"{size} {count}" for size, count in part["by_size"].items())
    classes = ", ".join(
        f"{label}: {count} in {part['images_by_class'][label]} images"
        for label, count in part["by_class"].items()
    )
    fewest, middle, most = part["boxes_per_image"]
    smallest, _, largest = part["image_sides"]
    lines = [
        f"{name}: {part['images']} images ({part['images_without_boxes']} without boxes) of "
        f"{part['image_shapes']} shapes, sides {smallest:.0f} to {largest:.0f} px",
        f"  {part['boxes']} boxes, {fewest:.0f} to {most:.0f} per image (median {middle:g}); "
        f"{part['crowd_regions']} crowd regions",
        f"  by size: {sizes}",
    ]
    highest = max(part["size_histogram"].values()) or 1
    for bin_name, count in part["size_histogram"].items():
        if count:
            lines.append(f"  {bin_name:>8} px {'#' * max(1, round(30 * count / highest))} {count}")
    return [*lines, f"  by class: {classes}"]
