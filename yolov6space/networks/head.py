"""Efficient decoupled head (paper 2.3): a 1x1 stem and one 3x3 per branch at each level, all SiLU."""

import math

import torch
from torch import Tensor, nn

from yolov6space.candidate import STRIDES, ModelSpec
from yolov6space.networks.blocks import ConvNorm, PointwiseConvNorm

CLASS_PRIOR = 0.01
CLASS_BIAS = -math.log((1 - CLASS_PRIOR) / CLASS_PRIOR)
BOX_BIAS = 1.0


class HeadLevel(nn.Module):
    """One scale: B,I,H,W to class logits B,C,H,W and distances B,R,H,W."""

    def __init__(self, inputs: int, width: int, num_classes: int, outputs_box: int) -> None:
        super().__init__()
        self.stem = PointwiseConvNorm(inputs, width, act="silu")
        self.cls_conv = ConvNorm(width, width, act="silu")
        self.reg_conv = ConvNorm(width, width, act="silu")
        self.cls_pred = nn.Conv2d(width, num_classes, 1)
        self.reg_pred = nn.Conv2d(width, outputs_box, 1)
        self.reset_predictors()

    def reset_predictors(self) -> None:
        """Every class starts at a score of 0.01, every distance at 1 stride (release 0.2.0)."""
        for predictor, bias in (
            (self.cls_pred, CLASS_BIAS),
            (self.reg_pred, BOX_BIAS),
        ):
            nn.init.zeros_(predictor.weight)
            assert predictor.bias is not None
            nn.init.constant_(predictor.bias, bias)

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        stem = self.stem(feature)
        return self.cls_pred(self.cls_conv(stem)), self.reg_pred(self.reg_conv(stem))


class Head(nn.Module):
    """P3, P4, P5 to class logits B,A,C and distances B,A,R; A runs over strides 8, 16, 32, row by row."""

    def __init__(self, model: ModelSpec, num_classes: int) -> None:
        super().__init__()
        outputs_box = 4 * (model.reg_max + 1) if model.use_dfl else 4
        inputs = (model.neck[1].channels, model.neck[2].channels, model.neck[3].channels)
        for stride, channels, width in zip(STRIDES, inputs, model.head_channels, strict=True):
            self.add_module(f"level{stride}", HeadLevel(channels, width, num_classes, outputs_box))

    def levels(self) -> list[nn.Module]:
        """The levels in order of stride."""
        return [self.get_submodule(f"level{stride}") for stride in STRIDES]

    def forward(self, features: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        logits, distances = zip(
            *(level(feature) for level, feature in zip(self.levels(), features, strict=True)), strict=True
        )
        return _rows(logits), _rows(distances)


def _rows(maps: tuple[Tensor, ...]) -> Tensor:
    """B,K,H,W maps of several levels as one B,A,K."""
    # int(): under ONNX tracing a size is a tensor, and the exported graph would compute its own shapes.
    flat = [each.reshape(int(each.shape[0]), int(each.shape[1]), -1) for each in maps]
    return torch.cat(flat, 2).transpose(1, 2)
