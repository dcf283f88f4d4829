"""Detections of a whole split through an engine.

Reading and resizing of the next batches and suppression of the last run in threads beside inference; at most
AHEAD batches wait on either side, so memory does not grow with the set.

Legend: B batch, H height, W width, A anchor points, C classes.
"""

import time
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.detections import ImageDetections
from evaluators.accuracy.placement import Placement, place, rectangle
from evaluators.accuracy.protocol import PAPER, Protocol
from evaluators.accuracy.suppression import candidates, suppress
from evaluators.data.detection_data import ImageRecord, Split
from evaluators.data.images import read_image, to_network
from foundation.errors import UserError

AHEAD = 2
Floats = NDArray[np.float32]


class Engine(Interface):
    """What runs a network: PyTorch, OpenVINO, ONNX Runtime, TensorRT."""

    @property
    def batch(self) -> int:
        """Images per call of `infer`, no more and no fewer."""
        ...

    def infer(self, images: Floats) -> tuple[Floats, Floats]:
        """Images (B, 3, H, W) RGB 0..1 -> boxes (B, A, 4) xyxy in input pixels, scores (B, A, C); new arrays."""
        ...


@dataclass
class Stopwatch:
    """Adds up the seconds spent inside an engine."""

    inference_s: float = field(default=0.0)

    def infer(self, engine: Engine, tensor: Floats) -> tuple[Floats, Floats]:
        """`engine.infer`, timed."""
        start = time.perf_counter()
        try:
            return engine.infer(tensor)
        finally:
            self.inference_s += time.perf_counter() - start


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    images: Sequence[ImageRecord]
    tensor: Floats
    placements: Sequence[Placement]


def detect(
    engine: Engine,
    split: Split,
    *,
    image_size: int,
    protocol: Protocol = PAPER,
    limit: int | None = None,
    on_image: Callable[[int], None] | None = None,
) -> list[dict[str, Any]]:
    """COCO results of a split, in image order, highest score first (`ImageDetections.to_coco`).

    Args:
        limit: only the first so many images.
        on_image: called with the number of images done, after each batch.

    Raises:
        UserError: as of `detect_images`.
    """
    part = split if limit is None else split.subset(range(min(limit, len(split))))
    found = {}
    for done, one in enumerate(
        detect_images(engine, part, image_size=image_size, protocol=protocol), start=1
    ):
        found[one.image_id] = one
        if on_image:
            on_image(done)
    return [entry for image in part.images for entry in found[image.id].to_coco(part.category_ids)]


def detect_images(
    engine: Engine,
    split: Split,
    *,
    image_size: int,
    protocol: Protocol = PAPER,
    stopwatch: Stopwatch | None = None,
    done: Container[int] = (),
    guard: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Iterator[ImageDetections]:
    """Run the engine over a split and hand out each image's detections as they are ready.

    In the order of the split; with rectangular batches in order of the images' shapes.

    Args:
        image_size: side of the square input in pixels; of rectangular ones the longer side without border.
        stopwatch: gets the time spent in the engine.
        done: ids of images that need not be run again. They run where a rectangular batch holds another one,
            because its shape depends on all its images.
        guard: entered around every pass, such as `lambda: working(device)` of `evaluators.device_lock`.

    Raises:
        UserError: an image is unreadable or has another size than annotated, or the protocol wants
            rectangular inputs of an engine with a fixed one.
    """
    if protocol.rectangular and not getattr(engine, "any_size", False):
        raise UserError(
            "rectangular inputs need a network that takes any size, and this engine was built for one; "
            "use --hardware pytorch, or a protocol with a square input"
        )
    watch = stopwatch or Stopwatch()
    groups = _groups(split, engine.batch, protocol, done)
    loading: deque[Future[_Batch]] = deque()
    finishing: deque[Future[list[ImageDetections]]] = deque()
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="images") as pool:
        try:
            while groups or loading:
                while groups and len(loading) < AHEAD:
                    loading.append(pool.submit(_load, groups.popleft(), engine.batch, image_size, protocol))
                batch = loading.popleft().result()
                with guard():
                    boxes, scores = watch.infer(engine, batch.tensor)
                finishing.append(pool.submit(_finish, batch, boxes, scores, protocol))
                while len(finishing) > AHEAD:
                    yield from finishing.popleft().result()
            while finishing:
                yield from finishing.popleft().result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _groups(
    split: Split, batch: int, protocol: Protocol, done: Container[int]
) -> deque[Sequence[ImageRecord]]:
    images = list(split.images)
    if protocol.rectangular:
        images.sort(key=lambda image: image.height / image.width)
    else:
        images = [image for image in images if image.id not in done]
    groups = (images[start : start + batch] for start in range(0, len(images), batch))
    return deque(group for group in groups if any(image.id not in done for image in group))


def _load(images: Sequence[ImageRecord], batch: int, image_size: int, protocol: Protocol) -> _Batch:
    """Read and place; an incomplete last batch is filled up with zeros."""
    shape = (image_size, image_size)
    if protocol.rectangular:
        shape = rectangle(images, image_size, protocol.extra_border)
    tensor = np.zeros((batch, 3, *shape), dtype=np.float32)
    placements = []
    for index, image in enumerate(images):
        pixels = read_image(image.path)
        height, width = pixels.shape[:2]
        if (width, height) != (image.width, image.height):
            raise UserError(
                f"{image.path} is {width}x{height} pixels but annotated as {image.width}x{image.height}; "
                "put back the annotated image or correct the JSON"
            )
        drawn, placement = place(pixels, shape, image_size, protocol)
        tensor[index] = to_network(drawn)
        placements.append(placement)
    return _Batch(images, tensor, placements)


def _finish(batch: _Batch, boxes: Floats, scores: Floats, protocol: Protocol) -> list[ImageDetections]:
    results = []
    for index, (image, placement) in enumerate(zip(batch.images, batch.placements, strict=True)):
        kept = suppress(candidates(boxes[index], scores[index], protocol), protocol)
        results.append(ImageDetections(image.id, placement.to_image(kept.xyxy), kept.scores, kept.labels))
    return results
