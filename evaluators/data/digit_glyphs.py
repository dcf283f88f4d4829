"""Real handwritten digits, 8x8 grey, turned into masks of any size for painting."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.float32]

# Largest grey value of scikit-learn's digits.
INK = 16.0


@dataclass(frozen=True, slots=True, eq=False)
class Glyph:
    """`mask` float32 (h, w), 0..1, tight around the strokes; `label` is the digit."""

    mask: Mask
    label: int


def share_digits(seed: int, parts: tuple[float, ...]) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Deal scikit-learn's 1,797 digits out: no digit is in two parts, classes are equally frequent in all.

    Returns:
        Per part: images (n, 8, 8) in 0..1 and labels (n,).
    """
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.asarray(digits.images / INK, dtype=np.float32)
    labels = np.asarray(digits.target, dtype=np.int64)
    rng = np.random.default_rng(seed)
    chosen: list[list[NDArray[np.int64]]] = [[] for _ in parts]
    for digit in range(10):
        order = rng.permutation(np.flatnonzero(labels == digit))
        cuts = np.round(np.cumsum(parts)[:-1] * len(order)).astype(int)
        for part, indices in zip(chosen, np.split(order, cuts), strict=True):
            part.append(indices)
    return [(images[np.concatenate(part)], labels[np.concatenate(part)]) for part in chosen]


def draw_glyph(image: NDArray[np.float32], label: int, height: float, rng: np.random.Generator) -> Glyph:
    """Enlarge one 8x8 digit to about `height` pixels, with a slight turn, slant, stretch and stroke width."""
    import cv2

    # Cubic enlargement and a steep threshold give pen strokes with smooth edges instead of 8x8 blocks.
    fine = 128
    border = 2
    padded = np.pad(image, border)
    smooth = cv2.resize(padded, (fine, fine), interpolation=cv2.INTER_CUBIC)
    scale = height / fine * (8 + 2 * border) / 8
    angle = np.deg2rad(rng.uniform(-10, 10))
    slant = rng.uniform(-0.2, 0.2)
    stretch = rng.uniform(0.8, 1.25)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = scale * turn @ np.array([[stretch, slant], [0.0, 1.0]])
    side = int(np.ceil(fine * scale * 1.7)) + 4
    offset = np.array([side / 2, side / 2]) - matrix @ np.array([fine / 2, fine / 2])
    # Blurring before shrinking keeps small digits free of jagged strokes.
    if scale < 0.7:
        smooth = cv2.GaussianBlur(smooth, (0, 0), 0.4 / scale)
    turned = cv2.warpAffine(smooth, np.column_stack([matrix, offset]), (side, side), flags=cv2.INTER_LINEAR)
    level = rng.uniform(0.42, 0.6)
    mask = np.clip((turned - level) / 0.22 + 0.5, 0, 1).astype(np.float32)
    return Glyph(tight(mask), label)


def tight(mask: Mask) -> Mask:
    """Cut a mask to the extent of its strokes."""
    rows, columns = np.flatnonzero((mask > 0.5).any(axis=1)), np.flatnonzero((mask > 0.5).any(axis=0))
    if not len(rows):
        return mask[:0, :0]
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
