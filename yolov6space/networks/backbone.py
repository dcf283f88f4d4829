"""EfficientRep and its CSP form (paper 2.1): stem, four stages, SPPF."""

import torch
from torch import Tensor, nn

from yolov6space.candidate import ModelSpec
from yolov6space.networks.blocks import ConvMaker, PointwiseConvNorm
from yolov6space.networks.stages import make_stage


class SPPF(nn.Module):
    """Spatial pyramid pooling: three 5x5 max-pools in a row, all four tensors side by side.

    Half the channels inside; `reduce` and `expand` are 1x1.
    """

    def __init__(self, channels: int, act: str) -> None:
        super().__init__()
        hidden = channels // 2
        self.reduce = PointwiseConvNorm(channels, hidden, act=act)
        self.pool = nn.MaxPool2d(5, stride=1, padding=2)
        self.expand = PointwiseConvNorm(4 * hidden, channels, act=act)

    def forward(self, x: Tensor) -> Tensor:
        first = self.reduce(x)
        second = self.pool(first)
        third = self.pool(second)
        return self.expand(torch.cat((first, second, third, self.pool(third)), 1))


class Backbone(nn.Module):
    """Images B,3,H,W in 0..1 to features at strides 8, 16 and 32."""

    def __init__(self, model: ModelSpec, conv: ConvMaker) -> None:
        super().__init__()
        act = model.activation
        widths = [model.stem_channels, *(stage.channels for stage in model.backbone)]
        self.stem = conv(3, model.stem_channels, 2, act)
        # Numbered by the power of two of their stride, as in the paper's figures: strides 4, 8, 16, 32.
        self.stage2, self.stage3, self.stage4, self.stage5 = (
            make_stage(spec, inputs, conv, act, downsample=True)
            for spec, inputs in zip(model.backbone, widths[:-1], strict=True)
        )
        self.sppf = SPPF(widths[-1], act)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stride8 = self.stage3(self.stage2(self.stem(images)))
        stride16 = self.stage4(stride8)
        return stride8, stride16, self.sppf(self.stage5(stride16))
