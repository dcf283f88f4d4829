"""Training batches, prepared in the background while the network computes.

Threads do: OpenCV and NumPy leave the interpreter lock, and one cache serves all of them. A picture depends
on seed and position only, so neither the number of threads nor an interruption changes what is trained on.

They leave torch's operations alone: one that torch runs in parallel, however small, gives the calling thread a team of
its own, and with more of those threads than cores OpenMP lets all of them sleep at every barrier. One
`repeat_interleave` here made a training step on two cores take 1.6 times as long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from evaluators.data.images import Image
from search.training.data.augment import Augmentation, affine, flip, hsv, mixup
from search.training.data.cache import ImageCache, Sample
from search.training.data.mosaic import mosaic
from search.training.data.sampler import Sampler

if TYPE_CHECKING:
    import torch

    from search.training.assigners import GroundTruth

AHEAD = 3  # batches per thread that wait ready


@dataclass(frozen=True, slots=True)
class Batch:
    """`images` B,3,S,S float32 RGB 0..1 and all objects, boxes in pixels of these images."""

    images: torch.Tensor
    truth: GroundTruth


def to_batch(images: Sequence[Image]) -> NDArray[np.float32]:
    """BGR uint8 images of one size -> RGB float32 NCHW in 0..1.

    Plane by plane, which takes a third of the time of stacking, transposing and converting the whole.
    """
    import cv2

    batch = np.empty((len(images), 3, *images[0].shape[:2]), dtype=np.float32)
    for planes, image in zip(batch, images, strict=True):
        for place, plane in zip((2, 1, 0), cv2.split(image), strict=True):
            np.divide(plane, np.float32(255), out=planes[place])
    return batch


class Loader:
    """Makes the batch of any step: `augmentation(step)` says how strongly its pictures are changed."""

    def __init__(
        self,
        cache: ImageCache,
        sampler: Sampler,
        *,
        batch: int,
        image_size: int,
        augmentation: Callable[[int], Augmentation],
    ) -> None:
        self._cache, self._sampler, self._size, self._batch = cache, sampler, image_size, batch
        self._augmentation = augmentation

    def batch(self, step: int, places: range | None = None) -> Batch:
        """The batch of a step, counted from 0, or those `places` of it."""
        import torch

        from search.training.assigners import GroundTruth

        settings = self._augmentation(step)
        places = range(self._batch) if places is None else places
        samples = [self._picture(step * self._batch + place, settings) for place in places]
        counts = [len(sample.labels) for sample in samples]
        return Batch(
            torch.from_numpy(to_batch([sample.image for sample in samples])),
            GroundTruth(
                torch.from_numpy(np.concatenate([sample.boxes for sample in samples])),
                torch.from_numpy(np.concatenate([sample.labels for sample in samples])),
                torch.from_numpy(np.repeat(np.arange(len(samples)), counts)),
            ),
        )

    @contextmanager
    def batches(
        self, first: int, last: int, workers: int, places: range | None = None
    ) -> Iterator[Iterator[Batch]]:
        """Batches (or `places` of each) of steps `first` to `last` - 1, made by `workers` threads ahead of use."""
        pool = ThreadPoolExecutor(workers, thread_name_prefix="batches")
        try:
            yield self._ahead(pool, first, last, AHEAD * workers, places)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _ahead(
        self, pool: ThreadPoolExecutor, first: int, last: int, ahead: int, places: range | None
    ) -> Iterator[Batch]:
        waiting: deque[Future[Batch]] = deque()
        for step in range(first, last):
            while len(waiting) < ahead and step + len(waiting) < last:
                waiting.append(pool.submit(self.batch, step + len(waiting), places))
            yield waiting.popleft().result()

    def _picture(self, position: int, settings: Augmentation) -> Sample:
        random = self._sampler.random(position)
        sample = self._composed(self._sampler.index(position), settings, random)
        if random.uniform() < settings.mixup:
            other = self._composed(int(random.integers(len(self._cache))), settings, random)
            sample = mixup(sample, other, random)
        return flip(
            Sample(hsv(sample.image, settings, random), sample.boxes, sample.labels), settings, random
        )

    def _composed(self, index: int, settings: Augmentation, random: np.random.Generator) -> Sample:
        """One image, or with the probability of mosaic four, zoomed and shifted into the square."""
        sample = self._cache[index]
        if random.uniform() < settings.mosaic:
            others = random.integers(len(self._cache), size=3)
            sample = mosaic([sample, *(self._cache[int(other)] for other in others)], self._size, random)
        return affine(sample, self._size, settings, random)
