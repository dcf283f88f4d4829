"""Scenes of handwritten digits: where digits lie, what hides them, and the box of what stays visible."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluators.data.digit_backgrounds import background, random_colour
from evaluators.data.digit_glyphs import Glyph, draw_glyph

Scene = NDArray[np.float32]

SIDE = 320
# A digit of which less stays visible could not be named by a person.
LEAST_VISIBLE = 0.72
# Intersection over the smaller of two boxes.
MOST_OVERLAP = 0.3
TRIES = 12
# Digits that lie on a plain card, which hides what is behind it.
CARD_SHARE = 0.25


@dataclass(slots=True, eq=False)
class _Placed:
    label: int
    visible: NDArray[np.bool_]  # (SIDE, SIDE): strokes that nothing covers
    extent: tuple[int, int, int, int]  # of `visible`
    strokes: int  # how many pixels there were before


def make_scene(
    images: NDArray[np.float32], labels: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Paint one scene.

    Args:
        images: (n, 8, 8) digits to choose from, 0..1; labels (n,).

    Returns:
        BGR image uint8 (SIDE, SIDE, 3); boxes int64 (k, 4) xyxy, the extent of the visible strokes;
        labels (k,). k is 0 to 12.
    """
    scene = background(SIDE, rng).astype(np.float32)
    placed: list[_Placed] = []
    count = 0 if rng.random() < 0.02 else int(rng.integers(4, 13))
    for _ in range(count):
        index = rng.integers(len(images))
        height = float(np.exp(np.clip(rng.normal(np.log(66), 0.4), np.log(18), np.log(150))))
        _place(scene, draw_glyph(images[index], int(labels[index]), height, rng), placed, rng)
    boxes = np.array([one.extent for one in placed], dtype=np.int64).reshape(-1, 4)
    return _photograph(scene, rng), boxes, np.array([one.label for one in placed], dtype=np.int64)


def _place(scene: Scene, glyph: Glyph, placed: list[_Placed], rng: np.random.Generator) -> None:
    """Paint the digit at a random place where everything stays recognisable, or not at all."""
    height, width = glyph.mask.shape
    if min(height, width) < 4 or max(height, width) >= SIDE:
        return
    on_card = rng.random() < CARD_SHARE
    margin = int(rng.integers(2, 8)) if on_card else 0
    for _ in range(TRIES):
        top, left = int(rng.integers(0, SIDE - height)), int(rng.integers(0, SIDE - width))
        # Two digits on the very same spot: neither could be read although little is hidden.
        extent = (left, top, left + width, top + height)
        if any(_overlap(other.extent, extent) > MOST_OVERLAP for other in placed):
            continue
        covered = np.zeros((SIDE, SIDE), dtype=np.bool_)
        strokes = np.zeros((SIDE, SIDE), dtype=np.bool_)
        strokes[top : top + height, left : left + width] = glyph.mask > 0.5
        if on_card:
            covered[
                max(0, top - margin) : top + height + margin, max(0, left - margin) : left + width + margin
            ] = True
        else:
            covered |= strokes
        if all(_readable(other, covered) for other in placed):
            break
    else:
        return
    for other in placed:
        if (other.visible & covered).any():
            other.visible &= ~covered
            other.extent = _extent(other.visible)
    placed.append(_Placed(glyph.label, strokes, extent, int(strokes.sum())))
    area = (slice(top, top + height), slice(left, left + width))
    if on_card:
        scene[covered] = random_colour(rng)
    ink = _ink(scene[area].mean(axis=(0, 1)), rng)
    alpha = glyph.mask[:, :, None] * np.float32(rng.uniform(0.75, 1.0))
    scene[area] = scene[area] * (1 - alpha) + ink * alpha


def _readable(other: _Placed, covered: NDArray[np.bool_]) -> bool:
    """Whether enough of an older digit stays visible when `covered` is painted over."""
    left, top, right, bottom = other.extent
    area = (slice(top, bottom), slice(left, right))
    return int((other.visible[area] & ~covered[area]).sum()) >= LEAST_VISIBLE * other.strokes


def _overlap(first: tuple[int, int, int, int], second: tuple[int, int, int, int]) -> float:
    """Intersection over the smaller of two boxes."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return width * height / min(areas)


def _extent(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _ink(behind: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A colour that stands out: darker or lighter than what is behind it, from faint to stark."""
    brightness = float(behind.mean())
    difference = rng.uniform(70, 190)
    darker = brightness - difference
    lighter = brightness + difference
    # Go where there is room; where both ways are open, mostly darker, as ink on paper is.
    if darker < 0 and lighter > 255:
        target = 0.0 if brightness > 127 else 255.0
    elif darker < 0 or lighter > 255:
        target = lighter if darker < 0 else darker
    else:
        target = darker if rng.random() < 0.75 else lighter
    tint = rng.normal(0, rng.choice([4.0, 35.0]), 3)
    return np.clip(target + tint - tint.mean(), 0, 255).astype(np.float32)


def _photograph(scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur, uneven light and sensor noise."""
    import cv2

    if rng.random() < 0.6:
        scene = cv2.GaussianBlur(scene, (0, 0), rng.uniform(0.4, 1.1))
    light = cv2.resize(
        rng.uniform(0.75, 1.15, (2, 2)).astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR
    )
    noise = rng.standard_normal(scene.shape, dtype=np.float32) * np.float32(rng.uniform(1, 9))
    return np.clip(scene * light[:, :, None] + noise, 0, 255).round().astype(np.uint8)
