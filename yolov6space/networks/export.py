"""ONNX export of the deploy graph.

PyTorch's TorchScript-based exporter: against the newer one (torch 2.13) it gives the same operators, keeps
module names on the nodes, serves quantized graphs, and takes a tenth of the time.
"""

import warnings
from pathlib import Path

import onnx
import torch
from torch import nn

from yolov6space.networks.detector import DeployGraph, Detector
from yolov6space.networks.folding import fuse

OPSET = 17


def export_onnx(detector: Detector, path: Path | str, image_size: int | tuple[int, int], batch: int) -> None:
    """Write the deploy form of `detector` as one ONNX file of static shape.

    Input `images` B,3,H,W (RGB, 0..1); outputs `boxes` B,A,4 (x1, y1, x2, y2 in input pixels) and `scores`
    B,A,C (0..1). A training form is folded first; `detector` itself is not changed. Weights are called after
    their modules (`detector.backbone.stem.conv.weight`), nodes too (`/detector/backbone/stem/conv/Conv`).

    Args:
        image_size: side in pixels, or (height, width); multiples of 32 (ValueError otherwise).
    """
    graph = DeployGraph(detector if detector.is_folded else fuse(detector)).eval()
    export_graph(graph, path, image_size, batch)


def export_graph(graph: nn.Module, path: Path | str, image_size: int | tuple[int, int], batch: int) -> None:
    """As `export_onnx`, for a deploy graph that was changed since (quantized); must be in eval mode."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    like = next(graph.parameters())
    example = torch.zeros(batch, 3, height, width, device=like.device, dtype=like.dtype)
    with warnings.catch_warnings(), torch.no_grad():
        # Deprecation of this exporter, and "converting a tensor to a Python integer": sizes are meant static.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph,
            (example,),
            str(path),
            input_names=["images"],
            output_names=["boxes", "scores"],
            opset_version=OPSET,
            dynamo=False,
        )
    model = onnx.load(str(path))
    _restore_shared_weights(model.graph)
    onnx.save(model, str(path))


def _restore_shared_weights(graph: onnx.GraphProto) -> None:
    """Give every layer its own initializer again.

    The exporter stores equal tensors once and reaches the others through Identity nodes, which compilers do
    not take for constants (a bias must be one) and which hide the layer a weight belongs to.
    """
    weights = {weight.name: weight for weight in graph.initializer}
    for node in list(graph.node):
        if node.op_type == "Identity" and node.input[0] in weights:
            copy = graph.initializer.add()
            copy.CopyFrom(weights[node.input[0]])
            copy.name = node.output[0]
            graph.node.remove(node)
