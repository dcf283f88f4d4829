"""AP from cached matches is AP: of all images, of some, and of images drawn several times."""

import numpy as np
import pytest

from evaluators.accuracy import evaluate
from evaluators.accuracy.interval import ap_interval
from evaluators.accuracy.matches import ap_of_resamplings, match_images
from tests.evaluators.accuracy.cases import random_case


def image_ids(truth):
    return [image["id"] for image in truth["images"]]


def drawn(truth, detections, counts):
    """The data set that has every image as often as `counts` says, copies under ids of their own."""
    images, annotations, found = [], [], []
    for image, count in zip(truth["images"], counts, strict=True):
        for copy in range(count):
            new = 10 * image["id"] + copy
            images.append({"id": new})
            for one in truth["annotations"]:
                if one["image_id"] == image["id"]:
                    annotations.append({**one, "image_id": new})
            found += [{**one, "image_id": new} for one in detections if one["image_id"] == image["id"]]
    return {**truth, "images": images, "annotations": annotations}, found


def untied(detections, rng):
    scores = rng.permutation(len(detections)) / max(1, len(detections))
    return [{**one, "score": float(score)} for one, score in zip(detections, scores, strict=True)]


@pytest.mark.parametrize("most", [1, 3])
def test_equal_to_the_usual_way_on_any_multiset_of_images(most):
    """With ties where no image comes twice: copies of an image share their ties in another order."""
    rng = np.random.default_rng(0)
    defined = 0
    for seed in range(40):
        truth, detections = random_case(seed)
        if most > 1:
            detections = untied(detections, rng)
        matches = match_images(truth, detections, image_ids(truth))
        counts = np.stack([np.ones(len(matches), dtype=int), *rng.integers(0, most + 1, (2, len(matches)))])
        for row, ap in zip(counts, ap_of_resamplings(matches, counts), strict=True):
            expected = evaluate(*drawn(truth, detections, row)).AP
            if expected == -1:
                assert np.isnan(ap)
            else:
                defined += 1
                assert ap == pytest.approx(expected, abs=1e-12)
    assert defined > 80


def test_matching_in_parts_changes_nothing():
    truth, detections = random_case(11)
    ids = image_ids(truth)
    whole = match_images(truth, detections, ids)
    parts = []
    for identifier in ids:
        mine = [one for one in detections if one["image_id"] == identifier]
        parts += match_images(truth, mine, [identifier])
    ones = np.ones((1, len(ids)), dtype=int)
    np.testing.assert_array_equal(ap_of_resamplings(whole, ones), ap_of_resamplings(parts, ones))


def photos(count, seed, skill):
    """`count` images with three boxes each; a detector finds each with probability `skill`, among strays."""
    rng = np.random.default_rng(seed)
    annotations, detections = [], []
    for identifier in range(1, count + 1):
        for place in range(3):
            box = [100.0 * place, 10.0, 40.0, 40.0]
            annotations.append({"image_id": identifier, "category_id": 1, "bbox": box})
            hit = rng.random() < skill
            detections.append(
                {
                    "image_id": identifier,
                    "category_id": 1,
                    "bbox": box if hit else [300.0, 300.0, 9.0, 9.0],
                    "score": float(rng.random() + 0.3 * hit),
                }
            )
    images = [{"id": identifier} for identifier in range(1, count + 1)]
    return {"images": images, "categories": [{"id": 1, "name": "a"}], "annotations": annotations}, detections


def test_interval_holds_its_point_and_narrows_with_more_images():
    widths = []
    for count in (20, 320):
        truth, detections = photos(count, 1, 0.6)
        found = ap_interval(match_images(truth, detections, image_ids(truth)))
        assert found.low <= found.ap <= found.high
        assert found.ap == pytest.approx(evaluate(truth, detections).AP, abs=1e-12)
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 2.5  # a fourth, up to the luck of the draw


def test_interval_is_the_same_again():
    truth, detections = photos(30, 2, 0.5)
    matches = match_images(truth, detections, image_ids(truth))
    assert ap_interval(matches, resamplings=50) == ap_interval(matches, resamplings=50)


def test_interval_covers_the_ap_of_the_whole_set():
    """Of forty parts of a large set, at most a few may miss its AP with a 95 % interval."""
    truth, detections = photos(1200, 3, 0.5)
    matches = match_images(truth, detections, image_ids(truth))
    whole = ap_of_resamplings(matches, np.ones((1, 1200), dtype=int))[0]
    found = [ap_interval(matches[start : start + 30], resamplings=100) for start in range(0, 1200, 30)]
    assert sum(one.low <= whole <= one.high for one in found) >= 34


def test_a_perfect_detector_has_no_spread():
    truth, detections = photos(10, 4, 1.0)
    found = ap_interval(match_images(truth, detections, image_ids(truth)), resamplings=50)
    assert found.low == found.high == pytest.approx(1)


def test_no_interval_without_evidence():
    truth, detections = photos(1, 5, 1.0)
    assert ap_interval(match_images(truth, detections, [1])) is None
    empty = {**truth, "annotations": [], "images": [{"id": 1}, {"id": 2}]}
    assert ap_interval(match_images(empty, detections, [1, 2])) is None


def test_fewer_resamplings_are_computed_together_for_many_detections(monkeypatch):
    """The interval is the same to the last bit; memory is bounded."""
    truth, detections = photos(20, 0, 0.7)
    matches, seen = match_images(truth, detections, image_ids(truth)), []
    whole = ap_interval(matches)
    monkeypatch.setattr("evaluators.accuracy.interval.AT_ONCE", 3 * len(detections))

    def noted(matches, counts):
        seen.append(len(counts))
        return ap_of_resamplings(matches, counts)

    monkeypatch.setattr("evaluators.accuracy.interval.ap_of_resamplings", noted)
    assert ap_interval(matches) == whole
    assert max(seen) <= 4


def test_matching_some_images_at_a_time_changes_nothing():
    truth, detections = random_case(11)
    ids = image_ids(truth)
    for one, other in zip(
        match_images(truth, detections, ids), match_images(truth, detections, ids, at_once=2), strict=True
    ):
        for name in ("positives", "labels", "scores", "hits", "misses"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
