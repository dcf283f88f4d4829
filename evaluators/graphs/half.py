"""A float32 graph of a detector as NVIDIA's compilers need it: strongly typed, with half precision inside.

TensorRT 11 has no precision flags: what runs in FP16 is what the graph types as FP16. Layers of an int8 network
that stay float must be FP16 too, or the engine is slower than a pure FP16 one. So everything between the image
and the raw outputs of the head becomes FP16, Q/DQ scales included. The input stays float32, and so does the
decoding of boxes: FP16 has steps of half a pixel beyond 512.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from foundation.errors import WorkFailedError

if TYPE_CHECKING:
    import onnx

NETWORK = "/detector/"  # nodes of the network; decoding lies outside this scope
_OPSET = 19  # the first whose QuantizeLinear takes float16
_SMALLEST = float(np.finfo(np.float16).smallest_subnormal)
_INT8_MAX = 127


def write_half(source: Path, target: Path) -> None:
    """Rewrite the exported float32 (or Q/DQ) graph at `source` in half precision to `target`.

    Weights behind a QuantizeLinear are stored as int8, quantized with the scale that float16 can hold.

    Raises:
        WorkFailedError: a weight lies beyond the range of float16 (65504); names it.
    """
    import onnx

    model = onnx.load(str(source))
    graph = model.graph
    _fold_weight_quantizers(graph)
    inside = [node for node in graph.node if node.name.startswith(NETWORK)]
    _halve_weights(graph, inside)
    for node in inside:
        if node.op_type == "Cast":
            _set_cast_target(node)
    _cast_borders(graph, inside)
    del graph.value_info[:]
    for version in model.opset_import:
        if version.domain in ("", "ai.onnx"):
            version.version = max(version.version, _OPSET)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(target))


def _fold_weight_quantizers(graph: "onnx.GraphProto") -> None:
    """QuantizeLinear of a constant becomes an int8 initializer, quantized by its scale as float16 holds it."""
    from onnx import numpy_helper

    weights = {tensor.name: tensor for tensor in graph.initializer}
    constants = _constants(graph)
    for node in list(graph.node):
        if node.op_type != "QuantizeLinear" or node.input[0] not in weights:
            continue
        weight = weights[node.input[0]]
        values = numpy_helper.to_array(weight).astype(np.float64)
        scale = _half_scale(_array(constants[node.input[1]]))
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
        shape = [1] * values.ndim
        shape[axis] = scale.size
        steps = np.round(values / scale.astype(np.float64).reshape(shape if scale.ndim else ()))
        quantized = numpy_helper.from_array(
            np.clip(steps, -_INT8_MAX, _INT8_MAX).astype(np.int8), node.output[0]
        )
        graph.initializer.remove(weight)
        graph.initializer.append(quantized)
        graph.node.remove(node)


def _half_scale(scale: NDArray[np.floating]) -> NDArray[np.float16]:
    """The scale in float16, never zero: a channel of tiny weights must not divide by nothing."""
    return np.maximum(scale.astype(np.float16), np.float16(_SMALLEST))


def _halve_weights(graph: "onnx.GraphProto", inside: list["onnx.NodeProto"]) -> None:
    """Every float32 constant of the network as float16."""
    from onnx import TensorProto, numpy_helper

    used = {name for node in inside for name in node.input}
    scales = {node.input[1] for node in inside if node.op_type in ("QuantizeLinear", "DequantizeLinear")}
    for tensor in graph.initializer:
        if tensor.name in used and tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(_halved(tensor, tensor.name, tensor.name in scales))
    for node in inside:
        if node.op_type == "Constant":
            value = node.attribute[0].t
            if value.data_type == TensorProto.FLOAT:
                value.CopyFrom(_halved(value, node.output[0], node.output[0] in scales))
    assert all(numpy_helper.to_array(t).dtype != np.float32 for t in graph.initializer if t.name in used)


def _halved(tensor: "onnx.TensorProto", name: str, is_scale: bool) -> "onnx.TensorProto":
    from onnx import numpy_helper

    values = numpy_helper.to_array(tensor)
    if is_scale:
        return numpy_helper.from_array(_half_scale(values), tensor.name)
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    if not np.isfinite(half).all():
        raise WorkFailedError(
            f"{name} has values up to {np.abs(values).max():g}, beyond the range of fp16 (65504)"
        )
    return numpy_helper.from_array(half, tensor.name)


def _set_cast_target(node: "onnx.NodeProto") -> None:
    from onnx import TensorProto

    for attribute in node.attribute:
        if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
            attribute.i = TensorProto.FLOAT16


def _cast_borders(graph: "onnx.GraphProto", inside: list["onnx.NodeProto"]) -> None:
    """Cast the image on its way in, and what leaves the network on its way to the decoding."""
    from onnx import TensorProto, helper

    image = graph.input[0].name
    half_image = f"{image}_half"
    for node in inside:
        _rename_inputs(node, {image: half_image})
    made = {name for node in inside if node.op_type != "Constant" for name in node.output}
    outside = [node for node in graph.node if not node.name.startswith(NETWORK)]
    leaving = sorted({name for node in outside for name in node.input if name in made})
    renamed = {name: f"{name}_float" for name in leaving}
    for node in outside:
        _rename_inputs(node, renamed)
    casts = [
        helper.make_node("Cast", [name], [renamed[name]], name=f"/leaving/Cast_{index}", to=TensorProto.FLOAT)
        for index, name in enumerate(leaving)
    ]
    first = helper.make_node("Cast", [image], [half_image], name="/entering/Cast", to=TensorProto.FLOAT16)
    nodes = [first, *inside, *casts, *outside]
    del graph.node[:]
    graph.node.extend(nodes)


def _rename_inputs(node: "onnx.NodeProto", names: dict[str, str]) -> None:
    for index, name in enumerate(node.input):
        if name in names:
            node.input[index] = names[name]


def _constants(graph: "onnx.GraphProto") -> dict[str, "onnx.TensorProto"]:
    found = {tensor.name: tensor for tensor in graph.initializer}
    found |= {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
    return found


def _array(tensor: "onnx.TensorProto") -> NDArray[np.floating]:
    from onnx import numpy_helper

    values: NDArray[np.floating] = numpy_helper.to_array(tensor)
    return values
