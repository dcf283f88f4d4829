"""Names of release 0.2.x of the reference implementation for the layers of this package."""

import re

_PLACES = [
    (r"^backbone\.stage(\d)\.down$", r"backbone.ERBlock_\1.0"),
    (r"^backbone\.stage(\d)\.", r"backbone.ERBlock_\1.1."),
    (r"^backbone\.sppf\.reduce$", "backbone.ERBlock_5.2.cv1"),
    (r"^backbone\.sppf\.expand$", "backbone.ERBlock_5.2.cv2"),
    (r"^neck\.([pn]\d)\.", r"neck.Rep_\1."),
    (r"^neck\.reduce(\d)$", r"neck.reduce_layer\1"),
    (r"^neck\.upsample(\d)$", r"neck.upsample\1.upsample_transpose"),
    (r"^neck\.down0$", "neck.downsample2"),
    (r"^neck\.down1$", "neck.downsample1"),
    (r"^head\.level8\.(\w+)$", r"detect.\1s.0"),
    (r"^head\.level16\.(\w+)$", r"detect.\1s.1"),
    (r"^head\.level32\.(\w+)$", r"detect.\1s.2"),
    (r"\.main$", ".cv1"),
    (r"\.side$", ".cv2"),
    (r"\.merge$", ".cv3"),
]
_BRANCHES = {
    "conv3x3": "rbr_dense.conv",
    "bn3x3": "rbr_dense.bn",
    "conv1x1": "rbr_1x1.conv",
    "bn1x1": "rbr_1x1.bn",
    "bn_identity": "rbr_identity",
}

# Where a layer keeps its convolution, by the form it is in.
WRAPPED, BARE, FOLDED_REP = "block.conv", "conv", "rbr_reparam"

# The bins of DFL: the same numbers in every checkpoint, computed here instead of stored.
CONSTANTS = ("detect.proj", "detect.proj_conv.weight")


def upstream_layer(name: str) -> str:
    """The upstream name of one of our layers, or of the scalar `...blocks.{i}.alpha`."""
    for ours, theirs in _PLACES:
        name = re.sub(ours, theirs, name)
    # The first block of a stage is `conv1`, the others are `block.{i - 1}`; csp_rep has them all under `m`.
    return re.sub(r"\.blocks\.(\d+)(\.(?:conv1|conv2|alpha))?$", _block, name)


def upstream_tensor(layer: str, tensor: str, wrapped: bool) -> str:
    """The upstream name of our tensor (`conv3x3.weight`, `bn.bias`, `weight`) of an upstream layer.

    Args:
        wrapped: whether the layer is a plain 3x3 block, which upstream keeps one level deeper.
    """
    part, _, kind = tensor.rpartition(".")
    part = _BRANCHES.get(part, f"block.{part}" if wrapped else part)
    return f"{layer}.{part}.{kind}" if part else f"{layer}.{kind}"


def _block(found: re.Match[str]) -> str:
    index, part = int(found[1]), found[2]
    place = "conv1" if index == 0 else f"block.{index - 1}"
    return f".m.{place}{part}" if part else f".{place}"
