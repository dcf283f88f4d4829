"""The sheet of annotated and detected boxes: each where it belongs, weak detections left out."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from evaluators.data import load_data
from evaluators.data.contact_sheet import COLOURS, comparison_sheet
from evaluators.data.detection_data import DetectionData

TILE = 100


@pytest.fixture
def data(tmp_path: Path) -> DetectionData:
    """Three black pictures of 100 x 100; the first has one object of the second class."""
    categories = [{"id": 5, "name": "cat"}, {"id": 9, "name": "dog"}]
    for split in ("train", "val"):
        (tmp_path / "images" / split).mkdir(parents=True)
        images = []
        for image in (1, 2, 3):
            cv2.imwrite(str(tmp_path / "images" / split / f"{image}.png"), np.zeros((100, 100, 3), np.uint8))
            images.append({"id": image, "file_name": f"{image}.png", "width": 100, "height": 100})
        boxes = [
            {"id": 1, "image_id": 1, "category_id": 9, "bbox": [20, 30, 40, 50], "area": 2000, "iscrowd": 0}
        ]
        document = {"images": images, "annotations": boxes, "categories": categories}
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
    return load_data(tmp_path)


def test_truth_is_left_and_what_was_found_is_right(data: DetectionData) -> None:
    found = [
        {"image_id": 1, "category_id": 5, "bbox": [10, 40, 60, 20], "score": 0.9},
        {"image_id": 2, "category_id": 5, "bbox": [10, 40, 60, 20], "score": 0.29},
    ]
    sheet = comparison_sheet(data.split("val"), data.class_names, found, tile=TILE)
    assert sheet.shape == (2 * TILE, 4 * TILE, 3)
    truth, detected, second_truth, second_detected = np.split(sheet[:TILE], 4, axis=1)
    for x, y in ((20, 60), (60, 60), (40, 80)):  # left, right and lower edge
        assert tuple(truth[y, x]) == COLOURS[1]
    for x, y in ((10, 50), (70, 50), (40, 60)):
        assert tuple(detected[y, x]) == COLOURS[0]
    assert not truth[50, 70].any() and not detected[70, 20].any()
    assert not second_truth.any() and not second_detected.any()
    assert (sheet[TILE:, 2 * TILE :] == 255).all()  # no fourth image
