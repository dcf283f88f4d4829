"""Which annotated boxes can be used: drop the impossible ones, clip the rest to the image, count both."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Annotation tools round; a box that leaves the image by less is clipped without a word.
ROUNDING_PX = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class CleanBoxes:
    """`boxes` float32 (M, 4) xyxy clipped to the image, `usable` bool (M,), one line per kind of problem."""

    boxes: NDArray[np.float32]
    usable: NDArray[np.bool_]
    problems: tuple[str, ...]


def clean_boxes(
    boxes: NDArray[np.float64], sizes: NDArray[np.float64], describe: Callable[[int], str]
) -> CleanBoxes:
    """Check M annotated boxes.

    Args:
        boxes: (M, 4) x y width height in pixels, as annotated.
        sizes: (M, 2) width and height of the image of each box.
        describe: names box i for a person.
    """
    finite: NDArray[np.bool_] = np.asarray(np.all(np.isfinite(boxes), axis=1), dtype=np.bool_)
    safe = np.where(finite[:, None], boxes, 0.0)
    negative: NDArray[np.bool_] = finite & np.any(safe[:, 2:] < 0, axis=1)
    empty: NDArray[np.bool_] = (finite & ~negative) & np.any(safe[:, 2:] == 0, axis=1)
    corners = np.concatenate([safe[:, :2], safe[:, :2] + safe[:, 2:]], axis=1)
    limits = np.concatenate([sizes, sizes], axis=1)
    # Rounding to float32 comes first: a sliver that vanishes there is as unusable as one of no area.
    clipped = np.clip(corners, 0.0, limits).astype(np.float32)
    visible = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    sound = finite & ~negative & ~empty
    outside = sound & ~visible
    usable = sound & visible
    excess = np.maximum(-corners, corners - limits).max(axis=1, initial=0.0)
    moved = usable & (excess > ROUNDING_PX)
    problems = [
        _line("dropped", "of zero area", empty, describe),
        _line("dropped", "of negative width or height", negative, describe),
        _line("dropped", "with a coordinate that is not a finite number", ~finite, describe),
        _line("dropped", "outside the image", outside, describe),
        _line("clipped", "partly outside the image", moved, describe),
    ]
    return CleanBoxes(clipped, usable, tuple(line for line in problems if line))


def _line(verb: str, kind: str, mask: NDArray[np.bool_], describe: Callable[[int], str]) -> str:
    where = np.flatnonzero(mask)
    if not len(where):
        return ""
    noun = "box" if len(where) == 1 else "boxes"
    first = "" if len(where) == 1 else "first: "
    return f"{verb} {len(where)} {noun} {kind} ({first}{describe(int(where[0]))})"
