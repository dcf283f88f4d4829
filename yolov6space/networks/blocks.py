"""3x3 convolutions of the family in their training forms, and the one plain form they all fold to.

Shape legend: B batch, I input channels, O output channels, H W height and width.

Every block maps B,I,H,W to B,O,H/stride,W/stride and has `fold()`, which returns the same function (in eval
mode) as a `FoldedConv`. Adding a block: one class and one key in `CONVS`.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

BN_EPSILON = 1e-3  # release 0.2.0 sets these two on every BatchNorm instead of PyTorch's 1e-5 and 0.1
BN_MOMENTUM = 0.03
LRELU_SLOPE = 0.1  # the paper (Table 4) gives none; 0.1 is the custom of the YOLO family since Darknet


def activation(name: str, inplace: bool = False) -> nn.Module:
    """The activation `relu`, `silu` or `lrelu`. SiLU is never in place: its gradient needs its input."""
    makers: dict[str, Callable[[], nn.Module]] = {
        "relu": lambda: nn.ReLU(inplace=inplace),
        "silu": nn.SiLU,
        "lrelu": lambda: nn.LeakyReLU(LRELU_SLOPE, inplace=inplace),
    }
    return makers[name]()


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """BatchNorm with the epsilon and momentum of the family."""
    return nn.BatchNorm2d(channels, eps=BN_EPSILON, momentum=BN_MOMENTUM)


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, *, bias: bool = False) -> nn.Conv2d:
    """Convolution padded to keep the size (divided by the stride)."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=bias)


class FoldedConv(nn.Module):
    """Deploy form of every convolution: `conv` with bias, then `act`."""

    def __init__(self, conv: nn.Conv2d, act: str) -> None:
        super().__init__()
        self.conv = conv
        self.act = activation(act)  # not in place: quantization tools look at the output of `conv`

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv(x))


class ConvBlock(nn.Module):
    """Base of the training forms: shapes, the activation, and folding from `equivalent()`."""

    kernel: int = 3

    def __init__(self, inputs: int, outputs: int, stride: int = 1, act: str = "relu") -> None:
        super().__init__()
        self.inputs, self.outputs, self.stride, self.act_name = inputs, outputs, stride, act
        self.act = activation(act, inplace=True)  # on the block's own sum; halves its memory in training

    @property
    def has_identity(self) -> bool:
        """Whether input and output have one shape, so that an identity branch is possible."""
        return self.inputs == self.outputs and self.stride == 1

    def equivalent(self) -> tuple[Tensor, Tensor]:
        """Kernel O,I,k,k and bias O of the one convolution that does the same in eval mode; float64."""
        raise NotImplementedError

    def fold(self) -> FoldedConv:
        """The same function of eval mode as one convolution with bias; new tensors."""
        like = next(self.parameters())
        conv = convolution(self.inputs, self.outputs, self.kernel, self.stride, bias=True)
        conv.to(device=like.device, dtype=like.dtype)
        with torch.no_grad():
            kernel, bias = self.equivalent()
            conv.weight.copy_(kernel)
            assert conv.bias is not None
            conv.bias.copy_(bias)
        return FoldedConv(conv, self.act_name)


def norm_affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What `norm` does in eval mode: scale and offset per channel, float64."""
    assert norm.running_var is not None and norm.running_mean is not None
    scale = norm.weight.double() / torch.sqrt(norm.running_var.double() + norm.eps)
    return scale, norm.bias.double() - norm.running_mean.double() * scale


def merge_norm(kernel: Tensor, norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Kernel and bias (new, float64) of a bias-free convolution followed by `norm` in eval mode."""
    scale, offset = norm_affine(norm)
    return kernel.double() * scale[:, None, None, None], offset


def centred(kernel: Tensor) -> Tensor:
    """A 1x1 kernel as the 3x3 kernel that does the same."""
    return nn.functional.pad(kernel, [1, 1, 1, 1])


def add_identity(kernel: Tensor, scale: Tensor | float) -> None:
    """Add in place to a 3x3 kernel C,C,3,3 one that copies its input times `scale` (one, or per channel)."""
    kernel[:, :, 1, 1].diagonal().add_(scale)


