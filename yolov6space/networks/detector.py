"""The whole detector, its decoding, and the graph that is deployed.

Shape legend: B batch, A anchor points (strides 8, 16, 32, each row by row), C classes, R = 4 or
4 * (reg_max + 1) box outputs; boxes are x1, y1, x2, y2 in pixels of the input.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from yolov6space.candidate import MAX_STRIDE, STRIDES, ModelSpec
from yolov6space.networks.backbone import Backbone
from yolov6space.networks.blocks import CONVS, ConvMaker
from yolov6space.networks.head import Head
from yolov6space.networks.neck import Neck


class HeadOutput(NamedTuple):
    """Raw output.

    Attributes:
        class_logits: B,A,C, before the sigmoid.
        distances: B,A,R, in stride units, sides in the order left, top, right, bottom; with DFL the
            reg_max + 1 logits of a side stand together.
        features: P3, P4, P5 of the neck.
    """

    class_logits: Tensor
    distances: Tensor
    features: tuple[Tensor, Tensor, Tensor]


class Detector(nn.Module):
    """A detector of the YOLOv6 family, in training form or folded (`fuse`)."""

    def __init__(self, model: ModelSpec, num_classes: int, conv: ConvMaker | None = None) -> None:
        """`conv` overrides the kind named in `model` (RepOptimizer's search form)."""
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; a detector needs at least one class")
        super().__init__()
        self.model, self.num_classes = model, num_classes
        conv = conv or CONVS[model.conv]
        self.backbone = Backbone(model, conv)
        self.neck = Neck(model, conv)
        self.head = Head(model, num_classes)

    @property
    def is_folded(self) -> bool:
        """Whether this is the deploy form."""
        return not any(isinstance(module, nn.BatchNorm2d) for module in self.modules())

    def forward(self, images: Tensor) -> HeadOutput:
        """Images B,3,H,W in 0..1, RGB; H and W multiples of 32 (ValueError otherwise)."""
        _check_size(images.shape[2], images.shape[3])
        features = self.neck(*self.backbone(images))
        class_logits, distances = self.head(features)
        return HeadOutput(class_logits, distances, features)

    def anchors(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Cell centres A,2 (x, y in pixels) and strides A,1 for an input of that size."""
        _check_size(height, width)
        points, strides = [], []
        for stride in STRIDES:
            y, x = np.mgrid[: height // stride, : width // stride]
            points.append((np.stack((x, y), -1).reshape(-1, 2) + 0.5) * stride)
            strides.append(np.full((x.size, 1), stride))
        # Through NumPy, so that a traced graph holds two constants and not the arithmetic behind them.
        like = next(self.parameters())
        return (
            torch.as_tensor(np.concatenate(points), dtype=like.dtype, device=like.device),
            torch.as_tensor(np.concatenate(strides), dtype=like.dtype, device=like.device),
        )

    def expected_distances(self, distances: Tensor) -> Tensor:
        """Distances B,A,4 in stride units: with DFL the mean of each side's distribution, else unchanged."""
        if not self.model.use_dfl:
            return distances
        bins = self.model.reg_max + 1
        probabilities = distances.reshape(*distances.shape[:-1], 4, bins).softmax(-1)
        # Not a matrix product: TensorRT-RTX has no FP32 GEMM for Turing.
        return (probabilities * torch.arange(bins, dtype=distances.dtype, device=distances.device)).sum(-1)

    def decode(self, output: HeadOutput, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Boxes B,A,4 (x1, y1, x2, y2 in input pixels, not clipped) and scores B,A,C in 0..1."""
        points, strides = self.anchors(height, width)
        left_top, right_bottom = (self.expected_distances(output.distances) * strides).split(2, -1)
        boxes = torch.cat((points - left_top, points + right_bottom), -1)
        return boxes, output.class_logits.sigmoid()


class DeployGraph(nn.Module):
    """What is exported: images B,3,H,W to boxes B,A,4 and scores B,A,C, decoding included."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        height, width = int(images.shape[2]), int(images.shape[3])
        return self.detector.decode(self.detector(images), height, width)


def build(model: ModelSpec, num_classes: int) -> Detector:
    """A new detector in training form; weights from PyTorch's global random generator.

    Raises:
        ValueError: no classes.
    """
    return Detector(model, num_classes)


def _check_size(height: int, width: int) -> None:
    if height % MAX_STRIDE or width % MAX_STRIDE or not height or not width:
        raise ValueError(f"input is {height}x{width}; both sides must be multiples of {MAX_STRIDE}")
