"""Early verdicts and interrupted judgements, on images that an engine recognises."""

import json
import os
from contextlib import contextmanager

import numpy as np
import pytest

from evaluators.accuracy import PLAIN, RECTANGULAR, detect_images, evaluate, ground_truth_of, judge
from evaluators.accuracy.detections import ImageDetections
from evaluators.accuracy.kept import KeptDetections
from evaluators.data import load_data
from foundation.errors import UserError
from tests.evaluators.accuracy.engines import KnowingEngine
from tests.evaluators.data.making import annotation, write_split

IMAGES = 120


@pytest.fixture(scope="module")
def val(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    boxes = [
        annotation(i, i, [i % 20, 6, 20, 10 + i % 15], category=(3, 7)[i % 2]) for i in range(1, IMAGES + 1)
    ]
    write_split(folder, "val", boxes, count=IMAGES)
    return load_data(folder, splits=("val",)).split("val")


def poor(val):
    """Finds the boxes of every third image."""
    return KnowingEngine(val, 64, 1, 2, blind={image.id for image in val.images if image.id % 3})


def test_a_clearly_worse_engine_is_judged_on_a_part(val):
    engine = poor(val)
    early = judge(engine, val, image_size=64, ap_to_beat=0.9)
    assert early.ended_early
    assert (early.images, early.of_images) == (24, IMAGES)
    assert len(engine.seen) == 24
    assert early.interval.high < 0.9
    assert pytest.approx(early.interval.ap, abs=1e-12) == early.figures.AP
    told = early.to_dict()
    assert (told["images"], told["of_images"], told["ap_interval"]["confidence"]) == (24, IMAGES, 0.99)


def test_figures_of_a_part_are_those_of_its_images(val):
    engine = poor(val)
    early = judge(engine, val, image_size=64, ap_to_beat=0.9)
    part = val.subset(index for index, image in enumerate(val.images) if image.id in set(engine.seen))
    assert judge(poor(val), part, image_size=64).figures == early.figures


def test_one_that_may_reach_it_is_judged_on_everything(val):
    engine = poor(val)
    full = judge(engine, val, image_size=64, ap_to_beat=0.3)
    assert not full.ended_early
    assert sorted(engine.seen) == [image.id for image in val.images]  # each image once
    assert full.interval is None
    assert full.figures == judge(poor(val), val, image_size=64).figures


def test_a_small_split_is_judged_as_a_whole(val):
    engine = poor(val)
    assert judge(engine, val, image_size=64, limit=20, ap_to_beat=0.99).images == 20


def test_interval_when_asked_for(val):
    found = judge(poor(val), val, image_size=64, interval=True)
    assert found.interval.confidence == 0.95
    assert found.interval.low < found.figures.AP < found.interval.high
    assert 0 < found.inference_seconds < found.seconds


class Interrupted(KnowingEngine):
    def infer(self, images):
        if self.calls == 50:
            raise KeyboardInterrupt
        return super().infer(images)


def test_an_interruption_costs_only_what_was_in_flight(val, tmp_path):
    path = tmp_path / "kept" / "one.jsonl"
    expected = judge(KnowingEngine(val, 64, 1, 2, jitter=2), val, image_size=64)
    kept = KeptDetections(path, {"what": "x"})
    with pytest.raises(KeyboardInterrupt):
        judge(Interrupted(val, 64, 1, 2, jitter=2), val, image_size=64, kept=kept)
    kept.close()

    again = KeptDetections(path, {"what": "x"})
    assert 44 <= len(again.found) <= 50
    engine = KnowingEngine(val, 64, 1, 2, jitter=2)
    resumed = judge(engine, val, image_size=64, kept=again)
    again.close(judged=[image.id for image in val.images])
    assert len(engine.seen) == IMAGES - resumed.resumed_images
    assert resumed.figures == expected.figures
    assert not path.exists()


def detections(identifier):
    rng = np.random.default_rng(identifier)
    return ImageDetections(
        identifier,
        rng.random((5, 4), dtype=np.float32),
        rng.random(5, dtype=np.float32),
        rng.integers(0, 9, 5),
    )


def opened(path, key):
    kept = KeptDetections(path, key)
    kept.close()
    return kept.found


def test_kept_numbers_are_exact_and_survive_a_torn_line(tmp_path):
    path = tmp_path / "x.jsonl"
    kept = KeptDetections(path, {"a": 1})
    for identifier in (1, 2, 3):
        kept.add(detections(identifier))
    kept.close()
    path.write_text(path.read_text()[:-30])
    found = opened(path, {"a": 1})
    assert sorted(found) == [1, 2]
    for name in ("xyxy", "scores", "labels"):
        np.testing.assert_array_equal(getattr(found[2], name), getattr(detections(2), name))


def test_a_finished_part_leaves_what_an_interrupted_whole_has_kept(tmp_path):
    path = tmp_path / "x.jsonl"
    kept = KeptDetections(path, {"a": 1})
    for identifier in (1, 2, 3):
        kept.add(detections(identifier))
    kept.close(judged=[1, 2])
    assert sorted(opened(path, {"a": 1})) == [1, 2, 3]
    KeptDetections(path, {"a": 1}).close(judged=[1, 2, 3, 4])
    assert not path.exists()


def test_what_nobody_came_back_to_is_swept(tmp_path):
    old, recent = tmp_path / "old.jsonl", tmp_path / "recent.jsonl"
    for path in (old, recent):
        opened(path, {})
    os.utime(old, (0, 0))
    opened(tmp_path / "x.jsonl", {})
    assert (old.exists(), recent.exists()) == (False, True)


def test_detections_of_something_else_are_not_taken(tmp_path):
    path = tmp_path / "x.jsonl"
    kept = KeptDetections(path, {"a": 1})
    kept.add(detections(1))
    kept.close()
    assert opened(path, {"a": 2}) == {}
    path.write_text("{}\n[1]\n")
    assert opened(path, {}) == {}


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot keep unfinished results"):
        KeptDetections(tmp_path / "file" / "x.jsonl", {})


def test_rectangular_inputs_need_a_network_of_any_size(val):
    with pytest.raises(UserError, match="--hardware pytorch"):
        judge(poor(val), val, image_size=64, protocol=RECTANGULAR)


class AnySize:
    """Finds one box at a fixed place of the input, whatever its shape."""

    any_size = True
    batch = 2

    def __init__(self):
        self.shapes = []

    def infer(self, images):
        self.shapes.append(images.shape[2:])
        boxes = np.tile(np.array([16, 16, 48, 40], dtype=np.float32), (2, 1, 1))
        return boxes, np.full((2, 1, 2), 0.5, dtype=np.float32)


def test_rectangular_batches_are_sorted_by_shape_and_results_are_not(tmp_path):
    write_split(tmp_path, "val", [annotation(i, i, [0, 0, 32, 24]) for i in (1, 2, 3)], count=3)
    document = json.loads((tmp_path / "annotations/instances_val.json").read_text())
    import cv2

    for entry, (width, height) in zip(document["images"], [(48, 64), (64, 32), (64, 48)], strict=True):
        assert cv2.imwrite(
            str(tmp_path / "images/val" / entry["file_name"]), np.zeros((height, width, 3), np.uint8)
        )
        entry.update(width=width, height=height)
    (tmp_path / "annotations/instances_val.json").write_text(json.dumps(document))
    split = load_data(tmp_path, splits=("val",)).split("val")
    resumed = AnySize()
    for _ in detect_images(resumed, split, image_size=64, protocol=RECTANGULAR, done={2}):
        pass
    assert resumed.shapes == [(64, 96), (96, 64)]  # the batch of 2 and 3 as it was, not 3 alone
    rest = AnySize()
    left = detect_images(rest, split, image_size=64, protocol=RECTANGULAR, done={2, 3})
    assert [one.image_id for one in left] == [1]
    assert rest.shapes == [(96, 64)]
    engine = AnySize()
    found = judge(engine, split, image_size=64, protocol=RECTANGULAR)
    assert engine.shapes == [(64, 96), (96, 64)]  # 64x32 and 64x48 share a batch; 48x64 is alone
    assert found.images == 3
    # 64x48 in 96 x 64: border 16 left, 8 above; the box is found at 0, 8 of the image.
    from evaluators.accuracy import detect

    boxes = {d["image_id"]: d["bbox"] for d in detect(AnySize(), split, image_size=64, protocol=RECTANGULAR)}
    assert list(boxes) == [1, 2, 3]
    assert boxes[3] == [0, 8, 32, 24]


def test_single_label_and_plain_are_what_they_say(val):
    found = judge(KnowingEngine(val, 64, 8, 2, protocol=PLAIN), val, image_size=64, protocol=PLAIN)
    assert pytest.approx(1) == found.figures.AP
    assert found.protocol.load_size == 640
    assert evaluate(ground_truth_of(val), []).AP == 0


def test_every_pass_is_guarded(val):
    entered = []

    @contextmanager
    def guard():
        entered.append(engine.calls)
        yield
        assert engine.calls == entered[-1] + 1

    engine = poor(val)
    judge(engine, val.subset(range(5)), image_size=64, guard=guard)
    assert entered == [0, 1, 2, 3, 4]
