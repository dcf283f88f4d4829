"""Suppression appended to a deploy graph, for programs that want detections and not raw outputs.

It is never part of what is timed: the paper's latencies are without it, and so are ours.
"""

from pathlib import Path
from typing import Any

import numpy as np

from evaluators.accuracy.protocol import PAPER, Protocol

OUTPUT = "detections"
_COLUMNS = 7  # image, x1, y1, x2, y2, score, label


def append_nms(source: Path, target: Path, protocol: Protocol = PAPER) -> None:
    """Write the graph at `source` with ONNX's own NonMaxSuppression behind it to `target`.

    The one output is `detections` K,7 float32, highest scores first: index of the image in the batch, x1, y1,
    x2, y2 (pixels of the input), score, label. Threshold and overlap are the protocol's; a box may appear with
    several labels. At most `max_detections` times the batch rows.

    Args:
        source: an exported graph with outputs `boxes` B,A,4 and `scores` B,A,C.
        protocol: `conf_threshold`, `nms_iou`, `max_detections`; ONNX knows no `max_candidates`.
    """
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load(str(source))
    graph = model.graph
    batch = graph.input[0].type.tensor_type.shape.dim[0].dim_value
    limit = protocol.max_detections
    constants: dict[str, Any] = {
        "nms_per_class": np.array([limit], np.int64),
        "nms_rows": np.array([limit * batch], np.int64),
        "nms_iou": np.array([protocol.nms_iou], np.float32),
        "nms_threshold": np.array([protocol.conf_threshold], np.float32),
        "nms_image_box": np.array([0, 2], np.int64),
        "nms_image": np.array([0], np.int64),
        "nms_label": np.array([1], np.int64),
        "nms_last": np.array([1], np.int64),
    }
    graph.initializer.extend(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())
    steps: list[tuple[str, list[str], list[str], dict[str, Any]]] = [
        ("Transpose", ["scores"], ["nms_scores"], {"perm": [0, 2, 1]}),
        (
            "NonMaxSuppression",
            ["boxes", "nms_scores", "nms_per_class", "nms_iou", "nms_threshold"],
            ["nms_kept"],
            {},
        ),
        ("Gather", ["nms_kept", "nms_image_box"], ["nms_where"], {"axis": 1}),
        ("GatherND", ["boxes", "nms_where"], ["nms_boxes"], {}),
        ("GatherND", ["nms_scores", "nms_kept"], ["nms_confidence"], {}),
        ("Unsqueeze", ["nms_confidence", "nms_last"], ["nms_confidence_column"], {}),
        ("Gather", ["nms_kept", "nms_image"], ["nms_images"], {"axis": 1}),
        ("Cast", ["nms_images"], ["nms_image_column"], {"to": TensorProto.FLOAT}),
        ("Gather", ["nms_kept", "nms_label"], ["nms_labels"], {"axis": 1}),
        ("Cast", ["nms_labels"], ["nms_label_column"], {"to": TensorProto.FLOAT}),
        (
            "Concat",
            ["nms_image_column", "nms_boxes", "nms_confidence_column", "nms_label_column"],
            ["nms_all"],
            {"axis": 1},
        ),
        ("Shape", ["nms_confidence"], ["nms_found"], {}),
        ("Min", ["nms_found", "nms_rows"], ["nms_count"], {}),
        ("TopK", ["nms_confidence", "nms_count"], ["nms_best", "nms_order"], {"axis": 0}),
        ("Gather", ["nms_all", "nms_order"], [OUTPUT], {"axis": 0}),
    ]
    for kind, inputs, outputs, attributes in steps:
        graph.node.append(helper.make_node(kind, inputs, outputs, name=f"/nms/{outputs[0]}", **attributes))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [None, _COLUMNS]))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(target))
