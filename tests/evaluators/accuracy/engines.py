"""An engine that knows the answer: it recognises the images of a split and finds their annotated boxes."""

import numpy as np

from evaluators.accuracy import PAPER
from evaluators.accuracy.placement import place
from evaluators.data import Split, read_image, to_network


class KnowingEngine:
    """Returns each image's boxes in input coordinates, all with scores near 0.9.

    `blind` images are shown without an answer; `jitter` moves boxes by so many pixels, at random.
    """

    def __init__(
        self, split: Split, image_size: int, batch: int, classes: int, protocol=PAPER, blind=(), jitter=0.0
    ) -> None:
        self.batch = batch
        self.calls = 0
        self.seen = []
        self._input = (image_size, image_size)
        self._answers = {}
        rng = np.random.default_rng(0)
        for index, image in enumerate(split.images):
            drawn, at = place(read_image(image.path), self._input, image_size, protocol)
            boxes = split.boxes[index] * np.array([at.scale_x, at.scale_y] * 2)
            boxes = boxes + np.array([at.left, at.top] * 2) + rng.normal(0, 1, boxes.shape) * jitter
            scores = np.zeros((len(boxes), classes), dtype=np.float32)
            scores[np.arange(len(boxes)), split.labels[index]] = 0.9 - 0.001 * np.arange(len(boxes))
            known = slice(0, 0) if image.id in blind else slice(None)
            self._answers[to_network(drawn).tobytes()] = (image.id, boxes[known], scores[known])
        self._most = max(len(boxes) for boxes in split.boxes)
        self._classes = classes

    def infer(self, images):
        assert images.shape == (self.batch, 3, *self._input)
        assert images.dtype == np.float32
        self.calls += 1
        boxes = np.zeros((self.batch, self._most, 4), dtype=np.float32)
        scores = np.zeros((self.batch, self._most, self._classes), dtype=np.float32)
        for place_in_batch, image in enumerate(images):
            if not image.any():
                continue  # the rest of an incomplete batch
            identifier, known_boxes, known_scores = self._answers[image.tobytes()]
            self.seen.append(identifier)
            boxes[place_in_batch, : len(known_boxes)] = known_boxes
            scores[place_in_batch, : len(known_scores)] = known_scores
        return boxes, scores
