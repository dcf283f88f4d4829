"""A Q/DQ graph as ONNX Runtime's CPU needs to see it to compute convolutions in int8.

Left alone it runs them in float with quantization around, slower than fp32: it takes a convolution for int8 only
when the bias is quantized as well (int32, scale of the input times scale of the weight) and nothing but a
quantizer follows. A ReLU in between disappears when the quantizer behind it is uint8 with zero point 0, which on
numbers that are not negative means the same as int8 with zero point 0.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

_ZERO_POINT = "uint8_zero"


def read_for_onnxruntime(path: Path) -> bytes:
    """The ONNX file as serialized bytes, rewritten where it has Q/DQ nodes; float graphs unchanged."""
    import onnx

    content = path.read_bytes()
    model = onnx.load_from_string(content)
    graph = model.graph
    if not any(node.op_type == "DequantizeLinear" for node in graph.node):
        return content
    producers = {name: node for node in graph.node for name in node.output}
    values = _constants(graph)
    _unsign_behind_relu(graph, producers)
    for node in list(graph.node):
        if node.op_type == "Conv" and len(node.input) == 3:
            _quantize_bias(graph, node, producers, values)
    rewritten: bytes = model.SerializeToString()
    return rewritten


def _unsign_behind_relu(graph: "onnx.GraphProto", producers: dict[str, "onnx.NodeProto"]) -> None:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(np.uint8(0), _ZERO_POINT))
    unsigned = set()
    for node in graph.node:
        source = producers.get(node.input[0]) if node.op_type == "QuantizeLinear" else None
        if (
            source is not None
            and source.op_type in ("Relu", "MaxPool", "Concat")
            and _not_negative(source, producers)
        ):
            node.input[2] = _ZERO_POINT
            unsigned.add(node.output[0])
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in unsigned:
            node.input[2] = _ZERO_POINT


def _not_negative(node: "onnx.NodeProto", producers: dict[str, "onnx.NodeProto"]) -> bool:
    if node.op_type == "Relu":
        return True
    if node.op_type not in ("MaxPool", "Concat"):
        return False
    sources = [producers.get(name) for name in node.input]
    return all(source is not None and _not_negative(source, producers) for source in sources)


def _quantize_bias(
    graph: "onnx.GraphProto",
    conv: "onnx.NodeProto",
    producers: dict[str, "onnx.NodeProto"],
    values: dict[str, Any],
) -> None:
    """Put an int32 bias and its DequantizeLinear in place of the float one of a quantized convolution."""
    from onnx import helper, numpy_helper

    inputs = [producers.get(name) for name in conv.input[:2]]
    if any(node is None or node.op_type != "DequantizeLinear" for node in inputs):
        return
    activation, weight = (values[node.input[1]].astype(np.float64) for node in inputs if node is not None)
    scale = (activation * weight).astype(np.float32)
    bias = values[conv.input[2]].astype(np.float64)
    steps = np.clip(np.round(bias / scale), -(2**31) + 1, 2**31 - 1).astype(np.int32)
    name = f"{conv.input[2]}_quantized"
    for suffix, value in (("", steps), ("_scale", np.atleast_1d(scale))):
        graph.initializer.append(numpy_helper.from_array(value, f"{name}{suffix}"))
    node = helper.make_node("DequantizeLinear", [name, f"{name}_scale"], [f"{name}_float"], name=name, axis=0)
    graph.node.insert(0, node)
    conv.input[2] = f"{name}_float"


def _constants(graph: "onnx.GraphProto") -> dict[str, NDArray[Any]]:
    from onnx import numpy_helper

    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    constants = [node for node in graph.node if node.op_type == "Constant"]
    return found | {node.output[0]: numpy_helper.to_array(node.attribute[0].t) for node in constants}
