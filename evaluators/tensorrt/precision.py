"""What number format every convolution was asked to run in, and what an engine really runs it in.

Asked: from the ONNX graph. Real: from the engine inspector's JSON (profiling verbosity DETAILED), whose layers name
the ONNX nodes they were fused from. TensorRT 10 writes format and type of a tensor into one field
("Format/Datatype"), TensorRT 11 into two ("Format" and "DataType").
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KINDS = ("Conv", "ConvTranspose")
_FORMATS = (
    ("int8", re.compile(r"int8", re.IGNORECASE)),
    ("bf16", re.compile(r"bf16|bfloat", re.IGNORECASE)),
    ("fp16", re.compile(r"fp16|half|float16", re.IGNORECASE)),
    ("fp32", re.compile(r"fp32|float", re.IGNORECASE)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionReport:
    """Asked against real.

    Attributes:
        asked: number of convolutions by format in the graph.
        real: number of convolutions by format in the engine; those not found count as `unknown`.
        different: convolutions that run in another format than asked, as `name: asked, real`.
    """

    asked: Mapping[str, int]
    real: Mapping[str, int]
    different: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"asked": dict(self.asked), "real": dict(self.real), "different": list(self.different)}


def asked_formats(onnx_file: Path) -> dict[str, str]:
    """Convolution -> int8, fp16 or fp32, as the graph types it."""
    import onnx

    graph = onnx.load(str(onnx_file)).graph
    producers = {name: node for node in graph.node for name in node.output}
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    found = {}
    for node in graph.node:
        if node.op_type not in _KINDS:
            continue
        quantized = all(
            name in producers and producers[name].op_type == "DequantizeLinear" for name in node.input[:2]
        )
        half = types.get(node.input[1]) == onnx.TensorProto.FLOAT16
        found[node.name] = "int8" if quantized else "fp16" if half else "fp32"
    return found


def real_formats(inspection: str, names: set[str]) -> dict[str, str]:
    """Convolution -> format of the first input of the engine layer it became part of.

    Args:
        inspection: JSON of the engine inspector.
        names: convolutions to look for; those the engine does not name are left out.
    """
    found: dict[str, str] = {}
    for layer in json.loads(inspection).get("Layers", []):
        if not isinstance(layer, dict):  # only names: the engine was built without details
            continue
        words = set(re.split(r"[^\w./:-]+", f"{layer.get('Name', '')} {layer.get('Metadata', '')}"))
        inputs = layer.get("Inputs") or []
        number = _format(inputs[0]) if inputs else None
        if number is None or str(layer.get("LayerType", "")).lower() == "reformat":
            continue
        for name in names & words:
            found.setdefault(name, number)
    return found


def compare(asked: Mapping[str, str], real: Mapping[str, str]) -> PrecisionReport:
    """Count both and name the differences."""
    realised = {name: real.get(name, "unknown") for name in asked}
    return PrecisionReport(
        asked=_counts(asked),
        real=_counts(realised),
        different=tuple(
            f"{name}: {kind}, {realised[name]}"
            for name, kind in asked.items()
            if realised[name] not in (kind, "unknown")
        ),
    )


def _format(tensor: Mapping[str, Any]) -> str | None:
    text = " ".join(str(tensor.get(key, "")) for key in ("DataType", "Datatype", "Format/Datatype"))
    return next((name for name, pattern in _FORMATS if pattern.search(text)), None)


def _counts(formats: Mapping[str, str]) -> dict[str, int]:
    return {kind: sum(each == kind for each in formats.values()) for kind in sorted(set(formats.values()))}
