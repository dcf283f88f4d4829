"""AP of an engine on a split: the one way from images to figures."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from evaluators.accuracy.coco import evaluate
from evaluators.accuracy.columns import Columns
from evaluators.accuracy.detect import Engine, Stopwatch, detect_images
from evaluators.accuracy.detections import ImageDetections
from evaluators.accuracy.figures import CocoFigures
from evaluators.accuracy.interval import ApInterval, ap_interval
from evaluators.accuracy.kept import KeptDetections
from evaluators.accuracy.matches import ImageMatches, match_images
from evaluators.accuracy.protocol import PAPER, Protocol
from evaluators.accuracy.stratified import stratified_order
from evaluators.accuracy.truth import ground_truth_of
from evaluators.data.detection_data import Split

LOOKS = (0.125, 0.25, 0.5)  # shares of the images after which a judgement may end early
FEWEST = 24  # images before the first look: an interval from fewer says little
# Of an interval that may end a judgement. Three looks, each wrong in 1 of 200 cases at most.
VERDICT_CONFIDENCE = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Figures and what they are figures of.

    Attributes:
        images: that were judged; fewer than `of_images` when the verdict came early.
        of_images: that were to be judged.
        interval: of AP, where one was asked for.
        seconds: detection, without the evaluation that follows.
        inference_seconds: of those, inside the engine.
        resumed_images: whose detections came from an interrupted judgement; not in the seconds.
    """

    figures: CocoFigures
    split: str
    images: int
    of_images: int
    image_size: int
    protocol: Protocol
    detections: int
    seconds: float
    inference_seconds: float
    resumed_images: int = 0
    interval: ApInterval | None = None

    @property
    def ended_early(self) -> bool:
        """Whether the AP is that of a part, because it could no longer reach what it had to beat."""
        return self.images < self.of_images

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "figures": self.figures.to_dict(),
            "split": self.split,
            "images": self.images,
            "of_images": self.of_images,
            "ap_interval": None if self.interval is None else self.interval.to_dict(),
            "image_size": self.image_size,
            "protocol": self.protocol.to_dict(),
            "detections": self.detections,
            "seconds": self.seconds,
            "inference_seconds": self.inference_seconds,
            "resumed_images": self.resumed_images,
        }


def judge(
    engine: Engine,
    split: Split,
    *,
    image_size: int,
    protocol: Protocol = PAPER,
    limit: int | None = None,
    on_image: Callable[[int], None] | None = None,
    kept: KeptDetections | None = None,
    interval: bool = False,
    ap_to_beat: float | None = None,
    guard: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Accuracy:
    """Detect and evaluate.

    Args:
        limit: only the first so many images are run and count.
        on_image: called with the number of images done.
        kept: where detections are kept until the end, and taken from; the caller closes it.
        interval: whether to give the 95 % bootstrap interval of AP.
        ap_to_beat: end early, with the figures of a growing stratified part of the images, as soon as the 99 %
            interval of AP lies below it.
        guard: entered around every pass, as of `detect_images`.

    Raises:
        UserError: as of `detect_images`.
    """
    part = split if limit is None else split.subset(range(min(limit, len(split))))
    run = _Run(engine, part, image_size, protocol, kept, on_image, guard)
    if ap_to_beat is None:
        judged, bound = part, None
        run.detect(part)
    else:
        judged, bound = _until_clear(run, part, ap_to_beat)
    results = run.results(judged)
    truth = ground_truth_of(judged)
    if interval and bound is None:
        bound = ap_interval(match_images(truth, results, [image.id for image in judged.images]))
    return Accuracy(
        figures=evaluate(truth, results),
        split=part.name,
        images=len(judged),
        of_images=len(part),
        image_size=image_size,
        protocol=protocol,
        detections=len(results),
        seconds=run.seconds,
        inference_seconds=run.watch.inference_s,
        resumed_images=run.resumed,
        interval=bound,
    )


def _until_clear(run: "_Run", part: Split, ap_to_beat: float) -> tuple[Split, ApInterval | None]:
    """Run growing parts; the part after which AP was clearly too low with its interval, or everything and None."""
    order = stratified_order(part)
    matches: list[ImageMatches] = []
    for share in LOOKS:
        enough = max(FEWEST, math.ceil(share * len(part)))
        if enough >= len(part) or enough <= len(matches):
            continue
        fresh = part.subset(order[len(matches) : enough])
        run.detect(fresh)
        matches += match_images(
            ground_truth_of(fresh), run.results(fresh), [image.id for image in fresh.images]
        )
        bound = ap_interval(matches, confidence=VERDICT_CONFIDENCE)
        if bound is not None and bound.high < ap_to_beat:
            return part.subset(sorted(order[:enough])), bound
    run.detect(part)
    return part, None


class _Run:
    """Detections of a split, each image once."""

    def __init__(
        self,
        engine: Engine,
        part: Split,
        image_size: int,
        protocol: Protocol,
        kept: KeptDetections | None,
        on_image: Callable[[int], None] | None,
        guard: Callable[[], AbstractContextManager[None]],
    ) -> None:
        wanted = {image.id for image in part.images}
        earlier = {} if kept is None else kept.found
        self.found: dict[int, ImageDetections] = {key: one for key, one in earlier.items() if key in wanted}
        self.resumed = len(self.found)
        self.watch = Stopwatch()
        self.seconds = 0.0
        self._engine, self._image_size, self._protocol = engine, image_size, protocol
        self._kept, self._on_image, self._guard = kept, on_image, guard

    def detect(self, part: Split) -> None:
        start = time.perf_counter()
        for one in detect_images(
            self._engine,
            part,
            image_size=self._image_size,
            protocol=self._protocol,
            stopwatch=self.watch,
            done=frozenset(self.found),
            guard=self._guard,
        ):
            if one.image_id in self.found:
                continue  # ran once more because a rectangular batch needs all its images
            self.found[one.image_id] = one
            if self._kept is not None:
                self._kept.add(one)
            if self._on_image:
                self._on_image(len(self.found))
        self.seconds += time.perf_counter() - start

    def results(self, part: Split) -> Columns:
        return Columns.of_images([self.found[image.id] for image in part.images], part.category_ids)
