import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from evaluators.accuracy.protocol import Protocol
from evaluators.accuracy.suppression import candidates, suppress
from evaluators.graphs.nms import append_nms

BATCH, ANCHORS, CLASSES = 2, 300, 3


@pytest.fixture(scope="module")
def outputs():
    """Crowded boxes with distinct scores."""
    random = np.random.default_rng(1)
    corners = random.uniform(0, 60, (BATCH, ANCHORS, 2))
    boxes = np.concatenate([corners, corners + random.uniform(5, 40, (BATCH, ANCHORS, 2))], axis=-1)
    scores = random.permutation(BATCH * ANCHORS * CLASSES).reshape(BATCH, ANCHORS, CLASSES) / 2000
    return boxes.astype(np.float32), scores.astype(np.float32)


@pytest.fixture
def detections(outputs, tmp_path):
    """The rows that the appended suppression gives for `outputs`."""

    def run(protocol):
        values = dict(zip(("boxes", "scores"), outputs, strict=True))
        graph = helper.make_graph(
            [helper.make_node("Identity", [f"{name}_"], [name], name=f"/{name}") for name in values],
            "given",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [BATCH, 3, 32, 32])],
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, each.shape)
                for name, each in values.items()
            ],
            [numpy_helper.from_array(each, f"{name}_") for name, each in values.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, tmp_path / "raw.onnx")
        append_nms(tmp_path / "raw.onnx", tmp_path / "nms.onnx", protocol)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(
            tmp_path / "nms.onnx", options, providers=["CPUExecutionProvider"]
        )
        return session.run(["detections"], {"images": np.zeros((BATCH, 3, 32, 32), np.float32)})[0]

    return run


def test_appended_suppression_keeps_what_the_evaluation_keeps(outputs, detections):
    protocol = Protocol(conf_threshold=0.6)  # so few that no limit of rows cuts
    found = detections(protocol)
    assert (np.diff(found[:, 5]) <= 0).all()
    for index, (boxes, scores) in enumerate(zip(*outputs, strict=True)):
        kept = suppress(candidates(boxes, scores, protocol), protocol)
        mine = found[found[:, 0] == index]
        assert 50 < len(kept.scores) < protocol.max_detections
        np.testing.assert_array_equal(mine[:, 5], kept.scores)
        np.testing.assert_array_equal(mine[:, 1:5], kept.xyxy)
        np.testing.assert_array_equal(mine[:, 6], kept.labels)


def test_nothing_above_the_threshold_gives_no_rows(detections):
    assert detections(Protocol(conf_threshold=0.999)).shape == (0, 7)


def test_rows_are_limited_to_the_best(outputs, detections):
    found = detections(Protocol(conf_threshold=0.0, nms_iou=1.0, max_detections=5))
    assert found.shape == (5 * BATCH, 7)
    assert found[0, 5] == outputs[1].max()
