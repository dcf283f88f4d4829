"""COCO average precision of a list of detections.

faster-coco-eval does the matching in C++; tests hold it to pycocotools, figure by figure, to 1e-12.
What its interface would do to our data is kept away from it: `loadRes` writes into the caller's
detections, and `area` and `iscrowd` must be present although tools often leave them out.

It wants a dictionary of every detection. Precision and recall of a class depend on no other class, so it gets some
classes at a time, and its memory is that of a share of the detections, not of all.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluators.accuracy.columns import Columns
from evaluators.accuracy.figures import FIGURES, CocoFigures
from evaluators.data.coco_json import area_and_crowd, check_sections, read_json
from foundation.errors import UserError

Detection = Mapping[str, Any]

MOST = 100  # detections per class and image that count
AT_ONCE = 50_000  # detections that are dictionaries at a time, if one class does not have more


def evaluate(
    ground_truth: Path | Mapping[str, Any],
    detections: Iterable[Detection] | Columns,
    *,
    at_once: int = AT_ONCE,
) -> CocoFigures:
    """The twelve figures over all images of `ground_truth`, those without detections or boxes included.

    Args:
        ground_truth: COCO annotations, a file or its content. Crowd regions are ignored, as COCO does.
        detections: COCO results: image_id, category_id, bbox (x y width height in pixels), score; or those as
            columns. Equal scores rank in list order. Trusted; `check_detections` is for those from outside.
        at_once: how many detections are judged together; bounds memory and changes no figure.

    Raises:
        UserError: the annotations are not COCO's.
    """
    document, name = _document(ground_truth)
    truth = checked_truth(document, name)
    return _figures(truth, columns_of(truth, detections).best(MOST), at_once)


def _known(annotation: Mapping[str, Any]) -> dict[str, Any]:
    return {key: annotation[key] for key in ("area", "iscrowd") if annotation.get(key) is not None}


def columns_of(truth: Mapping[str, Any], detections: Iterable[Detection] | Columns) -> Columns:
    """The detections as columns, of the images and categories of the truth."""
    if isinstance(detections, Columns):
        return detections
    images, categories = ({entry["id"] for entry in truth[key]} for key in ("images", "categories"))
    return Columns.of_results(detections, images, categories)


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
        where = f"{name}: annotation number {identifier - 1}"
        try:
            width, height = annotation["bbox"][2:]
            given, crowd = area_and_crowd({"area": width * height} | _known(annotation), where)
            annotations.append(
                {
                    "id": identifier,
                    "image_id": annotation["image_id"],
                    "category_id": annotation["category_id"],
                    "bbox": annotation["bbox"],
                    "area": given,
                    "iscrowd": int(crowd),
                }
            )
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{where} needs image_id, category_id, bbox [x, y, w, h]") from error
    images = [{"id": image["id"]} for image in document["images"]]
    categories = [{"id": entry["id"], "name": str(entry["name"])} for entry in document["categories"]]
    return {"images": images, "categories": categories, "annotations": annotations}


def _figures(truth: dict[str, Any], found: Columns, at_once: int) -> CocoFigures:
    from faster_coco_eval import COCOeval_faster

    logging.getLogger("faster_coco_eval").setLevel(logging.WARNING)
    names = dict(sorted((entry["id"], entry["name"]) for entry in truth["categories"]))
    parts = [_some_classes(truth, found, some) for some in _shares(list(names), found, at_once)]
    whole = COCOeval_faster(_coco(truth, []), _coco(truth, []), iouType="bbox", print_function=_silent)
    # (IoU, recall, class, area, detections), and recall without the second.
    whole.eval = {
        key: np.concatenate([part[key] for part in parts], axis=1 if key == "recall" else 2)
        for key in ("precision", "recall", "scores")
    }
    whole.summarize()
    precision, scores = (whole.eval[key][:, :, :, 0, -1].copy() for key in ("precision", "scores"))
    return CocoFigures(
        **dict(zip(FIGURES, (float(value) for value in whole.stats[: len(FIGURES)]), strict=True)),
        per_class={name: _mean_defined(precision[:, :, index]) for index, name in enumerate(names.values())},
        precision=precision,
        scores=np.where(precision > -1, scores, -1.0),
    )


def _shares(categories: Sequence[int], found: Columns, at_once: int) -> Iterator[list[int]]:
    """Successive categories that have about `at_once` detections together; one at least."""
    counts = Counter(found.categories.tolist())
    share: list[int] = []
    room = at_once
    for category in categories:
        count = counts[category]
        if share and count > room:
            yield share
            share, room = [], at_once
        share.append(category)
        room -= count
    yield share


def _some_classes(truth: dict[str, Any], found: Columns, categories: list[int]) -> dict[str, Any]:
    """Precision, recall and scores of some categories, over all images and all areas."""
    from faster_coco_eval import COCOeval_faster

    wanted = set(categories)
    boxes = [one for one in truth["annotations"] if one["category_id"] in wanted]
    detections = found.take(np.isin(found.categories, categories)).annotations()
    evaluation = COCOeval_faster(
        _coco(truth, boxes),
        _coco(truth, detections),
        iouType="bbox",
        print_function=_silent,
        extra_calc=False,
    )
    evaluation.params.catIds = categories
    evaluation.evaluate()
    evaluation.accumulate()
    return {key: np.array(evaluation.eval[key]) for key in ("precision", "recall", "scores")}


def _coco(truth: dict[str, Any], annotations: list[dict[str, Any]]) -> Any:
    from faster_coco_eval import COCO

    coco = COCO()
    coco.dataset = {**truth, "annotations": annotations}
    coco.createIndex()
    return coco


def _mean_defined(values: np.ndarray) -> float:
    defined = values[values > -1]
    return float(np.mean(defined)) if defined.size else -1.0


def _silent(*_: object) -> None:
    pass
