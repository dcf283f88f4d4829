"""COCO average precision of a list of detections.

faster-coco-eval does the matching in C++; tests hold it to pycocotools, figure by figure, to 1e-12.
What its interface would do to our data is kept away from it: `loadRes` writes into the caller's
detections, and `area` and `iscrowd` must be present although tools often leave them out.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluators.accuracy.figures import FIGURES, CocoFigures
from evaluators.data.coco_json import check_sections, read_json
from foundation.errors import UserError

Detection = Mapping[str, Any]


def evaluate(ground_truth: Path | Mapping[str, Any], detections: Iterable[Detection]) -> CocoFigures:
    """The twelve figures over all images of `ground_truth`, those without detections or boxes included.

    Args:
        ground_truth: COCO annotations, a file or its content. Crowd regions are ignored, as COCO does.
        detections: COCO results: image_id, category_id, bbox (x y width height in pixels), score.
            Equal scores rank in list order. Trusted; `check_detections` is for those from outside.

    Raises:
        UserError: the annotations are not COCO's.
    """
    document, name = _document(ground_truth)
    return _figures(checked_truth(document, name), numbered(detections))


def _document(ground_truth: Path | Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    if isinstance(ground_truth, Mapping):
        return ground_truth, "ground truth"
    path = Path(ground_truth)
    return read_json(path), str(path)


def checked_truth(document: Mapping[str, Any], name: str = "ground truth") -> dict[str, Any]:
    """What COCO's code needs of a ground truth, in new objects. Raises UserError when it is not COCO's."""
    check_sections(document, name)
    annotations = []
    # Own ids, because COCO's code reads a match with annotation id 0 as "no match" and merges equal ids.
    for identifier, annotation in enumerate(document["annotations"], start=1):
        try:
            width, height = annotation["bbox"][2:]
            annotations.append(
                {
                    "id": identifier,
                    "image_id": annotation["image_id"],
                    "category_id": annotation["category_id"],
                    "bbox": annotation["bbox"],
                    "area": annotation.get("area", width * height),
                    "iscrowd": int(annotation.get("iscrowd") or 0),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{name}: annotation number {identifier - 1} needs image_id, category_id, bbox [x, y, w, h]"
            ) from error
    images = [{"id": image["id"]} for image in document["images"]]
    categories = [{"id": entry["id"], "name": str(entry["name"])} for entry in document["categories"]]
    return {"images": images, "categories": categories, "annotations": annotations}


def numbered(detections: Iterable[Detection]) -> list[dict[str, Any]]:
    """Detections as COCO's code keeps them: with ids and areas, in new objects."""
    return [
        {
            "id": identifier,
            "image_id": detection["image_id"],
            "category_id": detection["category_id"],
            "bbox": detection["bbox"],
            "score": detection["score"],
            "area": detection["bbox"][2] * detection["bbox"][3],
            "iscrowd": 0,
        }
        for identifier, detection in enumerate(detections, start=1)
    ]


def _figures(truth: dict[str, Any], results: list[dict[str, Any]]) -> CocoFigures:
    from faster_coco_eval import COCO, COCOeval_faster

    logging.getLogger("faster_coco_eval").setLevel(logging.WARNING)
    found = COCO()
    found.dataset = {"images": truth["images"], "categories": truth["categories"], "annotations": results}
    found.createIndex()
    expected = COCO()
    expected.dataset = truth
    expected.createIndex()
    evaluation = COCOeval_faster(expected, found, iouType="bbox", print_function=_silent)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    stats = [float(value) for value in evaluation.stats[: len(FIGURES)]]
    # (IoU, recall, class, area, detections): all areas, most detections.
    precision, scores = (np.asarray(evaluation.eval[key])[:, :, :, 0, -1] for key in ("precision", "scores"))
    names = {entry["id"]: entry["name"] for entry in truth["categories"]}
    ordered: Sequence[str] = [names[int(identifier)] for identifier in evaluation.params.catIds]
    return CocoFigures(
        **dict(zip(FIGURES, stats, strict=True)),
        per_class={name: _mean_defined(precision[:, :, index]) for index, name in enumerate(ordered)},
        precision=precision,
        scores=np.where(precision > -1, scores, -1.0),
    )


def _mean_defined(values: np.ndarray) -> float:
    defined = values[values > -1]
    return float(np.mean(defined)) if defined.size else -1.0


def _silent(*_: object) -> None:
    pass