class ConvNorm(ConvBlock):
    """Convolution, BatchNorm, activation: kind `plain`, and the base of the fixed layers of neck and head."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, act: str = "relu") -> None:
        super().__init__(inputs, outputs, stride, act)
        self.conv = convolution(inputs, outputs, self.kernel, stride)
        self.bn = batch_norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))

    def equivalent(self) -> tuple[Tensor, Tensor]:
        return merge_norm(self.conv.weight, self.bn)


class PointwiseConvNorm(ConvNorm):
    """1x1 convolution, BatchNorm, activation."""

    kernel = 1


class RepOptConv(ConvNorm):
    """Kind `repopt`: the plain block, trained with the gradient multipliers of `networks.repopt`.

    A class of its own, so that the trainer can tell which kernels take multipliers (RepOptimizer, arXiv
    2205.15242).
    """


class RepVGGConv(ConvBlock):
    """Kind `repvgg` (arXiv 2101.03697): 3x3, 1x1 and, where shapes allow, identity; a BatchNorm on each."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, act: str = "relu") -> None:
        super().__init__(inputs, outputs, stride, act)
        self.conv3x3 = convolution(inputs, outputs, 3, stride)
        self.bn3x3 = batch_norm(outputs)
        self.conv1x1 = convolution(inputs, outputs, 1, stride)
        self.bn1x1 = batch_norm(outputs)
        self.bn_identity = batch_norm(outputs) if self.has_identity else None

    def forward(self, x: Tensor) -> Tensor:
        total = self.bn3x3(self.conv3x3(x)) + self.bn1x1(self.conv1x1(x))
        if self.bn_identity is not None:
            total = total + self.bn_identity(x)
        return self.act(total)

    def equivalent(self) -> tuple[Tensor, Tensor]:
        kernel, bias = merge_norm(self.conv3x3.weight, self.bn3x3)
        kernel1x1, bias1x1 = merge_norm(self.conv1x1.weight, self.bn1x1)
        kernel[:, :, 1:2, 1:2] += kernel1x1
        bias = bias + bias1x1
        if self.bn_identity is not None:
            scale, bias_identity = norm_affine(self.bn_identity)
            add_identity(kernel, scale)
            bias = bias + bias_identity
        return kernel, bias


class QARepVGGConv(ConvBlock):
    """Kind `qarepvgg` (arXiv 2212.01593): BatchNorm on the 3x3 and on the sum, none on 1x1 and identity.

    The variance of the folded kernel stays small, which is what lets it survive 8-bit quantization.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, act: str = "relu") -> None:
        super().__init__(inputs, outputs, stride, act)
        self.conv3x3 = convolution(inputs, outputs, 3, stride)
        self.bn3x3 = batch_norm(outputs)
        self.conv1x1 = convolution(inputs, outputs, 1, stride)
        self.bn = batch_norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        total = self.bn3x3(self.conv3x3(x)) + self.conv1x1(x)
        if self.has_identity:
            total = total + x
        return self.act(self.bn(total))

    def equivalent(self) -> tuple[Tensor, Tensor]:
        kernel, bias = merge_norm(self.conv3x3.weight, self.bn3x3)
        kernel[:, :, 1:2, 1:2] += self.conv1x1.weight
        if self.has_identity:
            add_identity(kernel, 1.0)
        scale, offset = norm_affine(self.bn)
        return kernel * scale[:, None, None, None], offset + bias * scale


class LinearAddConv(ConvBlock):
    """What RepOptimizer searches its scales with (arXiv 2205.15242): 3x3, 1x1 and identity, each times a
    learnable scale per output channel, summed, one BatchNorm, activation.

    Not a kind of the space: `networks.repopt` builds the search form with it.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, act: str = "relu") -> None:
        super().__init__(inputs, outputs, stride, act)
        self.conv3x3 = convolution(inputs, outputs, 3, stride)
        self.conv1x1 = convolution(inputs, outputs, 1, stride)
        self.scale3x3 = nn.Parameter(torch.ones(outputs))
        self.scale1x1 = nn.Parameter(torch.ones(outputs))
        self.scale_identity = nn.Parameter(torch.ones(outputs)) if self.has_identity else None
        self.bn = batch_norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        # All branches are linear, so the (small) kernels are added instead of the (large) outputs.
        total = nn.functional.conv2d(x, self.kernel_sum(), stride=self.stride, padding=1)
        return self.act(self.bn(total))

    def kernel_sum(self) -> Tensor:
        """The one kernel O,I,3,3 that the scaled branches amount to; differentiable."""
        centre = self.conv1x1.weight * self.scale1x1[:, None, None, None]
        if self.scale_identity is not None:
            centre = centre + torch.diag(self.scale_identity)[:, :, None, None]
        return self.conv3x3.weight * self.scale3x3[:, None, None, None] + centred(centre)

    def equivalent(self) -> tuple[Tensor, Tensor]:
        return merge_norm(self.kernel_sum(), self.bn)


class ConvMaker(Protocol):
    """The one constructor signature of 3x3 blocks."""

    def __call__(self, inputs: int, outputs: int, stride: int = 1, act: str = "relu") -> ConvBlock: ...


CONVS: dict[str, type[ConvBlock]] = {
    "repvgg": RepVGGConv,
    "qarepvgg": QARepVGGConv,
    "repopt": RepOptConv,
    "plain": ConvNorm,
}
