"""A Q/DQ graph as OpenVINO needs to see it.

OpenVINO 2026.4 (CPU) computes a convolution behind a concatenation wrongly when the activations are quantized
as signed int8: it runs them as u8, shifted by 128, and loses that shift in the concatenation. Errors reach the
size of the signal. The same graph written with uint8 and a zero point of 128 means exactly the same numbers and
is computed rightly, so activations are rewritten when a graph is loaded. The artefact stays symmetric and signed,
which is what TensorRT requires. Inputs of transposed convolutions stay signed: only for those OpenVINO has an
int8 kernel.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

ZERO_POINT = 128
_ZERO_POINT_NAME = "uint8_zero_point"


def read_for_openvino(path: Path) -> bytes:
    """The ONNX file as serialized bytes, with int8 activations rewritten as uint8; float graphs unchanged."""
    import onnx

    content = path.read_bytes()
    model = onnx.load_from_string(content)
    graph = model.graph
    producers = {output: node for node in graph.node for output in node.output}
    consumers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    weights = {tensor.name for tensor in graph.initializer}
    changed = False
    for node in graph.node:
        if node.op_type != "QuantizeLinear" or _is_constant(node.input[0], producers, weights):
            continue
        dequantizers = consumers[node.output[0]]
        users = {user.op_type for each in dequantizers for user in consumers[each.output[0]]}
        if "ConvTranspose" in users:
            continue
        for each in (node, *dequantizers):
            each.input[2] = _ZERO_POINT_NAME
        changed = True
    if not changed:
        return content
    graph.initializer.append(onnx.numpy_helper.from_array(np.uint8(ZERO_POINT), _ZERO_POINT_NAME))
    rewritten: bytes = model.SerializeToString()
    return rewritten


def _is_constant(name: str, producers: Mapping[str, "onnx.NodeProto"], weights: set[str]) -> bool:
    return name in weights or (name in producers and producers[name].op_type in ("Constant", "Identity"))
