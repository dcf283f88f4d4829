import copy
import json

import numpy as np
import pytest

from evaluators.accuracy import FIGURES, evaluate
from evaluators.accuracy.columns import Columns
from foundation.errors import UserError
from tests.evaluators.accuracy.cases import random_case, reference

EXACT = 1e-12


def assert_as_pycocotools(truth, detections):
    figures = evaluate(truth, detections)
    expected = reference(truth, detections)
    np.testing.assert_allclose(figures.stats, expected.stats, rtol=0, atol=EXACT)
    np.testing.assert_allclose(
        figures.precision, expected.eval["precision"][:, :, :, 0, -1], rtol=0, atol=EXACT
    )
    np.testing.assert_array_equal(figures.scores, expected.eval["scores"][:, :, :, 0, -1])
    for index, category in enumerate(expected.params.catIds):
        values = expected.eval["precision"][:, :, index, 0, -1]
        mean = values[values > -1].mean() if (values > -1).any() else -1
        assert figures.per_class[f"class {category}"] == pytest.approx(mean, abs=EXACT)
    return figures


@pytest.mark.parametrize("first", range(0, 120, 20))
def test_equal_to_pycocotools_on_random_cases(first):
    for seed in range(first, first + 20):
        assert_as_pycocotools(*random_case(seed))


@pytest.mark.parametrize("at_once", [1, 3, 40])
def test_judging_some_classes_at_a_time_changes_no_bit(at_once):
    for seed in range(40):
        truth, detections = random_case(seed)
        whole, parts = evaluate(truth, detections), evaluate(truth, detections, at_once=at_once)
        assert whole == parts
        np.testing.assert_array_equal(whole.precision, parts.precision)
        np.testing.assert_array_equal(whole.scores, parts.scores)


def test_no_more_detections_are_dictionaries_than_asked(monkeypatch):
    shares = []
    annotations = Columns.annotations
    monkeypatch.setattr(Columns, "annotations", lambda some: shares.append(len(some)) or annotations(some))
    truth, detections = random_case(4)
    evaluate(truth, detections)
    evaluate(truth, detections, at_once=1)
    whole, *parts = shares
    assert len(parts) == len(truth["categories"])
    assert sum(parts) == whole > max(parts)


def test_random_cases_hold_the_corners_they_promise():
    cases = [random_case(seed) for seed in range(120)]
    truths = [truth for truth, _ in cases]
    assert any(a["iscrowd"] for truth in truths for a in truth["annotations"])
    assert any(a["area"] == 32 * 32 for truth in truths for a in truth["annotations"])
    assert any(a["area"] == 0 for truth in truths for a in truth["annotations"])
    assert any(not truth["annotations"] for truth in truths)
    assert any(not detections for _, detections in cases)
    per_image = [
        np.unique([(d["image_id"], d["category_id"]) for d in detections], axis=0, return_counts=True)[
            1
        ].max()
        for _, detections in cases
        if detections
    ]
    assert max(per_image) > 100
    assert any(len({d["score"] for d in found}) < len(found) for _, found in cases)


def test_equal_to_pycocotools_on_real_annotations(shared_data):
    """COCO photos, with jittered boxes, confused classes, repeated and tied scores, and strays."""
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        truth = json.loads((shared_data / "coco_by/annotations" / f"instances_{split}.json").read_text())
        names = {entry["id"]: f"class {entry['id']}" for entry in truth["categories"]}
        truth["categories"] = [{"id": i, "name": name} for i, name in names.items()]
        assert any(a["iscrowd"] for a in truth["annotations"])
        detections = []
        for annotation in truth["annotations"]:
            for _ in range(rng.integers(0, 12)):
                box = np.array(annotation["bbox"]) + rng.normal(0, 0.1, 4) * max(annotation["bbox"][2:])
                box[2:] = np.maximum(box[2:], 0.5)
                label = annotation["category_id"] if rng.random() < 0.8 else int(rng.choice(list(names)))
                detections.append(
                    {
                        "image_id": annotation["image_id"],
                        "category_id": label,
                        "bbox": box.tolist(),
                        "score": round(float(rng.random()), 2),
                    }
                )
        figures = assert_as_pycocotools(truth, detections)
        assert 0.05 < figures.AP < 0.95


def one_box(**more):
    return {
        "images": [{"id": 1}],
        "categories": [{"id": 5, "name": "class 5"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 5, "bbox": [10, 10, 50, 50], "area": 2500, "iscrowd": 0}
            | more
        ],
    }


HIT = {"image_id": 1, "category_id": 5, "bbox": [10, 10, 50, 50], "score": 0.5}


def test_perfect_detection():
    figures = evaluate(one_box(), [HIT])
    # Precision is 1 at all recalls; only medium boxes exist.
    assert figures.AP == figures.AP50 == figures.AP_medium == figures.AR_1 == pytest.approx(1)
    assert figures.AP_small == figures.AR_large == -1
    assert figures.to_dict()["AP_small"] is None
    assert list(figures.to_dict()) == [*FIGURES, "per_class", "precision_at_recall"]
    assert figures.to_dict()["per_class"] == {"class 5": pytest.approx(1)}


def test_nothing_detected_is_zero_and_nothing_annotated_is_undefined():
    assert evaluate(one_box(), []).AP == 0
    empty = {**one_box(), "annotations": []}
    assert evaluate(empty, [HIT]).stats == (-1.0,) * 12
    assert evaluate(empty, []).stats == (-1.0,) * 12


def test_annotation_id_zero_counts_as_any_other():
    """pycocotools takes a match with id 0 for no match; here ids do not matter."""
    assert evaluate(one_box(id=0), [HIT]).stats[0] == pytest.approx(1)
    assert reference(one_box(id=0), [HIT]).stats[0] == 0


def test_missing_area_and_iscrowd_are_filled_in():
    truth = one_box()
    for key in ("area", "iscrowd", "id"):
        del truth["annotations"][0][key]
    assert evaluate(truth, [HIT]) == evaluate(one_box(), [HIT])


def test_an_area_of_null_is_that_of_the_box():
    """A crowd of null is none."""
    assert evaluate(one_box(area=None, iscrowd=None), [HIT]) == evaluate(one_box(), [HIT])


@pytest.mark.parametrize(
    "wrong",
    [
        {"area": "large"},
        {"area": float("nan")},
        {"area": float("inf")},
        {"area": -1},
        {"area": True},
        {"iscrowd": "no"},
        {"iscrowd": 2},
        {"bbox": [0, 0, -5, 5], "area": None},
    ],
)
def test_areas_and_crowds_that_are_none_are_refused(wrong):
    with pytest.raises(UserError, match=r"annotation number 0: (area|iscrowd) is"):
        evaluate(one_box(**wrong), [HIT])


def test_arguments_stay_as_they_are():
    truth, detections = random_case(7)
    before = copy.deepcopy((truth, detections))
    evaluate(truth, detections)
    assert (truth, detections) == before


def test_no_output(capfd):
    evaluate(*random_case(3))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        ([], "not COCO"),
        ({"images": [], "annotations": []}, "lacks 'categories'"),
        ({"images": [], "categories": [], "annotations": [{"id": 1}]}, "annotation number 0"),
    ],
)
def test_ground_truth_that_is_none(tmp_path, truth, expected):
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth))
    with pytest.raises(UserError, match=expected):
        evaluate(path, [])
