"""Augmentations of one image with its boxes; every random number comes from the caller's generator."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluators.data.images import FILL, Image
from search.training.data.cache import Sample

MIN_SIDE = 2.0  # pixels; smaller, thinner or mostly cut boxes are dropped (release 0.2.0)
MAX_ASPECT = 20.0
MIN_AREA_SHARE = 0.1
MIXUP_BETA = 32.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Strengths; published settings are in `SMALL` (YOLOv6-N, T, S) and `LARGE` (M, L).

    Attributes:
        hue, saturation, value: largest relative change in HSV.
        scale: zoom is drawn from 1 - scale to 1 + scale.
        translate: largest shift as a share of the image side.
        mosaic, mixup, flip: probabilities; `flip` is left-right, `flip_vertical` upside down.
    """

    hue: float = 0.015
    saturation: float = 0.7
    value: float = 0.4
    scale: float = 0.5
    translate: float = 0.1
    flip: float = 0.5
    flip_vertical: float = 0.0
    mosaic: float = 1.0
    mixup: float = 0.0


SMALL = Augmentation()
LARGE = Augmentation(scale=0.9, mixup=0.1)


def hsv(image: Image, settings: Augmentation, random: np.random.Generator) -> Image:
    """Change hue, saturation and value by random factors."""
    import cv2

    limits = np.array([settings.hue, settings.saturation, settings.value])
    if not limits.any():
        return image
    factors = random.uniform(-1, 1, 3) * limits + 1
    levels = np.arange(256)
    tables = np.stack(
        (
            levels * factors[0] % 180,
            np.clip(levels * factors[1], 0, 255),
            np.clip(levels * factors[2], 0, 255),
        ),
        axis=-1,
    ).astype(np.uint8)
    changed = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), tables[None])
    return np.asarray(cv2.cvtColor(changed, cv2.COLOR_HSV2BGR), dtype=np.uint8)


def affine(sample: Sample, size: int, settings: Augmentation, random: np.random.Generator) -> Sample:
    """Zoom and shift a picture of any size about its centre into a square of `size`, grey where it ends."""
    import cv2

    height, width = sample.image.shape[:2]
    zoom = random.uniform(1 - settings.scale, 1 + settings.scale)
    centre = random.uniform(0.5 - settings.translate, 0.5 + settings.translate, 2) * size
    offset = centre - zoom * np.array([width, height]) / 2
    matrix = np.array([[zoom, 0, offset[0]], [0, zoom, offset[1]]])
    image = cv2.warpAffine(
        sample.image,
        # OpenCV puts pixel centres at whole numbers, boxes have them at halves.
        matrix + np.array([[0, 0, (zoom - 1) / 2]] * 2),
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderValue=(FILL, FILL, FILL),
    )
    moved = sample.boxes * np.float32(zoom) + np.tile(offset, 2).astype(np.float32)
    boxes = np.clip(moved, np.float32(0), np.float32(size))
    kept = worth_keeping(moved, boxes)
    return Sample(np.asarray(image, dtype=np.uint8), boxes[kept], sample.labels[kept])


def worth_keeping(whole: NDArray[np.float32], cut: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which boxes (n, 4), once `cut` at the border, still show enough of the `whole` object."""
    sides, before = cut[:, 2:] - cut[:, :2], whole[:, 2:] - whole[:, :2]
    shortest, longest = sides.min(1, initial=np.inf), sides.max(1, initial=0)
    share = sides.prod(1) / np.maximum(before.prod(1), 1e-9)
    return (shortest > MIN_SIDE) & (longest < MAX_ASPECT * shortest) & (share > MIN_AREA_SHARE)


def flip(sample: Sample, settings: Augmentation, random: np.random.Generator) -> Sample:
    """Mirror left-right and upside down, each with its probability."""
    image, boxes = sample.image, sample.boxes
    height, width = image.shape[:2]
    left_right, upside_down = random.uniform(size=2) < (settings.flip, settings.flip_vertical)
    if left_right:
        image = image[:, ::-1]
        boxes = np.stack((width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]), axis=1)
    if upside_down:
        image = image[::-1]
        boxes = np.stack((boxes[:, 0], height - boxes[:, 3], boxes[:, 2], height - boxes[:, 1]), axis=1)
    return Sample(image, boxes, sample.labels)


def mixup(first: Sample, second: Sample, random: np.random.Generator) -> Sample:
    """Blend two pictures of one size; the objects of both stay (arXiv 1710.09412)."""
    import cv2

    share = random.beta(MIXUP_BETA, MIXUP_BETA)
    image = cv2.addWeighted(first.image, share, second.image, 1 - share, 0)
    return Sample(
        np.asarray(image, dtype=np.uint8),
        np.concatenate((first.boxes, second.boxes)),
        np.concatenate((first.labels, second.labels)),
    )
