import numpy as np
import pytest

from evaluators.accuracy import PAPER, Protocol
from evaluators.accuracy.suppression import FIRST_ROUND, Boxes, candidates, suppress


def overlap(first, second):
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(width, 0) * max(height, 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return common / (sum(areas) - common)


def slowly(found, protocol):
    """Greedy suppression as a double loop over Python numbers."""
    kept = []
    boxes = found.xyxy.astype(float).tolist()
    for index in range(len(found.scores)):
        rivals = [other for other in kept if found.labels[other] == found.labels[index]]
        if all(overlap(boxes[index], boxes[other]) <= protocol.nms_iou for other in rivals):
            kept.append(index)
        if len(kept) == protocol.max_detections:
            break
    return kept


def random_boxes(count, classes, seed, spread=200, tied=False):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, spread, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 120, (count, 2))], axis=1).astype(np.float32)
    scores = rng.uniform(0, 1, count).astype(np.float32)
    if tied:
        scores = scores.round(1) + np.float32(0.1)  # a score of 0 is never a candidate
    return Boxes(boxes, -np.sort(-scores), rng.integers(0, classes, count))


@pytest.mark.parametrize("nms_iou", [0.3, 0.45, 0.65, 0.9])
@pytest.mark.parametrize(("count", "classes"), [(1, 1), (60, 1), (300, 3), (500, 80)])
@pytest.mark.parametrize("tied", [False, True])
def test_equal_to_a_slow_loop(nms_iou, count, classes, tied):
    found = random_boxes(count, classes, seed=count, tied=tied)
    for limit in (10, 300):
        protocol = Protocol(nms_iou=nms_iou, max_detections=limit)
        kept = suppress(found, protocol)
        expected = slowly(found, protocol)
        np.testing.assert_array_equal(kept.xyxy, found.xyxy[expected])
        np.testing.assert_array_equal(kept.scores, found.scores[expected])
        np.testing.assert_array_equal(kept.labels, found.labels[expected])


def test_more_candidates_than_a_round_takes():
    """Most boxes lie on each other, so the first round does not find enough."""
    found = random_boxes(3 * FIRST_ROUND, 1, seed=1, spread=120)
    protocol = Protocol(nms_iou=0.4)
    expected = slowly(found, protocol)
    assert expected[-1] > FIRST_ROUND
    np.testing.assert_array_equal(suppress(found, protocol).scores, found.scores[expected])


def test_exact_threshold_is_kept():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 5]], dtype=np.float32)
    found = Boxes(boxes, np.array([0.9, 0.8], dtype=np.float32), np.zeros(2, dtype=np.int64))
    assert len(suppress(found, Protocol(nms_iou=0.5)).scores) == 2
    assert len(suppress(found, Protocol(nms_iou=0.49)).scores) == 1


def test_nothing_found():
    empty = Boxes(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    assert len(suppress(empty, PAPER).scores) == 0


def square(count):
    return np.tile(np.array([0, 0, 10, 10], dtype=np.float32), (count, 1))


def test_several_labels_per_anchor_or_the_best_alone():
    scores = np.array([[0.9, 0.5, 0.01], [0.02, 0.03, 0.02], [0.1, 0.2, 0.7]], dtype=np.float32)
    many = candidates(square(3), scores, Protocol())
    np.testing.assert_array_equal(many.scores, scores[[0, 2, 0, 2, 2], [0, 2, 1, 1, 0]])
    np.testing.assert_array_equal(many.labels, [0, 2, 1, 1, 0])
    best = candidates(square(3), scores, Protocol(multi_label=False))
    np.testing.assert_array_equal(best.labels, [0, 2])
    # A score must exceed the threshold: 0.03 does not.
    assert len(candidates(square(3), scores, Protocol(conf_threshold=0.9)).scores) == 0


def test_highest_scores_stay_when_there_are_too_many():
    scores = np.random.default_rng(0).random((500, 4)).astype(np.float32)
    found = candidates(square(500), scores, Protocol(max_candidates=100))
    np.testing.assert_array_equal(found.scores, -np.sort(-scores.ravel())[:100])


def test_what_is_no_box_is_left_out():
    boxes = np.array(
        [[0, 0, 10, 10], [5, 0, 5, 10], [9, 0, 3, 10], [0, np.nan, 5, 5], [0, 0, np.inf, 5]], dtype=np.float32
    )
    found = candidates(boxes, np.full((5, 1), 0.5, dtype=np.float32), PAPER)
    np.testing.assert_array_equal(found.xyxy, boxes[:1])
    assert len(candidates(boxes, np.full((5, 1), np.nan, dtype=np.float32), PAPER).scores) == 0
