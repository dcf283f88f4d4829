"""Random COCO cases full of corners, and pycocotools as the reference."""

import contextlib
import copy
import io
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def reference(truth: dict[str, Any], detections: list[dict[str, Any]]) -> COCOeval:
    """pycocotools' evaluation, run to the end; its arguments are left alone and its prints silenced."""
    with contextlib.redirect_stdout(io.StringIO()):
        expected = COCO()
        expected.dataset = copy.deepcopy(truth)
        expected.createIndex()
        if detections:
            found = expected.loadRes(copy.deepcopy(detections))
        else:  # its loadRes fails on an empty list
            found = COCO()
            found.dataset = {**copy.deepcopy(truth), "annotations": []}
            found.createIndex()
        evaluation = COCOeval(expected, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def random_case(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Crowds, boxes at the area limits and of no area, masks smaller than boxes, images without boxes or
    without detections, equal scores, exact matches, over 100 detections, a class without ground truth."""
    rng = np.random.default_rng(seed)
    image_ids = (rng.permutation(1000)[: rng.integers(1, 8)]).tolist()
    category_ids = (rng.permutation(90)[: rng.integers(2, 6)] + 1).tolist()
    annotations: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []
    for image_id in image_ids:
        count = 0 if rng.random() < 0.2 else int(rng.integers(0, 12))
        boxes = [_box(rng) for _ in range(count)]
        for box in boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": int(rng.choice(category_ids[:-1])),
                    "bbox": box,
                    "area": box[2] * box[3] * (1.0 if rng.random() < 0.5 else float(rng.uniform(0.3, 1))),
                    "iscrowd": int(rng.random() < 0.15),
                }
            )
        if rng.random() < 0.1:
            continue
        for _ in range(int(rng.integers(101, 400) if rng.random() < 0.2 else rng.integers(0, 15))):
            detections.append(
                {
                    "image_id": image_id,
                    "category_id": int(rng.choice(category_ids)),
                    "bbox": _guess(boxes, rng),
                    "score": float(rng.random() if rng.random() < 0.6 else rng.choice([0.1, 0.5, 0.9])),
                }
            )
    order = rng.permutation(len(detections))
    truth = {
        "images": [{"id": i, "width": 640, "height": 640, "file_name": f"{i}.jpg"} for i in image_ids],
        "categories": [{"id": c, "name": f"class {c}"} for c in category_ids],
        "annotations": annotations,
    }
    return truth, [detections[i] for i in order]


def _box(rng: np.random.Generator) -> list[float]:
    corner = rng.uniform(0, 400, 2)
    extent = np.exp(rng.uniform(np.log(2), np.log(300), 2))
    if rng.random() < 0.3:
        corner, extent = corner.round(), extent.round()
    chance = rng.random()
    if chance < 0.1:
        extent[:] = 32
    elif chance < 0.15:
        extent[:] = 96
    elif chance < 0.2:
        extent[0] = 0
    return [*corner.tolist(), *extent.tolist()]


def _guess(boxes: list[list[float]], rng: np.random.Generator) -> list[float]:
    if not boxes or rng.random() < 0.2:
        return [*rng.uniform(0, 400, 2).tolist(), *rng.uniform(0, 200, 2).tolist()]
    box = np.array(boxes[rng.integers(len(boxes))])
    if rng.random() < 0.7:
        box += rng.normal(0, 1, 4) * rng.choice([0.01, 0.05, 0.2]) * max(box[2], box[3], 1)
        box[2:] = np.maximum(box[2:], 0)
    return box.tolist()
