"""The networks of the YOLOv6 family in PyTorch: build, fold, deploy.

Layer names are stable and the same for every convolution kind; in the deploy form the convolution of a layer
is its child `conv`, except for `upsample*` and `*_pred`, which are convolutions themselves:

    backbone.stem
    backbone.stage{2..5}.down
    backbone.stage{2..5}.blocks.{i}                        rep
    backbone.stage{2..5}.main|side|merge                   csp_rep: 1x1 before the blocks, around, after
    backbone.stage{2..5}.blocks.{i}.conv1|conv2            csp_rep
    backbone.sppf.reduce|expand
    neck.reduce0, neck.upsample0, neck.p4.(as a stage)     top-down, stride 16
    neck.reduce1, neck.upsample1, neck.p3.(as a stage)     top-down, stride 8: P3
    neck.down0, neck.n3.(as a stage)                       bottom-up, stride 16: P4
    neck.down1, neck.n4.(as a stage)                       bottom-up, stride 32: P5
    head.level{8,16,32}.stem|cls_conv|reg_conv|cls_pred|reg_pred
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yolov6space.networks.blocks import CONVS
    from yolov6space.networks.detector import DeployGraph, Detector, HeadOutput, build
    from yolov6space.networks.export import export_onnx
    from yolov6space.networks.folding import fuse
    from yolov6space.networks.initialise import realistic_statistics

__all__ = [
    "CONVS",
    "DeployGraph",
    "Detector",
    "HeadOutput",
    "build",
    "export_onnx",
    "fuse",
    "realistic_statistics",
]

_HOMES = {
    "CONVS": "blocks",
    "DeployGraph": "detector",
    "Detector": "detector",
    "HeadOutput": "detector",
    "build": "detector",
    "export_onnx": "export",
    "fuse": "folding",
    "realistic_statistics": "initialise",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that `--help` of a command in this package does not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
