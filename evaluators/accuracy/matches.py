"""Which detections match which boxes, kept per image, so that AP of any resampling of the images is arithmetic.

pycocotools decides on the matches of every image once; AP of a multiset of images then needs only counts.
Tests hold it to the AP of the same images, evaluated the usual way.

Legend: S images, K classes, T IoU thresholds, D detections of one class, R resamplings.
"""

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluators.accuracy.coco import MOST, checked_truth, columns_of
from evaluators.accuracy.columns import Columns
from evaluators.accuracy.figures import IOU_THRESHOLDS

IMAGES_AT_ONCE = 500  # whose detections are dictionaries at a time


@dataclass(frozen=True, slots=True, eq=False)
class ImageMatches:
    """One image: `positives` int64 (K,) boxes to find; and of N detections, grouped by class and of falling
    score within, `labels` int64 (N,), `scores` float64 (N,), `hits` and `misses` bool (N, T). A detection that
    is neither lies on a crowd region."""

    image_id: int
    positives: NDArray[np.int64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    hits: NDArray[np.bool_]
    misses: NDArray[np.bool_]


def match_images(
    truth: Mapping[str, Any],
    detections: Iterable[Mapping[str, Any]] | Columns,
    image_ids: Sequence[int],
    *,
    at_once: int = IMAGES_AT_ONCE,
) -> list[ImageMatches]:
    """Match the detections of each image, in order of `image_ids`, as COCO AP over all sizes does.

    Args:
        truth: COCO annotations of at least these images.
        detections: COCO results of these images, or those as columns.
        at_once: images that are matched together; bounds memory and changes nothing.
    """
    document = checked_truth(truth)
    found = columns_of(document, detections).best(MOST)
    found = found.take(np.argsort(found.images, kind="stable"))
    boxes: dict[int, list[Any]] = {}
    for annotation in document["annotations"]:
        boxes.setdefault(annotation["image_id"], []).append(annotation)
    matches = []
    for start in range(0, len(image_ids), at_once):
        some = image_ids[start : start + at_once]
        first, last = (np.searchsorted(found.images, some, side=side) for side in ("left", "right"))
        rows = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
        matches += _matched(document["categories"], boxes, found.take(rows.astype(np.int64)), some)
    return matches


def _matched(
    categories: list[Any], boxes: Mapping[int, list[Any]], found: Columns, image_ids: Sequence[int]
) -> list[ImageMatches]:
    from pycocotools.cocoeval import COCOeval

    images = [{"id": identifier} for identifier in image_ids]
    own = [annotation for identifier in image_ids for annotation in boxes.get(identifier, ())]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(
            _coco(images, categories, own), _coco(images, categories, found.annotations()), "bbox"
        )
        evaluation._prepare()
    return [_image(evaluation, identifier) for identifier in image_ids]


def ap_of_resamplings(matches: Sequence[ImageMatches], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """AP (R,) of R multisets of images.

    Args:
        counts: (R, S), how often each image is in the multiset.

    Returns:
        AP over all classes with boxes to find, NaN where there are none. Of equal scores the image with the
        lower id comes first, as in COCO's code, and copies of an image come together.
    """
    counts = np.asarray(counts, dtype=np.int64)
    positives = counts @ np.stack([one.positives for one in matches])
    ids = np.array([one.image_id for one in matches])
    owner = np.repeat(np.arange(len(matches)), [len(one.scores) for one in matches])
    labels = np.concatenate([one.labels for one in matches])
    scores = np.concatenate([one.scores for one in matches])
    hits = np.concatenate([one.hits for one in matches])
    misses = np.concatenate([one.misses for one in matches])
    total, defined = np.zeros(len(counts)), (positives > 0).sum(axis=1)
    for label in np.flatnonzero(positives.any(axis=0)):
        mine = np.flatnonzero(labels == label)
        mine = mine[np.lexsort((ids[owner[mine]], -scores[mine]))]  # a stable sort
        weights = counts[:, owner[mine]]
        total += _class_ap(weights, hits[mine], misses[mine], positives[:, label])
    return np.where(defined > 0, total / np.maximum(defined, 1), np.nan)


def _class_ap(
    weights_RD: NDArray[np.int64],
    hits_DT: NDArray[np.bool_],
    misses_DT: NDArray[np.bool_],
    positives_R: NDArray[np.int64],
) -> NDArray[np.float64]:
    recalls = np.linspace(0.0, 1.0, 101)  # to the last bit as in COCO's code
    known = np.maximum(positives_R, 1)[:, None]
    seen = np.cumsum(weights_RD, axis=1)
    result = np.zeros(len(weights_RD))
    for threshold in range(hits_DT.shape[1]):
        # Precision falls between two hits, so its envelope is decided at the hits alone.
        hit, miss = hits_DT[:, threshold], misses_DT[:, threshold]
        if not hit.any():
            continue
        right = np.cumsum(weights_RD[:, hit], axis=1)
        counted = seen[:, hit]
        if not (hit | miss).all():
            counted = counted - np.cumsum(weights_RD * ~(hit | miss), axis=1)[:, hit]
        precision = right / (counted + np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        # Each recall level takes the envelope at the first hit that reaches it.
        reached = np.searchsorted(recalls, right / known, side="right")
        result += (np.diff(reached, axis=1, prepend=0) * envelope).sum(axis=1)
    return np.where(positives_R > 0, result / (len(recalls) * len(IOU_THRESHOLDS)), 0.0)


def _coco(images: list[Any], categories: list[Any], annotations: list[Any]) -> Any:
    from pycocotools.coco import COCO

    coco = COCO()
    coco.dataset = {"images": images, "categories": categories, "annotations": annotations}
    coco.createIndex()
    return coco


def _image(evaluation: Any, identifier: int) -> ImageMatches:
    categories = sorted(evaluation.params.catIds)
    positives = np.zeros(len(categories), dtype=np.int64)
    parts: list[tuple[int, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]] = []
    for label, category in enumerate(categories):
        pair = (identifier, category)
        # `get` would do for these default dictionaries, but indexing them fills them with empty lists.
        if not evaluation._gts.get(pair) and not evaluation._dts.get(pair):
            continue
        evaluation.ious[pair] = evaluation.computeIoU(*pair)
        found = evaluation.evaluateImg(identifier, category, evaluation.params.areaRng[0], MOST)
        positives[label] = int((np.asarray(found["gtIgnore"]) == 0).sum())
        ignored = np.asarray(found["dtIgnore"], dtype=bool)
        matched = np.asarray(found["dtMatches"]) != 0
        scores = np.asarray(found["dtScores"], dtype=np.float64)
        parts.append((label, scores, (matched & ~ignored).T, (~matched & ~ignored).T))
    none = np.zeros((0, len(IOU_THRESHOLDS)), dtype=np.bool_)
    return ImageMatches(
        image_id=identifier,
        positives=positives,
        labels=np.repeat([part[0] for part in parts], [len(part[1]) for part in parts]).astype(np.int64),
        scores=np.concatenate([np.zeros(0), *(part[1] for part in parts)]),
        hits=np.concatenate([none, *(part[2] for part in parts)]),
        misses=np.concatenate([none, *(part[3] for part in parts)]),
    )
