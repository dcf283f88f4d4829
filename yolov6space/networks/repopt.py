"""RepOptimizer (arXiv 2205.15242): find scales with a linear-add network, then train plain 3x3 convolutions
with gradients multiplied by what the scales prescribe.

1. `build_scale_search(model, C)`: a network of `LinearAddConv`; train it briefly, on any data.
2. `learned_scales(search)`: its scales.
3. `apply_scales(target, scales)` on `build(model, C)` of kind `repopt`: the initial kernels that the scaled
   branches amount to, and the multipliers of the gradients, by parameter name.
4. The trainer multiplies the gradient of each named kernel before the step (after any clipping), which makes
   an SGD step on the plain kernel equal to an SGD step on the branches, weight decay apart.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from yolov6space.candidate import ModelSpec
from yolov6space.networks.blocks import LinearAddConv, RepOptConv, add_identity, centred, convolution
from yolov6space.networks.detector import Detector


class Scales(NamedTuple):
    """Learned scales of one block, one number per output channel each.

    Attributes:
        conv3x3, conv1x1: of the two convolutions.
        identity: of the identity branch; None where shapes allow none.
    """

    conv3x3: Tensor
    conv1x1: Tensor
    identity: Tensor | None


def build_scale_search(model: ModelSpec, num_classes: int) -> Detector:
    """The search form of a `repopt` network: same layer names, `LinearAddConv` in place of every 3x3 block.

    Raises:
        ValueError: the model is of another convolution kind.
    """
    _require_repopt(model)
    return Detector(model, num_classes, conv=LinearAddConv)


def learned_scales(search: Detector) -> dict[str, Scales]:
    """Scales by layer name, detached copies."""

    def copied(parameter: nn.Parameter | None) -> Tensor | None:
        return None if parameter is None else parameter.detach().clone()

    return {
        name: Scales(
            block.scale3x3.detach().clone(), block.scale1x1.detach().clone(), copied(block.scale_identity)
        )
        for name, block in search.named_modules()
        if isinstance(block, LinearAddConv)
    }


@torch.no_grad()
def apply_scales(target: Detector, scales: Mapping[str, Scales]) -> dict[str, Tensor]:
    """Start `target` (in place) where the scaled branches would, and say how to scale its gradients.

    Each kernel becomes s K3 + t K1 + u I with fresh random K3 (its present value) and K1 (PyTorch's initial
    distribution). Returns the multipliers by parameter name, to be used on every gradient.

    Raises:
        ValueError: the target is not of kind `repopt`, or the scales are those of another network.
    """
    _require_repopt(target.model)
    blocks = {name: block for name, block in target.named_modules() if isinstance(block, RepOptConv)}
    if blocks.keys() != scales.keys():
        wrong = ", ".join(sorted(blocks.keys() ^ scales.keys())[:3])
        raise ValueError(f"the scales belong to another network: {wrong} are in only one of the two")
    multipliers = {}
    for name, block in blocks.items():
        own, kernel = scales[name], block.conv.weight
        if len(own.conv3x3) != block.outputs or (own.identity is not None) != block.has_identity:
            raise ValueError(f"the scales of {name} are those of a block of another shape")
        pointwise = convolution(block.inputs, block.outputs, 1).to(kernel).weight
        start = _column(own.conv3x3) * kernel + centred(_column(own.conv1x1) * pointwise)
        if own.identity is not None:
            add_identity(start, own.identity)
        kernel.copy_(start)
        multipliers[f"{name}.conv.weight"] = gradient_multipliers(own, kernel)
    return multipliers


def gradient_multipliers(scales: Scales, kernel: Tensor) -> Tensor:
    """Factors O,I,3,3 for the gradient of `kernel` (paper, equation 6).

    s^2 everywhere, t^2 more in the centre, and 1 more on the centre's diagonal where there is an identity
    branch (a branch trained through a weight of its own, whatever its scale).
    """
    factors = _column(scales.conv3x3**2).to(kernel).expand_as(kernel).clone()
    factors[:, :, 1, 1] += (scales.conv1x1**2).to(kernel)[:, None]
    if scales.identity is not None:
        add_identity(factors, 1.0)
    return factors


def _column(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def _require_repopt(model: ModelSpec) -> None:
    if model.conv != "repopt":
        raise ValueError(f"the model's convolutions are of kind {model.conv}; RepOptimizer is for repopt")
