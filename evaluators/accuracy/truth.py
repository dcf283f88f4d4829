"""The ground truth a split is judged by."""

from typing import Any

from evaluators.data.coco_json import read_json
from evaluators.data.detection_data import Split


def ground_truth_of(split: Split) -> dict[str, Any]:
    """COCO annotations of the split's images, as written, without those that cannot be used.

    Boxes keep their full extent and `area` (COCO sorts sizes by the area of the mask); crowd regions stay,
    to be ignored.
    """
    document = read_json(split.annotations)
    wanted = {image.id for image in split.images}
    return {
        "images": [image for image in document["images"] if image["id"] in wanted],
        "categories": document["categories"],
        "annotations": [
            annotation
            for position, annotation in enumerate(document["annotations"])
            if position not in split.dropped and annotation["image_id"] in wanted
        ],
    }
