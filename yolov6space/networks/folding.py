"""From the training form to the deploy form."""

import copy

from torch import nn

from yolov6space.networks.blocks import ConvBlock
from yolov6space.networks.detector import Detector


def fuse(detector: Detector) -> Detector:
    """An independent deploy copy in eval mode: every convolution has a bias, no BatchNorm is left.

    The result has the same module names whatever the convolution kind. Fusing a fused detector copies it.
    """
    folded = copy.deepcopy(detector).eval()
    _fold_children(folded)
    return folded.requires_grad_(False)


def _fold_children(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, ConvBlock):
            setattr(module, name, child.fold())
        else:
            _fold_children(child)
