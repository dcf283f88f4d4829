"""An engine that knows the answer: it finds the annotated boxes of the images it is shown, in order."""

import numpy as np

from evaluators.data import Split, letterbox


class KnowingEngine:
    """Returns each image's boxes in letterbox coordinates, from buffers that it uses again."""

    def __init__(self, split: Split, image_size: int, batch: int, classes: int) -> None:
        self.batch = batch
        self.calls = 0
        self._answers = [self._answer(split, i, image_size, classes) for i in range(len(split))]
        most = max(len(boxes) for boxes, _ in self._answers)
        self._boxes = np.zeros((batch, most, 4), dtype=np.float32)
        self._scores = np.zeros((batch, most, classes), dtype=np.float32)
        self._image_size = image_size

    def infer(self, images):
        assert images.shape == (self.batch, 3, self._image_size, self._image_size)
        assert images.dtype == np.float32
        self._boxes[:] = 0
        self._scores[:] = 0
        for place in range(self.batch):
            index = self.calls * self.batch + place
            if index < len(self._answers):
                boxes, scores = self._answers[index]
                self._boxes[place, : len(boxes)] = boxes
                self._scores[place, : len(boxes)] = scores
            else:
                assert not images[place].any()
        self.calls += 1
        return self._boxes, self._scores

    @staticmethod
    def _answer(split, index, image_size, classes):
        image = split.images[index]
        blank = np.zeros((image.height, image.width, 3), dtype=np.uint8)
        _, scale, (left, top) = letterbox(blank, image_size)
        boxes = split.boxes[index] * scale + np.array([left, top, left, top])
        scores = np.zeros((len(boxes), classes), dtype=np.float32)
        scores[np.arange(len(boxes)), split.labels[index]] = 0.9 - 0.001 * np.arange(len(boxes))
        return boxes, scores
