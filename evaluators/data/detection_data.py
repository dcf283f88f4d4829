"""A detection data set as plain values: what the trainer, the evaluator and the checks all read."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from foundation.errors import UserError


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image file. Width and height are those of the stored pixels, before any EXIF rotation."""

    id: int
    path: Path
    width: int
    height: int


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """One part of a data set. `boxes[i]`, `labels[i]` and `crowd[i]` belong to `images[i]`.

    Boxes are float32 (n, 4), x1 y1 x2 y2 in pixels, inside the image and of positive area. Labels are
    int64 (n,), 0..C-1. Crowd marks regions that hold many objects: evaluation ignores detections there,
    training must leave them out. `category_ids[label]` is the COCO id written in `annotations`.
    `dropped` holds positions, in the `annotations` list of that file, of those that cannot be used.
    """

    name: str
    images: tuple[ImageRecord, ...]
    boxes: tuple[NDArray[np.float32], ...]
    labels: tuple[NDArray[np.int64], ...]
    crowd: tuple[NDArray[np.bool_], ...]
    annotations: Path
    category_ids: tuple[int, ...]
    dropped: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, indices: Iterable[int]) -> "Split":
        """The same split with only the images at `indices`, in that order."""
        chosen = list(indices)
        return replace(
            self,
            images=tuple(self.images[i] for i in chosen),
            boxes=tuple(self.boxes[i] for i in chosen),
            labels=tuple(self.labels[i] for i in chosen),
            crowd=tuple(self.crowd[i] for i in chosen),
        )

    def with_classes(self, names: Sequence[str], wanted: Sequence[str]) -> "Split":
        """The split with labels that count in `wanted`, a network's classes, instead of `names`, its own.

        Raises:
            UserError: the two do not name the same classes.
        """
        if set(names) != set(wanted) or len(names) != len(wanted):
            raise UserError(
                f"{self.annotations}: its classes ({_some(names)}) are not those of the network "
                f"({_some(wanted)}); use data with the classes it was trained on"
            )
        new_label = np.array([list(wanted).index(name) for name in names], dtype=np.int64)
        id_of = dict(zip(names, self.category_ids, strict=True))
        return replace(
            self,
            labels=tuple(new_label[labels] for labels in self.labels),
            category_ids=tuple(id_of[name] for name in wanted),
        )


@dataclass(frozen=True, slots=True, eq=False)
class DetectionData:
    """A named data set. `fingerprint` changes when an image, box or class does, not when the folder moves.

    `warnings` are lines for a person: boxes that were dropped or clipped, with counts.
    """

    name: str
    description: str
    fingerprint: str
    class_names: tuple[str, ...]
    splits: Mapping[str, Split]
    warnings: tuple[str, ...] = ()

    def split(self, name: str) -> Split:
        """Raises UserError when the data set has no such split."""
        if name not in self.splits:
            raise UserError(f"data {self.name!r} has no split {name!r}; it has: {', '.join(self.splits)}")
        return self.splits[name]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
