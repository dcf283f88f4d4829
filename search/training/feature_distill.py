"""Channel-wise feature distillation (Shu et al. 2021, arXiv 2011.13256), which the paper adds to QAT (section 2.5.3).

Shape legend: B batch, K channels, H and W of a feature map.

What a channel tells is where it is active. So the values of each channel become a distribution over its positions
(a softmax), and the network is to have its teacher's distributions.
"""

from collections.abc import Sequence

from torch import Tensor
from torch.nn.functional import kl_div

FEATURE_WEIGHT = 10.0  # against the other terms of the loss, release 0.2.0
TEMPERATURE = 1.0  # release 0.2.0; Shu et al. use 4 for features


def channel_divergence(features: Tensor, taught: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """KL(teacher || student) of a feature map B,K,H,W: summed over positions, times the temperature squared, mean
    over channels and images. A scalar, at least 0 and 0 for maps that differ by a constant per channel.

    Args:
        taught: the teacher's map, of the same shape; gets no gradient.

    Raises:
        ValueError: the shapes differ.
    """
    if features.shape != taught.shape:
        raise ValueError(f"features {tuple(features.shape)} cannot be taught by {tuple(taught.shape)}")
    student, teacher = (
        (each.float().flatten(2) / temperature).log_softmax(-1) for each in (features, taught.detach())
    )
    apart = kl_div(student, teacher, reduction="none", log_target=True).sum(-1)
    return apart.mean() * temperature**2


def feature_divergence(features: Sequence[Tensor], taught: Sequence[Tensor]) -> Tensor:
    """Sum of `channel_divergence` over maps of several scales (release 0.2.0: the three outputs of the neck)."""
    maps = [channel_divergence(own, other) for own, other in zip(features, taught, strict=True)]
    return sum(maps[1:], start=maps[0])
