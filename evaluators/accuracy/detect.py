"""Detections of a whole split through an engine, as COCO results.

Reading and resizing of the next batches and suppression of the last run in threads beside inference; at most
AHEAD batches wait on either side, so memory does not grow with the set.

Legend: B batch, H height, W width, A anchor points, C classes.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.protocol import PAPER, Protocol
from evaluators.accuracy.suppression import Boxes, candidates, suppress
from evaluators.data.detection_data import ImageRecord, Split
from evaluators.data.images import from_letterbox, letterbox, read_image, to_network
from foundation.errors import UserError

AHEAD = 2


class Engine(Interface):
    """What runs a network: PyTorch, OpenVINO, ONNX Runtime, TensorRT."""

    @property
    def batch(self) -> int:
        """Images per call of `infer`, no more and no fewer."""
        ...

    def infer(self, images: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Images (B, 3, H, W) RGB 0..1 -> boxes (B, A, 4) xyxy in input pixels, scores (B, A, C) 0..1."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    images: Sequence[ImageRecord]
    tensor: NDArray[np.float32]
    geometry: Sequence[tuple[float, tuple[int, int]]]


def detect(
    engine: Engine,
    split: Split,
    *,
    image_size: int,
    protocol: Protocol = PAPER,
    limit: int | None = None,
    on_image: Callable[[int], None] | None = None,
) -> list[dict[str, Any]]:
    """Run the engine over a split.

    Args:
        image_size: side of the square input in pixels.
        limit: only the first so many images.
        on_image: called with the number of images done, after each batch.

    Returns:
        COCO results in image order, highest score first: image_id, category_id (the split's own ids),
        bbox [x, y, width, height] in pixels of the stored image, score.

    Raises:
        UserError: an image is unreadable or has another size than annotated.
    """
    images = split.images[:limit]
    groups = deque(images[start : start + engine.batch] for start in range(0, len(images), engine.batch))
    results: list[dict[str, Any]] = []
    loading: deque[Future[_Batch]] = deque()
    finishing: deque[Future[list[dict[str, Any]]]] = deque()
    done = 0
    with ThreadPoolExecutor(max_workers=2, thread_name_prefix="images") as pool:
        try:
            while groups or loading:
                while groups and len(loading) < AHEAD:
                    loading.append(
                        pool.submit(_load, groups.popleft(), engine.batch, image_size, protocol.fill)
                    )
                batch = loading.popleft().result()
                boxes, scores = engine.infer(batch.tensor)
                # The threshold copies what is needed here, before the engine may reuse its output buffers.
                found = [
                    candidates(boxes[index], scores[index], protocol) for index in range(len(batch.images))
                ]
                finishing.append(pool.submit(_finish, batch, found, split.category_ids, protocol))
                while len(finishing) > AHEAD:
                    results += finishing.popleft().result()
                done += len(batch.images)
                if on_image:
                    on_image(done)
            while finishing:
                results += finishing.popleft().result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return results


def _load(images: Sequence[ImageRecord], batch: int, image_size: int, fill: int) -> _Batch:
    """Read and letterbox; an incomplete last batch is filled up with zeros."""
    tensor = np.zeros((batch, 3, image_size, image_size), dtype=np.float32)
    geometry = []
    for index, image in enumerate(images):
        pixels = read_image(image.path)
        height, width = pixels.shape[:2]
        if (width, height) != (image.width, image.height):
            raise UserError(
                f"{image.path} is {width}x{height} pixels but annotated as {image.width}x{image.height}; "
                "put back the annotated image or correct the JSON"
            )
        square, scale, pad = letterbox(pixels, image_size, fill)
        tensor[index] = to_network(square)
        geometry.append((scale, pad))
    return _Batch(images, tensor, geometry)


def _finish(
    batch: _Batch, found: Sequence[Boxes], category_ids: Sequence[int], protocol: Protocol
) -> list[dict[str, Any]]:
    results = []
    for image, (scale, pad), boxes in zip(batch.images, batch.geometry, found, strict=True):
        kept = suppress(boxes, protocol)
        corners = from_letterbox(kept.xyxy, scale, pad, image.width, image.height).astype(np.float64)
        corners[:, 2:] -= corners[:, :2]
        for box, score, label in zip(
            corners.tolist(), kept.scores.tolist(), kept.labels.tolist(), strict=True
        ):
            results.append(
                {"image_id": image.id, "category_id": category_ids[label], "bbox": box, "score": score}
            )
    return results
