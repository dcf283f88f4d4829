"""From the training form to the deploy form."""

import copy

from yolov6space.networks.blocks import ConvBlock
from yolov6space.networks.detector import Detector


def fuse(detector: Detector) -> Detector:
    """An independent deploy copy in eval mode: every convolution has a bias, no BatchNorm is left.

    The result has the same module names whatever the convolution kind. Fusing a fused detector copies it.
    """
    # deepcopy takes what it finds in its memo for the copy of that object: here, the folded block.
    blocks = {id(module): module.fold() for module in detector.modules() if isinstance(module, ConvBlock)}
    return copy.deepcopy(detector, blocks).eval().requires_grad_(False)
