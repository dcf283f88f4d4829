import numpy as np
import pytest

from evaluators.accuracy import PAPER, Protocol, TorchEngine, detect, evaluate, ground_truth_of, judge
from evaluators.data import load_data
from foundation.errors import UserError
from tests.evaluators.accuracy.engines import KnowingEngine
from tests.evaluators.data.making import annotation, write_split


@pytest.fixture
def val(tmp_path):
    """Seven images of 64 x 48; image 3 empty, one crowd, one flat box, ids 3 and 7."""
    boxes = [annotation(i, i, [5 + i, 6, 20, 10 + i], category=(3, 7)[i % 2]) for i in (1, 2, 4, 5, 6, 7)]
    boxes += [
        annotation(20, 1, [40, 20, 10.5, 9.25], category=7),
        annotation(21, 2, [30, 20, 25, 25], iscrowd=1),
        annotation(22, 4, [30, 20, 0, 25]),
    ]
    write_split(tmp_path, "val", boxes, count=7)
    return load_data(tmp_path, splits=("val",)).split("val")


@pytest.mark.parametrize("batch", [1, 3, 7, 16])
@pytest.mark.parametrize("image_size", [32, 64, 96])
def test_an_engine_that_knows_scores_one(val, batch, image_size):
    engine = KnowingEngine(val, image_size, batch, classes=2)
    progress = []
    found = detect(engine, val, image_size=image_size, on_image=progress.append)
    assert engine.calls == -(-7 // batch)
    assert {d["category_id"] for d in found} == {3, 7}
    assert [d["image_id"] for d in found] == sorted(d["image_id"] for d in found)
    assert progress == list(range(1, 8))
    assert evaluate(ground_truth_of(val), found).stats[0] == pytest.approx(1)
    first = [d for d in found if d["image_id"] == 1]
    np.testing.assert_allclose([d["bbox"] for d in first], [[6, 6, 20, 11], [40, 20, 10.5, 9.25]], atol=1e-4)
    assert max(d["bbox"][0] + d["bbox"][2] for d in found) <= 64
    assert [d["score"] for d in first] == pytest.approx([0.9, 0.899])


def test_the_flat_box_would_have_cost_recall(val):
    found = detect(KnowingEngine(val, 64, 1, 2), val, image_size=64)
    assert evaluate(val.annotations, found).AR_100 < 1
    truth = ground_truth_of(val)
    assert [a["id"] for a in truth["annotations"] if a["id"] >= 20] == [20, 21]


def test_limit_judges_the_same_images_it_runs(val):
    accuracy = judge(KnowingEngine(val, 64, 2, 2), val, image_size=64, limit=5)
    assert (accuracy.images, accuracy.figures.AP) == (5, pytest.approx(1))
    assert {image["id"] for image in ground_truth_of(val.subset([2, 0]))["images"]} == {1, 3}
    assert accuracy.to_dict()["protocol"] == PAPER.to_dict()
    assert len(detect(KnowingEngine(val, 64, 2, 2), val, image_size=64, limit=1)) == 2


def test_protocol_is_obeyed(val):
    engine = KnowingEngine(val, 64, 7, 2)
    found = detect(engine, val, image_size=64, protocol=Protocol(max_detections=1))
    assert len(found) == 6
    high = Protocol(conf_threshold=0.8995)
    assert len(detect(KnowingEngine(val, 64, 7, 2), val, image_size=64, protocol=high)) == 6


def test_unreadable_image_ends_with_its_name(val):
    val.images[5].path.write_bytes(b"broken")
    with pytest.raises(UserError, match=r"val_5\.png"):
        detect(KnowingEngine(val, 64, 2, 2), val, image_size=64)


def test_exchanged_image_is_noticed(val):
    other = val.images[5].path
    val.images[4].path.write_bytes(other.read_bytes())
    detect(KnowingEngine(val, 64, 2, 2), val, image_size=64)  # same size: fine
    import cv2

    assert cv2.imwrite(str(other), np.zeros((48, 65, 3), dtype=np.uint8))
    with pytest.raises(UserError, match="annotated as 64x48"):
        detect(KnowingEngine(val, 64, 2, 2), val, image_size=64)


def test_torch_engine_gives_what_the_network_decodes():
    import torch

    from yolov6space import variants
    from yolov6space.networks import build, realistic_statistics

    torch.manual_seed(0)
    detector = build(variants.get("N").model, num_classes=2)
    realistic_statistics(detector)
    detector.train()
    engine = TorchEngine(detector, batch=2)
    images = np.random.default_rng(0).random((2, 3, 64, 64), dtype=np.float32)
    boxes, scores = engine.infer(images)
    assert detector.training
    with torch.no_grad():
        detector.eval()
        expected = detector.decode(detector(torch.from_numpy(images)), 64, 64)
    np.testing.assert_allclose(boxes, expected[0].numpy(), atol=1e-2)
    np.testing.assert_allclose(scores, expected[1].numpy(), atol=1e-4)
    assert (boxes.shape, scores.shape) == ((2, 84, 4), (2, 84, 2))
