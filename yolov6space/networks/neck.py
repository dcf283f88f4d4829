"""Rep-PAN neck (paper 2.2): top-down to stride 8, then bottom-up back to stride 32."""

import torch
from torch import Tensor, nn

from yolov6space.candidate import ModelSpec
from yolov6space.networks.blocks import ConvMaker, ConvNorm, PointwiseConvNorm
from yolov6space.networks.stages import make_stage


class Neck(nn.Module):
    """Backbone features at strides 8, 16, 32 to P3, P4, P5 at the same strides.

    The 1x1 reductions and the stride-2 convolutions are plain Conv-BN-ReLU in every variant, the SiLU ones
    included (release 0.2.0).
    """

    def __init__(self, model: ModelSpec, conv: ConvMaker) -> None:
        super().__init__()
        act = model.activation
        _, at8, at16, at32 = (stage.channels for stage in model.backbone)
        p4, p3, n3, n4 = model.neck
        self.reduce0 = PointwiseConvNorm(at32, p4.channels, act="relu")
        self.upsample0 = _upsample(p4.channels)
        self.p4 = make_stage(p4, p4.channels + at16, conv, act)
        self.reduce1 = PointwiseConvNorm(p4.channels, p3.channels, act="relu")
        self.upsample1 = _upsample(p3.channels)
        self.p3 = make_stage(p3, p3.channels + at8, conv, act)
        self.down0 = ConvNorm(p3.channels, p3.channels, 2, "relu")
        self.n3 = make_stage(n3, 2 * p3.channels, conv, act)
        self.down1 = ConvNorm(n3.channels, p4.channels, 2, "relu")
        self.n4 = make_stage(n4, 2 * p4.channels, conv, act)

    def forward(self, stride8: Tensor, stride16: Tensor, stride32: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        lateral5 = self.reduce0(stride32)
        top4 = self.p4(torch.cat((self.upsample0(lateral5), stride16), 1))
        lateral4 = self.reduce1(top4)
        p3 = self.p3(torch.cat((self.upsample1(lateral4), stride8), 1))
        p4 = self.n3(torch.cat((self.down0(p3), lateral4), 1))
        p5 = self.n4(torch.cat((self.down1(p4), lateral5), 1))
        return p3, p4, p5


def _upsample(channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(channels, channels, 2, stride=2, bias=True)
