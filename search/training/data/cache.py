"""Decoded training images, scaled once to the training size and kept in memory up to a limit."""

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluators.data import Split, read_image
from evaluators.data.images import Image

MIB = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An image with its objects: BGR uint8 HWC, boxes float32 (n, 4) x1 y1 x2 y2 in its pixels, labels (n,)."""

    image: Image
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


def affordable_mib(processes: int = 1) -> int:
    """A quarter of the memory that is available now, divided among so many processes with a cache each."""
    import psutil

    return int(psutil.virtual_memory().available) // (4 * processes * MIB)


class ImageCache:
    """Images of a split with the longer side scaled to `size`; crowd regions are left out.

    Images are decoded on first use and kept while they fit into `limit_mib` (None: what is affordable now); the others
    are decoded again each time. May be used by several threads.
    """

    def __init__(self, split: Split, size: int, limit_mib: int | None = None) -> None:
        self._split, self._size = split, size
        self._limit = (affordable_mib() if limit_mib is None else limit_mib) * MIB
        self._kept: dict[int, Image] = {}
        self._used = 0
        self._accounts = threading.Lock()
        self.hits = self.misses = 0

    @property
    def used_bytes(self) -> int:
        """Memory that decoded images take, at most the limit."""
        return self._used

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: int) -> Sample:
        record = self._split.images[index]
        image = self._image(index)
        keep = ~self._split.crowd[index]
        ratio = np.array(
            [image.shape[1] / record.width, image.shape[0] / record.height] * 2, dtype=np.float32
        )
        return Sample(image, self._split.boxes[index][keep] * ratio, self._split.labels[index][keep])

    def _image(self, index: int) -> Image:
        kept = self._kept.get(index)
        if kept is not None:
            self.hits += 1
            return kept
        self.misses += 1
        image = _scaled(read_image(self._split.images[index].path), self._size)
        with self._accounts:  # two threads may have decoded the same image
            if index not in self._kept and self._used + image.nbytes <= self._limit:
                self._used += image.nbytes
                self._kept[index] = image
        return image


def _scaled(image: Image, size: int) -> Image:
    import cv2

    height, width = image.shape[:2]
    scale = size / max(height, width)
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    if shape == (width, height):
        return image
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, shape, interpolation=method), dtype=np.uint8)
