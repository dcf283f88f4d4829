"""Stages of backbone and neck: `rep` (a single path) and `csp_rep` (CSPStackRep, paper 2.1).

A stage maps B,I,H,W to B,O,H,W, or to half the size where it starts with a stride-2 convolution (backbone).
Adding a stage kind: one class and one key in `STAGES`.
"""

import torch
from torch import Tensor, nn

from yolov6space.candidate import StageSpec
from yolov6space.networks.blocks import ConvMaker, PointwiseConvNorm


class RepStage(nn.Module):
    """`repeats` 3x3 convolutions in a row; the first one changes the width."""

    def __init__(self, spec: StageSpec, inputs: int, conv: ConvMaker, act: str, *, downsample: bool) -> None:
        super().__init__()
        self.down = conv(inputs, spec.channels, 2, act) if downsample else None
        first = spec.channels if downsample else inputs
        widths = [first, *([spec.channels] * (spec.repeats - 1))]
        self.blocks = nn.ModuleList(conv(width, spec.channels, 1, act) for width in widths)

    def forward(self, x: Tensor) -> Tensor:
        if self.down is not None:
            x = self.down(x)
        for block in self.blocks:
            x = block(x)
        return x


class Bottleneck(nn.Module):
    """Two 3x3 convolutions beside a shortcut with a learnable scale: conv2(conv1(x)) + alpha x.

    `alpha` cannot be folded (the activation of `conv2` stands between), so it stays one scalar multiply in
    the deploy form, as in release 0.2.0.
    """

    def __init__(self, channels: int, conv: ConvMaker, act: str) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels, 1, act)
        self.conv2 = conv(channels, channels, 1, act)
        self.alpha = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x)) + self.alpha * x


class CSPStackRepStage(nn.Module):
    """CSPStackRep: one path through `repeats` bottlenecks, one around them, merged by a 1x1."""

    def __init__(self, spec: StageSpec, inputs: int, conv: ConvMaker, act: str, *, downsample: bool) -> None:
        super().__init__()
        assert spec.hidden_channels is not None  # StageSpec requires it for csp_rep
        hidden = spec.hidden_channels
        self.down = conv(inputs, spec.channels, 2, act) if downsample else None
        first = spec.channels if downsample else inputs
        self.main = PointwiseConvNorm(first, hidden, act=act)
        self.blocks = nn.ModuleList(Bottleneck(hidden, conv, act) for _ in range(spec.repeats))
        self.side = PointwiseConvNorm(first, hidden, act=act)
        self.merge = PointwiseConvNorm(2 * hidden, spec.channels, act=act)

    def forward(self, x: Tensor) -> Tensor:
        if self.down is not None:
            x = self.down(x)
        deep = self.main(x)
        for block in self.blocks:
            deep = block(deep)
        return self.merge(torch.cat((deep, self.side(x)), 1))


STAGES: dict[str, type[RepStage] | type[CSPStackRepStage]] = {"rep": RepStage, "csp_rep": CSPStackRepStage}


def make_stage(
    spec: StageSpec, inputs: int, conv: ConvMaker, act: str, *, downsample: bool = False
) -> RepStage | CSPStackRepStage:
    """The stage that `spec` describes, fed with `inputs` channels."""
    return STAGES[spec.block](spec, inputs, conv, act, downsample=downsample)
